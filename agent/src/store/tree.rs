//! The Merkle tree in `rows.redb`: read from snapshots, brought up to date by flushes.
//!
//! A node is stored under its namespace, the first place of its path, and its depth, and so is the gist of a large one. What
//! they mean is mesh-proto's.

use std::ops::{Bound, ControlFlow};

use bytes::{BufMut, Bytes, BytesMut};
use everett_mesh_proto::id::Space;
use everett_mesh_proto::repair::Pin;
use everett_mesh_proto::rows::{Row, RowKey};
use everett_mesh_proto::summary::{Content, Gist, Node, Path, Tree};
use everett_mesh_proto::vector::Vector;
use redb::ReadableTable;

use super::error::StoreError;
use super::rows_file::{Batch, Snapshot};

type Stored = &'static [u8];

impl Content for Snapshot {
    type Error = StoreError;

    fn node(&self, space: &Space, path: Path) -> Result<Option<Node>, StoreError> {
        node(self.nodes(), space, path)
    }

    fn rows(
        &self,
        space: &Space,
        path: Path,
        visit: &mut dyn FnMut(&RowKey, &Bytes) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        rows(Snapshot::rows(self), space, path, visit)
    }

    fn gist(&self, space: &Space, path: Path) -> Result<Option<Gist>, StoreError> {
        self.gists().map_or(Ok(None), |gists| gist(gists, space, path))
    }
}

impl Pin for Snapshot {
    fn vector(&self, space: &Space) -> Result<Vector, StoreError> {
        Ok(self.vectors().get(space).cloned().unwrap_or_default())
    }

    fn row(&self, key: &RowKey) -> Result<Option<Row>, StoreError> {
        Ok(Snapshot::row(self, key)?.0)
    }
}

/// Rows and tree as a transaction that is being written sees them.
pub(super) struct BatchTree<'a> {
    rows: redb::Table<'a, Stored, Stored>,
    nodes: redb::Table<'a, Stored, Stored>,
    gists: redb::Table<'a, Stored, Stored>,
}

impl<'a> BatchTree<'a> {
    pub(super) fn new(batch: &'a Batch) -> Result<Self, StoreError> {
        Ok(Self { rows: batch.rows()?, nodes: batch.nodes()?, gists: batch.gists()? })
    }
}

impl Content for BatchTree<'_> {
    type Error = StoreError;

    fn node(&self, space: &Space, path: Path) -> Result<Option<Node>, StoreError> {
        node(&self.nodes, space, path)
    }

    fn rows(
        &self,
        space: &Space,
        path: Path,
        visit: &mut dyn FnMut(&RowKey, &Bytes) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        rows(&self.rows, space, path, visit)
    }

    fn gist(&self, space: &Space, path: Path) -> Result<Option<Gist>, StoreError> {
        gist(&self.gists, space, path)
    }
}

impl Tree for BatchTree<'_> {
    fn set_node(&mut self, space: &Space, path: Path, node: Option<Node>) -> Result<(), StoreError> {
        let key = node_key(space, path);
        match node {
            Some(node) => drop(self.nodes.insert(key.as_ref(), node.to_bytes().as_slice())?),
            None => drop(self.nodes.remove(key.as_ref())?),
        }
        Ok(())
    }

    fn set_gist(&mut self, space: &Space, path: Path, gist: Option<&Gist>) -> Result<(), StoreError> {
        let key = node_key(space, path);
        match gist {
            Some(gist) => drop(self.gists.insert(key.as_ref(), gist.to_bytes().as_slice())?),
            None => drop(self.gists.remove(key.as_ref())?),
        }
        Ok(())
    }
}

fn node_key(space: &Space, path: Path) -> Bytes {
    let mut key = BytesMut::from(RowKey::range_start(space, path.first()).as_ref());
    key.put_u8(path.depth());
    key.freeze()
}

fn node<T: ReadableTable<Stored, Stored>>(nodes: &T, space: &Space, path: Path) -> Result<Option<Node>, StoreError> {
    let Some(guard) = nodes.get(node_key(space, path).as_ref())? else { return Ok(None) };
    Node::from_bytes(guard.value()).map(Some).ok_or(StoreError::Fact("tree"))
}

fn gist<T: ReadableTable<Stored, Stored>>(gists: &T, space: &Space, path: Path) -> Result<Option<Gist>, StoreError> {
    let Some(guard) = gists.get(node_key(space, path).as_ref())? else { return Ok(None) };
    Gist::from_bytes(guard.value()).map(Some).ok_or(StoreError::Fact("gists"))
}

fn rows<T: ReadableTable<Stored, Stored>>(
    rows: &T,
    space: &Space,
    path: Path,
    visit: &mut dyn FnMut(&RowKey, &Bytes) -> ControlFlow<()>,
) -> Result<(), StoreError> {
    let start = RowKey::range_start(space, path.first());
    let last = path.last();
    for entry in rows.range::<&[u8]>((Bound::Included(start.as_ref()), Bound::Unbounded))? {
        let (key, value) = entry?;
        let damaged = || StoreError::Row(key.value().escape_ascii().to_string());
        let row_key = RowKey::from_bytes(Bytes::copy_from_slice(key.value())).ok_or_else(damaged)?;
        let beyond = !row_key.is_in(space) || row_key.place() > last;
        if beyond || visit(&row_key, &Bytes::copy_from_slice(value.value())).is_break() {
            return Ok(());
        }
    }
    Ok(())
}
