//! The expiry register of a key: a multi-value register of absolute deadlines, read as their maximum.
//!
//! Causal order decides, so shortening works; of concurrent deadlines the later wins. PERSIST is a deadline of
//! [`NEVER_MS`](super::NEVER_MS), not an absence, so that it supersedes what it saw.

use serde::{Deserialize, Serialize};

use super::DeadlineMs;
use crate::id::Dot;
use crate::vector::Vector;

/// Deadlines by the dot that set them, sorted by dot.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Register {
    deadlines: Vec<(Dot, DeadlineMs)>,
}

impl Register {
    /// The deadline in force; `None` if the key has no register.
    pub fn deadline_ms(&self) -> Option<DeadlineMs> {
        self.deadlines.iter().map(|&(_, deadline_ms)| deadline_ms).max()
    }

    /// Whether no deadline is stored.
    pub fn is_empty(&self) -> bool {
        self.deadlines.is_empty()
    }

    /// How many deadlines are stored.
    pub fn len(&self) -> usize {
        self.deadlines.len()
    }

    /// The dots stored.
    pub fn dots(&self) -> Vec<Dot> {
        self.deadlines.iter().map(|&(dot, _)| dot).collect()
    }

    /// Only these dots.
    pub fn restricted(&self, parts: &[Dot]) -> Self {
        Self { deadlines: self.deadlines.iter().filter(|(dot, _)| parts.contains(dot)).copied().collect() }
    }

    /// Removes the dots that a writer saw.
    pub fn remove(&mut self, seen: &[Dot]) {
        self.deadlines.retain(|(dot, _)| !seen.contains(dot));
    }

    /// Adds the deadline that the write `dot` set.
    pub fn insert(&mut self, dot: Dot, deadline_ms: DeadlineMs) {
        if let Err(index) = self.deadlines.binary_search_by_key(&dot, |&(dot, _)| dot) {
            self.deadlines.insert(index, (dot, deadline_ms));
        }
    }

    /// Removes what `context` covers.
    pub fn cut(&mut self, context: &Vector) {
        self.deadlines.retain(|&(dot, _)| !context.covers(dot));
    }

    /// The join of two states, each under its store's vector: a dot of one side stays unless the other side's vector
    /// covers it, for then it was removed there.
    pub fn join((mine, my_vector): (&Self, &Vector), (theirs, their_vector): (&Self, &Vector)) -> Self {
        let kept = |dot: Dot, other: &Self, vector: &Vector| other.holds(dot) || !vector.covers(dot);
        let mut joined = Self::default();
        for &(dot, deadline_ms) in mine.deadlines.iter().filter(|&&(dot, _)| kept(dot, theirs, their_vector)) {
            joined.insert(dot, deadline_ms);
        }
        for &(dot, deadline_ms) in theirs.deadlines.iter().filter(|&&(dot, _)| kept(dot, mine, my_vector)) {
            joined.insert(dot, deadline_ms);
        }
        joined
    }

    /// Whether the state is one that this code could have made: sorted, no dot twice.
    pub fn is_canonical(&self) -> bool {
        self.deadlines.is_sorted_by(|a, b| a.0 < b.0)
    }

    fn holds(&self, dot: Dot) -> bool {
        self.deadlines.binary_search_by_key(&dot, |&(dot, _)| dot).is_ok()
    }
}
