//! Ops: what changes, as it is logged and as it travels.
//!
//! A *group* is the unit of everything: one commit, one log record, one message, applied whole or not at all. Its ops
//! have consecutive dots and stamps. Its dependencies are a delta against the same author's previous group: a vector is
//! causally closed (whoever covers a dot covers what that dot depended on), so covering the predecessor, which density
//! demands anyway, covers all that was said before. That makes a group the same bytes for every peer and for the log.

use bytes::Bytes;

use crate::clock::Stamp;
use crate::crdt::{DeadlineMs, Seen};
use crate::id::{Dot, ReplicaId, Space};
use crate::vector::Vector;

/// The ops of one commit of one author.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Group {
    /// The namespace; a group spans one.
    pub space: Space,
    /// The life that wrote it.
    pub author: ReplicaId,
    /// The seq of its first op.
    pub first: u64,
    /// The stamp of its first op.
    pub stamp: Stamp,
    /// What the author had applied of others since its previous group, as raised vector entries.
    pub deps: Vec<Dot>,
    /// The ops; never empty.
    pub ops: Vec<Op>,
}

impl Group {
    /// The dot of the op at `index`.
    pub fn dot(&self, index: usize) -> Dot {
        Dot { replica: self.author, seq: self.first.saturating_add(index as u64) }
    }

    /// The stamp of the op at `index`.
    pub fn stamp_of(&self, index: usize) -> Stamp {
        self.stamp.plus(index as u64)
    }

    /// The last dot of the group.
    pub fn last(&self) -> Dot {
        self.dot(self.ops.len().saturating_sub(1))
    }

    /// Whether a store with `vector` may apply it now: the predecessor and all dependencies are covered.
    pub fn is_ready(&self, vector: &Vector) -> bool {
        vector.seq(self.author) >= self.first.saturating_sub(1) && self.deps.iter().all(|&dep| vector.covers(dep))
    }
}

/// One write to one key, to a whole namespace, or to its vector.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Op {
    /// A change of one row of `key`.
    Key {
        /// The client's key.
        key: Bytes,
        /// What happens to it.
        effect: Effect,
    },
    /// Everything that `context` covers is removed from the namespace.
    Cut {
        /// The author's vector when it cut, its own earlier writes included.
        context: Vector,
        /// The live counter entries that it saw, by key.
        resets: Vec<(Bytes, Vec<Seen>)>,
    },
    /// A life is over: see [`Vector::close`].
    Close {
        /// Its last write.
        last: Dot,
    },
}

/// What an op takes in a group beside its key and value, and what each thing takes that it names, about.
const NAMED_BYTES: usize = 64;

impl Op {
    /// About what it takes in a group.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Key { key, effect } => NAMED_BYTES + key.len() + effect.bytes(),
            Self::Cut { context, resets } => {
                let resets: usize = resets.iter().map(|(key, seen)| key.len() + NAMED_BYTES * (1 + seen.len())).sum();
                NAMED_BYTES * (1 + context.len()) + resets
            }
            Self::Close { .. } => NAMED_BYTES,
        }
    }
}

impl Effect {
    fn bytes(&self) -> usize {
        let named = |seen: &Observed| NAMED_BYTES * (seen.siblings.len() + seen.entries.len());
        match self {
            Self::Set { seen, value, .. } => named(seen) + value.len(),
            Self::Reset { seen } => named(seen),
            Self::Expire { removed, .. } | Self::Unexpire { removed } => NAMED_BYTES * removed.len(),
            Self::Raise { .. } | Self::Drop { .. } => 0,
        }
    }
}

/// A change of one row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Observed-reset, then one new sibling (SET and its kin).
    Set {
        /// What the writer saw.
        seen: Observed,
        /// The new value.
        value: Bytes,
        /// Its deadline.
        deadline_ms: DeadlineMs,
    },
    /// Observed-reset alone (DEL, expiry).
    Reset {
        /// What the writer saw.
        seen: Observed,
    },
    /// The author's own counter entry now stands at these sums.
    Raise {
        /// The entry's generation.
        generation: u64,
        /// Sum of all increments.
        up: u128,
        /// Sum of all decrements.
        down: u128,
        /// The deadline that the author saw.
        deadline_ms: DeadlineMs,
    },
    /// A dead counter entry goes.
    Drop {
        /// Owner and generation.
        presence: Dot,
    },
    /// The key's deadline is now this one.
    Expire {
        /// The deadlines that the writer saw.
        removed: Vec<Dot>,
        /// The new one.
        deadline_ms: DeadlineMs,
    },
    /// The key has no deadline of its own any more.
    Unexpire {
        /// The deadlines that the writer saw.
        removed: Vec<Dot>,
    },
}

/// What a resetting writer saw of a string or counter.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Observed {
    /// Siblings, by dot.
    pub siblings: Vec<Dot>,
    /// Live counter entries.
    pub entries: Vec<Seen>,
}

impl Observed {
    /// Whether it saw nothing.
    pub fn is_empty(&self) -> bool {
        self.siblings.is_empty() && self.entries.is_empty()
    }
}
