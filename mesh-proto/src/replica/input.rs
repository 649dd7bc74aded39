//! What goes into a replica and what comes out.

use std::time::Duration;

use bytes::Bytes;

use super::{Adoption, Group};
use crate::clock::Stamp;
use crate::crdt::DeadlineMs;
use crate::id::{Dot, NodeId, ReplicaId, Space};

/// One thing that happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Input {
    /// A client of this host wants these changes: one commit, one group, whole or not at all everywhere.
    Local {
        /// The namespace.
        space: Space,
        /// In order; each sees what those before it did.
        edits: Vec<Edit>,
    },
    /// A peer sent a group, pushed or pulled.
    Remote {
        /// The peer, which is not necessarily the author.
        from: NodeId,
        /// The payload as its author encoded it.
        payload: Bytes,
    },
    /// These lives of this node are over, and everybody who is here holds what they wrote: those whose last write here this is
    /// are closed, in one commit.
    Close {
        /// The namespace.
        space: Space,
        /// The last write of each.
        lives: Vec<Dot>,
    },
    /// A repair session has brought all that it set out to bring.
    Adopt {
        /// The session's other side.
        from: NodeId,
        /// What it brought.
        adoption: Adoption,
    },
}

/// A change that a client wants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Edit {
    /// The key holds this value.
    Set {
        /// The client's key.
        key: Bytes,
        /// The value.
        value: Bytes,
        /// What becomes of the key's deadline.
        expiry: Expiry,
    },
    /// The key is gone.
    Delete {
        /// The client's key.
        key: Bytes,
    },
    /// The key's number grows by this much.
    Add {
        /// The client's key.
        key: Bytes,
        /// May be negative.
        by: i64,
    },
    /// The key, if it is visible, has this deadline.
    Expire {
        /// The client's key.
        key: Bytes,
        /// Absolute; [`NEVER_MS`](crate::crdt::NEVER_MS) persists it.
        deadline_ms: DeadlineMs,
    },
    /// These parts of the key are gone, as far as they are here; whatever else it holds stays.
    Withdraw {
        /// The client's key.
        key: Bytes,
        /// Dots of siblings, presence dots of counter entries: as [`Replica::parts`](super::Replica::parts) names them.
        parts: Vec<Dot>,
    },
    /// Every key of the namespace is gone.
    Flush,
}

/// The most that the edits of one input may weigh: their group has to fit a frame, or it could never leave.
pub const EDITS_BYTES_MAX: usize = 12 << 20;

/// What an op takes beside its key and value, about.
const OP_BYTES: usize = 64;

impl Edit {
    /// The key that it changes; `None` if it changes all.
    pub fn key(&self) -> Option<&Bytes> {
        match self {
            Self::Set { key, .. }
            | Self::Delete { key }
            | Self::Add { key, .. }
            | Self::Expire { key, .. }
            | Self::Withdraw { key, .. } => Some(key),
            Self::Flush => None,
        }
    }

    /// About what it takes in a group.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Set { key, value, .. } => OP_BYTES + key.len() + value.len(),
            Self::Delete { key } | Self::Add { key, .. } | Self::Expire { key, .. } => OP_BYTES + key.len(),
            Self::Withdraw { key, parts } => OP_BYTES * (1 + parts.len()) + key.len(),
            // Cut into groups that fit by itself.
            Self::Flush => 0,
        }
    }
}

/// What a SET does to its key's deadline.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expiry {
    /// There is none afterwards.
    Clear,
    /// It stays as it is.
    Keep,
    /// It is this one.
    At(DeadlineMs),
}

/// What one commit is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Payload {
    /// A group, own or remote.
    Group(Group),
    /// What a repair session brought.
    Adoption(Adoption),
    /// The clock may use stamps up to here.
    Clock {
        /// The new high-water mark.
        mark_ms: u64,
    },
}

/// What may be said once a commit is durable.
pub type Outputs = Vec<Output>;

/// One thing to say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    /// A group of our own, for every peer.
    Push {
        /// The bytes of its log record.
        payload: Bytes,
    },
    /// The own durable vector has reached this dot: to acknowledge.
    Applied {
        /// The namespace.
        space: Space,
        /// The entry raised.
        dot: Dot,
    },
    /// In the own durable vector a life is closed.
    Closed {
        /// The namespace.
        space: Space,
        /// The life's last write.
        last: Dot,
        /// The write that closed it.
        by: Dot,
    },
}

/// One thing to ask or tell at once; it reveals no write.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Signal {
    /// Ask this peer for what our vector lacks: it sent a group whose dependencies are missing here.
    Pull {
        /// The peer.
        to: NodeId,
        /// The namespace.
        space: Space,
    },
    /// A remote group has become visible.
    Visible {
        /// When it was written.
        stamp: Stamp,
        /// How long it waited here for what it depends on, if it had to.
        waited: Option<Duration>,
    },
    /// A peer sent bytes that are no group: it broke the protocol.
    Broke {
        /// The peer.
        from: NodeId,
    },
    /// Something that an operator should know.
    Alarm(Alarm),
}

/// Something that an operator should know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Alarm {
    /// Stamps of this author lie further ahead of our physical clock than allowed.
    Skew {
        /// The author.
        author: ReplicaId,
        /// How far.
        ahead: Duration,
    },
    /// A peer holds more of my living id than I do: this machine was rolled back with its memory.
    Fork {
        /// The peer.
        from: NodeId,
        /// The first dot that I never wrote.
        dot: Dot,
    },
    /// A closed life had written more: a disk was put back that nobody had heard all of. It counts, and the life is open again.
    Reopened {
        /// The namespace.
        space: Space,
        /// The last of what came.
        dot: Dot,
    },
    /// Two states of one row have the same dots and different bytes.
    Divergence {
        /// The namespace.
        space: Space,
        /// The client's key.
        key: Bytes,
    },
}

/// Why a replica wants to be woken.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Timer {
    /// A group has waited long enough for its dependencies.
    Pull,
    /// Own dead counter entries are to be dropped.
    DropDead,
}

impl Input {
    /// A short name for logs and histograms.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Local { .. } => "local",
            Self::Remote { .. } => "remote",
            Self::Close { .. } => "close",
            Self::Adopt { .. } => "adopt",
        }
    }
}
