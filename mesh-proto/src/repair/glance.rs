//! Finding differences at a glance: sketches of the own ids, what is shown for an estimated number of differences, and
//! which cells the ids that differ lie in.

use std::collections::{BTreeMap, BTreeSet};

use super::Pin;
use super::cells::Cells;
use super::compare::Side;
use super::look::{Buckets, Glance, Look, Named, bytes_of};
use super::message::Half;
use crate::summary::{CAPACITY_MAX, Estimator, Path, Sketch, cell_of, elements, hash_without};

/// Sums of a full first glance.
pub(super) const GLANCE_SUMS: usize = 32;

/// The most sums in one message: what the other side is made to decode for it, some two seconds of a core at most.
pub(super) const SUMS_MAX: usize = 1 << 17;

/// The most ids that are listed.
pub(super) const LISTED_MAX: u64 = 1 << 18;

/// Bytes that an id in a list takes, in tenths.
const LISTED_TENTHS: u64 = 65;

/// How much more than was estimated is made room for where it is divided among buckets.
const ESTIMATE_MARGIN: f64 = 1.12;

/// Cells that differ, each with who holds rows there.
#[derive(Debug, Default)]
pub(super) struct Sorted {
    pub(super) yours: Vec<u32>,
    pub(super) both: Vec<u32>,
    pub(super) mine: Vec<u32>,
}

impl Sorted {
    /// What the other side must be told of it.
    pub(super) fn encode(&self) -> Named {
        Named { yours: Cells::encode(&self.yours), both: Cells::encode(&self.both) }
    }

    /// What the other side named, from where it stands; `None` if it is no list of at most so many cells, each once.
    pub(super) fn decode(named: &Named, most: usize) -> Option<Self> {
        let (yours, both) = (named.yours.decode(most)?, named.both.decode(most)?);
        let sorted = Self { yours, both, mine: Vec::new() };
        let all: BTreeSet<u32> = sorted.all().collect();
        (all.len() == sorted.len() && all.len() <= most).then_some(sorted)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = u32> {
        self.yours.iter().chain(&self.both).chain(&self.mine).copied()
    }

    pub(super) fn len(&self) -> usize {
        self.yours.len() + self.both.len() + self.mine.len()
    }

    /// Cells of one list and those of both sides, in order.
    pub(super) fn with_both(&self, cells: &[u32]) -> Vec<u32> {
        let mut cells = [cells, &self.both].concat();
        cells.sort_unstable();
        cells
    }
}

impl<P: Pin> Side<'_, P> {
    /// How many places are taken.
    pub(super) fn count(&self) -> Result<u64, P::Error> {
        Ok(self.pin.node(self.space, Path::ROOT)?.map_or(0, |node| node.count))
    }

    /// The first glance, of so many sums; a full one has an estimator too.
    pub(super) fn glance(&self, sums: usize) -> Result<Glance, P::Error> {
        let full = sums >= GLANCE_SUMS;
        let sums = sums.min(GLANCE_SUMS);
        let sketch = self.sketch(Path::ROOT, sums)?;
        let estimator = if full { self.estimator()?.to_bytes().to_vec().into() } else { bytes::Bytes::new() };
        Ok(Glance { estimator, sums: bytes_of(sketch.sums().iter()) })
    }

    /// The estimator of all ids.
    pub(super) fn estimator(&self) -> Result<Estimator, P::Error> {
        if let Some(stored) = self.pin.gist(self.space, Path::ROOT)? {
            return Ok(stored.estimator);
        }
        let mut estimator = Estimator::default();
        for id in self.ids(Path::ROOT)? {
            estimator.add(id);
        }
        Ok(estimator)
    }

    /// The sketch of the ids in `path`.
    pub(super) fn sketch(&self, path: Path, capacity: usize) -> Result<Sketch, P::Error> {
        if capacity == 0 {
            return Ok(Sketch::default());
        }
        if let Some(stored) = self.pin.gist(self.space, path)? {
            return Ok(stored.sketch.prefix(capacity));
        }
        let mut sketch = Sketch::new(capacity);
        for id in self.ids(path)? {
            sketch.toggle(id);
        }
        Ok(sketch)
    }

    /// The sketch of a bucket: the sum of those of the paths that make it up.
    pub(super) fn bucket(&self, bits: u8, bucket: u32, capacity: usize) -> Result<Sketch, P::Error> {
        let mut sum = Sketch::new(capacity);
        for path in bucket_paths(bits, bucket) {
            sum.merge(&self.sketch(path, capacity)?);
        }
        Ok(sum)
    }

    /// Sketches of all buckets, or of some.
    pub(super) fn buckets(&self, bits: u8, which: Option<Vec<u32>>, capacity: usize) -> Result<Buckets, P::Error> {
        let mut sums = Vec::new();
        for bucket in bucket_numbers(bits, which.as_deref()) {
            sums.extend_from_slice(self.bucket(bits, bucket, capacity)?.sums());
        }
        let capacity = u16::try_from(capacity).expect("a sketch has few sums");
        Ok(Buckets { bits, which, capacity, sums: bytes_of(sums.iter()) })
    }

    /// The ids in `path`.
    pub(super) fn ids(&self, path: Path) -> Result<Vec<u64>, P::Error> {
        Ok(elements(self.pin, self.placer, self.space, path)?.iter().map(crate::summary::Element::id).collect())
    }

    /// What to show a side that differs in about so many ids; `None` if a descent costs no more.
    pub(super) fn show_for(&self, estimate: u64) -> Result<Option<Look>, P::Error> {
        let (bits, capacity) = partition(estimate);
        let sums = u64::from(capacity) << bits;
        let count = self.count()?;
        if count <= LISTED_MAX && count * LISTED_TENTHS <= sums * 80 {
            let mut ids = self.ids(Path::ROOT)?;
            ids.sort_unstable();
            let cells: Vec<u32> = ids.iter().map(|&id| cell_of(id)).collect();
            let digests = ids.iter().flat_map(|id| id.to_be_bytes().into_iter().skip(4)).collect();
            return Ok(Some(Look::List(Cells::encode(&cells), digests)));
        }
        if sums > SUMS_MAX as u64 {
            return Ok(None);
        }
        self.buckets(bits, None, usize::from(capacity)).map(|buckets| Some(Look::Buckets(buckets)))
    }

    /// Sorts ids that only one of the sides holds into the cells that differ.
    ///
    /// A cell is one side's alone only if nothing at all lies there on the other: a cell that holds anything beside what
    /// differs is both sides', so that nothing equal is ever taken for absent.
    pub(super) fn sort(&self, ids: &[u64]) -> Result<Sorted, P::Error> {
        let mut by_cell: BTreeMap<u32, BTreeSet<u64>> = BTreeMap::new();
        for &id in ids {
            by_cell.entry(cell_of(id)).or_default().insert(id);
        }
        let mut sorted = Sorted::default();
        for (cell, differ) in by_cell {
            let here = self.ids(Path::of_cell(cell))?;
            let list = if here.is_empty() {
                &mut sorted.yours
            } else if here.len() == differ.len() && here.iter().all(|id| differ.contains(id)) {
                &mut sorted.mine
            } else {
                &mut sorted.both
            };
            list.push(cell);
        }
        Ok(sorted)
    }

    /// Whether nothing lies in a cell.
    pub(super) fn is_vacant(&self, cell: u32) -> Result<bool, P::Error> {
        let mut vacant = true;
        self.pin.rows(self.space, Path::of_cell(cell), &mut |_, _| {
            vacant = false;
            std::ops::ControlFlow::Break(())
        })?;
        Ok(vacant)
    }

    /// The half hash of all that lies in no cell of these.
    pub(super) fn rest(&self, differ: &BTreeSet<u32>) -> Result<Half, P::Error> {
        let cells: Vec<u32> = differ.iter().copied().collect();
        let hash = hash_without(self.pin, self.placer, self.space, &cells)?;
        Ok(*hash.0.first_chunk().expect("32 bytes begin with 16"))
    }
}

/// Into how many buckets, by bits, and with sketches of which capacity, about so many differences are divided: as few
/// buckets as a sketch may be long, and room in each for twice what chance strays by, ids coming in pairs. The estimate
/// strays by an eighth itself: of one bucket the same room serves, of many it is low in all of them at once.
fn partition(estimate: u64) -> (u8, u16) {
    let ids = estimate.min(1 << 40) as f64;
    for bits in 0..32 {
        let ids = if bits == 0 { ids } else { ids * ESTIMATE_MARGIN };
        let mean = ids / f64::from(2_f32.powi(i32::from(bits)));
        let capacity = mean + 2.0 * (2.0 * mean).sqrt() + 3.0;
        if capacity <= CAPACITY_MAX as f64 {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 3 and 256")]
            return (bits, capacity as u16 + 1);
        }
    }
    (32, 0)
}

/// The numbers of the buckets meant.
pub(super) fn bucket_numbers(bits: u8, which: Option<&[u32]>) -> Vec<u32> {
    which.map_or_else(|| (0..1 << bits).collect(), <[u32]>::to_vec)
}

/// The paths that make up a bucket: one, or the few next digits that begin with its bits.
fn bucket_paths(bits: u8, bucket: u32) -> impl Iterator<Item = Path> {
    let bits = u32::from(bits);
    let digits = bits.next_multiple_of(4);
    let first = u64::from(bucket).checked_shl(64 - bits).unwrap_or(0);
    let step = 1_u64.checked_shl(64 - digits).unwrap_or(0);
    (0..1_u64 << (digits - bits)).map(move |n| Path::of_prefix(first + n * step, digits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_divide_the_places_without_gap_or_overlap() {
        for bits in 0..=9 {
            let mut next = 0_u64;
            for path in (0..1 << bits).flat_map(|bucket| bucket_paths(bits, bucket)) {
                assert_eq!(path.first(), next, "{bits} bits");
                next = path.last().wrapping_add(1);
            }
            assert_eq!(next, 0, "{bits} bits");
        }
    }

    #[test]
    fn partitions_hold_what_they_are_made_for() {
        for estimate in [0, 1, 30, 100, 150, 1_000, 15_000, 100_000] {
            let (bits, capacity) = partition(estimate);
            let room = u64::from(capacity) << bits;
            assert!(room > estimate && usize::from(capacity) <= CAPACITY_MAX, "{estimate}: {capacity} << {bits}");
        }
        assert!((partition(15_000).1, partition(15_000).0) < (200, 8));
    }
}
