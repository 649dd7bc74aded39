//! Version vectors: what a store has applied of each author's writes.
//!
//! One vector per namespace is the causal context of all data in it (server-wide logical clocks: Gonçalves et al.,
//! `DottedDB`, SRDS 2017): a row that is absent here although the vector covers its dot was removed, and no tombstone is
//! kept. Coverage is contiguous (an entry is the greatest seq up to which *everything* was applied) and never shrinks.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::{Dot, ReplicaId};

/// Replica id → highest contiguous seq applied. Entries of zero do not exist, so equal vectors are equal bytes.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(from = "BTreeMap<ReplicaId, u64>")]
pub struct Vector(BTreeMap<ReplicaId, u64>);

impl Vector {
    /// The vector of a store that has applied nothing.
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// The highest contiguous seq applied of `replica`'s writes; zero for none.
    pub fn seq(&self, replica: ReplicaId) -> u64 {
        self.0.get(&replica).copied().unwrap_or(0)
    }

    /// Whether the write `dot` is among what was applied.
    pub fn covers(&self, dot: Dot) -> bool {
        self.seq(dot.replica) >= dot.seq
    }

    /// Whether everything that `other` applied was applied here too.
    pub fn includes(&self, other: &Self) -> bool {
        other.dots().all(|dot| self.covers(dot))
    }

    /// Raises one entry; lower values change nothing.
    pub fn raise(&mut self, dot: Dot) {
        if dot.seq > 0 {
            let seq = self.0.entry(dot.replica).or_default();
            *seq = dot.seq.max(*seq);
        }
    }

    /// Becomes the least vector that includes both.
    pub fn join(&mut self, other: &Self) {
        other.dots().for_each(|dot| self.raise(dot));
    }

    /// The entries, each as the last dot it covers, in order of replica id.
    pub fn dots(&self) -> impl Iterator<Item = Dot> + '_ {
        self.0.iter().map(|(&replica, &seq)| Dot { replica, seq })
    }

    /// The entries of this vector that `older` does not cover.
    pub fn since<'a>(&'a self, older: &'a Self) -> impl Iterator<Item = Dot> + 'a {
        self.dots().filter(|&dot| !older.covers(dot))
    }

    /// How many authors it knows.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing was applied.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What comes from outside may hold entries of zero: they are dropped.
impl From<BTreeMap<ReplicaId, u64>> for Vector {
    fn from(entries: BTreeMap<ReplicaId, u64>) -> Self {
        entries.into_iter().map(|(replica, seq)| Dot { replica, seq }).collect()
    }
}

impl FromIterator<Dot> for Vector {
    fn from_iter<I: IntoIterator<Item = Dot>>(dots: I) -> Self {
        let mut vector = Self::new();
        dots.into_iter().for_each(|dot| vector.raise(dot));
        vector
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dot(author: u8, seq: u64) -> Dot {
        Dot { replica: ReplicaId([author; 16]), seq }
    }

    #[test]
    fn a_join_is_the_least_vector_that_includes_both() {
        let a: Vector = [dot(1, 3), dot(2, 1)].into_iter().collect();
        let b: Vector = [dot(1, 2), dot(3, 5)].into_iter().collect();
        let mut both = a.clone();
        both.join(&b);
        assert!(both.includes(&a) && both.includes(&b));
        assert_eq!(both, [dot(1, 3), dot(2, 1), dot(3, 5)].into_iter().collect());
        assert_eq!(both.since(&a).collect::<Vec<_>>(), [dot(3, 5)]);
    }

    #[test]
    fn zero_entries_do_not_exist() {
        let vector: Vector = [dot(1, 0)].into_iter().collect();
        assert!(vector.is_empty());
        assert!(vector.covers(dot(9, 0)));
    }
}
