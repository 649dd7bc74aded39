//! What the two sides show each other at a glance: sketches, lists of ids, and the cells that turn out to differ.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::cells::Cells;
use super::message::Half;
use crate::summary::{ESTIMATOR_BYTES, Estimator, Sketch};

/// A few sums over all ids of a pin, and how many differences to expect: enough to find few, and to size what finds many.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Glance {
    /// An estimator of the ids, or nothing.
    pub estimator: Bytes,
    /// The sums of a sketch of them, or nothing.
    pub sums: Bytes,
}

/// Sketches of the ids by the leading bits of their places.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Buckets {
    /// How many leading bits a bucket has.
    pub bits: u8,
    /// Which buckets, in order; none for all of them.
    pub which: Option<Vec<u32>>,
    /// Sums of each.
    pub capacity: u16,
    /// The sums of one bucket after the other.
    pub sums: Bytes,
}

/// Cells in which the two sides differ, as the side that found out says it. Those in which only it holds rows go without
/// saying: the rows that the other side never saw follow.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Named {
    /// Only the other side holds rows there; they are wanted.
    pub yours: Cells,
    /// Both sides hold rows there; each sends its own.
    pub both: Cells,
}

/// One thing said at a glance.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Look {
    /// Nothing that was found so far counts: what follows is a descent from the root.
    Anew,
    /// The first glance had too little in it: here is the answerer's, to be answered in its place.
    Glance(Glance),
    /// Sketches, for the other side to decode.
    Buckets(Buckets),
    /// All ids: their cells, and after them the other half of each.
    List(Cells, Bytes),
    /// Cells that differ.
    Cells(Named),
    /// All cells that differ are named; this is the half hash of the rest.
    Rest(Half),
}

impl Glance {
    /// The sketch; `None` if the bytes are none.
    pub(super) fn sketch(&self) -> Option<Sketch> {
        Sketch::from_sums(words(&self.sums)?)
    }

    /// The estimator, if there is one.
    pub(super) fn estimator(&self) -> Option<Estimator> {
        (self.estimator.len() == ESTIMATOR_BYTES).then(|| Estimator::from_bytes(&self.estimator)).flatten()
    }
}

/// The words of a message's bytes.
pub(super) fn words(bytes: &Bytes) -> Option<Vec<u64>> {
    let (words, rest) = bytes.as_chunks::<8>();
    rest.is_empty().then(|| words.iter().map(|word| u64::from_le_bytes(*word)).collect())
}

/// Words as a message's bytes.
pub(super) fn bytes_of<'a>(words: impl Iterator<Item = &'a u64>) -> Bytes {
    words.flat_map(|word| word.to_le_bytes()).collect()
}
