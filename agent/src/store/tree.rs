//! The Merkle tree in `rows.redb`: read from snapshots, written by flushes as it was drawn.
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

/// Nodes and gists that are to be stored, or removed.
#[derive(Debug, Default)]
pub(super) struct Drawn(Vec<DrawnSpace>);

/// Those of one namespace. Of a path that comes twice the later word counts.
#[derive(Debug)]
struct DrawnSpace {
    space: Space,
    /// Whether everything that is stored goes first.
    is_cleared: bool,
    nodes: Vec<(Path, Option<Node>)>,
    gists: Vec<(Path, Option<Vec<u8>>)>,
}

impl Drawn {
    /// Stores it.
    pub(super) fn write(self, batch: &Batch) -> Result<(), StoreError> {
        let (mut nodes, mut gists) = (batch.nodes()?, batch.gists()?);
        for mut drawn in self.0 {
            let space = &drawn.space;
            if drawn.is_cleared {
                let (first, last) = node_keys(space);
                nodes.retain_in(first.as_ref()..=last.as_ref(), |_, _| false)?;
                gists.retain_in(first.as_ref()..=last.as_ref(), |_, _| false)?;
            }
            // In the order of the file, so that neighbours are written together.
            drawn.nodes.sort_by_key(|(path, _)| *path);
            for (path, node) in &drawn.nodes {
                let key = node_key(space, *path);
                match node {
                    Some(node) => drop(nodes.insert(key.as_ref(), node.to_bytes().as_slice())?),
                    None => drop(nodes.remove(key.as_ref())?),
                }
            }
            for (path, gist) in &drawn.gists {
                let key = node_key(space, *path);
                match gist {
                    Some(gist) => drop(gists.insert(key.as_ref(), gist.as_slice())?),
                    None => drop(gists.remove(key.as_ref())?),
                }
            }
        }
        Ok(())
    }

    fn of(&mut self, space: &Space) -> &mut DrawnSpace {
        if self.0.last().is_none_or(|last| last.space != *space) {
            let (nodes, gists) = (Vec::new(), Vec::new());
            self.0.push(DrawnSpace { space: space.clone(), is_cleared: false, nodes, gists });
        }
        self.0.last_mut().expect("one was just pushed")
    }
}

impl Tree for Drawn {
    type Error = StoreError;

    fn set_node(&mut self, space: &Space, path: Path, node: Option<Node>) -> Result<(), StoreError> {
        self.of(space).nodes.push((path, node));
        Ok(())
    }

    fn set_gist(&mut self, space: &Space, path: Path, gist: Option<&Gist>) -> Result<(), StoreError> {
        self.of(space).gists.push((path, gist.map(Gist::to_bytes)));
        Ok(())
    }

    fn clear(&mut self, space: &Space) -> Result<(), StoreError> {
        self.of(space).is_cleared = true;
        Ok(())
    }
}

/// The least and the greatest key that a node of a namespace may have.
fn node_keys(space: &Space) -> (Bytes, Bytes) {
    let mut last = BytesMut::from(RowKey::range_start(space, u64::MAX).as_ref());
    last.put_u8(u8::MAX);
    (RowKey::range_start(space, 0), last.freeze())
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
