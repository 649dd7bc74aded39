//! Hash tables of rows: a row key hashes to its place, which is a keyed hash already, so the table only spreads it.

use std::hash::{BuildHasherDefault, Hasher};

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
