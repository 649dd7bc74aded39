//! Probing: the members this node observes, and the pings it has in the air.
//!
//! A probe has up to four attempts, each with more paths than the one before; the last opens a case. A subject paces its
//! observers: its answer says when it wants to be probed next, so that it is probed once per period by all of them
//! together, evenly. The only evidence of life is an answer that carries the nonce of a ping sent from here, directly or
//! through a relay: both directions work. After SWIM section 3.1, with per-path timeouts.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Membership;
use super::event::Event;
use super::favour::Favour;
use super::message::Datagram;
use super::pace::Turns;
use super::timers::Timer;
use crate::id::NodeId;
use crate::time::Instant;

/// Questions older than this are no longer recognised.
const ANSWER_MAX: Duration = Duration::from_secs(10);
const QUESTIONS_MAX: usize = 8_192;
/// Share of first probes lost above which one more attempt precedes a case.
const LOSSY: f64 = 0.15;
const RELAYS: usize = 2;
/// First probes before a member may be called degraded.
const DEGRADED_TRIES: u32 = 8;

/// Why a ping was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// The regular probe of an observed member.
    Watch,
    /// A case, an inquest, a look for the lost.
    Side,
    /// Asked of this relay.
    Via(NodeId),
    /// Sent as a relay.
    For {
        /// Who asked.
        asker: NodeId,
        /// The asker's nonce.
        nonce: u64,
    },
}

#[derive(Debug)]
struct Question {
    target: NodeId,
    sent: Instant,
    why: Why,
}

#[derive(Debug, Default)]
struct Probe {
    attempt: u8,
    tries: u32,
    /// Share of first pings unanswered, lately.
    misses: f64,
    /// Share of answers much later than the path explains, lately.
    late: f64,
    degraded: bool,
    /// How many probe it, this node included.
    observers: usize,
}

#[derive(Debug, Default)]
pub(super) struct Watch {
    probes: BTreeMap<NodeId, Probe>,
    questions: BTreeMap<u64, Question>,
    last_nonce: u64,
    misses: f64,
    /// Who probes this node, by id.
    pub(super) observers: BTreeSet<NodeId>,
    /// When they are to.
    pub(super) turns: Turns,
    /// The rings changed since subjects were last taken from them.
    pub(super) stale: bool,
}

impl Watch {
    fn ask(&mut self, now: Instant, target: NodeId, why: Why) -> u64 {
        while let Some(oldest) = self.questions.first_entry()
            && (now.saturating_since(oldest.get().sent) > ANSWER_MAX || self.questions.len() >= QUESTIONS_MAX)
        {
            self.questions.pop_first();
        }
        self.last_nonce += 1;
        self.questions.insert(self.last_nonce, Question { target, sent: now, why });
        self.last_nonce
    }

    /// Takes the question that this answers, if it was one of those that `fits` names.
    fn answered(&mut self, nonce: u64, target: NodeId, fits: impl Fn(Why) -> bool) -> Option<Question> {
        let question = self.questions.get(&nonce)?;
        (question.target == target && fits(question.why)).then(|| self.questions.remove(&nonce))?
    }

    /// How many probe `id`, if this node is one of them.
    pub(super) fn observers_of(&self, id: NodeId) -> Option<usize> {
        self.probes.get(&id).map(|probe| probe.observers)
    }

    /// Observes nobody any more.
    pub(super) fn clear(&mut self) {
        self.probes.clear();
        self.questions.clear();
    }

    /// Whether a running probe of `id` has already missed an answer.
    pub(super) fn doubts(&self, id: NodeId) -> bool {
        self.probes.get(&id).is_some_and(|probe| probe.attempt >= 2)
    }

    pub(super) fn is_degraded(&self, id: NodeId) -> bool {
        self.probes.get(&id).is_some_and(|probe| probe.degraded)
    }
}

fn smooth(old: f64, missed: bool, weight: f64) -> f64 {
    old * (1.0 - weight) + if missed { weight } else { 0.0 }
}

impl Membership {
    /// Observes whom the rings now say.
    pub(super) fn retarget(&mut self) {
        self.watch.stale = false;
        let subjects = self.rings.subjects(self.me.id());
        let dropped: Vec<_> = self.watch.probes.keys().filter(|id| !subjects.contains(id)).copied().collect();
        for id in dropped {
            self.watch.probes.remove(&id);
            self.timers.cancel(Timer::Probe(id));
        }
        self.watch.observers = self.rings.observers(self.me.id());
        for id in subjects {
            let observers = self.rings.observers(id).len();
            match self.watch.probes.entry(id) {
                Entry::Occupied(mut known) => known.get_mut().observers = observers,
                Entry::Vacant(vacant) => {
                    vacant.insert(Probe { observers, ..Probe::default() });
                    let wait = self.within(self.config.probe_period);
                    self.timers.set(Timer::Probe(id), wait);
                }
            }
        }
    }

    /// The next attempt of a probe, or the first of the next one.
    pub(super) fn probe(&mut self, id: NodeId) {
        let wait = self.timeout(id);
        let lossy = self.watch.misses > LOSSY;
        let Some(probe) = self.watch.probes.get_mut(&id) else { return };
        probe.attempt += 1;
        let attempt = probe.attempt;
        self.ping(id, Why::Watch);
        match attempt {
            1 => return self.timers.set(Timer::Probe(id), wait),
            2 => {
                self.first_try(id, true);
                self.timers.set(Timer::Probe(id), wait * 3 / 4 + Duration::from_millis(40));
            }
            3 if lossy => self.timers.set(Timer::Probe(id), wait * 5 / 4 + Duration::from_millis(60)),
            _ => {
                self.rest(id);
                self.open_case(id);
            }
        }
        self.ping_via(id, RELAYS);
    }

    /// Probes at once, as after a missed answer: the link broke.
    pub(super) fn probe_urgently(&mut self, id: NodeId) {
        if let Some(probe) = self.watch.probes.get_mut(&id)
            && probe.attempt < 2
        {
            probe.attempt = 3;
            self.timers.set(Timer::Probe(id), Duration::ZERO);
        }
    }

    pub(super) fn ping(&mut self, to: NodeId, why: Why) {
        let nonce = self.watch.ask(self.timers.now(), to, why);
        let facts = self.luggage(to);
        let view = self.roster.view();
        self.send(to, Datagram::Ping { nonce, view, facts });
    }

    pub(super) fn ping_via(&mut self, target: NodeId, count: usize) {
        for relay in self.relays(target, count) {
            let nonce = self.watch.ask(self.timers.now(), target, Why::Via(relay));
            self.send(relay, Datagram::Relay { nonce, target });
        }
    }

    pub(super) fn on_ping(&mut self, from: NodeId, nonce: u64) {
        let next_in_ms = u32::try_from(self.next_in(from).as_millis()).unwrap_or(u32::MAX);
        let facts = self.luggage(from);
        let view = self.roster.view();
        self.send(from, Datagram::Ack { nonce, next_in_ms, view, facts });
    }

    pub(super) fn on_ack(&mut self, from: NodeId, nonce: u64, next_in: Duration) {
        let direct = |why| !matches!(why, Why::Via(_));
        let Some(question) = self.watch.answered(nonce, from, direct) else { return };
        let rtt = self.timers.now().saturating_since(question.sent);
        self.links.measured(from, self.roster.site(from), rtt);
        self.tell(Event::Probed { node: from, rtt });
        let late = self.links.is_late(from, rtt);
        if question.why == Why::Watch
            && let Some(probe) = self.watch.probes.get_mut(&from)
        {
            probe.late = smooth(probe.late, late, 0.2);
            if probe.attempt == 1 {
                self.first_try(from, false);
            }
        }
        self.proof(from);
        match question.why {
            Why::Watch if self.watch.probes.contains_key(&from) => {
                self.timers.set(Timer::Probe(from), self.until_turn(next_in, rtt));
            }
            Why::For { asker, nonce } => self.send(asker, Datagram::Relayed { nonce, target: from }),
            Why::Watch | Why::Side | Why::Via(_) => {}
        }
    }

    pub(super) fn on_relay(&mut self, asker: NodeId, nonce: u64, target: NodeId) {
        let known = self.roster.get(target).is_some() && target != self.me.id();
        if known && self.grants(asker, Favour::Relay) {
            self.ping(target, Why::For { asker, nonce });
        }
    }

    /// Only the relay that was asked may say so.
    pub(super) fn on_relayed(&mut self, from: NodeId, nonce: u64, target: NodeId) {
        if self.watch.answered(nonce, target, |why| why == Why::Via(from)).is_some() {
            self.proof(target);
        }
    }

    /// Ends a probe; the next one comes by itself unless the subject wishes otherwise.
    fn rest(&mut self, id: NodeId) {
        let pause = self.pace_of(id);
        if let Some(probe) = self.watch.probes.get_mut(&id) {
            probe.attempt = 0;
            self.timers.set(Timer::Probe(id), pause);
        }
    }

    /// `id` answered a ping of this node.
    fn proof(&mut self, id: NodeId) {
        self.heard_somebody();
        if self.watch.probes.get(&id).is_some_and(|probe| probe.attempt > 0) {
            self.rest(id);
        }
        self.close_case(id);
        self.conclude_inquest(id, true);
        if let Some(fact) = self.accusation(id) {
            self.send(id, Datagram::Gossip { facts: vec![fact] });
            self.compare_with(id);
        }
    }

    /// Counts whether the first ping of a probe was answered, for this node and for the member.
    fn first_try(&mut self, id: NodeId, missed: bool) {
        self.watch.misses = smooth(self.watch.misses, missed, 0.1);
        let Some(probe) = self.watch.probes.get_mut(&id) else { return };
        probe.tries += 1;
        probe.misses = smooth(probe.misses, missed, 0.2);
        let bad = probe.misses.max(probe.late);
        let degraded = if probe.degraded { bad > 0.2 } else { bad > 0.5 };
        if degraded != probe.degraded && probe.tries >= DEGRADED_TRIES {
            probe.degraded = degraded;
            self.tell(Event::Degraded { node: id, degraded });
        }
    }

    /// Probes and questions from before a stall say nothing about the others.
    pub(super) fn void_probes(&mut self) {
        self.watch.questions.clear();
        let running: Vec<_> =
            self.watch.probes.iter().filter(|(_, probe)| probe.attempt > 0).map(|(&id, _)| id).collect();
        for id in running {
            let wait = self.within(self.config.probe_period);
            self.watch.probes.entry(id).or_default().attempt = 0;
            self.timers.set(Timer::Probe(id), wait);
        }
    }
}
