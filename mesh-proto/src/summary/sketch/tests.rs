//! Sketches are linear, decode what they have room for, and refuse the rest.

use std::collections::BTreeSet;

use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

use super::*;

fn sketch(capacity: usize, ids: &BTreeSet<u64>) -> Sketch {
    let mut sketch = Sketch::new(capacity);
    ids.iter().for_each(|&id| sketch.toggle(id));
    sketch
}

fn ids(rng: &mut Pcg64, count: usize) -> BTreeSet<u64> {
    std::iter::repeat_with(|| rng.random::<u64>().max(1)).take(count).collect()
}

#[test]
fn every_difference_that_fits_is_decoded() {
    let mut rng = Pcg64::seed_from_u64(1);
    for capacity in [2, 3, 4, 5, 8, 16, 31, 32, 100, CAPACITY_MAX] {
        for count in [0, 1, 2, 3, capacity.saturating_sub(3), capacity - 2] {
            let set = ids(&mut rng, count.min(capacity - 2));
            let decoded = sketch(capacity, &set).decode();
            assert_eq!(decoded, Some(set.into_iter().collect()), "{count} of {capacity}");
        }
    }
}

#[test]
fn ids_that_differ_in_a_single_bit_are_told_apart() {
    for capacity in [8, 70] {
        let set: BTreeSet<u64> = (0..capacity - 2).map(|bit| 1 << (bit % 64) | 1 << 63).collect();
        assert_eq!(sketch(capacity, &set).decode(), Some(set.into_iter().collect()));
    }
}

#[test]
fn a_difference_that_does_not_fit_is_refused() {
    let mut rng = Pcg64::seed_from_u64(2);
    for capacity in [2, 3, 4, 8, 16, 32] {
        for beyond in 0..40 {
            let set = ids(&mut rng, capacity - 1 + beyond);
            if set.len() + SPARE > capacity {
                assert_eq!(sketch(capacity, &set).decode(), None, "{} of {capacity}", set.len());
            }
        }
    }
    assert_eq!(Sketch::new(0).decode(), Some(Vec::new()));
}

#[test]
fn sums_that_are_no_sketch_are_refused() {
    let mut rng = Pcg64::seed_from_u64(3);
    for _ in 0..200 {
        let sums = (0..rng.random_range(3..40)).map(|_| rng.random()).collect();
        assert_eq!(Sketch::from_sums(sums).and_then(|sketch| sketch.decode()), None);
    }
    assert_eq!(Sketch::from_sums(vec![0; CAPACITY_MAX + 1]), None);
}

#[test]
fn a_polynomial_without_enough_roots_has_none() {
    // (x + 5)^2, and one without roots in the field: x^2 + x + c for a c of trace one.
    assert_eq!(roots::of(&[mul(5, 5), 0]), None);
    let trace = |c: u64| std::iter::successors(Some(c), |&c| Some(mul(c, c))).take(64).fold(0, |sum, c| sum ^ c);
    let c = (0..64).map(|bit| 1 << bit).find(|&c| trace(c) == 1).expect("the trace is not zero everywhere");
    assert_eq!(roots::of(&[c, 1]), None);
    assert_eq!(roots::of(&[mul(5, 9), 5 ^ 9]).map(BTreeSet::from_iter), Some([5, 9].into()));
}

proptest! {
    #[test]
    fn two_sketches_merge_into_that_of_the_difference(
        common in prop::collection::btree_set(1..u64::MAX, 0..50),
        mine in prop::collection::btree_set(1..u64::MAX, 0..12),
        theirs in prop::collection::btree_set(1..u64::MAX, 0..12),
        longer in 0..20_usize,
    ) {
        let with = |own: &BTreeSet<u64>| common.union(own).copied().collect::<BTreeSet<_>>();
        let (a, b) = (with(&mine), with(&theirs));
        let difference: BTreeSet<u64> = a.symmetric_difference(&b).copied().collect();
        let mut merged = sketch(26 + longer, &a);
        merged.merge(&sketch(26, &b));
        prop_assert_eq!(&merged, &sketch(26, &difference));
        prop_assert_eq!(&merged.prefix(5), &sketch(5, &difference));
        prop_assert_eq!(merged.is_zero(), difference.is_empty());
        prop_assert_eq!(merged.decode(), Some(difference.into_iter().collect()));
    }

    #[test]
    fn any_sums_at_all_are_decoded_in_bounded_time_or_refused(
        sums in prop::collection::vec(any::<(u64, u8)>().prop_map(|(sum, kind)| [0, 1, sum % 16, sum][usize::from(kind % 4)]), 0..60),
    ) {
        let mut left = Sketch::from_sums(sums).expect("short enough");
        if let Some(ids) = left.decode() {
            prop_assert!(ids.len() + SPARE <= left.sums().len() || ids.is_empty());
            ids.into_iter().for_each(|id| left.toggle(id));
            prop_assert!(left.is_zero());
        }
    }
}
