//! Rows of `rows.redb` that were read lately, present or absent, by a hash of their key.
//!
//! Apart from the memtable, which holds what is *newer* than the file; this holds what is *equal* to it. A lookup costs a
//! hash instead of a walk down the file's tree, and most keys have no expiry row, which is worth remembering too: beside
//! the value where that is remembered, so that a key is one entry, or on its own.
//!
//! Invariants: at most `bytes_max`, about; an entry is dropped when its row is put (the memtable answers from then on) and
//! all are when a flush carries out a cut. Eviction is by the clock algorithm (Corbató 1968), one or two steps per insert,
//! so that no read pays for many.

use std::hint::black_box;

use everett_mesh_proto::rows::{Kind, Row, RowKey};
use hashbrown::HashTable;

use super::placed::{Handle, tag_at, tag_of};
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
    index: HashTable<Handle>,
    slots: Vec<Option<Slot>>,
    free: Vec<u32>,
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
    /// A value whose key has no expiry register in the file, and had none in memory when that was found out.
    alone: bool,
}

impl RowCache {
    /// An empty cache for about `bytes_max`.
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { index: HashTable::new(), slots: Vec::new(), free: Vec::new(), hand: 0, bytes: 0, bytes_max }
    }

    /// What the file holds under `key`, if that is known: a row, or none.
    pub(super) fn get(&mut self, key: &RowKey) -> Remembered {
        let Some(slot) = self.slot(key) else { return Remembered::Nothing };
        slot.was_used = true;
        slot.row.clone().map_or(Remembered::Absence, Remembered::Row)
    }

    /// The value under `key`, if that is known and its key is known to have no expiry register in the file.
    pub(super) fn get_alone(&mut self, key: &RowKey) -> Option<Row> {
        let slot = self.slot(key).filter(|slot| slot.alone)?;
        slot.was_used = true;
        slot.row.clone()
    }

    /// The key of this value has no expiry register, of which nothing need be remembered then.
    pub(super) fn set_alone(&mut self, value: &RowKey, register: &RowKey) {
        if let Some(slot) = self.slot(value) {
            slot.alone = true;
            self.remove(register);
        }
    }

    /// The key of this value has a register now.
    pub(super) fn unset_alone(&mut self, value: &RowKey) {
        if let Some(slot) = self.slot(value) {
            slot.alone = false;
        }
    }

    /// Looks at what is remembered of the values at these places, each step for all of them before the next one.
    pub(super) fn look_ahead(&self, places: &[u64]) {
        let slots = places.iter().filter_map(|place| {
            let tag = tag_at(*place, Kind::Scalar);
            let handle = self.index.find(Handle::hash_of(tag), |handle| handle.tag == tag)?;
            Some(&self.slots[handle.slot as usize])
        });
        let slots: Vec<&Option<Slot>> = slots.collect();
        let slots: Vec<&Slot> = slots.into_iter().flatten().collect();
        let scalars = slots.iter().filter_map(|slot| {
            black_box(slot.key.as_bytes().first());
            if let Some(Row::Scalar(scalar)) = &slot.row { scalar.siblings().first() } else { None }
        });
        let values: Vec<_> = scalars.map(|sibling| &sibling.bytes).collect();
        let ends = values.iter().map(|value| [value.first(), value.last()].map(|byte| byte.copied().unwrap_or(0)));
        black_box(ends.fold(0, |sum, [first, last]| sum ^ first ^ last));
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
        let number = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).expect("what costs memory has fewer than 2^32 entries")
        });
        let tag = tag_of(&key);
        self.bytes += bytes;
        self.slots[number as usize] = Some(Slot { key, row, bytes, was_used: false, alone: false });
        self.index.insert_unique(Handle::hash_of(tag), Handle { tag, slot: number }, |handle| handle.hash());
    }

    /// Forgets `key`.
    pub(super) fn remove(&mut self, key: &RowKey) {
        let tag = tag_of(key);
        let is_it = |handle: &Handle| handle.tag == tag && holds(&self.slots, handle.slot, key);
        let Ok(found) = self.index.find_entry(Handle::hash_of(tag), is_it) else { return };
        let (Handle { slot, .. }, _) = found.remove();
        self.vacate(slot);
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        *self = Self::new(self.bytes_max);
    }

    fn slot(&mut self, key: &RowKey) -> Option<&mut Slot> {
        let tag = tag_of(key);
        let is_it = |handle: &Handle| handle.tag == tag && holds(&self.slots, handle.slot, key);
        let number = self.index.find(Handle::hash_of(tag), is_it)?.slot;
        self.slots[number as usize].as_mut()
    }

    fn vacate(&mut self, number: u32) {
        if let Some(slot) = self.slots[number as usize].take() {
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

fn holds(slots: &[Option<Slot>], number: u32, key: &RowKey) -> bool {
    slots[number as usize].as_ref().is_some_and(|slot| slot.key == *key)
}

#[cfg(test)]
mod tests {
    use everett_mesh_proto::id::Space;

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
    fn a_value_without_a_register_is_one_entry() {
        let mut cache = RowCache::new(1 << 20);
        let (value, register) = (key(1), key(1).with_kind(Kind::Expiry));
        cache.insert(register.clone(), None);
        cache.insert(value.clone(), Some(Row::empty(Kind::Scalar)));
        assert_eq!(cache.get_alone(&value), None, "nobody has said so");
        cache.set_alone(&value, &register);
        assert_eq!(cache.get_alone(&value), Some(Row::empty(Kind::Scalar)));
        assert_eq!(cache.get(&register), Remembered::Nothing);
        cache.insert(value.clone(), Some(Row::empty(Kind::Scalar)));
        assert_eq!(cache.get_alone(&value), None, "what is read anew says nothing of the register");
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
