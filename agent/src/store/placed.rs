//! How tables find rows: by hash, a row key hashing to its place, which is a keyed hash already, so that the table only
//! spreads it; and in order, by the first bytes of each key, so that a search seldom follows a pointer.

use std::hash::{BuildHasher, BuildHasherDefault, Hasher};

use everett_mesh_proto::rows::{Kind, RowKey};

/// For tables whose keys are row keys.
pub(super) type Placed = BuildHasherDefault<PlaceHasher>;

/// Spreads a place over the bits that a table looks at.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PlaceHasher(u64);

/// A slot as an index has it, with bits of its key's hash, so that a growing index looks at no slot.
#[derive(Clone, Copy, Debug)]
pub(super) struct Handle {
    pub(super) tag: u32,
    pub(super) slot: u32,
}

impl Handle {
    /// Spreads a tag over the bits that an index looks at.
    pub(super) fn hash_of(tag: u32) -> u64 {
        u64::from(tag).wrapping_mul(SPREAD)
    }

    /// What it is found by.
    pub(super) fn hash(self) -> u64 {
        Self::hash_of(self.tag)
    }
}

/// Bits of a key's hash that tell it from others.
pub(super) fn tag_of(key: &RowKey) -> u32 {
    tag_in(Placed::default().hash_one(key))
}

/// The same of the key at a place, for kinds of one row per key.
pub(super) fn tag_at(place: u64, kind: Kind) -> u32 {
    let mut hasher = PlaceHasher::default();
    RowKey::hash_at(place, kind, &mut hasher);
    tag_in(hasher.finish())
}

fn tag_in(hash: u64) -> u32 {
    let [a, b, c, d, ..] = hash.to_be_bytes();
    u32::from_be_bytes([a, b, c, d])
}

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

/// The first bytes as a number, filled up with zeros: where two of these differ, the bytes compare as they do.
pub(super) fn head_of(bytes: &[u8]) -> u128 {
    let mut head = [0; 16];
    let len = bytes.len().min(head.len());
    head[..len].copy_from_slice(&bytes[..len]);
    u128::from_be_bytes(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_compare_as_the_bytes_do_where_they_differ() {
        let texts = [&b""[..], b"\0", b"a", b"a\0", b"a\0b", b"sixteen bytes is", b"sixteen bytes is more", b"\xff"];
        for a in texts {
            for b in texts {
                let by_head = head_of(a).cmp(&head_of(b));
                assert!(by_head.is_eq() || by_head == a.cmp(b), "{a:?} and {b:?}");
            }
        }
    }
}
