//! How tables find rows: by hash, a row key hashing to its place, which is a keyed hash already, so that the table only
//! spreads it; and in order, with the first bytes of each key beside it, so that a search seldom follows a pointer.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::hash::{BuildHasherDefault, Hasher};

use everett_mesh_proto::rows::RowKey;

/// For tables whose keys are row keys.
pub(super) type Placed = BuildHasherDefault<PlaceHasher>;

/// Spreads a place over the bits that a table looks at.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PlaceHasher(u64);

/// Odd, with bits everywhere: 2^64 divided by the golden ratio (Knuth, The Art of Computer Programming 3, section 6.4).
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

impl Hasher for PlaceHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_u64(u64::from(byte)));
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(SPREAD);
    }
}

/// A row key in an ordered table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Ordered {
    head: u128,
    /// The whole key.
    pub(super) key: RowKey,
}

/// What stands for a position in an ordered table: a row key, or bytes that need not be one.
pub(super) trait Ordinal {
    fn head(&self) -> u128;
    fn bytes(&self) -> &[u8];
}

impl Ordered {
    pub(super) fn new(key: RowKey) -> Self {
        Self { head: head_of(key.as_bytes()), key }
    }
}

impl Ord for Ordered {
    fn cmp(&self, other: &Self) -> Ordering {
        self.head.cmp(&other.head).then_with(|| self.key.cmp(&other.key))
    }
}

impl PartialOrd for Ordered {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ordinal for Ordered {
    fn head(&self) -> u128 {
        self.head
    }

    fn bytes(&self) -> &[u8] {
        self.key.as_bytes()
    }
}

impl Ordinal for &[u8] {
    fn head(&self) -> u128 {
        head_of(self)
    }

    fn bytes(&self) -> &[u8] {
        self
    }
}

impl Ord for dyn Ordinal + '_ {
    fn cmp(&self, other: &Self) -> Ordering {
        self.head().cmp(&other.head()).then_with(|| self.bytes().cmp(other.bytes()))
    }
}

impl PartialOrd for dyn Ordinal + '_ {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for dyn Ordinal + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for dyn Ordinal + '_ {}

impl<'a> Borrow<dyn Ordinal + 'a> for Ordered {
    fn borrow(&self) -> &(dyn Ordinal + 'a) {
        self
    }
}

/// The first bytes as a number, filled up with zeros: where two of these differ, the bytes compare as they do.
fn head_of(bytes: &[u8]) -> u128 {
    let mut head = [0; 16];
    let len = bytes.len().min(head.len());
    head[..len].copy_from_slice(&bytes[..len]);
    u128::from_be_bytes(head)
}

#[cfg(test)]
mod tests {
    use everett_mesh_proto::id::Space;
    use everett_mesh_proto::rows::Kind;

    use super::*;

    #[test]
    fn ordered_keys_compare_as_their_bytes_do() {
        let spaces = [Space::numbered(0), Space::numbered(12), Space::new("a-rather-long-namespace").unwrap()];
        let mut keys = Vec::new();
        for space in &spaces {
            for place in [0, 1, u64::MAX] {
                for key in [&b""[..], b"a", b"a\0", b"b"] {
                    keys.extend(Kind::ALL.map(|kind| Ordered::new(RowKey::new(space, place, key, kind))));
                }
            }
        }
        for a in &keys {
            for b in &keys {
                let by_bytes = a.key.as_bytes().cmp(b.key.as_bytes());
                assert_eq!(a.cmp(b), by_bytes, "{a:?} and {b:?}");
                for len in [0, 1, 9, 15, 16, 17] {
                    let start = &b.key.as_bytes()[..len.min(b.key.as_bytes().len())];
                    let (a, dynamic): (&dyn Ordinal, &dyn Ordinal) = (a, &start);
                    assert_eq!(a.cmp(dynamic), a.bytes().cmp(start));
                }
            }
        }
    }
}
