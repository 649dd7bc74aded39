//! Version vectors: what a store has applied of each author's writes.
//!
//! One vector per namespace is the causal context of all data in it (server-wide logical clocks: Gonçalves et al.,
//! `DottedDB`, SRDS 2017): a row that is absent here although the vector covers its dot was removed, and no tombstone is
//! kept. Coverage is contiguous (an entry is the greatest seq up to which *everything* was applied) and never shrinks.
//!
//! Entries are of two kinds. Most lives are over, and nobody will write under their ids again; once a later life of their
//! node has said so, their entries lie in the table of [`Closed`] lives, which agents that hold the same writes hold alike and
//! know by one hash. The others are *open*. Closing changes how an entry is said, never what is covered: a write past the seq
//! at which its life was closed is a write like any other, and opens the life again.
//!
//! Of one life an entry only ever rises, by (seq, open before closed); that order is the whole of the join. What the closed
//! lives wrote lies in the causal past of the open entries, because a closing is a write of a later life and depends on all
//! that it closes. So whoever covers the open entries of a vector covers the vector ([`Vector::named`]).

mod brief;
mod closed;

use std::collections::BTreeMap;

use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};

use crate::id::{Dot, ReplicaId};

pub use brief::Brief;
pub use closed::{Closed, Closing};

/// Replica id → highest contiguous seq applied. Entries of zero do not exist, so equal vectors are equal bytes.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Deserialize)]
#[serde(from = "BTreeMap<ReplicaId, u64>")]
pub struct Vector {
    open: BTreeMap<ReplicaId, u64>,
    /// No life is here and in `open`.
    closed: Closed,
}

impl Vector {
    /// The vector of a store that has applied nothing.
    pub const fn new() -> Self {
        Self { open: BTreeMap::new(), closed: Closed::new() }
    }

    /// The highest contiguous seq applied of `replica`'s writes; zero for none.
    pub fn seq(&self, replica: ReplicaId) -> u64 {
        self.open.get(&replica).copied().unwrap_or_else(|| self.closed.seq(replica))
    }

    /// Whether the write `dot` is among what was applied.
    pub fn covers(&self, dot: Dot) -> bool {
        self.seq(dot.replica) >= dot.seq
    }

    /// Whether everything that `other` applied was applied here too.
    pub fn includes(&self, other: &Self) -> bool {
        other.since(self).next().is_none()
    }

    /// Raises one entry; lower values change nothing. A closed life of which there is more is open again.
    pub fn raise(&mut self, dot: Dot) {
        if let Some(seq) = self.open.get_mut(&dot.replica) {
            *seq = dot.seq.max(*seq);
        } else if dot.seq > self.closed.seq(dot.replica) {
            self.closed.remove(dot.replica);
            self.open.insert(dot.replica, dot.seq);
        }
    }

    /// The write `by` has closed the life of `last`, of which `last` is the last write. That is so only for whom it is the last,
    /// and if `by` is a write of a life that sorts after the closed one. Says whether anything changed.
    pub fn close(&mut self, last: Dot, by: Dot) -> bool {
        if by.replica <= last.replica || self.seq(last.replica) != last.seq || last.seq == 0 {
            return false;
        }
        self.open.remove(&last.replica);
        self.closed.extend([(last.replica, Closing { last: last.seq, by })])
    }

    /// Becomes the least vector that includes both.
    pub fn join(&mut self, other: &Self) {
        other.open().for_each(|dot| self.raise(dot));
        if self.closed == other.closed {
            return;
        }
        let mut closed = Vec::new();
        for (life, closing) in other.closed.iter() {
            match self.open.get(&life) {
                Some(&seq) if seq > closing.last => {}
                Some(_) => {
                    self.open.remove(&life);
                    closed.push((life, closing));
                }
                None => closed.push((life, closing)),
            }
        }
        self.closed.extend(closed);
        if self.closed == other.closed {
            // From now on one table is shared.
            self.closed = other.closed.clone();
        }
    }

    /// The entries, each as the last dot it covers: the open ones in order of replica id, then the closed ones.
    pub fn dots(&self) -> impl Iterator<Item = Dot> + '_ {
        let closed = self.closed.iter().map(|(replica, closing)| Dot { replica, seq: closing.last });
        self.open().chain(closed)
    }

    /// The entries of this vector that `older` does not cover, the open ones first.
    pub fn since<'a>(&'a self, older: &'a Self) -> impl Iterator<Item = Dot> + 'a {
        let same_table = self.closed == older.closed;
        let of = if same_table { self.open.len() } else { self.len() };
        self.dots().take(of).filter(|&dot| !older.covers(dot))
    }

    /// The open entries.
    pub fn open(&self) -> impl Iterator<Item = Dot> + '_ {
        self.open.iter().map(|(&replica, &seq)| Dot { replica, seq })
    }

    /// The table of closed lives.
    pub fn closed(&self) -> &Closed {
        &self.closed
    }

    /// The open entries alone: all that dependencies, a HELLO or a question need to name. For a reader who knows who closed
    /// what they stand for the rest ([`resolve`](Self::resolve)).
    pub fn named(&self) -> Self {
        Self { open: self.open.clone(), closed: Closed::new() }
    }

    /// What a store has applied that names the open entries `named`, as far as it can be told from here: of a life that is
    /// closed here it has all if it has the write that closed it, for that depends on all; else it would name the life, or
    /// has nothing of it. Never more than it has. Less, if lives are closed there that are open here.
    pub fn resolve(&self, named: &Self) -> Self {
        let mut known: BTreeMap<ReplicaId, u64> = named.open.clone();
        // A closing is a write of a life that sorts after the closed one, and may be closed in turn: those come first.
        for (life, Closing { last, by }) in self.closed.iter().rev() {
            if known.get(&by.replica).is_some_and(|&seq| seq >= by.seq) {
                known.entry(life).or_insert(last);
            }
        }
        let is_closed = |life: &ReplicaId| !named.open.contains_key(life) && known.contains_key(life);
        let all = self.closed.iter().all(|(life, _)| is_closed(&life));
        let closed =
            if all { self.closed.clone() } else { self.closed.iter().filter(|(life, _)| is_closed(life)).collect() };
        Self { open: named.open.clone(), closed }
    }

    /// A vector of these entries, and these closed lives.
    pub fn assemble(named: Self, closed: Closed) -> Self {
        let mut whole = named;
        whole.join(&Self { open: BTreeMap::new(), closed });
        whole
    }

    /// How many authors it knows.
    pub fn len(&self) -> usize {
        self.open.len() + self.closed.len()
    }

    /// Whether nothing was applied.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty() && self.closed.is_empty()
    }
}

/// Every entry, open or closed: what is covered. Who means the open ones alone says so ([`Vector::named`]).
impl Serialize for Vector {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.len()))?;
        self.dots().try_for_each(|dot| map.serialize_entry(&dot.replica, &dot.seq))?;
        map.end()
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
mod tests;
