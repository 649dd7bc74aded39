//! Summaries pushed to peers: what they say, when they are pushed, and what follows from one that comes.
//!
//! A summary holds, per namespace, the root of the tree and the vector, both of one commit. It is pushed soon after a change
//! or a new link, and then ever more rarely, down to once a minute, while everybody is equal. Each gap is shortened by a
//! random part, so that agents that heard of the same change do not go on pushing in step.

use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg32;
use serde::{Deserialize, Serialize};

use crate::id::Space;
use crate::summary::Hash;
use crate::time::{Deadline, Instant};
use crate::vector::Brief;

/// What is pushed of one namespace.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SpaceSummary {
    /// The namespace.
    pub space: Space,
    /// The root of its tree.
    pub root: Hash,
    /// Its vector, of the same commit.
    pub vector: Brief,
}

/// What is pushed: every namespace that ever held a row.
pub type Summary = Vec<SpaceSummary>;

/// How two agents stand to each other in a namespace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Relation {
    /// The same vectors, the same content.
    Equal,
    /// The same content under other vectors: nothing but the vectors is to be joined.
    SameContent,
    /// Other vectors, other content: catch-up by the log, or range repair where the log does not reach.
    Apart,
    /// The same vectors, other content: divergence, to be named and alarmed.
    Diverged,
}

/// Compares a peer's summary of a namespace with this agent's own.
pub fn compare(mine: (Hash, &Brief), theirs: (Hash, &Brief)) -> Relation {
    match (mine.0 == theirs.0, mine.1 == theirs.1) {
        (true, true) => Relation::Equal,
        (true, false) => Relation::SameContent,
        (false, false) => Relation::Apart,
        (false, true) => Relation::Diverged,
    }
}

/// The shortest time between two pushes.
const PERIOD_MIN: Duration = Duration::from_secs(1);
/// The longest.
const PERIOD_MAX: Duration = Duration::from_mins(1);

/// A gap is shortened by at most its eighth.
const JITTER_PART: u32 = 8;

/// When to push.
#[derive(Debug)]
pub struct Beacons {
    at: Instant,
    period: Duration,
    rng: Pcg32,
}

impl Beacons {
    /// Pushes soon after the start; `seed` should be another for each agent.
    pub fn new(now: Instant, seed: u64) -> Self {
        Self { at: now + PERIOD_MIN, period: PERIOD_MIN, rng: Pcg32::seed_from_u64(seed) }
    }

    /// Something changed, or somebody came: push soon again.
    pub fn hurry(&mut self, now: Instant) {
        self.period = PERIOD_MIN;
        self.at = self.at.min(now + PERIOD_MIN);
    }

    /// Whether a push is due; if so, the next one is put off for longer than this one was.
    pub fn is_due(&mut self, now: Instant) -> bool {
        if self.at > now {
            return false;
        }
        let slack_us = u64::try_from((self.period / JITTER_PART).as_micros()).expect("a minute is few microseconds");
        let early = Duration::from_micros(self.rng.random_range(0..=slack_us));
        self.at = now + self.period.saturating_sub(early);
        self.period = (self.period * 2).min(PERIOD_MAX);
        true
    }

    /// When a push will be due.
    pub fn poll_timeout(&self) -> Deadline<&'static str> {
        Deadline { at: self.at, why: "push a summary" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gaps(seed: u64) -> Vec<Duration> {
        let mut now = Instant::ZERO;
        let mut beacons = Beacons::new(now, seed);
        let mut gaps = Vec::new();
        for _ in 0..10 {
            let at = beacons.poll_timeout().at;
            gaps.push(at.saturating_since(now));
            now = at;
            assert!(beacons.is_due(now) && !beacons.is_due(now));
        }
        beacons.hurry(now);
        assert!(beacons.poll_timeout().at <= now + PERIOD_MIN);
        gaps
    }

    #[test]
    fn pushes_become_rare_until_something_changes() {
        for (gap, period) in gaps(1).into_iter().zip([1, 1, 2, 4, 8, 16, 32, 60, 60, 60].map(Duration::from_secs)) {
            assert!(gap <= period && gap >= period * 7 / 8, "{gap:?} for {period:?}");
        }
    }

    #[test]
    fn agents_do_not_push_in_step() {
        assert_ne!(gaps(1), gaps(2));
        assert_eq!(gaps(1), gaps(1));
    }

    #[test]
    fn roots_and_vectors_say_how_two_agents_stand() {
        let named = [crate::id::Dot { replica: crate::id::ReplicaId([1; 16]), seq: 1 }].into_iter().collect();
        let (root, nothing) = (Hash([1; 32]), Brief::default());
        let closed = Brief { closed: Some(root), ..nothing.clone() };
        let vector = Brief { named, closed: None };
        assert_eq!(compare((root, &nothing), (root, &closed)), Relation::SameContent);
        assert_eq!(compare((root, &vector), (root, &vector)), Relation::Equal);
        assert_eq!(compare((root, &vector), (root, &nothing)), Relation::SameContent);
        assert_eq!(compare((root, &vector), (Hash::default(), &nothing)), Relation::Apart);
        assert_eq!(compare((root, &vector), (Hash::default(), &vector)), Relation::Diverged);
    }
}
