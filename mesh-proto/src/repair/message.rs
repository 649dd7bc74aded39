//! What the two sides of a session say.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::look::{Glance, Look};
use crate::id::{Dot, Space};
use crate::rows::RowKey;
use crate::summary::{Hash, Path};
use crate::vector::{Brief, Closed};

/// A message of a session. The initiator opens, the responder answers, then they take turns, the initiator first.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Message {
    /// What the initiator's pin holds.
    Open(Open),
    /// What the responder's pin holds.
    Answer(Answer),
    /// One turn.
    Turn(Turn),
    /// The whole table of closed lives in the pin: said by both before the answer if their hashes differ, the responder first.
    Closed(Closed),
}

/// The first word.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Open {
    /// The namespace.
    pub space: Space,
    /// The vector stored in the pin.
    pub vector: Brief,
    /// The root of the pin's tree.
    pub root: Hash,
    /// How many places are taken.
    pub count: u64,
    /// What the responder can find differences by.
    pub glance: Glance,
}

/// The responder's first word.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Answer {
    /// The vector stored in the pin.
    pub vector: Brief,
    /// Whether the root of the pin's tree is the initiator's, too.
    pub is_equal: bool,
    /// How many places are taken.
    pub count: u64,
    /// The responder's first turn; an empty one if the roots are equal.
    pub turn: Turn,
}

/// Half a hash: enough to tell what differs inside a session, which whole roots begin and the next session's end.
pub type Half = [u8; 16];

/// What one side holds at a path.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Sight {
    /// Much: the hash of what lies in each child, zero where nothing does.
    Inner(Vec<Half>),
    /// Everything there, which may be nothing.
    Elements(Vec<Listed>),
}

/// An element in the list of a path.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Listed {
    /// Its place, counted from the first of the path.
    pub offset: u64,
    /// Its digest.
    pub digest: Half,
}

/// One turn. One that asks nothing says: nothing left on this side.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Turn {
    /// What is said at a glance.
    pub looks: Vec<Look>,
    /// What the sender holds at paths where the two differ.
    pub sights: Vec<(Path, Sight)>,
    /// Rows of the sender, in their canonical bytes.
    pub rows: Vec<(RowKey, Bytes)>,
    /// Rows of the sender that tell the receiver nothing but what of its own is still there.
    pub kept: Vec<Kept>,
    /// Places that both hold or the receiver wanted: what the sender has to say of them is in `rows` and `kept` of this turn.
    pub told: Vec<u64>,
    /// How many more of the cells that the receiver awaits rows of, in order, are told all of.
    pub cells_told: u32,
    /// Places whose rows the sender wants.
    pub wanted: Vec<Want>,
    /// Whether the sender has not said all yet. A turn can be empty and have more to come: what was looked at in it turned
    /// out to need no words.
    pub more: bool,
    /// Whether the next turn is the sender's again: it has nothing but rows to send, and is not to wait for a word between
    /// them.
    pub follows: bool,
}

/// A row of which the receiver has applied every write: what of its own the sender still holds, instead of the row. Nothing
/// would not do: what is missing here was removed there.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Kept {
    /// Its key.
    pub key: RowKey,
    /// The parts that the sender holds.
    pub parts: Vec<Dot>,
    /// The leading bytes of the hash of all its dots, and of that of its bytes: the same dots with other bytes are divergence.
    pub marks: [[u8; 4]; 2],
}

/// A place whose rows are wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Want {
    /// The place.
    pub place: u64,
    /// Whether the one who wants holds rows there too.
    pub both: bool,
}

impl Turn {
    /// Whether it is to be answered, if only by saying that nothing is left.
    pub fn asks(&self) -> bool {
        self.more || !self.has_only_rows()
    }

    /// Whether there is nothing in it that wants an answer before more is said.
    pub fn has_only_rows(&self) -> bool {
        self.looks.is_empty() && self.sights.is_empty() && self.wanted.is_empty()
    }
}

#[cfg(test)]
mod tests;
