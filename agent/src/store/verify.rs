//! Verifies a running store against itself, a bounded piece at a time: each leaf of the tree against the rows it is made of.
//!
//! What a disk does to a row is seen by nobody until the row is read, and a damaged value in an intact shape not even then.
//! So all rows are read every few hours, from the disk: what the operating system keeps of the file is given up first, as a
//! walk begins. What the library under `rows.redb` keeps itself is as it was read, and what is written anew comes from there.
//!
//! Each piece works on a snapshot of its own, so nothing is held back for the length of a walk; places that change
//! meanwhile are seen as they were or as they are. While a flush is under way, rows and tree are of two commits, and the
//! walk waits. It repairs nothing.

use std::cell::Cell;
use std::ops::ControlFlow;

use bytes::Bytes;
use everett_mesh_proto::id::Space;
use everett_mesh_proto::rows::RowKey;
use everett_mesh_proto::summary::{Content, Gist, LEAF_MAX, Node, Path, elements, leaf_hash};

use super::error::StoreError;
use super::rows_file::{RowsFile, Snapshot};

/// Rows that are not those that a leaf of the tree was made of, or that cannot be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Damage {
    /// Their namespace.
    pub space: Space,
    /// Their keys, one of which is it, or one that is gone; a row that cannot be read is named by its stored key.
    pub keys: Vec<Bytes>,
}

/// What a piece of a walk came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Walked {
    /// There is more.
    On(Vec<Damage>),
    /// Rows and tree are of two commits; nothing was read.
    Waiting,
    /// That was the end: so many rows were read since the beginning.
    Through(Vec<Damage>, u64),
}

/// A walk over all rows.
#[derive(Debug)]
pub struct Verifier {
    file: RowsFile,
    at: Option<(Space, u64)>,
    rows: u64,
}

impl Verifier {
    /// A walk that begins with the first row.
    pub fn new(file: RowsFile) -> Self {
        Self { file, at: None, rows: 0 }
    }

    /// Verifies leaves until so many bytes of rows were read.
    pub fn step(&mut self, bytes: usize) -> Result<Walked, StoreError> {
        if self.at.is_none() {
            self.rows = 0;
            self.file.give_up_cached();
        }
        let snapshot = self.file.snapshot()?;
        if snapshot.progress().is_interrupted() {
            return Ok(Walked::Waiting);
        }
        let counted = Counted { snapshot: &snapshot, rows: Cell::new(0), bytes: Cell::new(0) };
        let mut damage = Vec::new();
        let mut at = self.at.take().or_else(|| first_space(&snapshot, None));
        while let Some((space, place)) = at.take_if(|_| counted.bytes.get() < bytes) {
            let (leaf, node) = leaf_at(&snapshot, &space, place)?;
            damage.extend(self.verify(&counted, &space, leaf, node)?);
            at = match leaf.last().checked_add(1) {
                Some(next) => Some((space, next)),
                None => first_space(&snapshot, Some(&space)),
            };
        }
        self.rows += counted.rows.get();
        self.at = at;
        Ok(if self.at.is_some() { Walked::On(damage) } else { Walked::Through(damage, self.rows) })
    }

    fn verify(
        &self,
        counted: &Counted<'_>,
        space: &Space,
        leaf: Path,
        node: Option<Node>,
    ) -> Result<Option<Damage>, StoreError> {
        let placer = self.file.placer();
        let elements = match elements(counted, placer, space, leaf) {
            Ok(elements) => elements,
            Err(StoreError::Row(key)) => return Ok(Some(Damage { space: space.clone(), keys: vec![key.into()] })),
            Err(error) => return Err(error),
        };
        if node.map(|node| node.hash).unwrap_or_default() == leaf_hash(placer, &elements) {
            return Ok(None);
        }
        let mut keys: Vec<Bytes> = Vec::new();
        Content::rows(counted.snapshot, space, leaf, &mut |key, _| {
            keys.push(key.key());
            if keys.len() as u64 > LEAF_MAX { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        keys.dedup();
        Ok(Some(Damage { space: space.clone(), keys }))
    }
}

/// The beginning of the first namespace, or of the one after another.
fn first_space(snapshot: &Snapshot, after: Option<&Space>) -> Option<(Space, u64)> {
    let next = snapshot.vectors().keys().find(|space| after.is_none_or(|after| *space > after))?;
    Some((next.clone(), 0))
}

/// The leaf that a place lies in, or the path without elements.
pub fn leaf_at(snapshot: &Snapshot, space: &Space, place: u64) -> Result<(Path, Option<Node>), StoreError> {
    let mut path = Path::ROOT;
    loop {
        let node = snapshot.node(space, path)?;
        let inside = path.children().find(|child| child.contains(place));
        match (node, inside) {
            (Some(node), Some(child)) if !node.is_leaf(path) => path = child,
            (node, _) => return Ok((path, node)),
        }
    }
}

/// A snapshot that counts what is read of it.
struct Counted<'a> {
    snapshot: &'a Snapshot,
    rows: Cell<u64>,
    bytes: Cell<usize>,
}

impl Content for Counted<'_> {
    type Error = StoreError;

    fn node(&self, space: &Space, path: Path) -> Result<Option<Node>, StoreError> {
        self.snapshot.node(space, path)
    }

    fn rows(
        &self,
        space: &Space,
        path: Path,
        visit: &mut dyn FnMut(&RowKey, &Bytes) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        Content::rows(self.snapshot, space, path, &mut |key, row| {
            self.rows.set(self.rows.get() + 1);
            self.bytes.set(self.bytes.get() + key.as_bytes().len() + row.len());
            visit(key, row)
        })
    }

    fn gist(&self, space: &Space, path: Path) -> Result<Option<Gist>, StoreError> {
        self.snapshot.gist(space, path)
    }
}
