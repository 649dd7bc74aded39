//! Rows that are newer than `rows.redb`, and the one view over both that the machines read and write.
//!
//! Three tables lie over each other: *active* takes every put; *frozen* is what the running flush carries out, unchanged
//! until it has finished; *base* is a snapshot of `rows.redb` from before that flush. A row is that of the topmost table
//! that has it. Cuts are layers beside them, ordered by position: a row is read through exactly the cuts that are later
//! than itself, wherever it lies. A cache remembers rows of the base.
//!
//! Invariants: an empty row in active or frozen is a removal; a cut is kept until a flush past it has finished; everything
//! frozen at commit C is flushed only after C is durable, because it leaves here as [`Held`].
//!
//! It is owned by one thread and takes no lock. It does not decide when to flush.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use everett_mesh_proto::id::Space;
use everett_mesh_proto::log::Held;
use everett_mesh_proto::replica::Settled;
use everett_mesh_proto::rows::{Cut, Found, Kind, Position, Row, RowKey, Rows};

use super::error::StoreError;
use super::flush::{FlushJob, Flushed};
use super::placed::{Ordered, Ordinal, Placed};
use super::row_cache::{Remembered, RowCache};
use super::rows_file::{RowsFile, Snapshot};

/// What a row costs in memory beside its key and values: its share of the table, of the order, headers.
const ROW_OVERHEAD_BYTES: usize = 232;

/// A row in memory.
#[derive(Debug)]
struct Slot {
    held: (Row, Position),
    /// Whether this is a key's value, and the key was found to have no expiry register anywhere. Atomic only because a
    /// frozen table is read by two threads; one table's slots are written by one of them.
    alone: AtomicBool,
}

/// Rows in memory, found by hash and walked in place order.
#[derive(Debug, Default)]
pub(super) struct Table {
    rows: HashMap<RowKey, Slot, Placed>,
    order: BTreeSet<Ordered>,
    bytes: usize,
}

/// Rows that were carried out and that nobody reads any more.
#[derive(Debug)]
#[must_use = "dropping it takes time"]
pub struct Spent {
    _table: Arc<Table>,
}

/// The cuts that may still concern a row, in order of position.
pub(super) type Cuts = Vec<(Position, Cut)>;

/// The rows of one store.
#[derive(Debug)]
pub struct Memtable {
    file: RowsFile,
    base: Arc<Snapshot>,
    frozen: Option<Arc<Table>>,
    active: Table,
    cuts: Cuts,
    /// Behind a cell because reading a row changes what is remembered, not what is held.
    cache: RefCell<RowCache>,
}

impl Memtable {
    /// An empty memtable over the present state of `file`, of whose rows it remembers about `cache_bytes`.
    pub fn new(file: RowsFile, cache_bytes: usize) -> Result<Self, StoreError> {
        let base = Arc::new(file.snapshot()?);
        let cache = RefCell::new(RowCache::new(cache_bytes));
        Ok(Self { file, base, frozen: None, active: Table::default(), cuts: Cuts::new(), cache })
    }

    /// The snapshot under the memtable.
    pub fn base(&self) -> &Arc<Snapshot> {
        &self.base
    }

    /// About how many bytes the rows take that no flush has begun to carry out.
    pub fn active_bytes(&self) -> usize {
        self.active.bytes
    }

    /// About how many bytes all rows in memory take.
    pub fn bytes(&self) -> usize {
        self.active.bytes + self.frozen.as_ref().map_or(0, |table| table.bytes)
    }

    /// Whether a flush is under way.
    pub fn is_flushing(&self) -> bool {
        self.frozen.is_some()
    }

    /// Freezes what is here as the content of `settled`'s commit, to be flushed once that is durable. `None` while an
    /// earlier flush is under way.
    pub fn freeze(&mut self, settled: Settled) -> Option<Held<FlushJob>> {
        if self.frozen.is_some() {
            return None;
        }
        let table = Arc::new(std::mem::take(&mut self.active));
        self.frozen = Some(Arc::clone(&table));
        let commit = settled.commit;
        let job = FlushJob::new(self.file.clone(), Arc::clone(&self.base), table, self.cuts.clone(), settled);
        Some(Held::new(commit, job))
    }

    /// Takes note that the flush under way has finished. Gives back what was frozen: freeing so many rows takes longer than
    /// a client should wait, and is for another thread.
    pub fn settle(&mut self, flushed: Flushed) -> Spent {
        let spent = Spent { _table: self.frozen.take().expect("a flush ends once, after it was begun") };
        self.base = flushed.into_snapshot();
        let settled = Position::end_of(self.base.watermark());
        let cuts = self.cuts.len();
        self.cuts.retain(|(at, _)| *at > settled);
        // What was put is not in the cache; what a cut changed in the file may be.
        if self.cuts.len() < cuts {
            self.cache.get_mut().clear();
        }
        spent
    }

    /// The row that the base holds under `key`.
    fn stored(&self, key: &RowKey) -> Result<(Option<Row>, Position), StoreError> {
        let known = match self.cache.borrow_mut().get(key) {
            Remembered::Row(row) => Some(Some(row)),
            Remembered::Absence => Some(None),
            Remembered::Nothing => None,
        };
        if let Some(row) = known {
            return Ok((row, self.base.progress().position(key.as_bytes())));
        }
        let (row, at) = self.base.row(key)?;
        self.cache.borrow_mut().insert(key.clone(), row.clone());
        Ok((row, at))
    }

    /// The topmost row in memory under `key`.
    fn in_memory(&self, key: &RowKey) -> Option<&(Row, Position)> {
        let frozen = || self.frozen.as_ref().and_then(|table| table.rows.get(key));
        self.active.rows.get(key).or_else(frozen).map(|slot| &slot.held)
    }

    /// A row as it is found, through the cuts.
    fn found<'a>(&self, key: &RowKey, row: Cow<'a, Row>, at: Position) -> Found<'a> {
        let row = through_cuts(&self.cuts, key, row, at);
        Found { row: (!row.is_empty()).then_some(row), at }
    }
}

impl Rows for Memtable {
    type Error = StoreError;

    fn row(&self, key: &RowKey) -> Result<Found<'_>, StoreError> {
        let (row, at) = match self.in_memory(key) {
            Some((row, at)) => (Cow::Borrowed(row), *at),
            None => match self.stored(key)? {
                (Some(row), at) => (Cow::Owned(row), at),
                (None, at) => return Ok(Found { row: None, at }),
            },
        };
        Ok(self.found(key, row, at))
    }

    fn pair(&self, scalar: &RowKey) -> Result<[Found<'_>; 2], StoreError> {
        let slot = self.active.rows.get(scalar);
        if let Some(Slot { held: (row, at), alone }) = slot
            && alone.load(Ordering::Relaxed)
        {
            let absent = Found { row: None, at: Position::default() };
            return Ok([absent, self.found(scalar, Cow::Borrowed(row), *at)]);
        }
        let register_key = scalar.with_kind(Kind::Expiry);
        let register = self.row(&register_key)?;
        if let Some(slot) = slot
            && register.row.is_none()
            && self.in_memory(&register_key).is_none()
            && self.stored(&register_key)?.0.is_none()
        {
            slot.alone.store(true, Ordering::Relaxed);
        }
        Ok([register, self.row(scalar)?])
    }

    fn range(
        &self,
        space: &Space,
        place: u64,
        visit: &mut dyn FnMut(&RowKey, &Row) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let start = RowKey::range_start(space, place);
        let frozen = self.frozen.as_deref().map(|table| table.from(&start));
        let mut active = self.active.from(&start).peekable();
        let mut frozen = frozen.into_iter().flatten().peekable();
        let mut base = self.base.rows_from(&start)?.peekable();
        loop {
            // An unreadable row ends the visit before anything past it is shown.
            if let Some(Err(error)) = base.next_if(Result::is_err) {
                return Err(error);
            }
            let keys = [
                active.peek().map(|entry| entry.0),
                frozen.peek().map(|entry| entry.0),
                base.peek().and_then(|entry| entry.as_ref().ok()).map(|entry| &entry.0),
            ];
            let Some(key) = keys.into_iter().flatten().min().filter(|key| key.is_in(space)).cloned() else {
                return Ok(());
            };
            let below = base.next_if(|entry| entry.as_ref().is_ok_and(|entry| entry.0 == key)).and_then(Result::ok);
            let middle = frozen.next_if(|entry| *entry.0 == key);
            let above = active.next_if(|entry| *entry.0 == key);
            let (row, at) = match (above.or(middle), below) {
                (Some((_, (row, at))), _) => (Cow::Borrowed(row), *at),
                (None, Some((_, row, at))) => (Cow::Owned(row), at),
                (None, None) => unreachable!("the least key came from one of the tables"),
            };
            let row = through_cuts(&self.cuts, &key, row, at);
            if !row.is_empty() && visit(&key, &row).is_break() {
                return Ok(());
            }
        }
    }

    fn put(&mut self, key: RowKey, row: Row, at: Position) {
        if key.kind() == Kind::Expiry
            && let Some(value) = self.active.rows.get(&key.with_kind(Kind::Scalar))
        {
            value.alone.store(false, Ordering::Relaxed);
        }
        // What is here already was forgotten there when it came.
        if let Some(key) = self.active.put(key, row, at) {
            self.cache.get_mut().remove(&key);
        }
    }

    fn cut(&mut self, cut: Cut, at: Position) {
        self.cuts.push((at, cut));
    }
}

impl Table {
    /// Puts a row; returns its key if it was not here.
    fn put(&mut self, key: RowKey, row: Row, at: Position) -> Option<RowKey> {
        self.bytes += row_bytes(&row);
        match self.rows.entry(key) {
            Entry::Occupied(mut entry) => {
                self.bytes -= row_bytes(&entry.get().held.0);
                entry.get_mut().held = (row, at);
                None
            }
            Entry::Vacant(entry) => {
                let key = entry.key().clone();
                self.bytes += ROW_OVERHEAD_BYTES + key.as_bytes().len();
                self.order.insert(Ordered::new(key.clone()));
                entry.insert(Slot { held: (row, at), alone: AtomicBool::new(false) });
                Some(key)
            }
        }
    }

    /// The rows from `start` on.
    pub(super) fn from(&self, start: &[u8]) -> impl Iterator<Item = (&RowKey, &(Row, Position))> + use<'_> {
        let start: &dyn Ordinal = &start;
        let keys = self.order.range::<dyn Ordinal, _>((Bound::Included(start), Bound::Unbounded));
        keys.map(|Ordered { key, .. }| (key, &self.rows.get(key).expect("what is in order is in the table").held))
    }
}

/// `row`, which reflects `at`, with every later cut applied.
pub(super) fn through_cuts<'a>(cuts: &Cuts, key: &RowKey, row: Cow<'a, Row>, at: Position) -> Cow<'a, Row> {
    let mut row = row;
    for (cut_at, cut) in cuts {
        if *cut_at > at && key.is_in(&cut.space) && !row.is_empty() {
            row.to_mut().cut(&cut.context);
        }
    }
    row
}

/// About what a row's content takes in memory.
pub(super) fn row_bytes(row: &Row) -> usize {
    match row {
        Row::Expiry(_) => 32,
        Row::Scalar(scalar) => {
            let values: usize = scalar.siblings().iter().map(|sibling| 80 + sibling.bytes.len()).sum();
            values + 192 * scalar.entries().len()
        }
    }
}
