//! Rows of `rows.redb` that were read lately, present or absent, by a hash of their key.
//!
//! Apart from the memtable, which holds what is *newer* than the file; this holds what is *equal* to it. A lookup costs a
//! hash instead of a walk down the file's tree, and most keys have no expiry row, which is worth remembering too.
//!
//! Invariants: at most `bytes_max`, about; an entry is dropped when its row is put (the memtable answers from then on) and
//! all are when a flush carries out a cut. Eviction is by the clock algorithm (Corbató 1968), one or two steps per insert,
//! so that no read pays for many.

use std::collections::HashMap;

use everett_mesh_proto::rows::{Row, RowKey};

use super::placed::Placed;
use super::table::row_bytes;

/// What an entry costs beside its key and row: slot, index entry, allocations.
const ENTRY_OVERHEAD_BYTES: usize = 176;

/// What is known of a row of the file without looking.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Remembered {
    /// It is this one.
    Row(Row),
    /// There is none.
    Absence,
    /// The file must be asked.
    Nothing,
}

/// The cache.
#[derive(Debug)]
pub(super) struct RowCache {
    index: HashMap<RowKey, usize, Placed>,
    slots: Vec<Option<Slot>>,
    free: Vec<usize>,
    hand: usize,
    bytes: usize,
    bytes_max: usize,
}

#[derive(Debug)]
struct Slot {
    key: RowKey,
    row: Option<Row>,
    bytes: usize,
    was_used: bool,
}

impl RowCache {
    /// An empty cache for about `bytes_max`.
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { index: HashMap::default(), slots: Vec::new(), free: Vec::new(), hand: 0, bytes: 0, bytes_max }
    }

    /// What the file holds under `key`, if that is known: a row, or none.
    pub(super) fn get(&mut self, key: &RowKey) -> Remembered {
        let number = self.index.get(key);
        let Some(slot) = number.and_then(|number| self.slots[*number].as_mut()) else {
            return Remembered::Nothing;
        };
        slot.was_used = true;
        slot.row.clone().map_or(Remembered::Absence, Remembered::Row)
    }

    /// Remembers what the file holds under `key`.
    pub(super) fn insert(&mut self, key: RowKey, row: Option<Row>) {
        let bytes = ENTRY_OVERHEAD_BYTES + key.as_bytes().len() + row.as_ref().map_or(0, row_bytes);
        if bytes > self.bytes_max / 16 {
            return;
        }
        self.remove(&key);
        while self.bytes + bytes > self.bytes_max {
            self.evict_one();
        }
        let slot = Slot { key: key.clone(), row, bytes, was_used: false };
        self.bytes += bytes;
        let number = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.slots[number] = Some(slot);
        self.index.insert(key, number);
    }

    /// Forgets `key`.
    pub(super) fn remove(&mut self, key: &RowKey) {
        if let Some(number) = self.index.remove(key) {
            self.vacate(number);
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        *self = Self::new(self.bytes_max);
    }

    fn vacate(&mut self, number: usize) {
        if let Some(slot) = self.slots[number].take() {
            self.bytes -= slot.bytes;
            self.free.push(number);
        }
    }

    /// Moves the hand to the first entry that was not used since it last came by, and drops that.
    fn evict_one(&mut self) {
        loop {
            self.hand = (self.hand + 1) % self.slots.len();
            let Some(slot) = &mut self.slots[self.hand] else { continue };
            if std::mem::take(&mut slot.was_used) {
                continue;
            }
            let key = slot.key.clone();
            self.remove(&key);
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use everett_mesh_proto::id::Space;
    use everett_mesh_proto::rows::Kind;

    use super::*;

    fn key(number: u64) -> RowKey {
        RowKey::new(&Space::numbered(0), number, &number.to_le_bytes(), Kind::Scalar)
    }

    #[test]
    fn absence_is_remembered_like_presence_and_forgotten_alone() {
        let mut cache = RowCache::new(1 << 20);
        cache.insert(key(1), None);
        cache.insert(key(2), Some(Row::empty(Kind::Scalar)));
        assert_eq!(cache.get(&key(1)), Remembered::Absence);
        assert_eq!(cache.get(&key(2)), Remembered::Row(Row::empty(Kind::Scalar)));
        cache.remove(&key(1));
        assert_eq!(cache.get(&key(1)), Remembered::Nothing);
        assert_ne!(cache.get(&key(2)), Remembered::Nothing);
        cache.clear();
        assert_eq!(cache.get(&key(2)), Remembered::Nothing);
    }

    #[test]
    fn it_stays_within_its_bytes_and_keeps_what_is_used() {
        let mut cache = RowCache::new(64 << 10);
        cache.insert(key(0), None);
        for number in 1..10_000 {
            cache.insert(key(number), None);
            assert_eq!(cache.get(&key(0)), Remembered::Absence, "used between any two inserts, gone at {number}");
            assert!(cache.bytes <= 64 << 10);
        }
        assert_eq!(cache.index.len() + cache.free.len(), cache.slots.len());
        assert!(cache.slots.len() < 400, "slots are used again");
        assert_eq!(cache.get(&key(1)), Remembered::Nothing);
    }
}
