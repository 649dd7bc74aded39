//! Everett on the field: the membership machine, and of its agent only the seeds and the durable epoch.

use std::rc::Rc;
use std::time::Duration;

use everett_mesh_proto::membership::{
    Card, Cmd, Config, Datagram, Event, Fact, Input, Life, Membership, Output, Record, StreamMessage, Transport,
};
use everett_mesh_proto::time::{Instant, Now};
use everett_mesh_proto::wire::encode_frame;

use crate::sim::checks::Checks;

use super::peer::{Act, Birth, Directory, Peer, Sight};

const SEED_RETRY: Duration = Duration::from_secs(1);

/// What Everett's peers say.
#[derive(Debug)]
pub enum Word {
    /// In a datagram.
    Datagram(Datagram),
    /// On a stream.
    Stream(StreamMessage),
}

/// One agent's membership.
#[derive(Debug)]
pub struct Everett {
    machine: Membership,
    directory: Rc<Directory>,
    seeds: Vec<usize>,
    seeds_due: Option<Instant>,
    dials: Vec<usize>,
}

impl Everett {
    /// The machine, to be looked at.
    pub fn machine(&self) -> &Membership {
        &self.machine
    }

    fn act(&mut self, now: Instant, output: Output) -> Option<Act<Word>> {
        let directory = &self.directory;
        match output {
            Output::Datagram { to, message } => {
                let (to, bytes) = (directory.number(to), message.packet_bytes());
                Some(Act::Datagram { to, bytes, word: Word::Datagram(message) })
            }
            Output::Stream { to, message } => {
                let bytes = encode_frame(&message).expect("it fits a frame").as_bytes().len();
                Some(Act::Stream { to: directory.number(to), bytes, word: Word::Stream(message) })
            }
            Output::Dial { node, .. } => Some(Act::Link { to: directory.number(node) }),
            Output::Event(event) => self.hear_of(now, &event),
        }
    }

    fn hear_of(&mut self, now: Instant, event: &Event) -> Option<Act<Word>> {
        let (life, sight) = match *event {
            Event::Up { life } | Event::Returned { life } => (life, Sight::Up),
            Event::Unreachable { life } => (life, Sight::Down),
            Event::Left { life } => (life, Sight::Left),
            Event::Degraded { node, degraded: true } => {
                return Some(Act::Saw { node: self.directory.number(node), sight: Sight::Degraded });
            }
            Event::Joined { .. } => {
                self.seeds_due = None;
                return None;
            }
            Event::EpochBehind { known } => {
                self.machine.handle_input(at(now), Input::Cmd(Cmd::BootEpoch(known.saturating_add(1))));
                return None;
            }
            Event::LeaveDone => return Some(Act::Exit),
            Event::Draining { .. }
            | Event::Dead { .. }
            | Event::Forgotten { .. }
            | Event::SiteUnreachable { .. }
            | Event::Degraded { .. }
            | Event::SelfIsolated
            | Event::IsolationEnded
            | Event::Fenced { .. }
            | Event::Probed { .. } => return None,
        };
        Some(Act::Saw { node: self.directory.number(life.id), sight })
    }
}

fn at(now: Instant) -> Now {
    Now { mono: now, wall_ms: 0 }
}

fn record(birth: &Birth) -> Record {
    let Birth { node, life, seed, directory } = birth;
    let card = Card {
        name: format!("node-{node}"),
        site: format!("site-{}", directory.site(*node)),
        addrs: vec![([10, 0, 0, 1], u16::try_from(*node).unwrap_or(0)).into()],
        caps: 0,
    };
    let life = Life { id: directory.id(*node), boot_epoch: *life, nonce: *seed };
    Record { life, incarnation: 0, card }
}

impl Peer for Everett {
    type Word = Word;
    type Settings = Config;

    fn start(now: Instant, birth: &Birth, seeds: Vec<usize>, settings: &Config) -> Self {
        let mut machine = Membership::new(at(now), settings.clone(), record(birth), birth.seed);
        machine.handle_input(at(now), Input::Cmd(Cmd::Join { known: Vec::new() }));
        let directory = Rc::clone(&birth.directory);
        let seeds_due = (!seeds.is_empty()).then_some(now + SEED_RETRY);
        Self { machine, directory, dials: seeds.clone(), seeds, seeds_due }
    }

    fn know(&mut self, now: Instant, all: &[Birth]) {
        let facts: Vec<Fact> = all.iter().map(|birth| record(birth).into()).collect();
        let other = all.iter().map(|birth| self.directory.id(birth.node)).find(|&id| id != self.machine.me().life.id);
        if let Some(from) = other {
            self.machine.handle_input(at(now), Input::Stream { from, message: StreamMessage::Table { facts } });
        }
    }

    fn hear(&mut self, now: Instant, from: usize, word: Word) {
        let from = self.directory.id(from);
        let input = match word {
            Word::Datagram(message) => Input::Datagram { from, message },
            Word::Stream(message) => Input::Stream { from, message },
        };
        self.machine.handle_input(at(now), input);
    }

    fn linked(&mut self, now: Instant, peer: usize, rtt: Duration) {
        let node = self.directory.id(peer);
        self.machine.handle_input(at(now), Input::Transport(Transport::Connected { node, rtt }));
    }

    fn wake(&mut self, now: Instant) {
        if self.seeds_due.is_some_and(|due| due <= now) {
            self.seeds_due = Some(now + SEED_RETRY);
            self.dials.extend(&self.seeds);
        }
        if self.machine.poll_timeout().is_some_and(|deadline| deadline.at <= now) {
            self.machine.handle_timeout(at(now));
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let own = self.machine.poll_timeout().map(|deadline| deadline.at);
        own.into_iter().chain(self.seeds_due).min()
    }

    fn leave(&mut self, now: Instant) {
        self.machine.handle_input(at(now), Input::Cmd(Cmd::Leave));
    }

    fn check(&self, node: usize, checks: &mut Checks) {
        checks.after_step(node, &self.machine);
    }

    fn agree_within(settings: &Config) -> Duration {
        Checks::patience_with(settings)
    }

    fn poll(&mut self, now: Instant) -> Option<Act<Word>> {
        if let Some(to) = self.dials.pop() {
            return Some(Act::Link { to });
        }
        while let Some(output) = self.machine.poll_output() {
            if let Some(act) = self.act(now, output) {
                return Some(act);
            }
        }
        None
    }
}
