//! Rows in memory, found by hash and walked in place order.
//!
//! A row lies packed: one allocation holds its key and, behind that, the bytes that the file will hold; a row that is put
//! again and takes the same room is written where it lies. Keys are spread over all memory by their hashes, so what a
//! lookup costs is the cache lines that it touches: two of the index, one slot, and one run of bytes. Rows with large
//! values stay as they are, so that a value is not copied to be looked at.
//!
//! Invariants: what is in order is in the table, once; an empty row is a removal and stays; slots are never moved or given
//! back, as a table is dropped whole. One thread changes a table; once it is frozen, several may read it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};

use everett_mesh_proto::rows::{Kind, Position, Row, RowKey};
use everett_mesh_proto::wire::{append_row, decode_row};
use hashbrown::HashTable;
use smallvec::SmallVec;

use super::placed::{Handle, head_of, tag_at, tag_of};

/// Rows that take more than about this many bytes are not packed.
const PACKED_BYTES_MAX: usize = 1 << 10;

/// What a row costs in memory beside its key and content: slot, index, order, the allocation's own.
const ROW_OVERHEAD_BYTES: usize = 160;

/// Rows in memory.
#[derive(Debug, Default)]
pub(super) struct Table {
    index: HashTable<Handle>,
    slots: Vec<Slot>,
    /// The slots by the first bytes of their keys; those whose keys begin alike by the whole key.
    order: BTreeMap<u128, SmallVec<[u32; 2]>>,
    /// Whether any of them is a key's expiry register.
    holds_registers: bool,
    bytes: usize,
    /// What the row that is being put takes packed.
    scratch: Vec<u8>,
}

/// A row in memory.
#[derive(Debug)]
pub(super) struct Slot {
    /// The key, and the row behind it if it is packed. A row that holds nothing takes nothing.
    bytes: Box<[u8]>,
    key_len: u32,
    /// The row if it is not packed.
    whole: Option<Box<Row>>,
    at: Position,
    /// Whether this is a key's value, and the key was found to have no expiry register anywhere. Atomic only because a
    /// frozen table is read by two threads; one table's slots are written by one of them.
    alone: AtomicBool,
}

impl Slot {
    /// The row's key.
    pub(super) fn key(&self) -> &[u8] {
        &self.bytes[..self.key_len as usize]
    }

    /// What the row reflects.
    pub(super) fn at(&self) -> Position {
        self.at
    }

    /// The row.
    pub(super) fn row(&self) -> Cow<'_, Row> {
        if let Some(row) = &self.whole {
            return Cow::Borrowed(row);
        }
        let kind = RowKey::kind_of(self.key());
        let row = match self.packed() {
            [] => Row::empty(kind),
            bytes => decode_row(kind, bytes).expect("what was packed is a row"),
        };
        Cow::Owned(row)
    }

    /// The row's bytes, none if it holds nothing; nothing if it is not packed.
    pub(super) fn encoded(&self) -> Option<&[u8]> {
        self.whole.is_none().then(|| self.packed())
    }

    /// Whether the key was found to have no expiry register.
    pub(super) fn is_alone(&self) -> bool {
        self.alone.load(Ordering::Relaxed)
    }

    /// Notes whether the key has no expiry register.
    pub(super) fn set_alone(&self, alone: bool) {
        self.alone.store(alone, Ordering::Relaxed);
    }

    /// About what it takes in memory.
    pub(super) fn bytes(&self) -> usize {
        ROW_OVERHEAD_BYTES + self.key_len as usize + self.content_bytes()
    }

    fn packed(&self) -> &[u8] {
        &self.bytes[self.key_len as usize..]
    }

    fn content_bytes(&self) -> usize {
        self.packed().len() + self.whole.as_deref().map_or(0, row_bytes)
    }

    /// Takes a row's packed bytes, in place where they fit.
    fn pack(&mut self, packed: &[u8]) {
        let key_len = self.key_len as usize;
        if self.bytes.len() == key_len + packed.len() {
            self.bytes[key_len..].copy_from_slice(packed);
        } else {
            self.bytes = [&self.bytes[..key_len], packed].concat().into();
        }
    }
}

impl Table {
    /// About how many bytes all rows take.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many rows there are, removals among them.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether it may hold the expiry register of any key.
    pub(super) fn holds_registers(&self) -> bool {
        self.holds_registers
    }

    /// The row under `key`.
    pub(super) fn get(&self, key: &RowKey) -> Option<&Slot> {
        let tag = tag_of(key);
        let is_it = |handle: &Handle| handle.tag == tag && self.slot(handle.slot).key() == key.as_bytes();
        let handle = self.index.find(Handle::hash_of(tag), is_it)?;
        Some(self.slot(handle.slot))
    }

    /// Looks at the values at these places, keeping the places of those that are not here. Each step is taken for all of
    /// them before the next one is: a processor waits for many lines of memory at once.
    pub(super) fn look_ahead(&self, places: &mut Vec<u64>) {
        let mut slots = SmallVec::<[u32; 128]>::new();
        places.retain(|place| {
            let tag = tag_at(*place, Kind::Scalar);
            let found = self.index.find(Handle::hash_of(tag), |handle| handle.tag == tag);
            slots.extend(found.map(|handle| handle.slot));
            found.is_none()
        });
        let lengths = slots.iter().map(|slot| self.slot(*slot)).fold(0, |sum, slot| sum ^ slot.bytes.len());
        black_box(lengths);
        let ends = slots.iter().map(|slot| {
            let Slot { bytes, key_len, .. } = self.slot(*slot);
            [bytes.first(), bytes.get(*key_len as usize), bytes.last()].map(|byte| byte.copied().unwrap_or(0))
        });
        black_box(ends.fold(0, |sum, [key, row, end]| sum ^ key ^ row ^ end));
    }

    /// Puts a row; returns whether there was none under its key.
    pub(super) fn put(&mut self, key: &RowKey, row: Row, at: Position) -> bool {
        let tag = tag_of(key);
        let slots = &self.slots;
        let is_it = |handle: &Handle| handle.tag == tag && slots[handle.slot as usize].key() == key.as_bytes();
        let found = self.index.find(Handle::hash_of(tag), is_it).map(|handle| handle.slot);
        let number = found.unwrap_or_else(|| self.add(key, tag));
        self.scratch.clear();
        let large = row_bytes(&row) > PACKED_BYTES_MAX;
        if !large && !row.is_empty() {
            append_row(&row, &mut self.scratch);
        }
        let slot = &mut self.slots[number as usize];
        self.bytes -= slot.content_bytes();
        slot.pack(&self.scratch);
        slot.whole = large.then(|| Box::new(row));
        slot.at = at;
        self.bytes += slot.content_bytes();
        found.is_none()
    }

    /// The rows from `start` on.
    pub(super) fn from(&self, start: &[u8]) -> impl Iterator<Item = &Slot> + use<'_> {
        let first = head_of(start);
        let start: Box<[u8]> = start.into();
        let slots = self.order.range(first..).flat_map(|(_, alike)| alike.iter().map(|&slot| self.slot(slot)));
        // Only keys that begin as `start` does can lie before it.
        slots.skip_while(move |slot| *slot.key() < *start)
    }

    fn slot(&self, number: u32) -> &Slot {
        &self.slots[number as usize]
    }

    fn add(&mut self, key: &RowKey, tag: u32) -> u32 {
        let bytes = key.as_bytes();
        let number = u32::try_from(self.slots.len()).expect("a table is flushed before it has 2^32 rows");
        let key_len = u32::try_from(bytes.len()).expect("a key fits a frame");
        self.bytes += ROW_OVERHEAD_BYTES + bytes.len();
        self.holds_registers |= key.kind() == Kind::Expiry;
        let alike = self.order.entry(head_of(bytes)).or_default();
        let place = alike.partition_point(|&slot| self.slots[slot as usize].key() < &bytes[..]);
        alike.insert(place, number);
        self.index.insert_unique(Handle::hash_of(tag), Handle { tag, slot: number }, |handle| handle.hash());
        let (at, alone) = (Position::default(), AtomicBool::new(false));
        self.slots.push(Slot { bytes: bytes.as_ref().into(), key_len, whole: None, at, alone });
        number
    }
}

/// About what a row's content takes in memory when it is not packed.
pub(super) fn row_bytes(row: &Row) -> usize {
    match row {
        Row::Expiry(register) => 32 * register.len(),
        Row::Scalar(scalar) => {
            let values: usize = scalar.siblings().iter().map(|sibling| 80 + sibling.bytes.len()).sum();
            values + 192 * scalar.entries().len()
        }
    }
}

#[cfg(test)]
mod tests {
    use everett_mesh_proto::clock::Stamp;
    use everett_mesh_proto::crdt::{NEVER_MS, Scalar, Sibling};
    use everett_mesh_proto::id::{Dot, ReplicaId, Space};
    use everett_mesh_proto::log::Commit;

    use super::*;

    fn key(number: u64, kind: Kind) -> RowKey {
        let spaces = [Space::numbered(0), Space::new("another").unwrap()];
        let space = &spaces[usize::from(number.is_multiple_of(5))];
        // Few places, so that keys begin alike.
        RowKey::new(
            space,
            number % 40,
            format!("{number:0len$}", len = [1, 3, 9][number_in(number, 3)]).as_bytes(),
            kind,
        )
    }

    fn number_in(number: u64, len: u64) -> usize {
        usize::try_from(number % len).unwrap()
    }

    fn row(seq: u64, len: usize) -> Row {
        let mut scalar = Scalar::default();
        let dot = Dot { replica: ReplicaId([7; 16]), seq };
        scalar.insert(Sibling { dot, stamp: Stamp::at_ms(seq), bytes: vec![b'x'; len].into(), deadline_ms: NEVER_MS });
        Row::Scalar(scalar)
    }

    #[test]
    fn a_table_answers_as_a_sorted_map_does() {
        let mut table = Table::default();
        let mut map = BTreeMap::new();
        for step in 0..4_000_u64 {
            let number = step.wrapping_mul(0x9e37_79b9) % 600;
            let key = key(number, if step.is_multiple_of(9) { Kind::Expiry } else { Kind::Scalar });
            let len = [0, 7, 7, 200, 3_000][number_in(step, 5)];
            let row = match (step % 11, key.kind()) {
                (0, kind) | (_, kind @ Kind::Expiry) => Row::empty(kind),
                (_, Kind::Scalar) => row(step + 1, len),
            };
            let at = Position { commit: Commit(step), index: 3 };
            let is_new = table.put(&key, row.clone(), at);
            assert_eq!(is_new, map.insert(key, (row, at)).is_none());
        }
        for (key, (row, at)) in &map {
            let slot = table.get(key).expect("it was put");
            assert_eq!((&*slot.row(), slot.at(), slot.key()), (row, *at, key.as_bytes().as_ref()));
        }
        assert!(table.get(&key(601, Kind::Scalar)).is_none());
        let keys: Vec<&RowKey> = map.keys().collect();
        for from in [0, 1, 17, keys.len() / 2, keys.len() - 1] {
            let walked = table.from(keys[from].as_bytes()).map(Slot::key);
            assert!(walked.eq(keys[from..].iter().map(|key| key.as_bytes().as_ref())));
            let mut past = keys[from].as_bytes().to_vec();
            past.push(0);
            assert!(table.from(&past).map(Slot::key).eq(keys[from + 1..].iter().map(|key| key.as_bytes().as_ref())));
        }
        assert_eq!(table.from(b"").count(), map.len());
    }

    #[test]
    fn what_a_table_takes_follows_what_is_in_it() {
        let mut table = Table::default();
        let key = key(1, Kind::Scalar);
        let sizes = [10, 3_000, 500, 0].map(|len| {
            table.put(&key, row(1, len), Position::default());
            table.bytes()
        });
        assert!(sizes[1] > sizes[0] + 2_900 && sizes[2] < sizes[1] && sizes[3] < sizes[0], "{sizes:?}");
        table.put(&key, Row::empty(Kind::Scalar), Position::default());
        assert_eq!(table.bytes(), ROW_OVERHEAD_BYTES + key.as_bytes().len());
    }
}
