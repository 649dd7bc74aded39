//! This node's own life: refuting, taking a later epoch, being fenced, taking leave.
//!
//! Invariants: only this file raises the own incarnation or epoch; a node that leaves or has left refutes nothing; a fenced
//! node never speaks again, and never raises its epoch against the other: no war of epochs.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Membership;
use super::change::Source;
use super::event::Event;
use super::message::Datagram;
use super::record::{Card, Life, Record, Standing, State};
use super::timers::Timer;
use crate::id::NodeId;
use crate::time::Instant;

const LEAVE_MAX: Duration = Duration::from_secs(1);
const LEAVE_REPEAT: Duration = Duration::from_millis(100);
const FAREWELLS: usize = 3;
const FAREWELL_SITES: usize = 2;

/// Where this life is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Running,
    Leaving { since: Instant },
    Left,
    Fenced,
}

#[derive(Debug)]
pub(super) struct Own {
    pub(super) standing: Standing,
    pub(super) card: Card,
    pub(super) phase: Phase,
    /// Somebody has answered a join of this life.
    pub(super) joined: bool,
    /// The least known epoch that is still news to the agent.
    epoch_asked: u64,
    farewells: BTreeMap<NodeId, bool>,
}

impl Own {
    pub(super) fn new(record: Record) -> Self {
        let Record { life, incarnation, card } = record;
        Self {
            standing: Standing { life, incarnation, state: State::Alive },
            card,
            phase: Phase::Running,
            joined: false,
            epoch_asked: 0,
            farewells: BTreeMap::new(),
        }
    }

    pub(super) fn id(&self) -> NodeId {
        self.standing.life.id
    }

    pub(super) fn record(&self) -> Record {
        Record { life: self.standing.life, incarnation: self.standing.incarnation, card: self.card.clone() }
    }
}

impl Membership {
    /// Somebody holds something about this node.
    pub(super) fn hear_of_me(&mut self, heard: Standing) {
        if self.me.phase != Phase::Running {
            return;
        }
        let mine = self.me.standing;
        if heard.life != mine.life {
            return self.hear_of_other_life(heard.life);
        }
        match heard.state {
            State::Left => self.epoch_is_behind(heard.life.boot_epoch),
            State::Unreachable if heard.incarnation >= mine.incarnation => self.refute(heard.incarnation),
            State::Alive | State::Draining if heard.incarnation > mine.incarnation => self.refute(heard.incarnation),
            State::Unreachable | State::Alive | State::Draining => {}
        }
    }

    fn refute(&mut self, heard: u32) {
        match heard.checked_add(1) {
            Some(incarnation) => {
                self.me.standing.incarnation = incarnation;
                self.install(self.me.standing, None, Source::Verdict);
            }
            None => self.epoch_is_behind(self.me.standing.life.boot_epoch),
        }
    }

    /// A start that the mesh knows more of takes a later epoch; a life that the mesh has known is fenced by a later one.
    fn hear_of_other_life(&mut self, other: Life) {
        let mine = self.me.standing.life;
        let later = (other.boot_epoch, other.nonce) > (mine.boot_epoch, mine.nonce);
        if self.me.joined && later {
            self.me.phase = Phase::Fenced;
            self.silence();
            self.tell(Event::Fenced { by: other });
        } else if !self.me.joined && other.boot_epoch >= mine.boot_epoch {
            self.epoch_is_behind(other.boot_epoch);
        }
    }

    pub(super) fn epoch_is_behind(&mut self, known: u64) {
        if known >= self.me.epoch_asked {
            self.me.epoch_asked = known.saturating_add(1);
            self.tell(Event::EpochBehind { known });
        }
    }

    /// The agent made a later epoch durable.
    pub(super) fn take_epoch(&mut self, boot_epoch: u64) {
        if self.me.phase != Phase::Running || boot_epoch <= self.me.standing.life.boot_epoch {
            return;
        }
        self.me.standing.life.boot_epoch = boot_epoch;
        self.me.standing.incarnation = 0;
        let card = self.me.card.clone();
        self.install(self.me.standing, Some(card), Source::Verdict);
    }

    /// Says that this node is about to leave. It goes on answering, and refutes that it is gone.
    pub(super) fn drain(&mut self) {
        if self.me.phase == Phase::Running && self.me.standing.state == State::Alive {
            self.me.standing.state = State::Draining;
            self.refute(self.me.standing.incarnation);
        }
    }

    pub(super) fn leave(&mut self) {
        if self.me.phase != Phase::Running {
            return;
        }
        self.silence();
        self.me.phase = Phase::Leaving { since: self.timers.now() };
        self.me.standing.state = State::Left;
        let mut told = self.rings.observers(self.me.id());
        told.extend(self.rings.neighbours(self.me.id()));
        self.me.farewells = told.into_iter().map(|id| (id, false)).collect();
        self.roster.put(self.timers.now(), self.me.standing, None);
        self.step_leave();
    }

    /// Repeats the leave to those who have not heard, until enough have or a second is over.
    pub(super) fn step_leave(&mut self) {
        let Phase::Leaving { since } = self.me.phase else { return };
        let heard = self.me.farewells.iter().filter(|(_, heard)| **heard).map(|(&id, _)| id);
        let heard: BTreeSet<_> = heard.collect();
        let site = |id: &NodeId| self.roster.site(*id).map(str::to_owned);
        let sites = |ids: &mut dyn Iterator<Item = &NodeId>| ids.map(site).collect::<BTreeSet<_>>().len();
        let sites_wanted = sites(&mut self.me.farewells.keys()).min(FAREWELL_SITES);
        let enough = heard.len() >= FAREWELLS.min(self.me.farewells.len()) && sites(&mut heard.iter()) >= sites_wanted;
        if enough || self.timers.now().saturating_since(since) >= LEAVE_MAX {
            self.me.phase = Phase::Left;
            self.silence();
            return self.tell(Event::LeaveDone);
        }
        let standing = self.me.standing;
        for to in self.me.farewells.clone().into_keys().filter(|id| !heard.contains(id)) {
            self.send(to, Datagram::Leaving { standing });
        }
        self.timers.set(Timer::Leave, LEAVE_REPEAT);
    }

    pub(super) fn on_farewell(&mut self, from: NodeId) {
        if let Some(heard) = self.me.farewells.get_mut(&from) {
            *heard = true;
            if self.me.farewells.values().filter(|heard| **heard).count() >= FAREWELLS.min(self.me.farewells.len()) {
                self.timers.set(Timer::Leave, Duration::ZERO);
            }
        }
    }

    /// No probe, no news, no wake-up any more.
    fn silence(&mut self) {
        self.watch.clear();
        self.gossip.clear();
        self.void_cases();
        self.timers.clear();
    }
}
