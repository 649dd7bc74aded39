//! A case: this node cannot reach a member, and asks the others before it says so.
//!
//! The electors are the member's other observers; each probes anew. One who reached it closes the case. Two thirds of
//! silence (two at least) make it Unreachable; after 2.4 seconds three silent ones that are half of those who could have
//! answered suffice. Electors that this node cannot reach either do not count, but nobody alone can accuse anybody: a node
//! that hears from nobody accuses nobody. Electorates below five are asked twice. Where there are two members only, five
//! seconds of silence decide.
//! Nothing of a case is gossiped: a suspicion that need not be refuted costs the mesh nothing (contrast SWIM section 4.2).
//! After Rapid's multi-process cut detection (section 4.2), one subject at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Membership;
use super::inquest::Inquest;
use super::message::Datagram;
use super::record::{Standing, State};
use super::timers::Timer;
use super::watch::Why;
use crate::id::NodeId;
use crate::time::Instant;

const CASES_MAX: usize = 64;
const ROUND: Duration = Duration::from_millis(350);
const ROUNDS_MAX: u32 = 24;
const SUBSTITUTES: usize = 6;
const SUBSTITUTE_ROUNDS: [u32; 4] = [3, 6, 10, 16];
const ELECTORS_MIN: usize = 4;
const SMALL_ELECTORATE: usize = 5;
const PATIENCE: Duration = Duration::from_millis(2_400);
const PATIENCE_ALONE: Duration = Duration::from_secs(5);
/// An elector asked this often without a sign of life is suspect itself.
const ASKED_IN_VAIN: u32 = 5;

#[derive(Debug, Default, Clone, Copy)]
struct Vote {
    asked: u32,
    heard: bool,
    silent: bool,
}

#[derive(Debug)]
struct Case {
    against: Standing,
    opened: Instant,
    round: u32,
    ballot: u32,
    votes: BTreeMap<NodeId, Vote>,
}

#[derive(Debug, Default)]
pub(super) struct Court {
    cases: BTreeMap<NodeId, Case>,
    pub(super) inquests: BTreeMap<NodeId, Inquest>,
}

impl Membership {
    pub(super) fn open_case(&mut self, id: NodeId) {
        let Some(against) = self.roster.standing(id).filter(Standing::is_alive) else { return };
        let busy = self.court.cases.contains_key(&id) || self.court.cases.len() >= CASES_MAX;
        if busy || self.is_isolated() {
            return;
        }
        let electors = self.electors(id);
        let votes = electors.into_iter().map(|elector| (elector, Vote::default())).collect();
        let opened = self.timers.now();
        tracing::debug!(node = %self.me.id(), accused = %id, "case opened");
        self.court.cases.insert(id, Case { against, opened, round: 0, ballot: 1, votes });
        self.timers.set(Timer::Case(id), Duration::ZERO);
    }

    /// The other observers, one of the accused's site, and as many others as make four.
    fn electors(&mut self, id: NodeId) -> BTreeSet<NodeId> {
        let mut electors = self.rings.observers(id);
        electors.remove(&self.me.id());
        let others = self.others(id);
        let others = self.shuffled(others);
        let site = self.roster.site(id);
        let mate = others.iter().find(|&&other| self.roster.site(other) == site && !electors.contains(&other));
        electors.extend(mate);
        for other in others {
            if electors.len() >= ELECTORS_MIN {
                break;
            }
            electors.insert(other);
        }
        electors
    }

    /// The living but for `id` and this node.
    fn others(&self, id: NodeId) -> BTreeSet<NodeId> {
        let living = self.roster.iter().filter(|(_, member)| member.standing.is_alive());
        self.roster
            .steady(living.map(|(other, _)| other).filter(|&other| other != id && other != self.me.id()).collect())
    }

    /// Asks again who has not answered.
    pub(super) fn step_case(&mut self, id: NodeId) {
        self.judge(id);
        let Some(case) = self.court.cases.get_mut(&id) else { return };
        case.round += 1;
        let (round, ballot) = (case.round, case.ballot);
        if round > ROUNDS_MAX {
            return self.close_case(id);
        }
        if SUBSTITUTE_ROUNDS.contains(&round) {
            self.add_substitutes(id);
        }
        self.ping(id, Why::Side);
        let Some(case) = self.court.cases.get_mut(&id) else { return };
        let waiting = case.votes.iter_mut().filter(|(_, vote)| !vote.silent);
        let asked: Vec<NodeId> = waiting
            .map(|(&elector, vote)| {
                vote.asked += 1;
                elector
            })
            .collect();
        for elector in asked {
            self.send(elector, Datagram::Inquire { target: id, ballot });
        }
        self.timers.set(Timer::Case(id), ROUND);
    }

    fn add_substitutes(&mut self, id: NodeId) {
        let others = self.others(id);
        let others = self.shuffled(others);
        let Some(case) = self.court.cases.get_mut(&id) else { return };
        let fresh: Vec<_> = others.into_iter().filter(|other| !case.votes.contains_key(other)).collect();
        case.votes.extend(fresh.into_iter().take(SUBSTITUTES).map(|other| (other, Vote::default())));
    }

    pub(super) fn on_finding(&mut self, from: NodeId, target: NodeId, ballot: u32, alive: bool) {
        let Some(case) = self.court.cases.get_mut(&target) else { return };
        let Some(vote) = case.votes.get_mut(&from) else { return };
        vote.heard = true;
        if alive {
            return self.close_case(target);
        }
        if ballot == case.ballot {
            vote.silent = true;
            self.judge(target);
        }
    }

    fn judge(&mut self, id: NodeId) {
        let Some(case) = self.court.cases.get(&id) else { return };
        if !self.is_convicted(case) {
            return;
        }
        let small = !case.votes.is_empty() && case.votes.len() < SMALL_ELECTORATE;
        if small && case.ballot == 1 {
            return self.ask_anew(id);
        }
        let against = case.against;
        self.close_case(id);
        let verdict = Standing { state: State::Unreachable, ..against };
        self.apply_verdict(verdict);
    }

    fn ask_anew(&mut self, id: NodeId) {
        if let Some(case) = self.court.cases.get_mut(&id) {
            case.ballot += 1;
            case.votes.values_mut().for_each(|vote| vote.silent = false);
            self.timers.set(Timer::Case(id), Duration::ZERO);
        }
    }

    fn is_convicted(&self, case: &Case) -> bool {
        let age = self.timers.now().saturating_since(case.opened);
        if case.votes.is_empty() {
            return age >= PATIENCE_ALONE;
        }
        let counted: Vec<_> = case.votes.iter().filter(|&(&elector, vote)| self.counts(elector, *vote)).collect();
        let silent = counted.iter().filter(|(_, vote)| vote.silent).count();
        let quick = !counted.is_empty() && silent * 3 >= counted.len() * 2 && silent > 0;
        let patient = age >= PATIENCE && silent >= 2 && (silent + 1) * 2 > counted.len();
        let site = |id: NodeId| self.roster.site(id).map(str::to_owned);
        let mut sites: BTreeSet<_> = [site(self.me.id())].into();
        let mut sites_silent = sites.clone();
        sites.extend(counted.iter().map(|(elector, _)| site(**elector)));
        sites_silent.extend(counted.iter().filter(|(_, vote)| vote.silent).map(|(elector, _)| site(**elector)));
        (quick || patient) && (sites.len() < 2 || sites_silent.len() >= 2)
    }

    /// Whether an elector could be expected to answer.
    fn counts(&self, elector: NodeId, vote: Vote) -> bool {
        let suspect = self.watch.doubts(elector)
            || self.court.cases.contains_key(&elector)
            || !self.roster.is_alive(elector)
            || (vote.asked >= ASKED_IN_VAIN && !vote.heard);
        vote.silent || !suspect
    }

    /// The accused lives, or is no longer accused by this node.
    pub(super) fn close_case(&mut self, id: NodeId) {
        if self.court.cases.remove(&id).is_some() {
            self.timers.cancel(Timer::Case(id));
        }
    }

    /// Cases and inquests from before a stall, or begun where nobody is heard, say nothing about the others.
    pub(super) fn void_cases(&mut self) {
        for id in std::mem::take(&mut self.court.cases).into_keys() {
            self.timers.cancel(Timer::Case(id));
        }
        for id in std::mem::take(&mut self.court.inquests).into_keys() {
            self.timers.cancel(Timer::Inquest(id));
        }
    }
}
