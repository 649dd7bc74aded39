//! Sorted lists of cells (the upper halves of places) in few bits each: Rice-coded gaps.
//!
//! Of n cells spread evenly over 2^32, each takes about 1.5 bits more than log2(2^32 / n). The encoded form is what is kept
//! and sent; a decoder gives no more cells than there are bits for.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// An encoded list of cells.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Cells(Bytes);

impl Cells {
    /// Encodes cells, which are sorted; one may occur again.
    pub(super) fn encode(cells: &[u32]) -> Self {
        let count = u32::try_from(cells.len()).expect("fewer are ever listed");
        if count == 0 {
            return Self::default();
        }
        // A gap is sent as so many low bits after what is above them, in unary.
        let low_bits = (u32::MAX / count).checked_ilog2().unwrap_or(0);
        let first = u8::try_from(low_bits).expect("fewer than 32");
        let head = match u8::try_from(count) {
            Ok(count) => vec![first | SHORT, count],
            Err(_) => [&[first], count.to_le_bytes().as_slice()].concat(),
        };
        let mut bits = Writer { bytes: head, used: 0 };
        let mut last = 0;
        for &cell in cells {
            let gap = cell - last;
            last = cell;
            (0..gap >> low_bits).for_each(|_| bits.put(true));
            bits.put(false);
            (0..low_bits).rev().for_each(|bit| bits.put(gap >> bit & 1 == 1));
        }
        Self(bits.bytes.into())
    }

    /// The cells, in order; `None` if the bytes are no list, or of more than `most`.
    pub(super) fn decode(&self, most: usize) -> Option<Vec<u32>> {
        let (count, low_bits, rest) = match *self.0.as_ref() {
            [] => return Some(Vec::new()),
            [first, count, ref rest @ ..] if first & SHORT != 0 => (u32::from(count), first & !SHORT, rest),
            [low_bits, a, b, c, d, ref rest @ ..] => (u32::from_le_bytes([a, b, c, d]), low_bits, rest),
            [..] => return None,
        };
        let count =
            usize::try_from(count).ok().filter(|&count| count > 0 && count <= most && count <= rest.len() * 8)?;
        let low_bits = u32::from(low_bits);
        let mut bits = rest.iter().flat_map(|&byte| (0..8).map(move |bit| byte >> bit & 1 == 1));
        let (mut cells, mut last) = (Vec::with_capacity(count), 0_u64);
        for _ in 0..count {
            let mut high = 0_u64;
            while bits.next()? {
                high += 1;
            }
            let mut low = 0;
            for _ in 0..low_bits.min(32) {
                low = low << 1 | u64::from(bits.next()?);
            }
            last += high << low_bits.min(32) | low;
            cells.push(u32::try_from(last).ok()?);
        }
        Some(cells)
    }
}

/// Marks a list of fewer than 256; the count is then a byte.
const SHORT: u8 = 0x80;

struct Writer {
    bytes: Vec<u8>,
    used: u32,
}

impl Writer {
    fn put(&mut self, bit: bool) {
        if self.used == 0 {
            self.bytes.push(0);
        }
        if let Some(last) = self.bytes.last_mut() {
            *last |= u8::from(bit) << self.used;
        }
        self.used = (self.used + 1) % 8;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_cell_among_a_thousand_takes_three_bytes() {
        let cells: Vec<u32> = (0..1_000).map(|n| n * 4_294_967 + n * n % 1_000_000).collect();
        assert!(Cells::encode(&cells).0.len() < 3_020);
        assert_eq!(Cells::encode(&[7]).0.len(), 6);
    }

    proptest! {
        #[test]
        fn a_list_survives(
            mut cells in prop::collection::vec(any::<(u32, u8)>().prop_map(|(cell, kind)| [cell, cell % 300, u32::MAX][usize::from(kind % 3)]), 0..600),
        ) {
            cells.sort_unstable();
            let encoded = Cells::encode(&cells);
            prop_assert_eq!(encoded.decode(600), Some(cells.clone()));
            prop_assert_eq!(encoded.decode(cells.len().saturating_sub(1)).is_some(), cells.is_empty());
        }

        #[test]
        fn any_bytes_are_a_sorted_list_or_none(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            if let Some(cells) = Cells(bytes.clone().into()).decode(usize::MAX) {
                prop_assert!(cells.is_sorted() && cells.len() <= 8 * bytes.len());
            }
        }
    }
}
