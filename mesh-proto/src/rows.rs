//! Rows: the unit of storage, of digests and of repair, and the one trait through which the machines see them.
//!
//! A row's key is `namespace | place(key) | key | kind | place(sub) | sub`, encoded so that byte order is place order:
//! the keyspace is ordered by a keyed hash, which makes ranges uniform and hash flooding useless. A row's value is the
//! state of one replicated type. Rows are owned by the shell's store (or by a map in tests); the machines only read them
//! and put new values, and every value has a [`Position`]: the local commit that it reflects.

use std::borrow::{Borrow, Cow};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::ControlFlow;

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use crate::crdt::{Register, Scalar};
use crate::id::{Dot, Space};
use crate::log::Commit;
use crate::vector::Vector;

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

    /// A keyed hasher for digests under the same secret.
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

/// An encoded row key; compares in place order. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "Bytes", into = "Bytes")]
pub struct RowKey(Bytes);

/// The place is a keyed hash already, so a table needs no more of a key than that, told apart by kind: flooding it with
/// chosen keys takes the cluster's secret.
impl Hash for RowKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let place = self.0.get(1 + usize::from(self.0[0])..).and_then(<[u8]>::first_chunk);
        let place = u64::from_be_bytes(*place.expect("a row key holds a place"));
        // The kind stands before a place and an escaped string, both empty where a key has one row of the kind.
        let kind = self.0.len().checked_sub(SUB_BYTES + 1).map_or(0, |index| self.0[index]);
        state.write_u64(place.wrapping_add(u64::from(kind)));
    }
}

/// What an empty `place(sub) | sub` takes.
const SUB_BYTES: usize = 10;

/// Bytes from outside are no row key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not a row key")]
pub struct BadRowKey;

impl TryFrom<Bytes> for RowKey {
    type Error = BadRowKey;

    fn try_from(bytes: Bytes) -> Result<Self, BadRowKey> {
        Self::from_bytes(bytes).ok_or(BadRowKey)
    }
}

impl From<RowKey> for Bytes {
    fn from(key: RowKey) -> Self {
        key.0
    }
}

impl RowKey {
    /// The key of `key`'s row of `kind`, for kinds of one row per key.
    pub fn new(space: &Space, place: u64, key: &[u8], kind: Kind) -> Self {
        let mut bytes = BytesMut::with_capacity(space.as_str().len() + key.len() + 24);
        put_prefix(&mut bytes, space, place);
        put_escaped(&mut bytes, key);
        bytes.put_u8(kind as u8);
        bytes.put_u64(0);
        put_escaped(&mut bytes, &[]);
        Self(bytes.freeze())
    }

    /// Takes bytes out of a store or a frame; `None` if they are no row key.
    pub fn from_bytes(bytes: Bytes) -> Option<Self> {
        let parts = Parts::parse(&bytes)?;
        let sound = parts.rest.is_empty();
        sound.then_some(Self(bytes))
    }

    /// The least bytes that a row of `space` at `place` or later can have: where a range begins.
    pub fn range_start(space: &Space, place: u64) -> Bytes {
        let mut bytes = BytesMut::with_capacity(space.as_str().len() + 9);
        put_prefix(&mut bytes, space, place);
        bytes.freeze()
    }

    /// The encoded bytes.
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// The namespace.
    pub fn space(&self) -> Space {
        let name = std::str::from_utf8(self.parts().space).ok();
        name.and_then(|name| Space::new(name).ok()).expect("a row key holds a namespace that was checked")
    }

    /// Whether the row lies in `space`.
    pub fn is_in(&self, space: &Space) -> bool {
        self.parts().space == space.as_str().as_bytes()
    }

    /// The key's place.
    pub fn place(&self) -> u64 {
        self.parts().place
    }

    /// The client's key.
    pub fn key(&self) -> Bytes {
        match self.key_bytes() {
            Cow::Borrowed(key) => Bytes::copy_from_slice(key),
            Cow::Owned(key) => key.into(),
        }
    }

    /// The client's key, copied only if it holds a zero byte.
    pub fn key_bytes(&self) -> Cow<'_, [u8]> {
        unescape(self.parts().key)
    }

    /// The kind of state.
    pub fn kind(&self) -> Kind {
        self.parts().kind
    }

    fn parts(&self) -> Parts<'_> {
        Parts::parse(&self.0).expect("a row key was parsed when it was made")
    }
}

impl Borrow<[u8]> for RowKey {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for RowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{:?}", self.space(), self.key().escape_ascii(), self.kind())
    }
}

struct Parts<'a> {
    space: &'a [u8],
    place: u64,
    key: &'a [u8],
    kind: Kind,
    rest: &'a [u8],
}

impl<'a> Parts<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (&len, rest) = bytes.split_first()?;
        let (space, rest) = rest.split_at_checked(usize::from(len))?;
        if !Space::is_name(space) {
            return None;
        }
        let (place, rest) = rest.split_first_chunk::<8>()?;
        let (key, rest) = split_escaped(rest)?;
        let (&kind, rest) = rest.split_first()?;
        let (_sub_place, rest) = rest.split_first_chunk::<8>()?;
        let (_sub, rest) = split_escaped(rest)?;
        Some(Self { space, place: u64::from_be_bytes(*place), key, kind: Kind::from_byte(kind)?, rest })
    }
}

fn put_prefix(bytes: &mut BytesMut, space: &Space, place: u64) {
    let name = space.as_str().as_bytes();
    bytes.put_u8(u8::try_from(name.len()).expect("a namespace has at most 64 bytes"));
    bytes.put_slice(name);
    bytes.put_u64(place);
}

/// 00 becomes 00 FF, the end is 00 00: escaped strings compare as the strings do, and no one is a prefix of another.
fn put_escaped(bytes: &mut BytesMut, x: &[u8]) {
    for run in x.split_inclusive(|&byte| byte == 0) {
        bytes.put_slice(run);
        if run.ends_with(&[0]) {
            bytes.put_u8(0xff);
        }
    }
    bytes.put_slice(&[0, 0]);
}

fn split_escaped(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut from = 0;
    loop {
        let zero = from + bytes.get(from..)?.iter().position(|&byte| byte == 0)?;
        match bytes.get(zero + 1)? {
            0 => return Some((&bytes[..zero], &bytes[zero + 2..])),
            0xff => from = zero + 2,
            _ => return None,
        }
    }
}

fn unescape(bytes: &[u8]) -> Cow<'_, [u8]> {
    if !bytes.contains(&0) {
        return Cow::Borrowed(bytes);
    }
    let mut plain = Vec::with_capacity(bytes.len());
    let mut skip = false;
    for &byte in bytes {
        if !skip {
            plain.push(byte);
        }
        skip = !skip && byte == 0;
    }
    Cow::Owned(plain)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn key(place: u64, key: &[u8], kind: Kind) -> RowKey {
        RowKey::new(&Space::numbered(0), place, key, kind)
    }

    #[test]
    fn row_keys_order_by_place_then_key_then_kind() {
        let ordered = [
            key(1, b"zz", Kind::Scalar),
            key(2, b"", Kind::Scalar),
            key(2, b"a", Kind::Expiry),
            key(2, b"a", Kind::Scalar),
            key(2, b"a\0", Kind::Expiry),
            key(2, b"a\0b", Kind::Expiry),
            key(2, b"a\x01", Kind::Expiry),
            key(u64::MAX, b"a", Kind::Expiry),
        ];
        assert!(ordered.is_sorted());
    }

    #[test]
    fn a_row_key_gives_back_what_it_was_made_of() {
        for plain in [&b""[..], b"\0", b"a\0\0b", b"\xff\0\xff"] {
            let row_key = key(7, plain, Kind::Expiry);
            assert_eq!(row_key.key(), plain);
            assert_eq!((row_key.place(), row_key.kind()), (7, Kind::Expiry));
            assert_eq!(row_key.space(), Space::numbered(0));
            assert_eq!(RowKey::from_bytes(row_key.as_bytes().clone()), Some(row_key));
        }
    }

    #[test]
    fn bytes_that_are_no_row_key_are_refused() {
        let whole = key(7, b"abc", Kind::Scalar);
        for end in 0..whole.as_bytes().len() {
            assert_eq!(RowKey::from_bytes(whole.as_bytes().slice(..end)), None);
        }
        let mut longer = whole.as_bytes().to_vec();
        longer.push(0);
        assert_eq!(RowKey::from_bytes(longer.into()), None);
    }
}
