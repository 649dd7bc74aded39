//! Many membership machines on one simulated network.
//!
//! The world plays the agent for each: dials, links, seeds, the durable epoch. It checks the protocol's promises after
//! every step and hashes everything said, so that two runs of one seed can be compared.

use std::collections::BTreeMap;
use std::time::Duration;

use everett_mesh_proto::id::{ClusterId, NodeId};
use everett_mesh_proto::membership::{
    Card, Cmd, Config, Datagram, Event, Input, Life, MemberState, Membership, Record, StreamMessage,
};
use everett_mesh_proto::time::{Instant, Now};

use super::Clockwork;
use super::agenda::Agenda;
use super::checks::Checks;
use super::net::Net;

const SEED_RETRY: Duration = Duration::from_secs(1);
/// IP and UDP around each datagram.
const HEADERS_BYTES: usize = 28;

mod hallway;

#[derive(Debug)]
enum Happening {
    Datagram(Datagram),
    Stream(StreamMessage),
    Linked,
    Unlinked,
}

#[derive(Debug)]
enum Due {
    /// Something reaches a node from another.
    Reach { from: usize, to: usize, what: Happening },
    /// A machine wants to be woken.
    Wake(usize),
    /// A node that has not joined dials its seeds.
    Seeds(usize, Vec<usize>),
}

#[derive(Debug)]
struct Node {
    id: NodeId,
    site: usize,
    boot_epoch: u64,
    /// Counts its processes.
    life: u64,
    machine: Option<Membership>,
    asleep_until: Instant,
    /// The earliest wake-up that is due.
    wake: Option<Instant>,
    joined: bool,
}

/// What the network carried.
#[derive(Debug, Default, Clone, Copy)]
pub struct Traffic {
    /// Datagrams and stream messages.
    pub messages: usize,
    /// Their weight, with IP and UDP headers.
    pub bytes: usize,
}

/// The world.
#[derive(Debug)]
pub struct World {
    /// The network, to be harmed at will.
    pub net: Net,
    /// Who was told what, when.
    pub events: Vec<(Instant, usize, Event)>,
    /// What was sent so far.
    pub traffic: Traffic,
    /// Who sent how many datagrams to whom so far.
    pub spoken: BTreeMap<(usize, usize), usize>,
    config: Config,
    seed: u64,
    agenda: Agenda<Due>,
    nodes: Vec<Node>,
    /// Who believes to be linked to which life of whom.
    links: BTreeMap<(usize, usize), u64>,
    /// Until when the longest sleeper sleeps.
    awake_from: Instant,
    sight: Sight,
}

#[derive(Debug)]
struct Sight {
    checks: Checks,
    trace: blake3::Hasher,
}

impl Clockwork for World {
    fn now(&self) -> Instant {
        self.agenda.now()
    }

    fn step(&mut self, end: Instant) -> bool {
        let Some(due) = self.agenda.next(end) else { return false };
        self.happen(due);
        let now = self.agenda.now();
        self.sight.checks.pass(now, self.net.is_whole() && self.awake_from <= now);
        true
    }
}

impl World {
    /// `count` nodes in `sites` sites, none started.
    pub fn new(seed: u64, count: usize, sites: usize, config: Config) -> Self {
        let mut net = Net::new(seed, sites);
        let cluster = ClusterId([7; 16]);
        let node = |number: usize| Node {
            id: NodeId::derive(cluster, &format!("node-{number}")),
            site: net.add(),
            boot_epoch: 0,
            life: 0,
            machine: None,
            asleep_until: Instant::ZERO,
            wake: None,
            joined: false,
        };
        let nodes = (0..count).map(node).collect();
        let checks = Checks::new(Checks::patience_with(&config));
        Self {
            net,
            events: Vec::new(),
            traffic: Traffic::default(),
            spoken: BTreeMap::new(),
            config,
            seed,
            agenda: Agenda::new(),
            nodes,
            links: BTreeMap::new(),
            awake_from: Instant::ZERO,
            sight: Sight { checks, trace: blake3::Hasher::new() },
        }
    }

    /// A world whose nodes have all found each other.
    pub fn formed(seed: u64, count: usize, sites: usize, config: Config) -> Self {
        let mut world = Self::new(seed, count, sites, config);
        world.form(count);
        world
    }

    /// Starts the first `count` nodes and waits until they have found each other and are quiet.
    pub fn form(&mut self, count: usize) {
        (0..count).for_each(|node| self.start(node, &[0, 1, 2]));
        let formed = self
            .run_until(Duration::from_secs(30), |world| world.running().all(|(_, machine)| machine.alive() == count));
        assert!(formed.is_some(), "seed {}: all nodes find each other", self.seed);
        self.run_for(Duration::from_secs(20));
        self.events.clear();
        self.spoken.clear();
        self.traffic = Traffic::default();
    }

    /// How many nodes there are, running or not.
    #[expect(clippy::len_without_is_empty, reason = "a world without nodes is of no use")]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// What reproduces this world.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The id of a node.
    pub fn id(&self, node: usize) -> NodeId {
        self.nodes[node].id
    }

    /// The machine of a node that runs.
    pub fn machine(&self, node: usize) -> Option<&Membership> {
        self.nodes[node].machine.as_ref()
    }

    /// Nodes that run.
    pub fn running(&self) -> impl Iterator<Item = (usize, &Membership)> {
        self.nodes.iter().enumerate().filter_map(|(number, node)| Some((number, node.machine.as_ref()?)))
    }

    /// What `observer` holds of `node`.
    pub fn state(&self, observer: usize, node: usize) -> Option<MemberState> {
        self.machine(observer)?.member(self.id(node)).map(|member| member.state)
    }

    /// Whether every running node but `node` itself holds it in this state.
    pub fn all_hold(&self, node: usize, state: MemberState) -> bool {
        let mut others = self.running().filter(|&(observer, _)| observer != node);
        others.all(|(observer, _)| self.state(observer, node) == Some(state))
    }

    /// The hash of all that was said so far.
    pub fn trace(&self) -> String {
        self.sight.trace.finalize().to_string()
    }

    /// Starts a node with the next boot epoch.
    pub fn start(&mut self, number: usize, seeds: &[usize]) {
        let boot_epoch = self.nodes[number].boot_epoch + 1;
        self.start_with_epoch(number, seeds, boot_epoch);
    }

    /// Starts a node with this boot epoch, stale or not.
    pub fn start_with_epoch(&mut self, number: usize, seeds: &[usize], boot_epoch: u64) {
        let node = &mut self.nodes[number];
        let nonce = u64::from_le_bytes(
            *blake3::hash(format!("{} {number} {:?}", self.seed, self.agenda.now()).as_bytes())
                .as_bytes()
                .first_chunk()
                .expect("a hash is longer"),
        );
        let card = Card {
            name: format!("node-{number}"),
            site: format!("site-{}", node.site),
            addrs: vec![([127, 0, 0, 1], u16::try_from(number).unwrap_or(0)).into()],
            caps: 0,
        };
        let life = Life { id: node.id, boot_epoch, nonce };
        let record = Record { life, incarnation: 0, card };
        let now = Now { mono: self.agenda.now(), wall_ms: 0 };
        node.machine = Some(Membership::new(now, self.config.clone(), record, nonce));
        node.boot_epoch = boot_epoch;
        node.life += 1;
        node.joined = false;
        node.wake = None;
        self.sight.checks.restarted(number);
        self.sight.checks.disturbed(now.mono);
        self.input(number, Input::Cmd(Cmd::Join { known: Vec::new() }));
        let seeds = seeds.iter().copied().filter(|&seed| seed != number && seed < self.nodes.len()).collect();
        self.agenda.after(Duration::ZERO, Due::Seeds(number, seeds));
    }

    /// Breaks the rule that who left is remembered: the process goes on as the same life and holds nobody. That is hidden
    /// from the checks.
    pub fn forget_everybody(&mut self, number: usize) {
        let now = Now { mono: self.agenda.now(), wall_ms: 0 };
        let node = &mut self.nodes[number];
        if let Some(machine) = &mut node.machine {
            *machine = Membership::new(now, self.config.clone(), machine.me(), self.seed);
            node.wake = None;
        }
    }

    /// The node falls silent: power lost. The others' links to it stand until they time out or it is there again.
    pub fn crash(&mut self, number: usize) {
        self.nodes[number].machine = None;
        self.sight.checks.restarted(number);
        self.sight.checks.disturbed(self.agenda.now());
        self.links.retain(|&(a, _), _| a != number);
    }

    /// Links between nodes that no longer reach each other time out.
    pub fn links_time_out(&mut self) {
        self.sight.checks.disturbed(self.agenda.now());
        let net = &self.net;
        let broken = |&(a, b): &(usize, usize)| !net.reaches(a, b) || !net.reaches(b, a);
        let gone: Vec<_> = self.links.keys().copied().filter(broken).collect();
        for (a, b) in gone {
            self.reach(b, a, Happening::Unlinked);
        }
    }

    /// The process dies, and its host says so to all who are linked.
    pub fn kill(&mut self, number: usize) {
        let linked: Vec<_> = self.links.keys().filter(|(a, _)| *a == number).map(|&(_, b)| b).collect();
        self.crash(number);
        for to in linked {
            if let Some(delay) = self.net.datagram(number, to) {
                self.agenda.after(delay, Due::Reach { from: number, to, what: Happening::Unlinked });
            }
        }
    }

    /// The process takes no step for this long; what comes meanwhile waits.
    pub fn sleep(&mut self, number: usize, time: Duration) {
        let until = self.agenda.now() + time;
        self.nodes[number].asleep_until = until;
        self.awake_from = self.awake_from.max(until);
    }

    /// The operator's wish.
    pub fn command(&mut self, number: usize, cmd: Cmd) {
        self.sight.checks.disturbed(self.agenda.now());
        self.input(number, Input::Cmd(cmd));
    }

    fn happen(&mut self, due: Due) {
        let (Due::Reach { to: number, .. } | Due::Wake(number) | Due::Seeds(number, _)) = due;
        let asleep = self.nodes[number].asleep_until.saturating_since(self.agenda.now());
        if !asleep.is_zero() {
            return self.agenda.after(asleep, due);
        }
        match due {
            Due::Reach { from, to, what } => self.reach(from, to, what),
            Due::Wake(number) => {
                let now = Now { mono: self.agenda.now(), wall_ms: 0 };
                self.nodes[number].wake = None;
                let Some(machine) = &mut self.nodes[number].machine else { return };
                if machine.poll_timeout().is_some_and(|deadline| deadline.at <= now.mono) {
                    machine.handle_timeout(now);
                }
                self.after_step(number);
            }
            Due::Seeds(number, seeds) => {
                if self.nodes[number].machine.is_some() && !self.nodes[number].joined {
                    for &seed in &seeds {
                        self.dial(number, seed);
                    }
                    self.agenda.after(SEED_RETRY, Due::Seeds(number, seeds));
                }
            }
        }
    }
}
