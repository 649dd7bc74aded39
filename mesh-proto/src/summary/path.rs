//! A path in the trie: the leading hexadecimal digits of a place.
//!
//! It travels as the number that its digits make and how many they are, so that a shallow path is a short one.

use serde::{Deserialize, Serialize};

/// How many children an inner node has.
pub const CHILDREN: u8 = 16;

/// The deepest level: a path of all 16 digits is one place.
const DEPTH_MAX: u8 = 16;

/// How many digits a cell has.
const CELL_DEPTH: u8 = 8;

/// Leading digits of a place; the rest of the bits are zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "(u64, u8)", into = "(u64, u8)")]
pub struct Path {
    first: u64,
    depth: u8,
}

impl Path {
    /// The path of everything.
    pub const ROOT: Self = Self { first: 0, depth: 0 };

    /// The path of one place.
    pub const fn of_place(place: u64) -> Self {
        Self { first: place, depth: DEPTH_MAX }
    }

    /// The path of all places with these upper 32 bits.
    pub const fn of_cell(cell: u32) -> Self {
        Self { first: (cell as u64) << 32, depth: CELL_DEPTH }
    }

    /// The path of all places with the `bits` leading bits of `place`, a multiple of four of them and at most 64.
    pub(crate) fn of_prefix(place: u64, bits: u32) -> Self {
        let depth = u8::try_from(bits / 4).expect("at most sixteen digits");
        Self { first: place & !u64::MAX.checked_shr(bits).unwrap_or(0), depth }
    }

    /// The first place in it.
    pub const fn first(self) -> u64 {
        self.first
    }

    /// The last place in it.
    pub fn last(self) -> u64 {
        self.first | u64::MAX.checked_shr(u32::from(self.depth) * 4).unwrap_or(0)
    }

    /// How many digits it has.
    pub const fn depth(self) -> u8 {
        self.depth
    }

    /// Whether it is one place, which cannot be divided.
    pub const fn is_deepest(self) -> bool {
        self.depth == DEPTH_MAX
    }

    /// Whether `place` lies in it.
    pub fn contains(self, place: u64) -> bool {
        (self.first..=self.last()).contains(&place)
    }

    /// The path above it, and which child of that it is; none for the path of everything.
    pub fn parent(self) -> Option<(Self, u8)> {
        let depth = self.depth.checked_sub(1)?;
        let digit = self.first >> (64 - u32::from(self.depth) * 4) & 0xf;
        let beyond = u64::MAX.checked_shr(u32::from(depth) * 4).unwrap_or(0);
        Some((Self { first: self.first & !beyond, depth }, u8::try_from(digit).expect("four bits fit a byte")))
    }

    /// Its children, in order; none for a single place.
    pub fn children(self) -> impl Iterator<Item = Self> {
        let count = if self.is_deepest() { 0 } else { CHILDREN };
        (0..count).map(move |digit| {
            let depth = self.depth + 1;
            Self { first: self.first | u64::from(digit) << (64 - u32::from(depth) * 4), depth }
        })
    }
}

/// A claimed path has more digits than a place, or a number that its digits cannot make.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not a path")]
pub struct BadPath;

impl TryFrom<(u64, u8)> for Path {
    type Error = BadPath;

    fn try_from((digits, depth): (u64, u8)) -> Result<Self, BadPath> {
        let unused = DEPTH_MAX.checked_sub(depth).ok_or(BadPath)?;
        let first = digits.checked_shl(u32::from(unused) * 4).unwrap_or(0);
        let path = Self { first, depth };
        if <(u64, u8)>::from(path) == (digits, depth) { Ok(path) } else { Err(BadPath) }
    }
}

impl From<Path> for (u64, u8) {
    fn from(path: Path) -> Self {
        let unused = DEPTH_MAX - path.depth;
        (path.first.checked_shr(u32::from(unused) * 4).unwrap_or(0), path.depth)
    }
}
