//! What push hears, what it wants done, and the readings of the log between the two.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::id::{Dot, NodeId, ReplicaId, Space};
use crate::log::Commit;
use crate::vector::Vector;

/// Vectors by namespace.
pub type Vectors = BTreeMap<Space, Vector>;

/// Whose ops a reading of the log sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Whose {
    /// Those written by this node, in any of its lives.
    Own,
    /// Everybody's.
    All,
}

/// A piece of the log that the shell is to read for a peer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reading {
    /// For whom.
    pub peer: NodeId,
    /// Ties the answer to the question: an answer to an older question is void.
    pub ticket: u64,
    /// Only commits after this one.
    pub after: Commit,
    /// Only ops that these do not cover.
    pub has: Vectors,
    /// Only these authors' ops.
    pub whose: Whose,
}

/// What a reading found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Piece {
    /// For whom.
    pub peer: NodeId,
    /// The question's ticket.
    pub ticket: u64,
    /// The groups, as their records hold them, in the order of commits.
    pub groups: Vec<Bytes>,
    /// Everything up to this commit was looked at.
    pub upto: Commit,
    /// Namespaces in which the log does not reach down to what the peer has.
    pub below: Vec<Space>,
}

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Input {
    /// A link is up; the peer said what it has applied.
    Up {
        /// Who.
        peer: NodeId,
        /// Its living replica id.
        life: ReplicaId,
        /// What it has.
        has: Vectors,
    },
    /// The link is gone.
    Down {
        /// Whose.
        peer: NodeId,
    },
    /// The peer did not keep up; what was queued for it is dropped.
    Behind {
        /// Who.
        peer: NodeId,
    },
    /// A peer that is behind, or that was [awaited](Output::Await), has taken all that was sent to it.
    Drained {
        /// Who.
        peer: NodeId,
    },
    /// The peer holds this durably.
    Acked {
        /// Who.
        peer: NodeId,
        /// The namespace.
        space: Space,
        /// At least these entries.
        vector: Vector,
    },
    /// The peer told what it has, without asking.
    Has {
        /// Who.
        peer: NodeId,
        /// The namespace.
        space: Space,
        /// What it has applied.
        vector: Vector,
    },
    /// The peer asks for whatever is here beyond what it has.
    Asked {
        /// Who.
        peer: NodeId,
        /// The namespace.
        space: Space,
        /// What it has applied.
        vector: Vector,
    },
    /// Commits up to here are durable; these own groups are among them, and these entries were applied of others.
    Durable {
        /// The last durable commit.
        upto: Commit,
        /// Own groups, by commit.
        pushes: Vec<(Commit, Bytes)>,
        /// Entries by which the durable vector rose.
        applied: Vec<(Space, Dot)>,
    },
    /// The shell has read a piece of the log.
    Read(Piece),
}

/// What is to be done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    /// Send these groups to every live peer.
    Broadcast {
        /// In order.
        groups: Vec<Bytes>,
    },
    /// Send these groups to one peer.
    Send {
        /// To whom.
        peer: NodeId,
        /// In order.
        groups: Vec<Bytes>,
    },
    /// Tell an author that its writes are durable here.
    Ack {
        /// To whom.
        peer: NodeId,
        /// The namespace.
        space: Space,
        /// The last of them.
        seq: u64,
    },
    /// The peer has caught up: it takes part in broadcasts from the next one on.
    Resume {
        /// Who.
        peer: NodeId,
    },
    /// Say [`Input::Drained`] once the peer has taken what was sent to it so far.
    Await {
        /// Whom.
        peer: NodeId,
    },
    /// Read the log for a peer.
    Read(Reading),
    /// Ask a peer for what it has beyond what is here.
    Ask {
        /// Whom.
        peer: NodeId,
        /// The namespace.
        space: Space,
    },
    /// Tell a peer that the log does not reach down to what it has.
    BelowLog {
        /// Whom.
        peer: NodeId,
        /// The namespace.
        space: Space,
    },
}
