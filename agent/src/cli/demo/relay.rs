//! The wire between the demo's agents: a UDP relay that can drop one agent's packets.
//!
//! Each agent is known to the others by a public port of the relay. What agent `from` sends there leaves the relay from a
//! port that belongs to the pair (`from`, `to`), so that `to` can answer each agent apart; the answer leaves from the
//! public port again. Cutting an agent off needs no root: its packets are dropped in both directions, without a word to
//! either end, as a broken uplink would.
//!
//! One thread polls all sockets. What this does not do: delay, loss, rate limits; it serves agents on loopback only, and
//! drops what does not come from one of them.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// The largest datagram there is.
const DATAGRAM_BYTES_MAX: usize = 65_535;

/// Datagrams taken from one socket before the others get their turn.
const BURST_MAX: usize = 64;

/// How long the thread sleeps at most before it looks whether it should end.
const TURN: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// One agent, as the relay knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ends {
    /// Where the agent listens.
    pub(crate) listen: SocketAddr,
    /// Where the others find it: a port of the relay.
    pub(crate) public: SocketAddr,
}

/// A running relay; it ends when dropped.
#[derive(Debug)]
pub(crate) struct Relay {
    switches: Arc<Switches>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Switches {
    cut: Vec<AtomicBool>,
    ended: AtomicBool,
}

impl Relay {
    /// Binds every port and starts to relay between `agents`.
    pub(crate) fn start(agents: &[Ends]) -> io::Result<Self> {
        let wires = Wires::bind(agents)?;
        let cut = agents.iter().map(|_| AtomicBool::new(false)).collect();
        let switches = Arc::new(Switches { cut, ended: AtomicBool::new(false) });
        let seen = Arc::clone(&switches);
        let thread = thread::Builder::new().name("relay".into()).spawn(move || wires.run(&seen))?;
        Ok(Self { switches, thread: Some(thread) })
    }

    /// Cuts the agent at this index off from all others, or joins it again.
    pub(crate) fn cut(&self, agent: usize, cut: bool) {
        if let Some(switch) = self.switches.cut.get(agent) {
            switch.store(cut, Ordering::Relaxed);
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.switches.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported there; there is nothing left to undo here.
            let _ = thread.join();
        }
    }
}

/// The sockets: one public port per agent, then one port per ordered pair.
struct Wires {
    agents: Vec<Ends>,
    sockets: Vec<UdpSocket>,
}

/// What a socket carries.
#[derive(Clone, Copy)]
enum Wire {
    /// Packets to agent `to`, from anyone.
    Public { to: usize },
    /// Answers of agent `to` to agent `from`.
    Pair { from: usize, to: usize },
}

impl Wires {
    fn bind(agents: &[Ends]) -> io::Result<Self> {
        let public = agents.iter().map(|agent| agent.public);
        let pairs = (0..agents.len() * agents.len()).map(|_| SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let sockets = public.chain(pairs).map(|address| {
            let socket = UdpSocket::bind(address)?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        });
        Ok(Self { agents: agents.to_vec(), sockets: sockets.collect::<io::Result<_>>()? })
    }

    fn run(self, switches: &Switches) {
        let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
        while !switches.ended.load(Ordering::Relaxed) {
            for index in self.readable() {
                for _ in 0..BURST_MAX {
                    match self.sockets[index].recv_from(&mut buffer) {
                        Ok((length, source)) => self.pass(index, source, &buffer[..length], switches),
                        Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                        // An agent that is down answers with ICMP; the next datagram is as good as ever.
                        Err(_) => {}
                    }
                }
            }
        }
    }

    fn readable(&self) -> Vec<usize> {
        let mut polled: Vec<_> = self.sockets.iter().map(|socket| PollFd::new(socket, PollFlags::IN)).collect();
        if poll(&mut polled, Some(&TURN)).is_err() {
            return Vec::new();
        }
        let ready = polled.iter().enumerate().filter(|(_, polled)| !polled.revents().is_empty());
        ready.map(|(index, _)| index).collect()
    }

    fn wire(&self, index: usize) -> Wire {
        let count = self.agents.len();
        match index.checked_sub(count) {
            None => Wire::Public { to: index },
            Some(pair) => Wire::Pair { from: pair / count, to: pair % count },
        }
    }

    fn pass(&self, index: usize, source: SocketAddr, datagram: &[u8], switches: &Switches) {
        let count = self.agents.len();
        let (from, to, out, target) = match self.wire(index) {
            Wire::Public { to } => {
                let Some(from) = self.agents.iter().position(|agent| agent.listen == source) else { return };
                (from, to, count + from * count + to, self.agents[to].listen)
            }
            Wire::Pair { from, to } if self.agents[to].listen == source => (from, to, to, self.agents[from].listen),
            Wire::Pair { .. } => return,
        };
        let is_cut = |agent: usize| switches.cut[agent].load(Ordering::Relaxed);
        if !is_cut(from) && !is_cut(to) {
            // A full buffer loses the packet, as any network may.
            let _ = self.sockets[out].send_to(datagram, target);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    struct World {
        agents: Vec<UdpSocket>,
        ends: Vec<Ends>,
        relay: Relay,
    }

    fn world() -> World {
        let bind = || UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let agents: Vec<_> = (0..3).map(|_| bind()).collect();
        let ends: Vec<_> = agents
            .iter()
            .map(|agent| Ends { listen: agent.local_addr().unwrap(), public: bind().local_addr().unwrap() })
            .collect();
        for agent in &agents {
            agent.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        }
        let relay = Relay::start(&ends).unwrap();
        World { agents, ends, relay }
    }

    impl World {
        fn send(&self, from: usize, to: SocketAddr, word: &[u8]) {
            self.agents[from].send_to(word, to).unwrap();
        }

        fn receive(&self, at: usize) -> (Vec<u8>, SocketAddr) {
            let mut buffer = [0; 64];
            let (length, source) = self.agents[at].recv_from(&mut buffer).unwrap();
            (buffer[..length].to_vec(), source)
        }
    }

    #[test]
    fn an_answer_comes_from_where_the_question_went() {
        let world = world();
        world.send(0, world.ends[1].public, b"question");
        let (heard, asker) = world.receive(1);
        assert_eq!(heard, b"question");
        assert_ne!(asker, world.ends[0].listen);
        world.send(1, asker, b"answer");
        assert_eq!(world.receive(0), (b"answer".to_vec(), world.ends[1].public));
    }

    #[test]
    fn two_agents_are_told_apart() {
        let world = world();
        world.send(0, world.ends[2].public, b"a");
        let (_, first) = world.receive(2);
        world.send(1, world.ends[2].public, b"b");
        let (_, second) = world.receive(2);
        assert_ne!(first, second);
    }

    #[test]
    fn a_cut_agent_hears_and_reaches_nobody_until_it_is_healed() {
        let world = world();
        world.send(0, world.ends[1].public, b"question");
        let (_, asker) = world.receive(1);
        world.relay.cut(2, true);
        world.send(0, world.ends[2].public, b"lost");
        world.send(2, world.ends[0].public, b"lost");
        // The relay looks at public ports first, so when the answer has passed, what was sent before it is decided.
        world.send(1, asker, b"answer");
        assert_eq!(world.receive(0).0, b"answer");
        world.relay.cut(2, false);
        world.send(0, world.ends[2].public, b"healed");
        assert_eq!(world.receive(2).0, b"healed");
    }

    #[test]
    fn strangers_are_not_relayed() {
        let world = world();
        let stranger = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        stranger.send_to(b"stranger", world.ends[0].public).unwrap();
        world.send(1, world.ends[0].public, b"member");
        assert_eq!(world.receive(0).0, b"member");
    }
}
