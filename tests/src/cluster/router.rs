//! A router between agents that loses packets and delays them: user space, loopback, no root.
//!
//! Each agent is known to the others by a public port of the router. What agent `from` sends there leaves the router from
//! a port of the pair (`from`, `to`), so that `to` can tell its peers apart; answers go back the same way. Every packet is
//! lost with the same chance, independently of the others, and the rest takes the same time to cross. What this does not
//! do: reordering, bursts.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use tokio::net::UdpSocket;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::{Cluster, wait};

/// Larger than any packet of an agent.
const PACKET_BYTES_MAX: usize = 64 << 10;

/// Packets under way at one time; what comes beyond is lost, as in any router.
const UNDER_WAY_MAX: usize = 64 << 10;

/// A running router; it ends when dropped.
#[derive(Debug)]
pub struct Router {
    /// Dropped to end it.
    running: Option<oneshot::Sender<()>>,
    threads: Vec<JoinHandle<()>>,
}

/// A packet that is to arrive later.
struct UnderWay {
    due: Instant,
    packet: Box<[u8]>,
    from: Arc<UdpSocket>,
    to: SocketAddr,
}

/// What happens to packets.
#[derive(Clone)]
struct Weather {
    loss: f64,
    delay: Duration,
    /// To whoever sends them when they are due; all take the same time, so they are due in order.
    under_way: SyncSender<UnderWay>,
}

/// The sockets of one pair of agents, in one direction of dialing.
struct Wire {
    /// Where the dialing agent listens.
    from: SocketAddr,
    /// Where the dialed one does.
    to: SocketAddr,
    /// The dialed one's public port.
    public: Arc<UdpSocket>,
    /// What the dialed one takes the other for.
    pair: Arc<UdpSocket>,
}

impl Router {
    /// Puts a router between the agents of a cluster, none of which runs yet; `loss` is the chance of a packet to be lost.
    pub fn between(cluster: &mut Cluster, count: usize, loss: f64) -> Self {
        Self::with_delay(cluster, count, loss, Duration::ZERO)
    }

    /// The same with a delay in each direction.
    pub fn with_delay(cluster: &mut Cluster, count: usize, loss: f64, delay: Duration) -> Self {
        let listening: Vec<SocketAddr> = (0..count).map(|index| at(cluster.agent(index).port())).collect();
        let (running, ended) = oneshot::channel();
        let (ready_sender, ready) = std::sync::mpsc::sync_channel(1);
        let addresses = listening.clone();
        let (under_way, arriving) = sync_channel(UNDER_WAY_MAX);
        let weather = Weather { loss, delay, under_way };
        let clockwork = thread::spawn(move || deliver(&arriving));
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime can be made").block_on(async {
                let (public, mut tasks) = start(&addresses, &weather).await.expect("loopback has free ports");
                ready_sender.send(public).expect("somebody waits for the ports");
                // An error means dropped, which is what ends it.
                let _ = ended.await;
                tasks.shutdown().await;
            });
        });
        let public = ready.recv().expect("the router starts");
        for index in 0..count {
            let agent = cluster.agent(index);
            let listen = format!("listen = \"{}\"", listening[index]);
            agent.reconfigure(&listen, &format!("{listen}\nadvertise = \"{}\"", public[index]));
            // The first agent has no seeds.
            for other in (0..count).filter(|other| *other != index && index > 0) {
                agent.reconfigure(&format!("\"{}\"", listening[other]), &format!("\"{}\"", public[other]));
            }
        }
        Self { running: Some(running), threads: vec![thread, clockwork] }
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        drop(self.running.take());
        for thread in self.threads.drain(..) {
            // A panic there has been reported there.
            let _ = thread.join();
        }
    }
}

fn at(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// Binds everything; returns the public addresses, and what carries packets.
async fn start(agents: &[SocketAddr], weather: &Weather) -> io::Result<(Vec<SocketAddr>, JoinSet<()>)> {
    let mut tasks = JoinSet::new();
    let mut addresses = Vec::new();
    let mut seed = 1;
    for &to in agents {
        let public = Arc::new(UdpSocket::bind(at(0)).await?);
        addresses.push(public.local_addr()?);
        let mut wires = Vec::new();
        for &from in agents.iter().filter(|from| **from != to) {
            let pair = Arc::new(UdpSocket::bind(at(0)).await?);
            let wire = Arc::new(Wire { from, to, public: Arc::clone(&public), pair });
            seed += 1;
            tasks.spawn(carry_back(Arc::clone(&wire), Chance::new(seed, weather.clone())));
            wires.push(wire);
        }
        seed += 1;
        tasks.spawn(carry_there(public, wires, Chance::new(seed, weather.clone())));
    }
    Ok((addresses, tasks))
}

/// From whoever dials to the one who is dialed.
async fn carry_there(public: Arc<UdpSocket>, wires: Vec<Arc<Wire>>, mut chance: Chance) {
    let mut packet = vec![0; PACKET_BYTES_MAX];
    loop {
        // An agent that is down answers with ICMP, which is no reason to stop.
        let Ok((length, source)) = public.recv_from(&mut packet).await else { continue };
        let Some(wire) = wires.iter().find(|wire| wire.from == source) else { continue };
        chance.send(&wire.pair, &packet[..length], wire.to).await;
    }
}

/// From the one who was dialed back to the dialer.
async fn carry_back(wire: Arc<Wire>, mut chance: Chance) {
    let mut packet = vec![0; PACKET_BYTES_MAX];
    loop {
        let Ok((length, _)) = wire.pair.recv_from(&mut packet).await else { continue };
        chance.send(&wire.public, &packet[..length], wire.from).await;
    }
}

/// Sends what is due, until nobody can send any more.
fn deliver(arriving: &Receiver<UnderWay>) {
    while let Ok(UnderWay { due, packet, from, to }) = arriving.recv() {
        wait::pause_until(due);
        // A full socket buffer loses packets.
        let _ = from.try_send_to(&packet, to);
    }
}

/// What becomes of packets in one direction.
struct Chance {
    random: Pcg64,
    weather: Weather,
}

impl Chance {
    fn new(seed: u64, weather: Weather) -> Self {
        Self { random: Pcg64::seed_from_u64(seed), weather }
    }

    async fn send(&mut self, from: &Arc<UdpSocket>, packet: &[u8], to: SocketAddr) {
        let Weather { loss, delay, under_way } = &self.weather;
        if self.random.random_bool(*loss) {
            return;
        }
        if delay.is_zero() {
            let _ = from.send_to(packet, to).await;
            return;
        }
        let due = Instant::now() + *delay;
        let _ = under_way.try_send(UnderWay { due, packet: packet.into(), from: Arc::clone(from), to });
    }
}
