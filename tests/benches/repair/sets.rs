//! Two sets of keys in versions, and how they differ.

use clap::ValueEnum;
use rand::seq::index::sample;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

/// A key, as long as a hash.
pub(crate) type Key = [u8; 32];

/// How two sets differ.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Shape {
    /// Anywhere: half of the keys stale at the initiator, a quarter missing at either side
    Random,
    /// A run of neighbouring keys, stale at the initiator
    Clustered,
    /// A run of neighbouring keys, missing at the responder
    Block,
    /// The initiator holds nothing
    Empty,
}

/// A key of which the sides hold different versions, or none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Difference {
    /// Its index among the keys.
    pub(crate) key: usize,
    /// The version that each side holds; version 0 is that of all other keys.
    pub(crate) versions: [Option<u8>; 2],
}

/// The initiator's version was superseded.
const STALE: [Option<u8>; 2] = [Some(0), Some(1)];
/// The initiator never saw it.
const NEW_AT_RESPONDER: [Option<u8>; 2] = [None, Some(2)];
/// The responder never saw it.
const NEW_AT_INITIATOR: [Option<u8>; 2] = [Some(3), None];

/// So many keys, in order.
pub(crate) fn keys(count: usize) -> Vec<Key> {
    let mut keys: Vec<Key> = (0..count as u64).map(|number| *blake3::hash(&number.to_le_bytes()).as_bytes()).collect();
    keys.sort_unstable();
    keys
}

/// So many differences between sets of so many keys, in the order of the keys.
pub(crate) fn differences(shape: Shape, count: usize, differ: usize, seed: u64) -> Vec<Difference> {
    let mut rng = Pcg64::seed_from_u64(seed);
    let run = |rng: &mut Pcg64| {
        let first = rng.random_range(0..=count - differ);
        (first..first + differ).collect::<Vec<_>>()
    };
    let versions: Vec<(usize, [Option<u8>; 2])> = match shape {
        Shape::Random => {
            let kinds = [STALE, NEW_AT_RESPONDER, STALE, NEW_AT_INITIATOR];
            sample(&mut rng, count, differ).into_iter().zip(kinds.into_iter().cycle()).collect()
        }
        Shape::Clustered => run(&mut rng).into_iter().map(|key| (key, STALE)).collect(),
        Shape::Block => run(&mut rng).into_iter().map(|key| (key, NEW_AT_INITIATOR)).collect(),
        Shape::Empty => (0..count).map(|key| (key, [None, Some(0)])).collect(),
    };
    let mut differences: Vec<Difference> =
        versions.into_iter().map(|(key, versions)| Difference { key, versions }).collect();
    differences.sort_unstable_by_key(|difference| difference.key);
    differences
}

/// The keys that a side holds, by index, each in its version, in order.
pub(crate) fn held(count: usize, differences: &[Difference], side: usize) -> Vec<(usize, u8)> {
    let mut versions = vec![Some(0); count];
    for difference in differences {
        versions[difference.key] = difference.versions[side];
    }
    versions.into_iter().enumerate().filter_map(|(key, version)| Some((key, version?))).collect()
}

/// What a version of a key hashes to.
pub(crate) fn digest(key: &Key, version: u8) -> [u8; 32] {
    *blake3::Hasher::new().update(key).update(&[version]).finalize().as_bytes()
}
