//! Row keys: `namespace | place(key) | key | kind | place(sub) | sub`, encoded so that byte order is place order.
//!
//! Apart because it is the one encoding that is compared byte by byte, on disk and in memory, and because keys come from
//! outside: bytes become a [`RowKey`] only if they parse.

use std::borrow::{Borrow, Cow};
use std::fmt;
use std::hash::{Hash, Hasher};

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use super::Kind;
use crate::id::Space;

/// An encoded row key; compares in place order. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "Bytes", into = "Bytes")]
pub struct RowKey(Bytes);

/// The place is a keyed hash already, so a table needs no more of a key than that, told apart by kind: flooding it with
/// chosen keys takes the cluster's secret.
impl Hash for RowKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Self::hash_at(self.place(), self.kind(), state);
    }
}

/// What a place takes.
const PLACE_BYTES: usize = 8;

/// What ends an escaped string.
const END_BYTES: usize = 2;

/// What an empty `place(sub) | sub` takes.
const SUB_BYTES: usize = PLACE_BYTES + END_BYTES;

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
        // The exact length, unless a byte is escaped: bytes that fill their buffer are frozen as they lie.
        let len = 1 + space.as_str().len() + PLACE_BYTES + key.len() + END_BYTES + 1 + SUB_BYTES;
        let mut bytes = BytesMut::with_capacity(len);
        put_prefix(&mut bytes, space, place);
        put_escaped(&mut bytes, key);
        bytes.put_u8(kind as u8);
        bytes.put_u64(0);
        put_escaped(&mut bytes, &[]);
        Self(bytes.freeze())
    }

    /// The row of `kind` of the same key, for kinds of one row per key; in the same bytes if nobody else holds them.
    pub fn into_kind(self, kind: Kind) -> Self {
        let kind_at = self.0.len() - SUB_BYTES - 1;
        let mut bytes = self.0.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&*shared));
        bytes[kind_at] = kind as u8;
        Self(bytes.freeze())
    }

    /// The same as [`into_kind`](Self::into_kind), in bytes of its own.
    pub fn with_kind(&self, kind: Kind) -> Self {
        Self(Bytes::copy_from_slice(&self.0)).into_kind(kind)
    }

    /// Takes bytes out of a store or a frame; `None` if they are no row key.
    pub fn from_bytes(bytes: Bytes) -> Option<Self> {
        is_row_key(&bytes).then_some(Self(bytes))
    }

    /// What a row key at `place` with one row of `kind` hashes to.
    pub fn hash_at<H: Hasher>(place: u64, kind: Kind, state: &mut H) {
        state.write_u64(place.wrapping_add(u64::from(kind as u8)));
    }

    /// The least bytes that a row of `space` at `place` or later can have: where a range begins.
    pub fn range_start(space: &Space, place: u64) -> Bytes {
        let mut bytes = BytesMut::with_capacity(space.as_str().len() + 9);
        put_prefix(&mut bytes, space, place);
        bytes.freeze()
    }

    /// The kind of state under a row key's bytes, for kinds of one row per key.
    ///
    /// # Panics
    ///
    /// If they are no row key's.
    pub fn kind_of(bytes: &[u8]) -> Kind {
        let kind = bytes.len().checked_sub(SUB_BYTES + 1).and_then(|index| Kind::from_byte(bytes[index]));
        kind.expect("a row key was parsed when it was made")
    }

    /// The place in a row key's bytes; the first one for bytes that are too short for a key.
    pub fn place_of(bytes: &[u8]) -> u64 {
        let space = bytes.first().map_or(0, |&len| usize::from(len));
        let place = bytes.get(1 + space..).and_then(<[u8]>::first_chunk);
        place.map_or(0, |place| u64::from_be_bytes(*place))
    }

    /// The encoded bytes.
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// The namespace.
    pub fn space(&self) -> Space {
        let name = std::str::from_utf8(&self.0[1..self.place_at()]).ok();
        name.and_then(|name| Space::new(name).ok()).expect("a row key holds a namespace that was checked")
    }

    /// Whether the row lies in `space`.
    pub fn is_in(&self, space: &Space) -> bool {
        let name = space.as_str().as_bytes();
        usize::from(self.0[0]) == name.len() && self.0[1..].starts_with(name)
    }

    /// The key's place.
    pub fn place(&self) -> u64 {
        let place = self.0.get(self.place_at()..).and_then(<[u8]>::first_chunk);
        u64::from_be_bytes(*place.expect("a row key holds a place"))
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
        let (from, upto) = (self.place_at() + PLACE_BYTES, self.0.len() - SUB_BYTES - 1 - END_BYTES);
        unescape(&self.0[from..upto])
    }

    /// The kind of state.
    pub fn kind(&self) -> Kind {
        Self::kind_of(&self.0)
    }

    fn place_at(&self) -> usize {
        1 + usize::from(self.0[0])
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

/// Whether bytes are those of a row key; every kind there is has one row per key.
fn is_row_key(bytes: &[u8]) -> bool {
    let parse = || {
        let (&len, rest) = bytes.split_first()?;
        let (space, rest) = rest.split_at_checked(usize::from(len))?;
        let (_place, rest) = rest.split_first_chunk::<PLACE_BYTES>()?;
        let (_key, rest) = split_escaped(rest)?;
        let (&kind, sub) = rest.split_first()?;
        Kind::from_byte(kind)?;
        Some(Space::is_name(space) && sub == [0; SUB_BYTES])
    };
    parse().unwrap_or(false)
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
            let scalar = key(7, plain, Kind::Scalar);
            assert_eq!(row_key.clone().into_kind(Kind::Scalar), scalar, "also while somebody else holds the bytes");
            assert_eq!(scalar.into_kind(Kind::Expiry), row_key);
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
        // A part of a key that no kind has: whoever reads the kind from the end would find another byte.
        let mut with_part = whole.as_bytes().to_vec();
        with_part.splice(with_part.len() - END_BYTES..with_part.len() - END_BYTES, *b"sub");
        assert_eq!(RowKey::from_bytes(with_part.into()), None);
    }
}
