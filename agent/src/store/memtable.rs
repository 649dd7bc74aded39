//! Rows that are newer than `rows.redb`, and the one view over both that the machines read and write.
//!
//! Three tables lie over each other: *active* takes every put; *frozen* is what the running flush carries out, unchanged
//! until it has finished; *base* is a snapshot of `rows.redb` from before that flush. A row is that of the topmost table
//! that has it. Cuts are layers beside them, ordered by position: a row is read through exactly the cuts that are later
//! than itself, wherever it lies. What was frozen stays until the next flush, if it is not large: it then says what the
//! base holds, and what was written lately is written again soon. A cache remembers other rows of the base.
//!
//! Invariants: an empty row in active or frozen is a removal; a cut is kept until a flush past it has finished; everything
//! frozen at commit C is flushed only after C is durable, because it leaves here as [`Held`].
//!
//! It is owned by one thread and takes no lock. It does not decide when to flush.

use std::borrow::Cow;
use std::cell::RefCell;
use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;

use everett_mesh_proto::id::Space;
use everett_mesh_proto::log::Held;
use everett_mesh_proto::replica::Settled;
use everett_mesh_proto::rows::{Cut, Found, Kind, Position, Row, RowKey, Rows};

use super::carried::Carried;
use super::error::StoreError;
use super::flush::{FlushJob, Flushed};
use super::row_cache::{Remembered, RowCache};
use super::rows_file::{RowsFile, Snapshot};
use super::table::{Slot, Table};

/// Rows that were carried out and that nobody reads any more.
#[derive(Debug)]
#[must_use = "dropping it takes time"]
pub struct Spent {
    _table: Arc<Table>,
}

impl Spent {
    fn new(table: Arc<Table>) -> Self {
        Self { _table: table }
    }
}

/// The cuts that may still concern a row, in order of position.
pub(super) type Cuts = Vec<(Position, Cut)>;

/// The rows of one store.
#[derive(Debug)]
pub struct Memtable {
    file: RowsFile,
    base: Arc<Snapshot>,
    frozen: Option<Arc<Table>>,
    is_flushing: bool,
    active: Table,
    cuts: Cuts,
    /// A frozen table that is larger goes with its flush.
    kept_bytes_max: usize,
    /// Behind a cell because reading a row changes what is remembered, not what is held.
    cache: RefCell<RowCache>,
}

impl Memtable {
    /// An empty memtable over the present state of `file`, of whose rows it remembers about `cache_bytes`.
    pub fn new(file: RowsFile, cache_bytes: usize) -> Result<Self, StoreError> {
        let base = Arc::new(file.snapshot()?);
        let kept_bytes_max = cache_bytes / 2;
        let cache = RefCell::new(RowCache::new(cache_bytes - kept_bytes_max));
        let (active, cuts) = (Table::default(), Cuts::new());
        Ok(Self { file, base, frozen: None, is_flushing: false, active, cuts, kept_bytes_max, cache })
    }

    /// The same, whose flushes leave the tree as it is; see [`RowsFile::without_tree`].
    pub fn without_tree(self) -> Self {
        Self { file: self.file.without_tree(), ..self }
    }

    /// The snapshot under the memtable.
    pub fn base(&self) -> &Arc<Snapshot> {
        &self.base
    }

    /// The place of a client's key.
    pub fn place(&self, key: &[u8]) -> u64 {
        self.file.placer().place(key)
    }

    /// Looks at what is in memory of values at these places, so that whoever wants them soon need not wait for each; the
    /// places are used up.
    pub fn look_ahead(&self, places: &mut Vec<u64>) {
        self.active.look_ahead(places);
        if let Some(frozen) = &self.frozen {
            frozen.look_ahead(places);
        }
        self.cache.borrow().look_ahead(places);
    }

    /// About how many bytes the rows take that no flush has begun to carry out.
    pub fn active_bytes(&self) -> usize {
        self.active.bytes()
    }

    /// About how many bytes all rows take that are not in the file yet.
    pub fn bytes(&self) -> usize {
        let frozen = self.frozen.as_ref().filter(|_| self.is_flushing);
        self.active.bytes() + frozen.map_or(0, |table| table.bytes())
    }

    /// Whether a flush is under way.
    pub fn is_flushing(&self) -> bool {
        self.is_flushing
    }

    /// Freezes what is here as the content of `settled`'s commit, to be flushed once that is durable. `None` while an
    /// earlier flush is under way.
    pub fn freeze(&mut self, settled: Settled) -> Option<Held<Box<FlushJob>>> {
        if self.is_flushing {
            return None;
        }
        self.is_flushing = true;
        let table = Arc::new(std::mem::take(&mut self.active));
        let spent = self.frozen.replace(Arc::clone(&table)).map(Spent::new);
        let commit = settled.commit;
        let carried = Carried { base: Arc::clone(&self.base), table, cuts: self.cuts.clone(), _spent: spent };
        let job = FlushJob::new(self.file.clone(), carried, settled);
        Some(Held::new(commit, job))
    }

    /// Takes note that the flush under way has finished. Gives back what was frozen if that is not kept: freeing so many
    /// rows takes longer than a client should wait, and is for another thread.
    pub fn settle(&mut self, flushed: Flushed) -> Option<Spent> {
        assert!(std::mem::take(&mut self.is_flushing), "a flush ends once, after it was begun");
        self.base = flushed.into_snapshot();
        let settled = Position::end_of(self.base.watermark());
        let cuts = self.cuts.len();
        self.cuts.retain(|(at, _)| *at > settled);
        // What was put is not in the cache; what a cut changed in the file may be, and so may what is frozen.
        let was_cut = self.cuts.len() < cuts;
        if was_cut {
            self.cache.get_mut().clear();
        }
        let goes = |table: &mut Arc<Table>| was_cut || table.bytes() > self.kept_bytes_max;
        self.frozen.take_if(goes).map(Spent::new)
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
    fn in_memory(&self, key: &RowKey) -> Option<&Slot> {
        self.active.get(key).or_else(|| self.in_frozen(key))
    }

    fn in_frozen(&self, key: &RowKey) -> Option<&Slot> {
        self.frozen.as_ref().and_then(|table| table.get(key))
    }

    /// Whether a key's expiry register may be in memory.
    fn may_hold_registers(&self) -> bool {
        self.active.holds_registers() || self.frozen.as_ref().is_some_and(|table| table.holds_registers())
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
            Some(slot) => (slot.row(), slot.at()),
            None => match self.stored(key)? {
                (Some(row), at) => (Cow::Owned(row), at),
                (None, at) => return Ok(Found { row: None, at }),
            },
        };
        Ok(self.found(key, row, at))
    }

    fn pair(&self, scalar: &RowKey) -> Result<[Found<'_>; 2], StoreError> {
        let active = self.active.get(scalar);
        let slot = active.or_else(|| self.in_frozen(scalar));
        let absent = Found { row: None, at: Position::default() };
        if let Some(slot) = slot
            && slot.is_alone()
            && (active.is_some() || self.active.get(&scalar.with_kind(Kind::Expiry)).is_none())
        {
            return Ok([absent, self.found(scalar, slot.row(), slot.at())]);
        }
        let may_be_alone = slot.is_none() && !self.may_hold_registers();
        let alone = may_be_alone.then(|| self.cache.borrow_mut().get_alone(scalar)).flatten();
        if let Some(row) = alone {
            let at = self.base.progress().position(scalar.as_bytes());
            return Ok([absent, self.found(scalar, Cow::Owned(row), at)]);
        }
        let register_key = scalar.with_kind(Kind::Expiry);
        let register = self.row(&register_key)?;
        let value = self.row(scalar)?;
        if register.row.is_none() && self.in_memory(&register_key).is_none() && self.stored(&register_key)?.0.is_none()
        {
            match slot {
                Some(slot) => slot.set_alone(true),
                None => self.cache.borrow_mut().set_alone(scalar, &register_key),
            }
        }
        Ok([register, value])
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
                active.peek().map(|slot| slot.key()),
                frozen.peek().map(|slot| slot.key()),
                base.peek().and_then(|entry| entry.as_ref().ok()).map(|entry| entry.0.as_bytes().as_ref()),
            ];
            let Some(key) = keys.into_iter().flatten().min().map(row_key).filter(|key| key.is_in(space)) else {
                return Ok(());
            };
            let below = base.next_if(|entry| entry.as_ref().is_ok_and(|entry| entry.0 == key)).and_then(Result::ok);
            let middle = frozen.next_if(|slot| slot.key() == key.as_bytes());
            let above = active.next_if(|slot| slot.key() == key.as_bytes());
            let (row, at) = match (above.or(middle), below) {
                (Some(slot), _) => (slot.row(), slot.at()),
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
        if key.kind() == Kind::Expiry {
            let value_key = key.with_kind(Kind::Scalar);
            self.cache.get_mut().unset_alone(&value_key);
            if let Some(value) = self.active.get(&value_key) {
                value.set_alone(false);
            }
        }
        if !self.active.put(&key, row, at) {
            return;
        }
        let Some(below) = self.in_frozen(&key) else {
            // What is in a table already was forgotten there when it came.
            self.cache.get_mut().remove(&key);
            return;
        };
        if below.is_alone()
            && self.active.get(&key.with_kind(Kind::Expiry)).is_none()
            && let Some(slot) = self.active.get(&key)
        {
            slot.set_alone(true);
        }
    }

    fn cut(&mut self, cut: Cut, at: Position) {
        self.cuts.push((at, cut));
    }
}

/// The key of a row in a table.
pub(super) fn row_key(bytes: &[u8]) -> RowKey {
    RowKey::from_bytes(Bytes::copy_from_slice(bytes)).expect("what is in a table was put under a row key")
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
