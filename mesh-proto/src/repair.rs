//! `Repair` finds and mends differences between two agents' content of a namespace.
//!
//! A session belongs to two agents and works on two pinned snapshots, one on each side, for its whole length. The sides
//! take turns. A turn carries what the sender's tree holds at paths that differ, rows that the other side lacks, and the
//! places whose rows the sender lacks; whoever gets a turn compares, and answers with its own. When neither has anything
//! left, each side holds a complete stage: the peer's row, or its explicit absence, for every row that differs. What is
//! adopted of it, and when, is the replica's ([`Outcome::complete`] makes the adoption).
//!
//! There are no tombstones: an element on one side only is *new* where its dots lie outside the other's vector, and *was
//! removed* where they lie inside, so the vectors, exchanged first, decide the direction and nothing stale travels.
//!
//! Invariants: every message is computed from the pins; nothing is adopted from a session that did not end well; bytes,
//! rows and turns are bounded, and a peer that breaks a bound ends the session, nothing else; what sketches found counts only
//! once the hash of all the rest has been compared. First PinSketch by buckets, which needs a round trip or two; then, if that
//! does not come out, range-based set reconciliation (Meyer, SRDS 2023) over a fixed trie: it costs a round trip per level,
//! and always works.

mod beacon;
mod cells;
mod compare;
mod glance;
mod kept;
mod leave;
mod look;
mod message;
mod session;
mod stage;

use std::time::Duration;

use crate::id::Space;
use crate::rows::{Row, RowKey};
use crate::summary::Content;
use crate::vector::Vector;

pub use beacon::{Beacons, Relation, SpaceSummary, Summary, compare};
pub use cells::Cells;
pub use look::{Buckets, Glance, Look, Named};
pub use message::{Answer, Half, Kept, Listed, Message, Open, Sight, Turn, Want};
pub use session::Session;

/// What a session may cost at most.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Bytes of rows that a turn carries before it is closed.
    pub turn_bytes: usize,
    /// Turns with nothing but rows in them that a side may take one after the other, before it hears from the other side.
    pub turns_in_flight: u32,
    /// Paths that a turn carries before it is closed, some 260 bytes each; and as many times sixteen places.
    pub turn_entries: usize,
    /// Power sums in the initiator's first word: 32 go with an estimator, fewer are for few differences, none make it a
    /// descent.
    pub glance_sums: usize,
    /// Power sums that are decoded at a stretch; see [`Session::work`].
    pub stretch_sums: usize,
    /// Bytes of the peer's rows that are kept until adoption.
    pub stage_bytes: usize,
    /// From the first message to the last.
    pub duration: Duration,
    /// Without a word from the peer.
    pub silence: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            turn_bytes: 1 << 20,
            turns_in_flight: 16,
            turn_entries: 512,
            glance_sums: 32,
            stretch_sums: 1 << 10,
            stage_bytes: 1 << 30,
            duration: Duration::from_mins(30),
            silence: Duration::from_secs(30),
        }
    }
}

impl Limits {
    /// For a session that is expected to find next to nothing.
    pub fn tiny() -> Self {
        Self { glance_sums: 16, ..Self::default() }
    }

    /// For a session that is expected to find equal content, or one that descends in any case.
    pub fn blind() -> Self {
        Self { glance_sums: 0, ..Self::default() }
    }
}

/// What a session brought to this side.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// The namespace.
    pub space: Space,
    /// W: the vector stored in the peer's pin.
    pub vector: Vector,
    /// The peer's row, or its explicit absence, for every row that differs between the pins.
    pub stage: Vec<(RowKey, Option<Row>)>,
    /// Keys that differ although the vectors are equal: divergence, to be alarmed. At most [`DIVERGED_MAX`].
    pub diverged: Vec<RowKey>,
    /// What it cost.
    pub cost: Cost,
}

/// How many diverged keys are named.
pub const DIVERGED_MAX: usize = 64;

/// What a session cost this side.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Cost {
    /// Turns taken by either side.
    pub turns: u64,
    /// Rows sent.
    pub rows_sent: u64,
    /// Rows received.
    pub rows_received: u64,
    /// Rows of the peer that held nothing new here, and did not travel.
    pub rows_kept: u64,
}

/// Why a session came to nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Failure {
    /// The peer sent what no honest peer sends in this place.
    #[error("the peer broke the session's protocol")]
    Broke,
    /// The peer's rows are more than may be kept.
    #[error("the stage outgrew its bound")]
    TooLarge,
    /// Nothing was heard for too long, or it took too long.
    #[error("the session timed out")]
    TimedOut,
}

/// What a session wants done.
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(clippy::large_enum_variant, reason = "a message is encoded at once, and nearly every output is one")]
pub enum Output {
    /// Send this to the peer.
    Send(Message),
    /// It has ended well.
    Done(Box<Outcome>),
    /// It has ended otherwise; nothing is to be adopted.
    Failed(Failure),
}

/// One settled snapshot, pinned for a session: rows, tree and vector of one commit.
pub trait Pin: Content {
    /// The vector of `space`.
    fn vector(&self, space: &Space) -> Result<Vector, Self::Error>;

    /// One row.
    fn row(&self, key: &RowKey) -> Result<Option<Row>, Self::Error>;
}

#[cfg(test)]
mod tests;
