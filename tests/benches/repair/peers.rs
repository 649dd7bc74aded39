//! The published crates that do the same, on the same sets, each through its own encoding where it has one.

use std::collections::BTreeSet;

use everett_mesh_proto::wire::encode_datagram;
use merkle_search_tree::MerkleSearchTree;
use merkle_search_tree::diff::{PageRange, diff};
use negentropy::{Id, Negentropy, NegentropyStorageVector, Storage};
use rbsr::rsos::{FingerprintTreeMap, Rsos};
use rbsr::{initial_ranges, protocol_round};
use std_rng::SeedableRng;
use std_rng::rngs::StdRng;

use super::cost::Cost;
use super::sets::{Key, digest};

/// Keys in versions, in order.
pub(crate) type Held = [(usize, u8)];

/// How negentropy orders the set.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// By a hash of key and version.
    Hashed,
    /// By key, so that versions of one key and neighbouring keys are neighbours.
    Keys,
}

/// Ids of key and version, and their order.
pub(crate) struct Ids {
    sides: [NegentropyStorageVector; 2],
}

impl Ids {
    pub(crate) fn new(keys: &[Key], sides: [&Held; 2], order: Order) -> Self {
        let sides = sides.map(|held| {
            let mut storage = NegentropyStorageVector::with_capacity(held.len());
            for &(key, version) in held {
                let at = if order == Order::Keys { key as u64 } else { 0 };
                let id = Id::from_byte_array(digest(&keys[key], version));
                storage.insert(at, id).expect("the storage is open");
            }
            storage.seal().expect("the storage is open");
            storage
        });
        Self { sides }
    }

    /// Until the initiator knows what both lack.
    pub(crate) fn reconcile(&self) -> Cost {
        let mut cost = Cost::default();
        let [mut client, mut server] =
            [0, 1].map(|side| Negentropy::new(Storage::Borrowed(&self.sides[side]), 0).expect("no limit of a frame"));
        let mut message = Some(client.initiate().expect("the first word"));
        let (mut have, mut need) = (Vec::new(), Vec::new());
        while let Some(query) = message {
            cost.say(query.len());
            let answer = server.reconcile(&query).expect("an honest query");
            cost.say(answer.len());
            message = client.reconcile_with_ids(&answer, &mut have, &mut need).expect("an honest answer");
        }
        cost
    }
}

/// The maps of `rbsr`, which order by key.
pub(crate) struct Maps {
    sides: [FingerprintTreeMap<Key, [u8; 32]>; 2],
}

impl Maps {
    pub(crate) fn new(keys: &[Key], sides: [&Held; 2]) -> Self {
        let map = |held: &Held| {
            FingerprintTreeMap::from_sorted_iter(
                held.iter().map(|&(key, version)| (keys[key], digest(&keys[key], version))),
            )
        };
        Self { sides: sides.map(map) }
    }

    /// Until nothing is active; what is to be enumerated is sent as keys and digests with the next ranges.
    pub(crate) fn reconcile(&self) -> Cost {
        let mut cost = Cost::default();
        let mut rng = StdRng::seed_from_u64(1);
        let mut active = initial_ranges(&self.sides[0]);
        let mut turn = 1;
        cost.say(encode_datagram(&active).len());
        loop {
            let (mut children, mut listed) = (Vec::new(), Vec::new());
            protocol_round(&self.sides[turn], active, &mut children, &mut listed, &mut rng);
            let elements = |range| Rsos::enumerate(&self.sides[turn], range).count();
            let listed: usize = listed.into_iter().map(elements).sum();
            if children.is_empty() && listed == 0 {
                return cost;
            }
            cost.say(encode_datagram(&children).len() + listed * size_of::<(Key, [u8; 32])>());
            if children.is_empty() {
                return cost;
            }
            active = children;
            turn = 1 - turn;
        }
    }
}

/// Merkle search trees, which order by key.
pub(crate) struct Trees {
    sides: [MerkleSearchTree<Key, [u8; 32]>; 2],
}

impl Trees {
    pub(crate) fn new(keys: &[Key], sides: [&Held; 2]) -> Self {
        let tree = |held: &Held| {
            let mut tree = MerkleSearchTree::default();
            for &(key, version) in held {
                tree.upsert(keys[key], &digest(&keys[key], version));
            }
            let _ = tree.root_hash();
            tree
        };
        Self { sides: sides.map(tree) }
    }

    /// Root, pages, pages and ranges, ranges: one exchange, after which the crate may need more. Counted are pages and
    /// ranges alone, not what lies in the ranges and is equal.
    pub(crate) fn reconcile(&self) -> Cost {
        const ROOT_BYTES: usize = 17;
        let mut cost = Cost::default();
        let [left, right] = &self.sides;
        cost.say(ROOT_BYTES);
        if left.root_hash_cached() == right.root_hash_cached() {
            cost.say(1);
            return cost;
        }
        let pages = [left, right].map(|tree| tree.serialise_page_ranges().unwrap_or_default());
        let page_bytes = |pages: &[PageRange<'_, Key>]| pages.len() * (2 * size_of::<Key>() + 16);
        cost.say(page_bytes(&pages[1]));
        let ranges = |local: usize, peer: usize| diff(pages[local].clone(), pages[peer].clone()).len();
        cost.say(page_bytes(&pages[0]) + ranges(0, 1) * 2 * size_of::<Key>());
        cost.say(ranges(1, 0) * 2 * size_of::<Key>());
        cost
    }
}

/// All keys that either holds in another version.
pub(crate) fn differing(sides: [&Held; 2]) -> usize {
    let [left, right] = sides.map(|held| held.iter().copied().collect::<BTreeSet<_>>());
    let keys: BTreeSet<usize> = left.symmetric_difference(&right).map(|(key, _)| *key).collect();
    keys.len()
}
