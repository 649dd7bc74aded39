//! Comparing views: the repair of what gossip lost.
//!
//! Each ping and answer carries the sender's view hash. Two that differ while this view has been quiet for a second and a
//! half make this node send its standings on a stream; the answer brings what it lacks and asks for what it has newer.
//! Accusations met on the way are verified, not believed (`inquest.rs`).

use std::collections::BTreeMap;
use std::time::Duration;

use super::Membership;
use super::change::Source;
use super::message::StreamMessage;
use super::record::{Fact, Standing};
use crate::id::NodeId;
use crate::time::Instant;

const QUIET: Duration = Duration::from_millis(1_500);
/// Between two comparisons begun by this node with the same member.
const PAUSE_SAME: Duration = Duration::from_secs(2);
/// Between any two of them; doubled for each that changed nothing here.
const PAUSE_MIN: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_mins(1);

#[derive(Debug, Default)]
pub(super) struct Compare {
    differing: u32,
    begun: BTreeMap<NodeId, Instant>,
    last: Option<Instant>,
    last_view: u64,
    pause: Duration,
}

impl Membership {
    /// A ping or an answer showed the sender's view.
    pub(super) fn note_view(&mut self, from: NodeId, view: u64) {
        let (now, mine) = (self.timers.now(), self.roster.view());
        let quiet = now.saturating_since(self.roster.changed()) >= QUIET;
        let compare = &mut self.tend.compare;
        if view == mine {
            compare.differing = 0;
            return self.leave_bridge(from);
        }
        compare.differing += 1;
        let pause = if compare.last_view == mine { compare.pause } else { PAUSE_MIN };
        let rested = compare.last.is_none_or(|at| now.saturating_since(at) >= pause);
        if quiet && rested && compare.differing >= 2 {
            compare.pause = (pause * 2).min(PAUSE_MAX);
            compare.last = Some(now);
            compare.last_view = mine;
            self.compare_with(from);
        }
    }

    /// Begins a comparison, unless there was one with this member just now.
    pub(super) fn compare_with(&mut self, to: NodeId) {
        let now = self.timers.now();
        let compare = &mut self.tend.compare;
        compare.begun.retain(|_, at| now.saturating_since(*at) < PAUSE_SAME);
        if compare.begun.contains_key(&to) {
            return;
        }
        compare.begun.insert(to, now);
        compare.differing = 0;
        self.send_standings(to);
    }

    pub(super) fn send_standings(&mut self, to: NodeId) {
        let standings = self.roster.iter().map(|(_, member)| member.standing).collect();
        self.send_stream(to, StreamMessage::Sync { standings });
    }

    /// Answers another's standings, and learns what they say of lives known here.
    pub(super) fn on_sync(&mut self, from: NodeId, standings: &[Standing]) {
        let theirs: BTreeMap<_, _> = standings.iter().map(|standing| (standing.life.id, *standing)).collect();
        let newer_here = self.roster.iter().filter_map(|(id, member)| match theirs.get(&id) {
            None => Some(member.fact(true)),
            Some(theirs) => member.standing.beats(theirs).then(|| member.fact(theirs.life != member.standing.life)),
        });
        let facts = newer_here.collect();
        let mut wanted = Vec::new();
        let mut known = Vec::new();
        let mut forgotten = Vec::new();
        for (&id, &standing) in &theirs {
            let mine = self.roster.standing(id);
            if mine.is_some_and(|mine| mine.life == standing.life) || id == self.me.id() {
                known.push(Fact { standing, card: None });
            } else if mine.is_none() && self.roster.is_forgotten(&standing.life) {
                forgotten.push(standing.life);
            } else if mine.is_none_or(|mine| standing.beats(&mine)) {
                wanted.push(id);
            }
        }
        self.send_stream(from, StreamMessage::SyncReply { facts, wanted, forgotten });
        self.absorb(known, Source::View);
    }

    pub(super) fn on_sync_reply(&mut self, from: NodeId, facts: Vec<Fact>, wanted: &[NodeId]) {
        self.absorb(facts, Source::View);
        let known = wanted.iter().take(self.roster.len()).filter_map(|&id| self.roster.get(id));
        let facts: Vec<_> = known.map(|member| member.fact(true)).collect();
        if !facts.is_empty() {
            self.send_stream(from, StreamMessage::Facts { facts });
        }
    }
}
