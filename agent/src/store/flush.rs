//! Carries a frozen table out to `rows.redb`, in place order, a chunk at a time.
//!
//! Apart from the memtable, which goes on being read and written meanwhile, and from the thread that drives it, so that a
//! test can stop between any two chunks. A chunk is one durable transaction: its rows, and how far the flush has come. The
//! last one also moves the vectors, the clock's mark and the watermark; until it is durable, everything but the rows below
//! the cursor describes the old watermark.
//!
//! Invariants: a job exists only for a durable commit; each step leaves a file from which replay gives the same rows.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use everett_mesh_proto::id::Space;
use everett_mesh_proto::log::Commit;
use everett_mesh_proto::replica::Settled;
use everett_mesh_proto::rows::{Position, Row, RowKey};
use everett_mesh_proto::summary::{rebuild, update};
use everett_mesh_proto::wire::encode_row;

use super::error::StoreError;
use super::facts::Progress;
use super::memtable::{Frozen, row_key, through_cuts};
use super::rows_file::{Batch, RowsFile, Snapshot};
use super::table::{Slot, Table};
use super::tree::BatchTree;

/// How much one transaction carries.
#[derive(Clone, Copy, Debug)]
pub struct ChunkLimit {
    /// Rows written.
    pub rows: usize,
    /// Rows that a cut looked at, changed or not.
    pub rows_scanned: usize,
    /// Bytes of keys and rows written.
    pub bytes: usize,
}

impl Default for ChunkLimit {
    fn default() -> Self {
        Self { rows: 8_000, rows_scanned: 64_000, bytes: 16 << 20 }
    }
}

/// A frozen table on its way to the file.
#[derive(Debug)]
#[must_use = "what was frozen must be flushed"]
pub struct FlushJob {
    file: RowsFile,
    base: Arc<Snapshot>,
    frozen: Frozen,
    settled: Settled,
    progress: Progress,
    cursor: Vec<u8>,
    /// Bytes of frozen rows that are in the file by now.
    carried: usize,
    /// Places whose rows this flush has changed so far, by namespace.
    changed: Vec<(Space, Vec<u64>)>,
}

/// A flush that has finished: the new base.
#[derive(Debug)]
#[must_use = "the memtable must be told"]
pub struct Flushed {
    snapshot: Arc<Snapshot>,
}

impl Flushed {
    /// The state that the flush left.
    pub fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    pub(super) fn into_snapshot(self) -> Arc<Snapshot> {
        self.snapshot
    }
}

/// What a step came to.
#[derive(Debug)]
pub enum FlushStep {
    /// There is more.
    More(Box<FlushJob>),
    /// That was the last chunk.
    Done(Flushed),
}

/// The rows of one transaction.
struct Chunk<'a> {
    writes: Vec<(RowKey, Option<Cow<'a, [u8]>>)>,
    /// Where the next chunk begins; `None` after the last row.
    cursor: Option<Vec<u8>>,
    /// What the frozen rows among them take in memory.
    frozen_bytes: usize,
}

impl FlushJob {
    pub(super) fn new(file: RowsFile, base: Arc<Snapshot>, frozen: Frozen, settled: Settled) -> Box<Self> {
        let progress = base.progress().clone();
        Box::new(Self { file, base, frozen, settled, progress, cursor: Vec::new(), carried: 0, changed: Vec::new() })
    }

    /// The commit that the file will describe.
    pub fn commit(&self) -> Commit {
        self.settled.commit
    }

    /// About how many bytes of the frozen rows it has carried out so far.
    pub fn carried(&self) -> usize {
        self.carried
    }

    /// Runs to the end.
    pub fn run(self: Box<Self>, limit: ChunkLimit) -> Result<Flushed, StoreError> {
        let mut job = self;
        loop {
            match job.step(limit)? {
                FlushStep::More(rest) => job = rest,
                FlushStep::Done(flushed) => return Ok(flushed),
            }
        }
    }

    /// Writes one chunk.
    pub fn step(mut self: Box<Self>, limit: ChunkLimit) -> Result<FlushStep, StoreError> {
        let table = Arc::clone(&self.frozen.table);
        let chunk = self.plan(&table, limit)?;
        let batch = self.file.begin()?;
        write_rows(&batch, &chunk.writes)?;
        chunk.writes.iter().for_each(|(key, _)| self.note_changed(key));
        self.carried += chunk.frozen_bytes;
        let to = self.settled.commit;
        if let Some(cursor) = chunk.cursor {
            self.progress = self.progress.advanced(to, &cursor);
            self.cursor = cursor;
            batch.set_progress(&self.progress)?;
            batch.commit()?;
            return Ok(FlushStep::More(self));
        }
        for (space, vector) in &self.settled.vectors {
            if !vector.is_empty() && self.base.vectors().get(space) != Some(vector) {
                batch.set_vector(space, vector)?;
            }
        }
        self.update_trees(&batch)?;
        batch.set_clock_mark(self.settled.mark_ms)?;
        batch.set_progress(&Progress::settled(to))?;
        batch.commit()?;
        let snapshot = Arc::new(self.file.snapshot()?);
        Ok(FlushStep::Done(Flushed { snapshot }))
    }

    /// Notes the place of a row that is written; rows come in order.
    fn note_changed(&mut self, key: &RowKey) {
        if self.changed.last().is_none_or(|(space, _)| !key.is_in(space)) {
            self.changed.push((key.space(), Vec::new()));
        }
        let (place, places) = (key.place(), &mut self.changed.last_mut().expect("one was just pushed").1);
        if places.last() != Some(&place) {
            places.push(place);
        }
    }

    /// Brings the trees up to date with the rows. A flush that began over the traces of one that was interrupted does not
    /// know what that one had changed: it builds them anew.
    fn update_trees(&self, batch: &Batch) -> Result<(), StoreError> {
        let mut tree = BatchTree::new(batch)?;
        let placer = self.file.placer();
        if self.base.progress().is_interrupted() {
            for space in self.settled.vectors.keys() {
                rebuild(&mut tree, placer, space)?;
            }
            return Ok(());
        }
        for (space, places) in &self.changed {
            update(&mut tree, &*self.base, placer, space, places)?;
        }
        Ok(())
    }

    /// Gathers what the next transaction writes: frozen rows, and stored rows that a cut changes.
    fn plan<'a>(&self, table: &'a Table, limit: ChunkLimit) -> Result<Chunk<'a>, StoreError> {
        let mut frozen = table.from(&self.cursor).peekable();
        let mut stored = self.rows_under_cuts()?.peekable();
        let mut writes = Vec::new();
        let (mut bytes, mut scanned, mut frozen_bytes) = (0, 0, 0);
        loop {
            if let Some(Err(_)) = stored.peek() {
                stored.next().transpose()?;
            }
            let below = stored.peek().and_then(|entry| entry.as_ref().ok()).map(|entry| entry.0.as_bytes().as_ref());
            let key = match (frozen.peek().map(|slot| slot.key()), below) {
                (Some(above), Some(below)) => row_key(above.min(below)),
                (Some(key), None) | (None, Some(key)) => row_key(key),
                (None, None) => return Ok(Chunk { writes, cursor: None, frozen_bytes }),
            };
            let below = stored.next_if(|entry| entry.as_ref().is_ok_and(|entry| entry.0 == key)).transpose()?;
            let write = match (frozen.next_if(|slot| slot.key() == key.as_bytes()), below) {
                (Some(slot), _) => {
                    frozen_bytes += slot.bytes();
                    Some(self.carried_as(&key, slot))
                }
                (None, Some((_, row, at))) => self.changed_by_cuts(&key, &row, at).map(|row| stored_bytes(&row)),
                (None, None) => None,
            };
            scanned += 1;
            let cursor = after(&key);
            if let Some(value) = write {
                bytes += key.as_bytes().len() + value.as_ref().map_or(0, |value| value.len());
                writes.push((key, value));
            }
            if writes.len() >= limit.rows || scanned >= limit.rows_scanned || bytes >= limit.bytes {
                return Ok(Chunk { writes, cursor: Some(cursor), frozen_bytes });
            }
        }
    }

    /// What a frozen row is carried out as.
    fn carried_as<'a>(&self, key: &RowKey, slot: &'a Slot) -> Option<Cow<'a, [u8]>> {
        let is_cut = self.frozen.cuts.iter().any(|(at, _)| *at > slot.at());
        match slot.encoded() {
            Some(bytes) if !is_cut => (!bytes.is_empty()).then_some(Cow::Borrowed(bytes)),
            _ => stored_bytes(&through_cuts(&self.frozen.cuts, key, slot.row(), slot.at())),
        }
    }

    fn changed_by_cuts(&self, key: &RowKey, row: &Row, at: Position) -> Option<Cow<'static, Row>> {
        let cut = through_cuts(&self.frozen.cuts, key, Cow::Borrowed(row), at).into_owned();
        (cut != *row).then_some(Cow::Owned(cut))
    }

    /// The stored rows from the cursor on that lie in a namespace with a cut, in order.
    fn rows_under_cuts(
        &self,
    ) -> Result<impl Iterator<Item = Result<(RowKey, Row, Position), StoreError>> + '_, StoreError> {
        let by_start = self.frozen.cuts.iter().map(|(_, cut)| (RowKey::range_start(&cut.space, 0), &cut.space));
        let spaces: BTreeMap<Bytes, &Space> = by_start.collect();
        let rows = spaces.into_iter().map(|(start, space)| {
            let rows = self.base.rows_from(self.cursor.as_slice().max(&start))?;
            Ok(rows.take_while(|entry| entry.as_ref().map_or(true, |entry| entry.0.is_in(space))))
        });
        let rows: Vec<_> = rows.collect::<Result<_, StoreError>>()?;
        Ok(rows.into_iter().flatten())
    }
}

/// What a row is stored as; nothing if it holds nothing.
fn stored_bytes(row: &Row) -> Option<Cow<'static, [u8]>> {
    (!row.is_empty()).then(|| Cow::Owned(encode_row(row).into()))
}

/// The least key past `key`.
fn after(key: &RowKey) -> Vec<u8> {
    let mut cursor = key.as_bytes().to_vec();
    cursor.push(0);
    cursor
}

fn write_rows(batch: &Batch, writes: &[(RowKey, Option<Cow<'_, [u8]>>)]) -> Result<(), StoreError> {
    let mut rows = batch.rows()?;
    for (key, value) in writes {
        match value {
            Some(value) => rows.insert(key.as_bytes().as_ref(), value.as_ref())?,
            None => rows.remove(key.as_bytes().as_ref())?,
        };
    }
    Ok(())
}
