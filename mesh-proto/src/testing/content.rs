//! A settled snapshot in memory: rows, tree and vectors of one commit.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ops::ControlFlow;

use bytes::Bytes;

use crate::id::Space;
use crate::repair::Pin;
use crate::rows::{Placer, Row, RowKey};
use crate::summary::{Change, Content, Gist, Node, Path, Standing, States, Tree, rebuild};
use crate::vector::Vector;
use crate::wire::{decode_row, encode_row};

/// Rows in canonical bytes, the tree over them, and vectors.
#[derive(Clone, Debug, Default)]
pub struct MemoryContent {
    rows: BTreeMap<RowKey, Bytes>,
    tree: MemoryTree,
    vectors: BTreeMap<Space, Vector>,
}

/// A tree in memory.
#[derive(Clone, Debug, Default)]
pub struct MemoryTree {
    nodes: BTreeMap<(Space, Path), Node>,
    gists: BTreeMap<(Space, Path), Gist>,
}

impl MemoryContent {
    /// A snapshot of these rows under this vector, with its tree.
    pub fn settled(placer: &Placer, space: &Space, rows: &BTreeMap<RowKey, Row>, vector: Vector) -> Self {
        let rows = rows.iter().map(|(key, row)| (key.clone(), encode_row(row))).collect();
        let vectors = [(space.clone(), vector)].into();
        let mut content = Self { rows, vectors, ..Self::default() };
        let mut tree = MemoryTree::default();
        let Ok(_) = rebuild(&mut tree, &Standing { content: &content, space }, placer, space);
        content.tree = tree;
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
        &self.tree.nodes
    }

    /// Every gist stored.
    pub fn gists(&self) -> &BTreeMap<(Space, Path), Gist> {
        &self.tree.gists
    }

    /// The tree, to be brought up to date with the rows.
    pub fn tree_mut(&mut self) -> &mut MemoryTree {
        &mut self.tree
    }

    /// The rows of `space` in `path`, in order.
    fn rows_in(&self, space: &Space, path: Path) -> impl Iterator<Item = (&RowKey, &Bytes)> {
        let start = RowKey::range_start(space, path.first());
        let rows = self.rows.range::<[u8], _>((std::ops::Bound::Included(&start[..]), std::ops::Bound::Unbounded));
        let space = space.clone();
        rows.take_while(move |(key, _)| key.is_in(&space) && path.contains(key.place()))
    }
}

impl Content for MemoryContent {
    type Error = Infallible;

    fn node(&self, space: &Space, path: Path) -> Result<Option<Node>, Infallible> {
        Ok(self.tree.nodes.get(&(space.clone(), path)).copied())
    }

    fn rows(
        &self,
        space: &Space,
        path: Path,
        visit: &mut dyn FnMut(&RowKey, &Bytes) -> ControlFlow<()>,
    ) -> Result<(), Infallible> {
        for (key, row) in self.rows_in(space, path) {
            if visit(key, row).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn gist(&self, space: &Space, path: Path) -> Result<Option<Gist>, Infallible> {
        Ok(self.tree.gists.get(&(space.clone(), path)).cloned())
    }
}

/// How a namespace's content became another.
#[derive(Debug)]
pub struct MemoryChange<'a> {
    /// What it was, with its tree.
    pub before: &'a MemoryContent,
    /// What it is.
    pub after: &'a MemoryContent,
    /// The namespace.
    pub space: &'a Space,
}

impl Change for MemoryChange<'_> {
    type Error = Infallible;

    fn node(&self, path: Path) -> Result<Option<Node>, Infallible> {
        self.before.node(self.space, path)
    }

    fn gist(&self, path: Path) -> Result<Option<Gist>, Infallible> {
        self.before.gist(self.space, path)
    }

    fn rows(&self, path: Path, visit: &mut dyn FnMut(&[u8], States<'_>) -> ControlFlow<()>) -> Result<(), Infallible> {
        let [mut before, mut after] = [self.before, self.after].map(|side| side.rows_in(self.space, path).peekable());
        while let Some(key) = [before.peek(), after.peek()].into_iter().flatten().map(|(key, _)| *key).min() {
            let before = before.next_if(|(here, _)| *here == key).map(|(_, row)| row.as_ref());
            let after = after.next_if(|(here, _)| *here == key).map(|(_, row)| row.as_ref());
            if visit(key.as_bytes(), States { before, after }).is_break() {
                break;
            }
        }
        Ok(())
    }
}

impl MemoryTree {
    /// Takes over what another one has, in the place of its own.
    pub fn absorb(&mut self, newer: Self) {
        self.nodes.extend(newer.nodes);
        self.gists.extend(newer.gists);
    }
}

impl Tree for MemoryTree {
    type Error = Infallible;

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

    fn clear(&mut self, space: &Space) -> Result<(), Infallible> {
        self.nodes.retain(|(stored, _), _| stored != space);
        self.gists.retain(|(stored, _), _| stored != space);
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
