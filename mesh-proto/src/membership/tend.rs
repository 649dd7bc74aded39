//! Finding the others: joining, comparing afterwards, looking for the lost, and noticing that it is me.
//!
//! The agent dials seeds, which are addresses; a link that stands with somebody not known to live here is greeted with a
//! join, so any contact, whoever wanted it, makes two meshes one. Lost members are pinged now and then, with the
//! accusation attached: who answers refutes it and is compared with.

use std::collections::BTreeSet;
use std::time::Duration;

use rand::RngExt;

use super::Membership;
use super::bridge::Bridge;
use super::change::Source;
use super::compare::Compare;
use super::event::{Event, Output};
use super::message::StreamMessage;
use super::record::{Fact, Record};
use super::timers::Timer;
use super::watch::Why;
use crate::id::NodeId;
use crate::time::Instant;

const DIAL_AT_ONCE: usize = 3;
const RETRY_MAX: Duration = Duration::from_mins(1);
const RETRY_MIN: Duration = Duration::from_secs(1);
/// From one comparison after a join, or after two halves met, to the next.
const FOLLOW_UPS: [Duration; 4] =
    [Duration::from_millis(400), Duration::from_millis(400), Duration::from_secs(1), Duration::from_secs(2)];
/// Lost members are looked for so long.
const HEAL_FOR: Duration = Duration::from_hours(24);
/// What news of a newcomer needs to come around.
const GREET_AFTER: Duration = Duration::from_millis(400);
/// Links that stand to members not in the roster, greeted once each.
const GREETED_MAX: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Tend {
    pub(super) compare: Compare,
    pub(super) bridge: Option<Bridge>,
    known: Vec<Record>,
    retry: Duration,
    follow_ups: usize,
    /// Linked, and not known to live.
    strangers: BTreeSet<NodeId>,
    last_answer: Instant,
    isolated: bool,
}

impl Membership {
    pub(super) fn join(&mut self, known: Vec<Record>) {
        self.tend.known = known;
        self.tend.known.retain(|record| record.life.id != self.me.id() && record.card.is_within_bounds());
        self.tend.retry = RETRY_MIN;
        self.retry_join();
        let wait = self.within(self.config.heal_period);
        self.timers.set(Timer::Heal, wait);
        self.heard_somebody();
        self.timers.set(Timer::Isolation, self.config.isolated_after);
    }

    /// Until somebody answered: dials members remembered, greets those linked.
    pub(super) fn retry_join(&mut self) {
        if self.me.joined {
            return;
        }
        for _ in 0..DIAL_AT_ONCE.min(self.tend.known.len()) {
            let at = self.rng.random_range(0..self.tend.known.len());
            let Record { life, card, .. } = &self.tend.known[at];
            let (node, addrs) = (life.id, card.addrs.clone());
            self.outputs.push_back(Output::Dial { node, addrs });
        }
        self.greet_strangers();
        let wait = self.tend.retry + self.within(self.tend.retry / 2);
        self.timers.set(Timer::Join, wait);
        self.tend.retry = (self.tend.retry * 2).min(RETRY_MAX);
    }

    /// Introduces this node to those linked who are still not known to live.
    pub(super) fn greet_strangers(&mut self) {
        let (roster, joined) = (&self.roster, self.me.joined);
        self.tend.strangers.retain(|&id| !joined || !roster.is_alive(id));
        for id in self.tend.strangers.clone() {
            self.greet(id);
        }
        if joined {
            self.tend.strangers.clear();
        }
    }

    fn greet(&mut self, id: NodeId) {
        let record = self.me.record();
        self.send_stream(id, StreamMessage::Join { record });
    }

    pub(super) fn on_connected(&mut self, node: NodeId, rtt: Duration) {
        self.links.set_connected(node, true);
        self.links.transport_measured(node, rtt);
        self.links.measured(node, self.roster.site(node), rtt);
        if self.me.joined && self.roster.is_alive(node) {
            return;
        }
        if self.me.joined && self.roster.get(node).is_some() {
            // Held gone, and linked: what it is accused of rides along.
            self.ping(node, Why::Side);
        }
        if self.tend.strangers.len() < GREETED_MAX {
            self.tend.strangers.insert(node);
        }
        if self.me.joined {
            // Most likely a newcomer, and news of it on its way.
            self.timers.set_within(Timer::Greet, GREET_AFTER);
        } else {
            self.greet(node);
        }
    }

    pub(super) fn on_closed(&mut self, node: NodeId) {
        self.links.set_connected(node, false);
        self.tend.strangers.remove(&node);
        if self.roster.is_alive(node) {
            self.probe_urgently(node);
        }
    }

    /// A newcomer, or one of another mesh: both sides learn everything.
    pub(super) fn on_join(&mut self, from: NodeId, record: Record) {
        if record.life.id != from {
            return;
        }
        if self.roster.is_forgotten(&record.life) {
            let forgotten = vec![record.life];
            self.send_stream(from, StreamMessage::SyncReply { facts: Vec::new(), wanted: Vec::new(), forgotten });
        }
        self.absorb(vec![record.into()], Source::News(from));
        let facts = self.roster.iter().map(|(_, member)| member.fact(true)).collect();
        self.send_stream(from, StreamMessage::Table { facts });
    }

    pub(super) fn on_table(&mut self, from: NodeId, facts: Vec<Fact>) {
        let source = if self.me.joined { Source::View } else { Source::Table };
        self.absorb(facts, source);
        self.tend.strangers.remove(&from);
        self.heard_somebody();
        if !self.me.joined {
            self.me.joined = true;
            self.timers.cancel(Timer::Join);
            self.tell(Event::Joined { members: self.roster.len() });
        }
        self.begin_follow_ups();
    }

    /// After much was learnt at once: what it lacked.
    pub(super) fn begin_follow_ups(&mut self) {
        self.tend.follow_ups = 0;
        self.timers.set_within(Timer::FollowUp, FOLLOW_UPS[0]);
    }

    /// Compares with somebody, and once more a little later.
    pub(super) fn follow_up(&mut self) {
        let others = self.roster.steady(self.living_others());
        if let Some(other) = self.shuffled(others).pop() {
            self.compare_with(other);
        }
        self.tend.follow_ups += 1;
        if let Some(&wait) = FOLLOW_UPS.get(self.tend.follow_ups) {
            self.timers.set(Timer::FollowUp, wait);
        }
    }

    /// Pings one lost member, the more often the more are lost.
    pub(super) fn heal(&mut self) {
        self.timers.set(Timer::Heal, self.config.heal_period);
        let now = self.timers.now();
        self.links.favours.tidy(now);
        let lost = self.roster.lost().filter(|(_, member)| now.saturating_since(member.since) < HEAL_FOR);
        let lost: BTreeSet<_> = lost.map(|(id, _)| id).collect();
        let weight = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let (of, among) = (weight(lost.len()).saturating_mul(2), weight(self.rings.len().max(1)));
        if of > 0
            && self.rng.random_ratio(of.min(among), among)
            && let Some(id) = self.shuffled(lost).pop()
        {
            self.ping(id, Why::Side);
        }
    }

    pub(super) fn heard_somebody(&mut self) {
        self.tend.last_answer = self.timers.now();
        if std::mem::take(&mut self.tend.isolated) {
            self.tell(Event::IsolationEnded);
        }
    }

    /// Asleep, this node could not have heard anybody.
    pub(super) fn forgive_silence(&mut self) {
        self.tend.last_answer = self.timers.now();
    }

    /// Two others at least, and none answered for long: it is this node.
    pub(super) fn check_isolation(&mut self) {
        let silence = self.timers.now().saturating_since(self.tend.last_answer);
        let wait = self.config.isolated_after;
        if self.rings.len() > 2 && silence >= wait && !self.tend.isolated {
            self.tend.isolated = true;
            self.void_cases();
            self.tell(Event::SelfIsolated);
        }
        let left = wait.saturating_sub(silence);
        self.timers.set(Timer::Isolation, if left.is_zero() { wait } else { left });
    }

    /// Whether nobody has answered for long.
    pub fn is_isolated(&self) -> bool {
        self.tend.isolated
    }

    pub(super) fn living_others(&self) -> BTreeSet<NodeId> {
        let living = self.roster.iter().filter(|(_, member)| member.standing.is_alive());
        living.map(|(id, _)| id).filter(|&id| id != self.me.id()).collect()
    }
}
