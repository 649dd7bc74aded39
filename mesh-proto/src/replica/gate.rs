//! The gate: remote groups wait here, bounded in bytes, until what they depend on was applied.
//!
//! Density makes the search cheap: of each author only the group after the last one applied can be ready. What does not
//! fit is dropped, for a pull brings it again.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use super::Group;
use crate::id::{NodeId, ReplicaId, Space};
use crate::time::Instant;
use crate::vector::Vector;

/// How long a group waits before what it lacks is pulled from its sender: pushes of several authors overtake each other
/// by less than this.
const PULL_AFTER: Duration = Duration::from_millis(200);

/// How much a waiting group weighs beside its payload.
const OVERHEAD_BYTES: usize = 256;

#[derive(Debug)]
struct Waiting {
    group: Group,
    payload: Bytes,
    from: NodeId,
    since: Instant,
    pull_at: Instant,
}

/// How full the gate is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct GateLevel {
    /// Groups that wait.
    pub groups: usize,
    /// What they weigh.
    pub bytes: usize,
    /// Groups that did not fit, since the start.
    pub dropped: u64,
}

#[derive(Debug)]
pub(super) struct Gate {
    waiting: BTreeMap<(Space, ReplicaId, u64), Waiting>,
    bytes_max: usize,
    level: GateLevel,
}

impl Gate {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { waiting: BTreeMap::new(), bytes_max, level: GateLevel::default() }
    }

    pub(super) fn level(&self) -> GateLevel {
        GateLevel { groups: self.waiting.len(), ..self.level }
    }

    /// Lets a group wait; a second copy of one that waits already is dropped.
    pub(super) fn hold(&mut self, now: Instant, from: NodeId, group: Group, payload: Bytes) {
        let key = (group.space.clone(), group.author, group.first);
        if self.waiting.contains_key(&key) {
            return;
        }
        let weight = payload.len() * 2 + OVERHEAD_BYTES;
        if self.level.bytes + weight > self.bytes_max {
            self.level.dropped += 1;
            return;
        }
        self.level.bytes += weight;
        self.waiting.insert(key, Waiting { group, payload, from, since: now, pull_at: now + PULL_AFTER });
    }

    /// Takes out a group of `space` that a store with `vector` may apply now, its payload, and since when it waited; groups
    /// covered meanwhile are let go.
    pub(super) fn next_ready(&mut self, space: &Space, vector: &Vector) -> Option<(Group, Bytes, Instant)> {
        let mut from = (space.clone(), ReplicaId([0; 16]), 0);
        loop {
            let (key, waiting) = self.waiting.range(&from..).next()?;
            let author = key.1;
            if key.0 != *space {
                return None;
            }
            let covered = vector.covers(waiting.group.last());
            let ready = waiting.group.is_ready(vector);
            if covered || ready {
                let key = key.clone();
                let Waiting { group, payload, since, .. } = self.remove(&key)?;
                if !covered {
                    return Some((group, payload, since));
                }
                continue;
            }
            // The author's first group that waits is not ready, so none of the later ones is.
            from = (space.clone(), author, u64::MAX);
        }
    }

    /// Whom to ask for what, of the groups that have waited long enough; each is asked for again after a while.
    pub(super) fn pulls_due(&mut self, now: Instant) -> Vec<(NodeId, Space)> {
        let mut due = Vec::new();
        for ((space, ..), waiting) in self.waiting.iter_mut().filter(|(_, waiting)| waiting.pull_at <= now) {
            waiting.pull_at = now + PULL_AFTER * 5;
            let pull = (waiting.from, space.clone());
            if !due.contains(&pull) {
                due.push(pull);
            }
        }
        due
    }

    pub(super) fn next_pull(&self) -> Option<Instant> {
        self.waiting.values().map(|waiting| waiting.pull_at).min()
    }

    fn remove(&mut self, key: &(Space, ReplicaId, u64)) -> Option<Waiting> {
        let waiting = self.waiting.remove(key)?;
        self.level.bytes -= waiting.payload.len() * 2 + OVERHEAD_BYTES;
        Some(waiting)
    }
}
