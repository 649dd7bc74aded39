//! A fast field for any membership protocol: many peers on one simulated network, to be measured.
//!
//! It stands beside [`members`](super::members), which hashes everything said and keeps every link; here a simulated day of
//! a thousand nodes must pass in minutes, and other protocols must run on the very same network. Links are not simulated:
//! a datagram reaches a process that runs; a link asked for stands after a round trip. Everett's promises are checked
//! at every step here too, and a seed is a bug report.

mod everett;
mod peer;
mod views;

use std::rc::Rc;
use std::time::Duration;

use everett_mesh_proto::time::Instant;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

use super::Clockwork;
use super::agenda::Agenda;
use super::checks::Checks;
use super::net::Net;

pub use everett::Everett;
pub use peer::{Act, Birth, Directory, Peer, Sight};
pub use views::{Seen, Views};

/// IP and UDP around each datagram.
const HEADERS_BYTES: usize = 28;
/// What a packet of a stream carries.
const PACKET_BYTES: usize = 1_200;

/// What was sent.
#[derive(Debug, Default, Clone, Copy)]
pub struct Sent {
    /// Packets.
    pub messages: u64,
    /// Their weight, with IP and UDP headers.
    pub bytes: u64,
}

#[derive(Debug)]
enum Due<W> {
    Hear { from: usize, to: usize, life: u64, word: W },
    Linked { at: usize, peer: usize, life: u64 },
    Wake(usize),
}

#[derive(Debug)]
struct Node<P> {
    peer: Option<P>,
    /// Counts its processes.
    life: u64,
    asleep_until: Instant,
    wake: Option<Instant>,
}

/// The field.
#[derive(Debug)]
pub struct Field<P: Peer> {
    /// The network, to be harmed at will.
    pub net: Net,
    /// What was sent so far.
    pub sent: Sent,
    /// Who holds whom to be here.
    pub views: Views,
    /// For whoever arranges the trouble.
    pub dice: Pcg64,
    settings: P::Settings,
    directory: Rc<Directory>,
    agenda: Agenda<Due<P::Word>>,
    nodes: Vec<Node<P>>,
    checks: Checks,
    /// Until when the longest sleeper sleeps.
    awake_from: Instant,
}

impl<P: Peer> Clockwork for Field<P> {
    fn now(&self) -> Instant {
        self.agenda.now()
    }

    fn step(&mut self, end: Instant) -> bool {
        let Some(due) = self.agenda.next(end) else { return false };
        self.happen(due);
        let now = self.agenda.now();
        self.checks.pass(now, self.net.is_whole() && self.awake_from <= now);
        true
    }
}

impl<P: Peer> Field<P> {
    /// `count` nodes in `sites` sites, none started.
    pub fn new(seed: u64, count: usize, sites: usize, settings: P::Settings) -> Self {
        let mut net = Net::new(seed, sites);
        let site_of = (0..count).map(|_| net.add()).collect();
        let node = |_| Node { peer: None, life: 0, asleep_until: Instant::ZERO, wake: None };
        Self {
            net,
            sent: Sent::default(),
            views: Views::new(count),
            dice: Pcg64::seed_from_u64(seed ^ 0x00d1_ce00),
            checks: Checks::new(P::agree_within(&settings)),
            awake_from: Instant::ZERO,
            settings,
            directory: Rc::new(Directory::new(site_of)),
            agenda: Agenda::new(),
            nodes: (0..count).map(node).collect(),
        }
    }

    /// A field whose nodes know each other already and have been quiet for a while.
    pub fn formed(seed: u64, count: usize, sites: usize, settings: P::Settings) -> Self {
        let mut field = Self::new(seed, count, sites, settings);
        field.form(count);
        field
    }

    /// Starts the first `count` nodes knowing each other.
    pub fn form(&mut self, count: usize) {
        (0..count).for_each(|node| self.start(node, &[]));
        let births: Vec<_> = (0..count).map(|node| self.birth(node)).collect();
        for node in 0..count {
            let now = self.agenda.now();
            if let Some(peer) = &mut self.nodes[node].peer {
                peer.know(now, &births);
            }
            self.after_step(node);
        }
        self.run_for(Duration::from_secs(20));
        self.reset();
    }

    /// Forgets what was seen and sent so far.
    pub fn reset(&mut self) {
        self.views.seen.clear();
        self.sent = Sent::default();
    }

    /// How many nodes there are, running or not.
    #[expect(clippy::len_without_is_empty, reason = "a field without nodes is of no use")]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// The peer of a node that runs.
    pub fn peer(&self, node: usize) -> Option<&P> {
        self.nodes[node].peer.as_ref()
    }

    /// Nodes that run.
    pub fn running(&self) -> Vec<usize> {
        (0..self.len()).filter(|&node| self.nodes[node].peer.is_some()).collect()
    }

    /// A node that runs, by lot.
    pub fn any(&mut self) -> usize {
        let running = self.running();
        running[self.dice.random_range(0..running.len())]
    }

    /// Starts a node's next life.
    pub fn start(&mut self, node: usize, seeds: &[usize]) {
        self.nodes[node].life += 1;
        self.views.born(node);
        let birth = self.birth(node);
        let seeds = seeds.iter().copied().filter(|&seed| seed != node).collect();
        self.nodes[node].peer = Some(P::start(self.agenda.now(), &birth, seeds, &self.settings));
        self.nodes[node].wake = None;
        self.checks.restarted(node);
        self.checks.disturbed(self.agenda.now());
        self.after_step(node);
    }

    fn birth(&self, node: usize) -> Birth {
        let life = self.nodes[node].life;
        let seed = (node as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
            ^ (life << 48)
            ^ self.agenda.now().since_start().as_secs();
        Birth { node, life, seed, directory: Rc::clone(&self.directory) }
    }

    /// Power lost: nobody is told.
    pub fn crash(&mut self, node: usize) {
        self.nodes[node].peer = None;
        self.checks.restarted(node);
        self.checks.disturbed(self.agenda.now());
    }

    /// The process takes no step for this long; what comes meanwhile waits.
    pub fn block(&mut self, node: usize, time: Duration) {
        let until = self.agenda.now() + time;
        self.nodes[node].asleep_until = until;
        self.awake_from = self.awake_from.max(until);
    }

    /// Takes leave.
    pub fn leave(&mut self, node: usize) {
        let now = self.agenda.now();
        self.checks.disturbed(now);
        if let Some(peer) = &mut self.nodes[node].peer {
            peer.leave(now);
        }
        self.after_step(node);
    }

    fn happen(&mut self, due: Due<P::Word>) {
        let (Due::Hear { to: number, .. } | Due::Linked { at: number, .. } | Due::Wake(number)) = due;
        if self.nodes[number].asleep_until > self.agenda.now() {
            return self.agenda.at(self.nodes[number].asleep_until, due);
        }
        let now = self.agenda.now();
        let node = &mut self.nodes[number];
        match (due, &mut node.peer) {
            (Due::Hear { from, life, word, .. }, Some(peer)) if life == node.life => peer.hear(now, from, word),
            (Due::Linked { peer: other, life, .. }, Some(peer)) if life == node.life => {
                peer.linked(now, other, self.net.rtt(number, other));
            }
            (Due::Wake(_), Some(peer)) => {
                node.wake = None;
                if peer.deadline().is_some_and(|at| at <= now) {
                    peer.wake(now);
                }
            }
            _ => return,
        }
        self.after_step(number);
    }

    fn after_step(&mut self, number: usize) {
        while let Some(act) = self.nodes[number].peer.as_mut().and_then(|peer| peer.poll(self.agenda.now())) {
            self.carry_out(number, act);
        }
        let node = &mut self.nodes[number];
        if let Some(peer) = &node.peer {
            peer.check(number, &mut self.checks);
        }
        let Some(at) = node.peer.as_ref().and_then(Peer::deadline) else { return };
        let at = at.max(self.agenda.now());
        if node.wake.is_none_or(|wake| at < wake) {
            node.wake = Some(at);
            self.agenda.at(at, Due::Wake(number));
        }
    }

    fn carry_out(&mut self, from: usize, act: Act<P::Word>) {
        match act {
            Act::Datagram { to, bytes, word } => {
                self.count(bytes);
                if let Some(delay) = self.net.datagram(from, to) {
                    let life = self.nodes[to].life;
                    self.agenda.after(delay, Due::Hear { from, to, life, word });
                }
            }
            Act::Stream { to, bytes, word } => {
                (0..bytes / PACKET_BYTES).for_each(|_| self.count(PACKET_BYTES));
                self.count(bytes % PACKET_BYTES);
                if let Some(delay) = self.net.stream(from, to) {
                    let life = self.nodes[to].life;
                    self.agenda.after(delay, Due::Hear { from, to, life, word });
                }
            }
            Act::Link { to } => {
                let both_ways = self.net.reaches(from, to) && self.net.reaches(to, from);
                if both_ways && self.nodes[to].peer.is_some() {
                    let at = self.agenda.now() + self.net.rtt(from, to);
                    self.agenda.at(at, Due::Linked { at: from, peer: to, life: self.nodes[from].life });
                    self.agenda.at(at, Due::Linked { at: to, peer: from, life: self.nodes[to].life });
                }
            }
            Act::Saw { node, sight } => self.views.saw(self.agenda.now(), from, node, sight),
            Act::Exit => self.crash(from),
        }
    }

    fn count(&mut self, bytes: usize) {
        self.sent.messages += 1;
        self.sent.bytes += (bytes + HEADERS_BYTES) as u64;
    }
}
