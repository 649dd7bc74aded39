//! Who observes whom, and who passes news to whom, from ids alone.
//!
//! Eight pseudo-random rings over the ids of living members. A member is observed by its nearest predecessor on each ring
//! and passes news to its neighbours on the first two: two random cycles, an expander, so news reaches everybody in a
//! logarithmic number of steps. All who hold the same view compute the same rings, with no message.
//! After Rapid's monitoring overlay (Suresh et al., USENIX ATC 2018, section 4.1).

use std::collections::BTreeSet;
use std::ops::Bound::{Excluded, Unbounded};

use crate::id::NodeId;

/// Observers of one member.
pub(super) const RINGS: usize = 8;
const NEWS_RINGS: usize = 2;

#[derive(Debug, Default)]
pub(super) struct Rings {
    rings: [BTreeSet<(u64, NodeId)>; RINGS],
}

impl Rings {
    pub(super) fn insert(&mut self, id: NodeId) {
        for (ring, members) in (0..).zip(&mut self.rings) {
            members.insert((place(ring, id), id));
        }
    }

    pub(super) fn remove(&mut self, id: NodeId) {
        for (ring, members) in (0..).zip(&mut self.rings) {
            members.remove(&(place(ring, id), id));
        }
    }

    /// How many living members there are.
    pub(super) fn len(&self) -> usize {
        self.rings[0].len()
    }

    /// Who probes `id`, whether or not `id` itself is on the rings.
    pub(super) fn observers(&self, id: NodeId) -> BTreeSet<NodeId> {
        (0..RINGS).filter_map(|ring| self.before(ring, id)).collect()
    }

    /// Whom `id` probes.
    pub(super) fn subjects(&self, id: NodeId) -> BTreeSet<NodeId> {
        (0..RINGS).filter_map(|ring| self.after(ring, id)).collect()
    }

    /// To whom `id` passes news.
    pub(super) fn neighbours(&self, id: NodeId) -> BTreeSet<NodeId> {
        (0..NEWS_RINGS).flat_map(|ring| [self.before(ring, id), self.after(ring, id)]).flatten().collect()
    }

    fn before(&self, ring: usize, id: NodeId) -> Option<NodeId> {
        let members = &self.rings[ring];
        let here = (place(ring as u64, id), id);
        let found = members.range(..here).next_back().or_else(|| members.last())?;
        (found.1 != id).then_some(found.1)
    }

    fn after(&self, ring: usize, id: NodeId) -> Option<NodeId> {
        let members = &self.rings[ring];
        let here = (place(ring as u64, id), id);
        let found = members.range((Excluded(here), Unbounded)).next().or_else(|| members.first())?;
        (found.1 != id).then_some(found.1)
    }
}

/// Ids are hashes already; a finalising mix per ring is enough to shuffle them.
fn place(ring: u64, id: NodeId) -> u64 {
    let wide = u128::from_le_bytes(id.0);
    let low = u64::try_from(wide & u128::from(u64::MAX)).expect("masked to 64 bits");
    let high = u64::try_from(wide >> 64).expect("shifted to 64 bits");
    let mut mixed = low ^ high.rotate_left(29) ^ (ring + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for factor in [0xff51_afd7_ed55_8ccd, 0xc4ce_b9fe_1a85_ec53] {
        mixed = (mixed ^ (mixed >> 33)).wrapping_mul(factor);
    }
    mixed ^ (mixed >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(count: u8) -> Rings {
        let mut rings = Rings::default();
        (0..count).for_each(|i| rings.insert(id(i)));
        rings
    }

    fn id(i: u8) -> NodeId {
        NodeId(*blake3::hash(&[i]).as_bytes().first_chunk().unwrap())
    }

    #[test]
    fn observing_is_the_inverse_of_being_observed() {
        let rings = filled(40);
        for (a, b) in (0..40).flat_map(|a| (0..40).map(move |b| (id(a), id(b)))) {
            assert_eq!(rings.subjects(a).contains(&b), rings.observers(b).contains(&a));
        }
        assert!((5..=RINGS).contains(&rings.observers(id(3)).len()));
    }

    #[test]
    fn a_lone_member_has_no_observers_and_two_observe_each_other() {
        assert!(filled(1).observers(id(0)).is_empty());
        assert_eq!(filled(2).observers(id(0)), [id(1)].into());
        assert_eq!(filled(2).neighbours(id(1)), [id(0)].into());
    }

    #[test]
    fn one_who_fell_off_the_rings_is_still_observed() {
        let mut rings = filled(20);
        let before = rings.observers(id(7));
        rings.remove(id(7));
        assert_eq!(rings.observers(id(7)), before);
        assert_eq!(rings.len(), 19);
    }
}
