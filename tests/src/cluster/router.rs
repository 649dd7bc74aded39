//! A router between agents that loses or delays packets: user space, loopback, no root.
//!
//! Each agent is known to the others by a public port of the router. What agent `from` sends there leaves the router from
//! a port of the pair (`from`, `to`), so that `to` can tell its peers apart; answers go back the same way. Every packet is
//! lost with the same chance, independently of the others, and takes as long as all others. What this does not do: jitter,
//! reordering, bursts, a bound on the rate.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Cluster;

/// Larger than any packet of an agent.
const PACKET_BYTES_MAX: usize = 64 << 10;

/// Packets on their way in one direction: a second of more than a hundred megabytes.
const PACKETS_MAX: usize = 1 << 16;

/// A running router; it ends when dropped.
#[derive(Debug)]
pub struct Router {
    /// Dropped to end it.
    running: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
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
        Self::laid(cluster, count, Way { loss, delay: Duration::ZERO })
    }

    /// The same, where no packet is lost and each takes `delay` one way.
    pub fn far(cluster: &mut Cluster, count: usize, delay: Duration) -> Self {
        Self::laid(cluster, count, Way { loss: 0.0, delay })
    }

    fn laid(cluster: &mut Cluster, count: usize, way: Way) -> Self {
        let listening: Vec<SocketAddr> = (0..count).map(|index| at(cluster.agent(index).port())).collect();
        let (running, ended) = oneshot::channel();
        let (ready_sender, ready) = std::sync::mpsc::sync_channel(1);
        let addresses = listening.clone();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime can be made").block_on(async {
                let (public, mut tasks) = start(&addresses, way).await.expect("loopback has free ports");
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
        Self { running: Some(running), thread: Some(thread) }
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        drop(self.running.take());
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported there.
            let _ = thread.join();
        }
    }
}

fn at(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// Binds everything; returns the public addresses, and what carries packets.
async fn start(agents: &[SocketAddr], way: Way) -> io::Result<(Vec<SocketAddr>, JoinSet<()>)> {
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
            tasks.spawn(carry_back(Arc::clone(&wire), Chance::new(seed, way.loss), way.delay));
            wires.push(wire);
        }
        seed += 1;
        tasks.spawn(carry_there(public, wires, Chance::new(seed, way.loss), way.delay));
    }
    Ok((addresses, tasks))
}

/// From whoever dials to the one who is dialed.
async fn carry_there(public: Arc<UdpSocket>, wires: Vec<Arc<Wire>>, mut chance: Chance, delay: Duration) {
    let mut packet = vec![0; PACKET_BYTES_MAX];
    let on_its_way = OnItsWay::new(delay);
    loop {
        // An agent that is down answers with ICMP, which is no reason to stop.
        let Ok((length, source)) = public.recv_from(&mut packet).await else { continue };
        let Some(wire) = wires.iter().find(|wire| wire.from == source) else { continue };
        if !chance.loses() {
            on_its_way.send(&wire.pair, &packet[..length], wire.to);
        }
    }
}

/// From the one who was dialed back to the dialer.
async fn carry_back(wire: Arc<Wire>, mut chance: Chance, delay: Duration) {
    let mut packet = vec![0; PACKET_BYTES_MAX];
    let on_its_way = OnItsWay::new(delay);
    loop {
        let Ok((length, _)) = wire.pair.recv_from(&mut packet).await else { continue };
        if !chance.loses() {
            on_its_way.send(&wire.public, &packet[..length], wire.from);
        }
    }
}

/// Packets that arrive later, in order.
struct OnItsWay {
    delay: Duration,
    packets: mpsc::Sender<(Instant, Packet)>,
    _carrier: JoinSet<()>,
}

/// From which socket, what, to whom.
type Packet = (Arc<UdpSocket>, Vec<u8>, SocketAddr);

impl OnItsWay {
    fn new(delay: Duration) -> Self {
        let (packets, mut waiting) = mpsc::channel::<(Instant, Packet)>(PACKETS_MAX);
        let mut carrier = JoinSet::new();
        carrier.spawn(async move {
            while let Some((due, (socket, packet, to))) = waiting.recv().await {
                // Nothing to wait for but the hour: being late is what this is for.
                let _ = tokio::time::timeout_at(due, std::future::pending::<()>()).await;
                // An agent that is down is no reason to stop.
                let _ = socket.send_to(&packet, to).await;
            }
        });
        Self { delay, packets, _carrier: carrier }
    }

    /// Sends a packet on its way; where too many are, it is lost, as a router does it.
    fn send(&self, socket: &Arc<UdpSocket>, packet: &[u8], to: SocketAddr) {
        let _ = self.packets.try_send((Instant::now() + self.delay, (Arc::clone(socket), packet.to_vec(), to)));
    }
}

/// What every packet meets.
#[derive(Clone, Copy)]
struct Way {
    loss: f64,
    delay: Duration,
}

/// Whether a packet is lost.
struct Chance {
    random: Pcg64,
    loss: f64,
}

impl Chance {
    fn new(seed: u64, loss: f64) -> Self {
        Self { random: Pcg64::seed_from_u64(seed), loss }
    }

    fn loses(&mut self) -> bool {
        self.random.random_bool(self.loss)
    }
}
