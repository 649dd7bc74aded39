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
/// Between two comparisons begun by this node with the same member, and between any two of them.
const PAUSE_SAME: Duration = Duration::from_secs(2);
const PAUSE_ANY: Duration = Duration::from_millis(100);

#[derive(Debug, Default)]
pub(super) struct Compare {
    differing: u32,
    last: Option<Instant>,
    last_by_member: BTreeMap<NodeId, Instant>,
}

impl Membership {
    /// A ping or an answer showed the sender's view.
    pub(super) fn note_view(&mut self, from: NodeId, view: u64) {
        if view == self.roster.view() {
            self.tend.compare.differing = 0;
            return;
        }
        self.tend.compare.differing += 1;
        let quiet = self.timers.now().saturating_since(self.roster.changed()) >= QUIET;
        if quiet && self.tend.compare.differing >= 2 {
            self.compare_with(from);
        }
    }

    /// Begins a comparison, unless there was one just now.
    pub(super) fn compare_with(&mut self, to: NodeId) {
        let now = self.timers.now();
        let compare = &mut self.tend.compare;
        let passed = |since: Option<&Instant>, pause| since.is_none_or(|&at| now.saturating_since(at) >= pause);
        if !passed(compare.last.as_ref(), PAUSE_ANY) || !passed(compare.last_by_member.get(&to), PAUSE_SAME) {
            return;
        }
        compare.last_by_member.retain(|_, at| now.saturating_since(*at) < PAUSE_SAME);
        compare.last_by_member.insert(to, now);
        compare.last = Some(now);
        compare.differing = 0;
        let standings = self.roster.iter().map(|(_, member)| member.standing).collect();
        self.send_stream(to, StreamMessage::Sync { standings });
    }

    /// Answers another's standings, and learns what they say of lives known here.
    pub(super) fn on_sync(&mut self, from: NodeId, standings: &[Standing]) {
        let theirs: BTreeMap<_, _> = standings.iter().map(|standing| (standing.life.id, *standing)).collect();
        let newer_here =
            self.roster.iter().filter(|(id, member)| theirs.get(id).is_none_or(|theirs| member.standing.beats(theirs)));
        let facts = newer_here.map(|(_, member)| member.fact(true)).collect();
        let mut wanted = Vec::new();
        let mut known = Vec::new();
        for (&id, &standing) in &theirs {
            let mine = self.roster.standing(id);
            if mine.is_some_and(|mine| mine.life == standing.life) || id == self.me.id() {
                known.push(Fact { standing, card: None });
            } else if mine.is_none_or(|mine| standing.beats(&mine)) && !self.roster.is_forgotten(&standing.life) {
                wanted.push(id);
            }
        }
        self.send_stream(from, StreamMessage::SyncReply { facts, wanted });
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
