//! A settled snapshot in memory: rows, tree and vectors of one commit.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ops::ControlFlow;

use bytes::Bytes;

use crate::id::Space;
use crate::repair::Pin;
use crate::rows::{Placer, Row, RowKey};
use crate::summary::{Content, Gist, Node, Path, Tree, rebuild};
use crate::vector::Vector;
use crate::wire::{decode_row, encode_row};

/// Rows in canonical bytes, the tree over them, and vectors.
#[derive(Clone, Debug, Default)]
pub struct MemoryContent {
    rows: BTreeMap<RowKey, Bytes>,
    nodes: BTreeMap<(Space, Path), Node>,
    gists: BTreeMap<(Space, Path), Gist>,
    vectors: BTreeMap<Space, Vector>,
}

impl MemoryContent {
    /// A snapshot of these rows under this vector, with its tree.
    pub fn settled(placer: &Placer, space: &Space, rows: &BTreeMap<RowKey, Row>, vector: Vector) -> Self {
        let rows = rows.iter().map(|(key, row)| (key.clone(), encode_row(row))).collect();
        let vectors = [(space.clone(), vector)].into();
        let mut content = Self { rows, vectors, ..Self::default() };
        let Ok(_) = rebuild(&mut content, placer, space);
        content
    }

    /// Puts a row's bytes, or removes it; the tree does not know yet.
    pub fn put(&mut self, key: RowKey, row: Option<Bytes>) {
        match row {
            Some(row) => drop(self.rows.insert(key, row)),
            None => drop(self.rows.remove(&key)),
        }
    }

    /// The keys of all rows, in order.
    pub fn keys(&self) -> impl Iterator<Item = &RowKey> {
        self.rows.keys()
    }

    /// Every node stored.
    pub fn nodes(&self) -> &BTreeMap<(Space, Path), Node> {
        &self.nodes
    }

    /// Every gist stored.
    pub fn gists(&self) -> &BTreeMap<(Space, Path), Gist> {
        &self.gists
    }
}

impl Content for MemoryContent {
    type Error = Infallible;

    fn node(&self, space: &Space, path: Path) -> Result<Option<Node>, Infallible> {
        Ok(self.nodes.get(&(space.clone(), path)).copied())
    }

    fn rows(
        &self,
        space: &Space,
        path: Path,
        visit: &mut dyn FnMut(&RowKey, &Bytes) -> ControlFlow<()>,
    ) -> Result<(), Infallible> {
        let start = RowKey::range_start(space, path.first());
        let rows = self.rows.range::<[u8], _>((std::ops::Bound::Included(&start[..]), std::ops::Bound::Unbounded));
        for (key, row) in rows.take_while(|(key, _)| key.is_in(space) && path.contains(key.place())) {
            if visit(key, row).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn gist(&self, space: &Space, path: Path) -> Result<Option<Gist>, Infallible> {
        Ok(self.gists.get(&(space.clone(), path)).cloned())
    }
}

impl Tree for MemoryContent {
    fn set_node(&mut self, space: &Space, path: Path, node: Option<Node>) -> Result<(), Infallible> {
        match node {
            Some(node) => drop(self.nodes.insert((space.clone(), path), node)),
            None => drop(self.nodes.remove(&(space.clone(), path))),
        }
        Ok(())
    }

    fn set_gist(&mut self, space: &Space, path: Path, gist: Option<&Gist>) -> Result<(), Infallible> {
        match gist {
            Some(gist) => drop(self.gists.insert((space.clone(), path), gist.clone())),
            None => drop(self.gists.remove(&(space.clone(), path))),
        }
        Ok(())
    }
}

impl Pin for MemoryContent {
    fn vector(&self, space: &Space) -> Result<Vector, Infallible> {
        Ok(self.vectors.get(space).cloned().unwrap_or_default())
    }

    fn row(&self, key: &RowKey) -> Result<Option<Row>, Infallible> {
        let decode = |bytes: &Bytes| decode_row(key.kind(), bytes).expect("rows here were encoded here");
        Ok(self.rows.get(key).map(decode))
    }
}
