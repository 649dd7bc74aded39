//! A gist: what finds the differences between two large sets of elements without a look at either, a sketch and an estimator
//! of their ids.
//!
//! It is linear: the gists of disjoint sets add up to that of both, and that of what changed, added, brings one up to date.
//! So it is stored for the larger nodes of the tree and kept by flushes at the price of what they change.

use super::{CAPACITY_MAX, ESTIMATOR_BYTES, Estimator, Sketch};

/// Bytes of the stored form.
pub const GIST_BYTES: usize = 8 * CAPACITY_MAX + ESTIMATOR_BYTES;

/// The gist of a set of ids, or of the difference between two.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Gist {
    /// A sketch of the ids, as long as one may be.
    pub sketch: Sketch,
    /// An estimator of them.
    pub estimator: Estimator,
}

impl Default for Gist {
    fn default() -> Self {
        Self { sketch: Sketch::new(CAPACITY_MAX), estimator: Estimator::default() }
    }
}

impl Gist {
    /// Puts `id` into the set.
    pub fn add(&mut self, id: u64) {
        self.sketch.toggle(id);
        self.estimator.add(id);
    }

    /// Takes `id` out of the set.
    pub fn remove(&mut self, id: u64) {
        self.sketch.toggle(id);
        self.estimator.remove(id);
    }

    /// Adds the gist of a set that shares no id with this one, or of what was added to this one and taken from it.
    pub fn merge(&mut self, other: &Self) {
        self.sketch.merge(&other.sketch);
        self.estimator.merge(&other.estimator);
    }

    /// The stored form: the sums, then the counters.
    pub fn to_bytes(&self) -> Vec<u8> {
        let sums = self.sketch.sums().iter().flat_map(|sum| sum.to_le_bytes());
        sums.chain(self.estimator.to_bytes()).collect()
    }

    /// Reads the stored form.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (sums, counters) = bytes.split_at_checked(8 * CAPACITY_MAX)?;
        let sums = sums.as_chunks().0.iter().map(|sum| u64::from_le_bytes(*sum)).collect();
        Some(Self { sketch: Sketch::from_sums(sums)?, estimator: Estimator::from_bytes(counters)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gist_of_a_set_is_that_of_its_parts_and_of_its_changes() {
        let of = |ids: std::ops::Range<u64>| {
            let mut gist = Gist::default();
            ids.for_each(|id| gist.add(id));
            gist
        };
        let (mut parts, mut change) = (of(1..100), Gist::default());
        parts.merge(&of(100..200));
        assert_eq!(parts, of(1..200));
        (1..50).for_each(|id| change.remove(id));
        (200..210).for_each(|id| change.add(id));
        parts.merge(&change);
        assert_eq!(parts, of(50..210));
        assert_eq!(Gist::from_bytes(&parts.to_bytes()), Some(parts.clone()));
        assert_eq!((parts.to_bytes().len(), Gist::from_bytes(&parts.to_bytes()[1..])), (GIST_BYTES, None));
    }
}
