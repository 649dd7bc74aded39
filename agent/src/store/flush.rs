//! Carries a frozen table out to `rows.redb`, in place order, a chunk at a time.
//!
//! Apart from the memtable, which goes on being read and written meanwhile, and from the thread that drives it, so that a
//! test can stop between any two chunks. A chunk is one durable transaction: its rows, and how far the flush has come. The
//! last one also moves the tree, the vectors, the clock's mark and the watermark; until it is durable, everything but the
//! rows below the cursor describes the old watermark.
//!
//! Invariants: a job exists only for a durable commit; each step leaves a file from which replay gives the same rows.

use std::borrow::Cow;
use std::sync::Arc;

use everett_mesh_proto::log::Commit;
use everett_mesh_proto::replica::Settled;
use everett_mesh_proto::rows::{Position, Row, RowKey};

use super::carried::{Carried, Drawing, stored_bytes};
use super::error::StoreError;
use super::facts::Progress;
use super::memtable::row_key;
use super::rows_file::{Batch, RowsFile, Snapshot};

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
    carried: Arc<Carried>,
    settled: Settled,
    progress: Progress,
    cursor: Vec<u8>,
    /// Bytes of frozen rows that are in the file by now.
    carried_bytes: usize,
    /// The tree's part, from the first step on.
    drawing: Option<Drawing>,
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
    pub(super) fn new(file: RowsFile, carried: Carried, settled: Settled) -> Box<Self> {
        let (progress, carried) = (carried.base.progress().clone(), Arc::new(carried));
        Box::new(Self { file, carried, settled, progress, cursor: Vec::new(), carried_bytes: 0, drawing: None })
    }

    /// The commit that the file will describe.
    pub fn commit(&self) -> Commit {
        self.settled.commit
    }

    /// About how many bytes of the frozen rows it has carried out so far.
    pub fn carried_bytes(&self) -> usize {
        self.carried_bytes
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
        let carried = Arc::clone(&self.carried);
        let drawing = self.drawing.take().unwrap_or_else(|| self.begin_drawing());
        let chunk = self.plan(&carried, limit)?;
        let batch = self.file.begin()?;
        write_rows(&batch, &chunk.writes)?;
        self.carried_bytes += chunk.frozen_bytes;
        let to = self.settled.commit;
        if let Some(cursor) = chunk.cursor {
            self.progress = self.progress.advanced(to, &cursor);
            self.cursor = cursor;
            self.drawing = Some(drawing);
            batch.set_progress(&self.progress)?;
            batch.commit()?;
            return Ok(FlushStep::More(self));
        }
        for (space, vector) in &self.settled.vectors {
            let known = carried.base.vectors().get(space);
            if vector.is_empty() || known == Some(vector) {
                continue;
            }
            batch.set_vector(space, vector)?;
            if known.map_or(!vector.closed().is_empty(), |known| known.closed() != vector.closed()) {
                batch.set_closed(space, vector.closed())?;
            }
        }
        self.write_tree(&batch, drawing)?;
        batch.set_clock_mark(self.settled.mark_ms)?;
        batch.set_progress(&Progress::settled(to))?;
        batch.commit()?;
        let snapshot = Arc::new(self.file.snapshot()?);
        Ok(FlushStep::Done(Flushed { snapshot }))
    }

    fn begin_drawing(&self) -> Drawing {
        if self.carried.base.progress().is_interrupted() || !self.file.keeps_tree() {
            return Drawing::Here;
        }
        Drawing::begin(&self.carried, self.file.placer())
    }

    /// Brings the trees up to date with the rows. A flush that began over the traces of one that was interrupted does not
    /// know what that one had changed: it builds them anew.
    fn write_tree(&self, batch: &Batch, drawing: Drawing) -> Result<(), StoreError> {
        if !self.file.keeps_tree() {
            return Ok(());
        }
        let placer = self.file.placer();
        let drawn = if self.carried.base.progress().is_interrupted() {
            self.carried.draw_anew(placer, self.settled.vectors.keys())?
        } else {
            drawing.end(&self.carried, placer)?
        };
        drawn.write(batch)
    }

    /// Gathers what the next transaction writes: frozen rows, and stored rows that a cut changes.
    fn plan<'a>(&self, carried: &'a Carried, limit: ChunkLimit) -> Result<Chunk<'a>, StoreError> {
        let mut frozen = carried.table.from(&self.cursor).peekable();
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
                    Some(carried.bytes(slot))
                }
                (None, Some((_, row, at))) => carried.changed_by_cuts(&key, &row, at).map(|row| stored_bytes(&row)),
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

    /// The stored rows from the cursor on that lie in a namespace with a cut, in order.
    fn rows_under_cuts(
        &self,
    ) -> Result<impl Iterator<Item = Result<(RowKey, Row, Position), StoreError>> + '_, StoreError> {
        let rows = self.carried.spaces_under_cuts().into_iter().map(|(start, space)| {
            let rows = self.carried.base.rows_from(self.cursor.as_slice().max(&start))?;
            Ok(rows.take_while(|entry| entry.as_ref().map_or(true, |entry| entry.0.is_in(space))))
        });
        let rows: Vec<_> = rows.collect::<Result<_, StoreError>>()?;
        Ok(rows.into_iter().flatten())
    }
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
