//! The one way by which what is held about a member changes.
//!
//! Every fact, whoever brought it, comes through here: checked against what is held, then told to the rings, the timers,
//! the neighbours and the agent. A view compared over a stream never buries a living member by itself: an inquest does.

use super::Membership;
use super::event::Event;
use super::favour::Favour;
use super::record::{Card, Fact, Standing, State};
use super::timers::Timer;
use crate::id::NodeId;

/// How a fact came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// In a datagram of this member.
    News(NodeId),
    /// From comparing views.
    View,
    /// In the table that answered a join: nobody needs to be told.
    Table,
    /// Decided here.
    Verdict,
}

impl Membership {
    pub(super) fn absorb(&mut self, facts: Vec<Fact>, source: Source) {
        for fact in facts {
            self.apply(fact, source);
        }
        self.settle();
    }

    /// Found silent, by a case or an inquest. The accused is told first.
    pub(super) fn apply_verdict(&mut self, verdict: Standing) {
        let id = verdict.life.id;
        let fact = Fact { standing: verdict, card: None };
        tracing::debug!(node = %self.me.id(), accused = %id, "verdict: unreachable");
        self.send(id, super::message::Datagram::Gossip { facts: vec![fact.clone()] });
        self.apply(fact, Source::Verdict);
        self.settle();
    }

    fn settle(&mut self) {
        if self.watch.stale {
            self.retarget();
        }
    }

    fn apply(&mut self, fact: Fact, source: Source) {
        let Fact { standing, card } = fact;
        let life = standing.life;
        if life.id == self.me.id() {
            return match source {
                Source::News(from) if !self.grants(from, Favour::OfYou) => {}
                Source::News(_) | Source::View | Source::Table | Source::Verdict => self.hear_of_me(standing),
            };
        }
        if self.roster.is_forgotten(&life) || card.as_ref().is_some_and(|card| !card.is_within_bounds()) {
            return;
        }
        let old = self.roster.standing(life.id);
        if old.is_some_and(|old| !standing.beats(&old)) {
            return;
        }
        let known_life = old.is_some_and(|old| old.life == life);
        if let Source::News(from) = source
            && !self.grants(from, Favour::Change)
        {
            return;
        }
        if (card.is_none() && !known_life) || (old.is_none() && !self.has_room()) {
            return;
        }
        let compared = matches!(source, Source::View | Source::Table);
        if compared && standing.state == State::Unreachable && old.is_some_and(|old| old.is_alive()) {
            return self.verify(standing);
        }
        self.install(standing, card.filter(|_| !known_life), source);
    }

    /// Whether one more can be held; if need be, whoever is gone for longest is forgotten for it.
    fn has_room(&mut self) -> bool {
        let full = |machine: &Self| machine.roster.len() >= machine.config.members_max;
        if full(self)
            && let Some(id) = self.roster.longest_gone()
        {
            self.forget(id);
        }
        !full(self)
    }

    /// Takes a standing that beats what is held.
    pub(super) fn install(&mut self, standing: Standing, card: Option<Card>, source: Source) {
        let id = standing.life.id;
        let old = self.roster.standing(id);
        let new_life = card.is_some();
        let lost = self.roster.get(id).filter(|member| member.standing.state == State::Unreachable);
        let lost = lost.map(|member| member.since).filter(|_| standing.is_alive());
        self.roster.put(self.timers.now(), standing, card);
        if old.is_some_and(|old| old.is_alive()) != standing.is_alive() {
            self.watch.stale = true;
            if standing.is_alive() {
                self.rings.insert(id);
            } else {
                self.rings.remove(id);
            }
        }
        if !standing.is_alive() || new_life {
            self.close_case(id);
        }
        let from = if let Source::News(from) = source { Some(from) } else { None };
        // Whatever one says of itself or another, the whole mesh passes it on only so often.
        if source != Source::Table && (id == self.me.id() || self.grants(id, Favour::Rumour)) {
            self.spread(id, new_life, from);
        }
        if id != self.me.id() {
            self.announce(old, standing);
        }
        if let Some(since) = lost {
            self.meet(id, since, source == Source::News(id));
        }
    }

    /// Tells the agent, and starts the clocks of what follows by itself.
    fn announce(&mut self, old: Option<Standing>, new: Standing) {
        let life = new.life;
        let same_life = old.filter(|old| old.life == life);
        let before = same_life.map(|old| old.state);
        let lived = same_life.is_some_and(|old| old.is_alive());
        match (before, new.state) {
            (None, State::Alive | State::Draining) => {
                self.unmark(life.id);
                self.tell(Event::Up { life });
            }
            (Some(State::Unreachable), State::Unreachable) => {}
            (Some(_), State::Alive | State::Draining) if lived => {}
            (Some(_), State::Alive | State::Draining) => self.returned(life),
            (_, State::Unreachable) => self.lost(life),
            (_, State::Left) => {
                self.timers.set(Timer::Fate(life.id), self.config.forget_after);
                self.tell(Event::Left { life });
            }
        }
        if new.state == State::Draining && before != Some(State::Draining) {
            self.tell(Event::Draining { life });
        }
    }
}
