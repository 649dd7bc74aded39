//! Everybody, as this node holds them.
//!
//! The shared part (standing and card) is what the view hash covers; the rest (dead, shown, penalty) is this node's own
//! reading of it and never sent. Apart from the machine because it is also what the agent shows.
//!
//! Invariants: a standing is only ever replaced by one that beats it; equal view hashes mean equal standings; the table is
//! bounded by ids, never by lives; what was forgotten stays so for its epoch.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use super::flap::Flap;
use super::record::{Card, Fact, Life, Standing, State};
use crate::id::NodeId;
use crate::time::Instant;

/// Forgotten members whose last epoch is remembered: 24 bytes each.
const TOMBS_MAX: usize = 65_536;

/// A member's state as the operator and the data path should take it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum MemberState {
    /// Answers.
    Alive,
    /// Answers, but went and came so often that it is not counted on yet.
    Probation,
    /// Answers, and is about to leave.
    Draining,
    /// Found silent by several members together.
    Unreachable,
    /// Unreachable for long.
    Dead,
    /// Took its leave.
    Left,
}

impl MemberState {
    /// Whether it is believed to answer.
    pub fn answers(self) -> bool {
        matches!(self, Self::Alive | Self::Probation | Self::Draining)
    }
}

/// One member, as the roster shows it.
#[derive(Clone, Copy, Debug)]
pub struct MemberView<'a> {
    /// Its id.
    pub node: NodeId,
    /// The operator's name for it.
    pub name: &'a str,
    /// Its site.
    pub site: &'a str,
    /// Its state.
    pub state: MemberState,
    /// Where it can be dialled.
    pub addrs: &'a [SocketAddr],
    /// Its run.
    pub boot_epoch: u64,
    /// Its refutations in this run.
    pub incarnation: u32,
    /// The round trip to it, if ever measured from here.
    pub rtt: Option<Duration>,
    /// Since when it has this state here.
    pub since: Instant,
    /// Whether most first probes from here go unanswered.
    pub degraded: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Member {
    pub(super) standing: Standing,
    pub(super) card: Card,
    pub(super) since: Instant,
    pub(super) dead: bool,
    pub(super) flap: Flap,
}

impl Member {
    pub(super) fn state(&self) -> MemberState {
        match self.standing.state {
            State::Alive | State::Draining if self.flap.on_probation => MemberState::Probation,
            State::Alive => MemberState::Alive,
            State::Draining => MemberState::Draining,
            State::Unreachable if self.dead => MemberState::Dead,
            State::Unreachable => MemberState::Unreachable,
            State::Left => MemberState::Left,
        }
    }

    /// Dead or Left: nobody waits for it.
    pub(super) fn is_gone(&self) -> bool {
        self.dead || self.standing.state == State::Left
    }

    pub(super) fn fact(&self, with_card: bool) -> Fact {
        Fact { standing: self.standing, card: with_card.then(|| self.card.clone()) }
    }
}

#[derive(Debug, Default)]
pub(super) struct Roster {
    members: BTreeMap<NodeId, Member>,
    /// Living members of each site.
    living: BTreeMap<String, usize>,
    /// The unreachable, so that who looks for them need not look at everybody.
    lost: BTreeSet<NodeId>,
    view: u64,
    changed: Instant,
    tombs: BTreeMap<NodeId, u64>,
    tomb_order: VecDeque<NodeId>,
}

impl Roster {
    pub(super) fn get(&self, id: NodeId) -> Option<&Member> {
        self.members.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: NodeId) -> Option<&mut Member> {
        self.members.get_mut(&id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (NodeId, &Member)> {
        self.members.iter().map(|(&id, member)| (id, member))
    }

    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    pub(super) fn standing(&self, id: NodeId) -> Option<Standing> {
        self.get(id).map(|member| member.standing)
    }

    pub(super) fn is_alive(&self, id: NodeId) -> bool {
        self.get(id).is_some_and(|member| member.standing.is_alive())
    }

    /// Without those that are about to leave, unless there is nobody else.
    pub(super) fn steady(&self, ids: BTreeSet<NodeId>) -> BTreeSet<NodeId> {
        let leaves = |id| self.get(id).is_some_and(|member| member.standing.state == State::Draining);
        let steady: BTreeSet<_> = ids.iter().copied().filter(|&id| !leaves(id)).collect();
        if steady.is_empty() { ids } else { steady }
    }

    pub(super) fn site(&self, id: NodeId) -> Option<&str> {
        self.get(id).map(|member| member.card.site.as_str())
    }

    /// The hash that two nodes with the same standings share.
    pub(super) fn view(&self) -> u64 {
        self.view
    }

    /// When the view last changed.
    pub(super) fn changed(&self) -> Instant {
        self.changed
    }

    /// Replaces what is held about a node; the caller has seen that it beats what was held.
    pub(super) fn put(&mut self, now: Instant, standing: Standing, card: Option<Card>) {
        let id = standing.life.id;
        let old = self.members.remove(&id);
        if let Some(old) = &old {
            self.uncount(old);
        }
        let flap = old.as_ref().map_or_else(Flap::default, |old| old.flap);
        let told = (standing.life, standing.state);
        let same_state = old.as_ref().filter(|old| (old.standing.life, old.standing.state) == told);
        let (since, dead) = same_state.map_or((now, false), |old| (old.since, old.dead));
        if let Some(card) = card.or_else(|| old.map(|old| old.card)) {
            self.view ^= standing.digest();
            match standing.state {
                State::Alive | State::Draining => *self.living.entry(card.site.clone()).or_default() += 1,
                State::Unreachable => drop(self.lost.insert(id)),
                State::Left => {}
            }
            self.members.insert(id, Member { standing, card, since, dead, flap });
        }
        self.changed = now;
    }

    /// Drops a member; its epoch and all before stay forgotten.
    pub(super) fn forget(&mut self, now: Instant, id: NodeId) {
        let Some(member) = self.members.remove(&id) else { return };
        self.uncount(&member);
        self.changed = now;
        if self.tombs.insert(id, member.standing.life.boot_epoch).is_none() {
            self.tomb_order.push_back(id);
        }
        if self.tomb_order.len() > TOMBS_MAX
            && let Some(oldest) = self.tomb_order.pop_front()
        {
            self.tombs.remove(&oldest);
        }
    }

    fn uncount(&mut self, member: &Member) {
        self.view ^= member.standing.digest();
        self.lost.remove(&member.standing.life.id);
        if member.standing.is_alive()
            && let Some(living) = self.living.get_mut(&member.card.site)
        {
            *living -= 1;
            if *living == 0 {
                self.living.remove(&member.card.site);
            }
        }
    }

    /// Members that are unreachable, dead or not.
    pub(super) fn lost(&self) -> impl Iterator<Item = (NodeId, &Member)> {
        self.lost.iter().filter_map(|&id| Some((id, self.members.get(&id)?)))
    }

    /// Who is gone for longest, to make room for somebody who is not.
    pub(super) fn longest_gone(&self) -> Option<NodeId> {
        let gone = self.members.iter().filter(|(_, member)| member.is_gone());
        gone.min_by_key(|(_, member)| member.since).map(|(&id, _)| id)
    }

    /// Whether anybody lives in a site.
    pub(super) fn lives_in(&self, site: &str) -> bool {
        self.living.contains_key(site)
    }

    /// Whether this life, or a later one of its node, was forgotten here.
    pub(super) fn is_forgotten(&self, life: &Life) -> bool {
        self.tombs.get(&life.id).is_some_and(|&epoch| life.boot_epoch <= epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card() -> Card {
        Card { name: "a".into(), site: "s".into(), addrs: Vec::new(), caps: 0 }
    }

    fn standing(id: u8, incarnation: u32, state: State) -> Standing {
        let life = Life { id: NodeId([id; 16]), boot_epoch: 1, nonce: 0 };
        Standing { life, incarnation, state }
    }

    #[test]
    fn the_view_hash_depends_on_what_is_held_and_not_on_how_it_came() {
        let (mut here, mut there) = (Roster::default(), Roster::default());
        let now = Instant::ZERO;
        here.put(now, standing(1, 0, State::Alive), Some(card()));
        here.put(now, standing(2, 0, State::Alive), Some(card()));
        there.put(now, standing(2, 0, State::Unreachable), Some(card()));
        assert_ne!(here.view(), there.view());
        there.put(now, standing(1, 0, State::Alive), Some(card()));
        here.put(now, standing(2, 0, State::Unreachable), None);
        assert_eq!(here.view(), there.view());
    }

    #[test]
    fn a_forgotten_life_stays_forgotten_and_a_later_one_does_not() {
        let mut roster = Roster::default();
        let gone = standing(1, 0, State::Left);
        roster.put(Instant::ZERO, gone, Some(card()));
        roster.forget(Instant::ZERO, gone.life.id);
        assert_eq!(roster.view(), Roster::default().view());
        assert!(roster.is_forgotten(&gone.life));
        assert!(!roster.is_forgotten(&Life { boot_epoch: 2, ..gone.life }));
    }
}
