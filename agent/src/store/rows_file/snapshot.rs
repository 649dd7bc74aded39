//! A pinned moment of `rows.redb`: what reads, flushes and repair sessions compute from.
//!
//! Holding one keeps its pages from being reused, so the file grows while it lives; whoever pins bounds the time.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;

use everett_mesh_proto::id::Space;
use everett_mesh_proto::log::Commit;
use everett_mesh_proto::rows::{Position, Row, RowKey};
use everett_mesh_proto::vector::Vector;
use everett_mesh_proto::wire::decode_row;
use redb::{ReadOnlyTable, ReadTransaction, ReadableTable};

use super::{Bytes, CLOSED, FACTS, GISTS, NODES, ROWS, VECTORS, decode_closed, decode_vector, read_facts};
use crate::store::error::StoreError;
use crate::store::facts::Progress;

/// Rows, tree, vectors and progress of one moment. `Send` and `Sync`: share it in an `Arc`.
pub struct Snapshot {
    rows: ReadOnlyTable<Bytes, Bytes>,
    nodes: ReadOnlyTable<Bytes, Bytes>,
    /// None in a file of an earlier version that was not opened for writing since.
    gists: Option<ReadOnlyTable<Bytes, Bytes>>,
    vectors: BTreeMap<Space, Vector>,
    progress: Progress,
    mark_ms: u64,
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Snapshot({:?})", self.progress)
    }
}

impl Snapshot {
    pub(super) fn new(transaction: &ReadTransaction) -> Result<Self, StoreError> {
        let facts = read_facts(&transaction.open_table(FACTS)?)?;
        let mut vectors = BTreeMap::new();
        for entry in transaction.open_table(VECTORS)?.iter()? {
            let (space, vector) = entry?;
            let space = Space::new(space.value()).map_err(|_| StoreError::Fact("vectors"))?;
            let vector = decode_vector(vector.value()).ok_or(StoreError::Fact("vectors"))?;
            vectors.insert(space, vector);
        }
        read_closed(transaction, &mut vectors)?;
        let gists = match transaction.open_table(GISTS) {
            Ok(table) => Some(table),
            Err(redb::TableError::TableDoesNotExist(_)) => None,
            Err(error) => return Err(error.into()),
        };
        Ok(Self {
            rows: transaction.open_table(ROWS)?,
            nodes: transaction.open_table(NODES)?,
            gists,
            vectors,
            progress: facts.progress,
            mark_ms: facts.mark_ms,
        })
    }

    /// The commit that tree and vectors describe.
    pub fn watermark(&self) -> Commit {
        self.progress.watermark()
    }

    /// Which rows reflect which commit.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// The vectors, by namespace, at the watermark.
    pub fn vectors(&self) -> &BTreeMap<Space, Vector> {
        &self.vectors
    }

    /// The clock's high-water mark at the watermark.
    pub fn mark_ms(&self) -> u64 {
        self.mark_ms
    }

    /// The row under `key` and what it, or its absence, reflects.
    pub fn row(&self, key: &RowKey) -> Result<(Option<Row>, Position), StoreError> {
        let bytes = key.as_bytes();
        let row = match self.rows.get(bytes.as_ref())? {
            Some(guard) => Some(decode_row(key.kind(), guard.value()).map_err(|_| damaged(bytes))?),
            None => None,
        };
        Ok((row, self.progress.position(bytes)))
    }

    /// Keys, rows and positions from `start` on, in place order.
    pub fn rows_from<'a>(
        &'a self,
        start: &[u8],
    ) -> Result<impl Iterator<Item = Result<(RowKey, Row, Position), StoreError>> + use<'a>, StoreError> {
        let range = self.rows.range::<&[u8]>((Bound::Included(start), Bound::Unbounded))?;
        Ok(range.map(|entry| {
            let (key, value) = entry?;
            let (key, row) = decode_entry(key.value(), value.value())?;
            let at = self.progress.position(key.as_bytes());
            Ok((key, row, at))
        }))
    }

    /// The rows, in their stored bytes.
    pub(in crate::store) fn rows(&self) -> &impl ReadableTable<Bytes, Bytes> {
        &self.rows
    }

    /// The tree's nodes.
    pub(in crate::store) fn nodes(&self) -> &impl ReadableTable<Bytes, Bytes> {
        &self.nodes
    }

    /// The gists of its larger nodes.
    pub(in crate::store) fn gists(&self) -> Option<&impl ReadableTable<Bytes, Bytes>> {
        self.gists.as_ref()
    }
}

/// Adds the closed lives to vectors of open ones; a file of the first version knows of none.
fn read_closed(transaction: &ReadTransaction, vectors: &mut BTreeMap<Space, Vector>) -> Result<(), StoreError> {
    let table = match transaction.open_table(CLOSED) {
        Ok(table) => table,
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    for entry in table.iter()? {
        let (space, closed) = entry?;
        let space = Space::new(space.value()).map_err(|_| StoreError::Fact("closed"))?;
        let closed = decode_closed(closed.value()).ok_or(StoreError::Fact("closed"))?;
        let vector = vectors.entry(space).or_default();
        *vector = Vector::assemble(std::mem::take(vector), closed);
    }
    Ok(())
}

/// Reads a stored row.
pub(in crate::store) fn decode_entry(key: &[u8], value: &[u8]) -> Result<(RowKey, Row), StoreError> {
    let row_key = RowKey::from_bytes(bytes::Bytes::copy_from_slice(key)).ok_or_else(|| damaged(key))?;
    let row = decode_row(row_key.kind(), value).map_err(|_| damaged(key))?;
    Ok((row_key, row))
}

fn damaged(key: &[u8]) -> StoreError {
    StoreError::Row(key.escape_ascii().to_string())
}
