//! What a stream is for, and what travels on the ops stream.
//!
//! A group of ops is passed on in exactly the bytes that stand in the log, so that it is encoded once, however many peers
//! and disks it goes to.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::bounded;
use crate::id::Space;
use crate::vector::Vector;

/// The most groups in one frame.
pub const GROUPS_MAX: usize = 4096;

/// The first frame of every stream: its purpose.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum StreamKind {
    /// HELLO, WELCOME, READY. One per link, opened by the dialer, in both directions.
    Hello,
    /// Fresh ops, acknowledgements, catch-up. One per direction.
    Ops,
    /// One repair session, in both directions.
    Session,
    /// Membership's tables and records, too large for a datagram. One per direction.
    Membership,
}

/// A message on the ops stream.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum OpsFrame {
    /// Groups in the order in which the sender applied them, each in the bytes of its log record's payload.
    Groups(#[serde(deserialize_with = "bounded::list::<_, _, GROUPS_MAX>")] Vec<Bytes>),
    /// The sender holds the receiver's own writes *durably* in a namespace, at least up to here. It goes with every
    /// write, so the receiver's life, which both know from HELLO, is not named.
    Ack {
        /// The namespace.
        space: Space,
        /// The seq of the last durable write.
        seq: u64,
    },
    /// The sender has *applied* this in a namespace.
    Has {
        /// The namespace.
        space: Space,
        /// The applied vector.
        vector: Vector,
    },
    /// The same, and it asks for whatever the receiver has beyond it.
    Ask {
        /// The namespace.
        space: Space,
        /// The applied vector.
        vector: Vector,
    },
    /// The receiver asked for what lies below the sender's log: only range repair can bring it.
    BelowLog {
        /// The namespace.
        space: Space,
    },
    /// The sender's summary of all its namespaces, encoded.
    Summary(Bytes),
}
