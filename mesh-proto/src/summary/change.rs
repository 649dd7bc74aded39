//! A change of a namespace's rows, as the tree sees it: every row before and after, in one pass over both.
//!
//! Whoever changes rows knows both of their states at once, so neither is looked up a second time: what a place hashed to
//! before comes out of the same pass as what it hashes to now.

use std::ops::ControlFlow;

use super::{Content, Element, Gist, Hash, Node, Path};
use crate::id::Space;
use crate::rows::{Placer, RowKey};

/// A namespace before and after a change, and its tree before it.
pub trait Change {
    /// Why a read failed.
    type Error;

    /// The node at `path` before the change.
    fn node(&self, path: Path) -> Result<Option<Node>, Self::Error>;

    /// The gist stored at `path` before the change.
    fn gist(&self, path: Path) -> Result<Option<Gist>, Self::Error>;

    /// Visits the rows whose places lie in `path`, of either state, in order: the key's bytes, and what lies under it.
    fn rows(&self, path: Path, visit: &mut dyn FnMut(&[u8], States<'_>) -> ControlFlow<()>) -> Result<(), Self::Error>;
}

/// What lay under a key, and what lies there after the change: rows in their canonical bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct States<'a> {
    /// Before.
    pub before: Option<&'a [u8]>,
    /// After.
    pub after: Option<&'a [u8]>,
}

/// Content that stands as it is: a change that changes nothing.
#[derive(Debug)]
pub struct Standing<'a, C> {
    /// The content.
    pub content: &'a C,
    /// The namespace.
    pub space: &'a Space,
}

impl<C: Content> Change for Standing<'_, C> {
    type Error = C::Error;

    fn node(&self, path: Path) -> Result<Option<Node>, C::Error> {
        self.content.node(self.space, path)
    }

    fn gist(&self, path: Path) -> Result<Option<Gist>, C::Error> {
        self.content.gist(self.space, path)
    }

    fn rows(&self, path: Path, visit: &mut dyn FnMut(&[u8], States<'_>) -> ControlFlow<()>) -> Result<(), C::Error> {
        self.content.rows(self.space, path, &mut |key, row| {
            let row = Some(row.as_ref());
            visit(key.as_bytes(), States { before: row, after: row })
        })
    }
}

/// A change seen as if nothing had been there before.
pub(super) struct Fresh<'a, C>(pub(super) &'a C);

impl<C: Change> Change for Fresh<'_, C> {
    type Error = C::Error;

    fn node(&self, _: Path) -> Result<Option<Node>, C::Error> {
        Ok(None)
    }

    fn gist(&self, _: Path) -> Result<Option<Gist>, C::Error> {
        Ok(None)
    }

    fn rows(&self, path: Path, visit: &mut dyn FnMut(&[u8], States<'_>) -> ControlFlow<()>) -> Result<(), C::Error> {
        self.0.rows(path, &mut |key, states| visit(key, States { before: None, ..states }))
    }
}

/// A place, and what its rows hash to before and after a change; nothing where it has none.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Turn {
    place: u64,
    digests: [Option<Hash>; 2],
}

impl Turn {
    pub(super) fn before(&self) -> Option<Element> {
        self.digests[0].map(|digest| Element { place: self.place, digest })
    }

    pub(super) fn after(&self) -> Option<Element> {
        self.digests[1].map(|digest| Element { place: self.place, digest })
    }
}

/// Visits the places in `path` that either state has rows at, in order.
pub(super) fn turns<C: Change>(
    change: &C,
    placer: &Placer,
    path: Path,
    visit: &mut dyn FnMut(Turn) -> ControlFlow<()>,
) -> Result<(), C::Error> {
    let mut gathered = Gathered::default();
    let mut flow = ControlFlow::Continue(());
    change.rows(path, &mut |key, states| {
        let place = RowKey::place_of(key);
        if gathered.place != place {
            flow = gathered.close(placer).map_or(ControlFlow::Continue(()), &mut *visit);
            gathered.place = place;
        }
        if flow.is_continue() {
            gathered.add(key, states);
        }
        flow
    })?;
    if flow.is_continue()
        && let Some(turn) = gathered.close(placer)
    {
        let _ = visit(turn);
    }
    Ok(())
}

/// The rows of one place, as they are hashed.
#[derive(Default)]
struct Gathered {
    place: u64,
    before: Vec<u8>,
    after: Vec<u8>,
    differs: bool,
}

impl Gathered {
    fn add(&mut self, key: &[u8], states: States<'_>) {
        self.differs |= states.before != states.after;
        for (bytes, row) in [(&mut self.before, states.before), (&mut self.after, states.after)] {
            if let Some(row) = row {
                append(bytes, key, row);
            }
        }
    }

    /// Hashes what was gathered, if anything was, and forgets it.
    fn close(&mut self, placer: &Placer) -> Option<Turn> {
        if self.before.is_empty() && self.after.is_empty() {
            return None;
        }
        let hash = |bytes: &Vec<u8>| (!bytes.is_empty()).then(|| Hash(placer.digest(bytes)));
        let after = hash(&self.after);
        let before = if self.differs { hash(&self.before) } else { after };
        self.before.clear();
        self.after.clear();
        self.differs = false;
        Some(Turn { place: self.place, digests: [before, after] })
    }
}

/// Adds a row to the bytes that the digest of its place is made of.
fn append(bytes: &mut Vec<u8>, key: &[u8], row: &[u8]) {
    for part in [key, row] {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part);
    }
}
