//! Rows: the unit of storage, of digests and of repair, and the one trait through which the machines see them.
//!
//! A row's key is `namespace | place(key) | key | kind | place(sub) | sub`, encoded so that byte order is place order:
//! the keyspace is ordered by a keyed hash, which makes ranges uniform and hash flooding useless. A row's value is the
//! state of one replicated type. Rows are owned by the shell's store (or by a map in tests); the machines only read them
//! and put new values, and every value has a [`Position`]: the local commit that it reflects.

mod key;

use std::borrow::Cow;
use std::fmt;
use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use crate::crdt::{Register, Scalar};
use crate::id::{Dot, Space};
use crate::log::Commit;
use crate::vector::Vector;

pub use key::{BadRowKey, RowKey};

/// Computes `place(x)`: a 64-bit hash under the cluster's secret.
#[derive(Clone)]
pub struct Placer([u8; 32]);

impl Placer {
    /// A placer under the cluster's secret (the place key, which never rotates).
    pub fn new(place_key: &[u8; 32]) -> Self {
        Self(*place_key)
    }

    /// The place of `x`.
    pub fn place(&self, x: &[u8]) -> u64 {
        let hash = blake3::keyed_hash(&self.0, x);
        u64::from_be_bytes(*hash.as_bytes().first_chunk().expect("32 bytes begin with 8"))
    }

    /// The digest of `bytes` under the same secret.
    pub fn digest(&self, bytes: &[u8]) -> [u8; 32] {
        *blake3::keyed_hash(&self.0, bytes).as_bytes()
    }

    /// A keyed hasher for digests of what is not at hand as one run of bytes.
    pub fn hasher(&self) -> blake3::Hasher {
        blake3::Hasher::new_keyed(&self.0)
    }
}

impl fmt::Debug for Placer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Placer(secret)")
    }
}

/// What kind of state a row holds. The numbers are stored; a number once used keeps its meaning.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[repr(u8)]
pub enum Kind {
    /// A key's expiry register.
    Expiry = 0,
    /// A string or counter.
    Scalar = 1,
}

impl Kind {
    /// Every kind that a key may have rows of.
    pub const ALL: [Self; 2] = [Self::Expiry, Self::Scalar];

    fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|&kind| kind as u8 == byte)
    }
}

/// The state of one row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Row {
    /// See [`Kind::Expiry`].
    Expiry(Register),
    /// See [`Kind::Scalar`].
    Scalar(Scalar),
}

impl Row {
    /// The row of `kind` that holds nothing: what an absent row reads as.
    pub fn empty(kind: Kind) -> Self {
        match kind {
            Kind::Expiry => Self::Expiry(Register::default()),
            Kind::Scalar => Self::Scalar(Scalar::default()),
        }
    }

    /// The kind of state.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Expiry(_) => Kind::Expiry,
            Self::Scalar(_) => Kind::Scalar,
        }
    }

    /// Whether it holds nothing, so that it need not be stored.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Expiry(register) => register.is_empty(),
            Self::Scalar(scalar) => scalar.is_empty(),
        }
    }

    /// The dots of all that it holds. Whenever the content changes, so do these.
    pub fn dots(&self) -> Vec<Dot> {
        match self {
            Self::Expiry(register) => register.dots(),
            Self::Scalar(scalar) => scalar.dots(),
        }
    }

    /// The dots whose absence under a vector that covers them means that a part was removed.
    pub fn parts(&self) -> Vec<Dot> {
        match self {
            Self::Expiry(register) => register.dots(),
            Self::Scalar(scalar) => scalar.parts(),
        }
    }

    /// Only these parts of it.
    pub fn restricted(&self, parts: &[Dot]) -> Self {
        match self {
            Self::Expiry(register) => Self::Expiry(register.restricted(parts)),
            Self::Scalar(scalar) => Self::Scalar(scalar.restricted(parts)),
        }
    }

    /// The join of two states of one row, each under its store's vector.
    ///
    /// Rows of different kinds are different rows; joining them is a bug of the caller.
    pub fn join(mine: (&Self, &Vector), theirs: (&Self, &Vector)) -> Self {
        match (mine.0, theirs.0) {
            (Self::Expiry(a), Self::Expiry(b)) => Self::Expiry(Register::join((a, mine.1), (b, theirs.1))),
            (Self::Scalar(a), Self::Scalar(b)) => Self::Scalar(Scalar::join((a, mine.1), (b, theirs.1))),
            (Self::Expiry(_), Self::Scalar(_)) | (Self::Scalar(_), Self::Expiry(_)) => {
                unreachable!("a row key names one kind, and both states are stored under it")
            }
        }
    }

    /// Removes what a cut under `context` removes: every dotted part that it covers. Counter entries are reset by name
    /// in the op that cuts, not here.
    pub fn cut(&mut self, context: &Vector) {
        match self {
            Self::Expiry(register) => register.cut(context),
            Self::Scalar(scalar) => scalar.cut(context),
        }
    }
}

/// Which local commit, and which change inside it, a row's value reflects. Changes at or before it are already in it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Position {
    /// The commit.
    pub commit: Commit,
    /// The change's index in the commit's group.
    pub index: u32,
}

impl Position {
    /// After everything that `commit` holds.
    pub const fn end_of(commit: Commit) -> Self {
        Self { commit, index: u32::MAX }
    }
}

/// A row as it was found.
#[derive(Clone, Debug)]
pub struct Found<'a> {
    /// The value; `None` if there is no such row.
    pub row: Option<Cow<'a, Row>>,
    /// What the value (or the absence) reflects.
    pub at: Position,
}

/// One removal of everything in a range of a namespace that a context covers: what FLUSHDB leaves behind in a store
/// until a flush has carried it out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cut {
    /// The namespace.
    pub space: Space,
    /// Removed is what this vector covers.
    pub context: Vector,
}

/// Where rows live, as the machines see it.
pub trait Rows {
    /// Why a read failed; `Infallible` for stores in memory.
    type Error;

    /// The row under `key`, with every later cut applied to it.
    fn row(&self, key: &RowKey) -> Result<Found<'_>, Self::Error>;

    /// The rows of a key whose value lies under `scalar`: its expiry register, which most keys do not have, and its value.
    fn pair(&self, scalar: &RowKey) -> Result<[Found<'_>; 2], Self::Error> {
        Ok([self.row(&scalar.with_kind(Kind::Expiry))?, self.row(scalar)?])
    }

    /// Visits the non-empty rows of `space` from `place` on, in order, each with every later cut applied.
    fn range(
        &self,
        space: &Space,
        place: u64,
        visit: &mut dyn FnMut(&RowKey, &Row) -> ControlFlow<()>,
    ) -> Result<(), Self::Error>;

    /// Replaces the row under `key`; an empty row is no row. In memory, so it cannot fail.
    fn put(&mut self, key: RowKey, row: Row, at: Position);

    /// Adds a cut: rows whose position is earlier are read through it from now on.
    fn cut(&mut self, cut: Cut, at: Position);
}
