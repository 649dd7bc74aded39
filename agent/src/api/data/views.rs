//! What clients saw of keys lately, so that reading a key again costs one hash and one comparison.
//!
//! Apart from the store's caches, which keep rows: a key has several, and what a client sees of them takes joining and
//! looking at the clock. A view is kept until a row of its key changes, whoever changes it, or until a deadline among its
//! elements has passed. The table is set-associative: a set holds a few views, and a new one takes the place of one of
//! them, so no read pays for evicting many and no choice of keys makes anything slow. It grows from nearly nothing while
//! it is used, up to a bound in bytes.

use std::hash::{BuildHasher, RandomState};

use everett_mesh_proto::crdt::Value;
use everett_mesh_proto::replica::View;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// How many views a set holds.
const WAYS: usize = 4;

/// The sets at the beginning.
const SETS_MIN: usize = 64;

/// What a view costs beside its key and value.
const ENTRY_BYTES: usize = 160;

/// The views, by namespace number and key.
#[derive(Debug)]
pub(super) struct Views {
    sets: Vec<Set>,
    seed: u64,
    len: usize,
    bytes: usize,
    bytes_max: usize,
    /// Which way of a full set is replaced next.
    hand: usize,
}

/// The hashes of its entries stand in front, so that whether a key is here takes one cache line.
#[derive(Debug, Default)]
struct Set {
    hashes: [u64; WAYS],
    entries: [Option<Entry>; WAYS],
}

impl Set {
    fn way_of(&self, hash: u64, space: u8, key: &[u8]) -> Option<usize> {
        let is_it = |way: &usize| self.entries[*way].as_ref().is_some_and(|entry| entry.is(space, key));
        (0..WAYS).filter(|way| self.hashes[*way] == hash).find(is_it)
    }

    fn free_way(&self) -> Option<usize> {
        self.entries.iter().position(Option::is_none)
    }
}

#[derive(Debug)]
struct Entry {
    space: u8,
    key: Box<[u8]>,
    view: View,
    bytes: usize,
}

impl Views {
    /// An empty table for about `bytes_max`. Clients cannot choose keys that share a set: the hash is seeded at random,
    /// which nothing but speed depends on.
    pub(super) fn new(bytes_max: usize) -> Self {
        let seed = RandomState::new().hash_one(SETS_MIN);
        let mut sets = Vec::new();
        sets.resize_with(SETS_MIN, Set::default);
        Self { sets, seed, len: 0, bytes: 0, bytes_max, hand: 0 }
    }

    /// The view of `key`, if it is known and still holds at `now_ms`.
    pub(super) fn get(&self, space: u8, key: &[u8], now_ms: u64) -> Option<&View> {
        let hash = self.hash(space, key);
        let set = &self.sets[self.set(hash)];
        let entry = set.entries[set.way_of(hash, space, key)?].as_ref()?;
        (now_ms < entry.view.steady_until_ms).then_some(&entry.view)
    }

    /// Keeps a view that was just made.
    pub(super) fn insert(&mut self, space: u8, key: &[u8], view: View) {
        let value_bytes = match &view.value {
            Some(Value::Bytes(bytes)) => bytes.len(),
            Some(Value::Integer(_)) | None => 0,
        };
        let bytes = ENTRY_BYTES + key.len() + value_bytes;
        if bytes > self.bytes_max / 64 {
            return;
        }
        self.remove(space, key);
        if self.len >= self.sets.len() * (WAYS - 1) && self.bytes < self.bytes_max / 2 {
            self.grow();
        }
        let hash = self.hash(space, key);
        self.put(hash, Entry { space, key: key.into(), view, bytes });
        // Every view added takes at most a few away, until there is room again.
        for _ in 0..WAYS {
            if self.bytes <= self.bytes_max {
                break;
            }
            self.hand = self.hand.wrapping_add(1);
            let set = self.hand / WAYS % self.sets.len();
            let old = self.sets[set].entries[self.hand % WAYS].take();
            self.forget(old);
        }
    }

    /// A row of the key has changed.
    pub(super) fn remove(&mut self, space: u8, key: &[u8]) {
        let hash = self.hash(space, key);
        let number = self.set(hash);
        let set = &mut self.sets[number];
        let old = set.way_of(hash, space, key).and_then(|way| set.entries[way].take());
        self.forget(old);
    }

    /// Everything may have changed.
    pub(super) fn clear(&mut self) {
        *self = Self::new(self.bytes_max);
    }

    fn put(&mut self, hash: u64, entry: Entry) {
        let set = self.set(hash);
        let way = self.sets[set].free_way().unwrap_or_else(|| {
            self.hand = self.hand.wrapping_add(1);
            self.hand % WAYS
        });
        self.len += 1;
        self.bytes += entry.bytes;
        self.sets[set].hashes[way] = hash;
        let old = self.sets[set].entries[way].replace(entry);
        self.forget(old);
    }

    fn forget(&mut self, entry: Option<Entry>) {
        if let Some(entry) = entry {
            self.len -= 1;
            self.bytes -= entry.bytes;
        }
    }

    fn grow(&mut self) {
        let mut sets = Vec::new();
        sets.resize_with(self.sets.len() * 2, Set::default);
        let old = std::mem::replace(&mut self.sets, sets);
        (self.len, self.bytes) = (0, 0);
        for Set { hashes, entries } in old {
            let kept = hashes.into_iter().zip(entries).filter_map(|(hash, entry)| Some((hash, entry?)));
            kept.for_each(|(hash, entry)| self.put(hash, entry));
        }
    }

    /// Where the views under these hashes lie, looked at all at once; says which are known.
    pub(super) fn look_ahead(&self, hashes: &[u64]) -> usize {
        let known = |hash: &&u64| self.sets[self.set(**hash)].hashes.contains(hash);
        hashes.iter().filter(known).count()
    }

    /// What a key is found by.
    pub(super) fn hash(&self, space: u8, key: &[u8]) -> u64 {
        xxh3_64_with_seed(key, self.seed ^ u64::from(space))
    }

    fn set(&self, hash: u64) -> usize {
        let sets = self.sets.len() as u64;
        usize::try_from(hash % sets).expect("the number of sets has an address")
    }
}

impl Entry {
    fn is(&self, space: u8, key: &[u8]) -> bool {
        self.space == space && *self.key == *key
    }
}

#[cfg(test)]
mod tests {
    use everett_mesh_proto::crdt::NEVER_MS;
    use everett_mesh_proto::log::Commit;

    use super::*;

    fn view(value: &str, steady_until_ms: u64) -> View {
        let value = Some(Value::Bytes(value.to_owned().into()));
        View { value, deadline_ms: None, steady_until_ms, at: Commit(1) }
    }

    #[test]
    fn a_view_is_found_until_its_key_changes_or_its_time_is_over() {
        let mut views = Views::new(1 << 20);
        views.insert(0, b"k", view("v", 100));
        views.insert(0, b"forever", view("w", NEVER_MS));
        assert_eq!(views.get(0, b"k", 99), Some(&view("v", 100)));
        assert_eq!(views.get(0, b"k", 100), None);
        assert_eq!(views.get(1, b"k", 0), None, "namespaces are apart");
        views.insert(0, b"k", view("x", 200));
        assert_eq!(views.get(0, b"k", 150), Some(&view("x", 200)));
        views.remove(0, b"k");
        assert_eq!(views.get(0, b"k", 0), None);
        assert!(views.get(0, b"forever", u64::MAX - 1).is_some());
        views.clear();
        assert_eq!((views.len, views.bytes, views.get(0, b"forever", 0)), (0, 0, None));
    }

    #[test]
    fn it_grows_with_use_and_stays_within_its_bytes() {
        let mut views = Views::new(1 << 20);
        for number in 0..100_000_u32 {
            views.insert(0, &number.to_le_bytes(), view("0123456789", NEVER_MS));
            assert!(views.bytes <= 1 << 20, "{number}: {} bytes", views.bytes);
        }
        let kept = (0..100_000_u32).filter(|number| views.get(0, &number.to_le_bytes(), 0).is_some()).count();
        assert_eq!(kept, views.len);
        assert!(kept > 2_000, "{kept} views in a mebibyte");
        views.insert(0, &vec![0; 100_000], view("", NEVER_MS));
        assert_eq!(views.len, kept, "what is large is not kept");
    }
}
