//! What a flush carries out: a frozen table and its cuts, over the rows of the file as they were when it began.
//!
//! Both what is written and how the tree changes are functions of this, which stands still until the flush has finished:
//! so the tree is computed beside the rows' being written, by another thread if there are many.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use bytes::Bytes;
use everett_mesh_proto::id::Space;
use everett_mesh_proto::rows::{Placer, Position, Row, RowKey};
use everett_mesh_proto::summary::{Change, Content, Gist, Node, Path, States, rebuild, update};
use everett_mesh_proto::wire::{decode_row, encode_row};
use redb::ReadableTable;

use super::error::StoreError;
use super::memtable::{Cuts, Spent, row_key, through_cuts};
use super::rows_file::Snapshot;
use super::table::{Slot, Table};
use super::tree::Drawn;

/// With fewer frozen rows than this, the tree is not worth a thread.
const ROWS_FOR_A_THREAD: usize = 1_000;

/// Rows on their way to the file, and what they lie over.
#[derive(Debug)]
pub(super) struct Carried {
    pub(super) base: Arc<Snapshot>,
    pub(super) table: Arc<Table>,
    pub(super) cuts: Cuts,
    /// What was frozen before and is kept no longer; it goes when this does.
    pub(super) _spent: Option<Spent>,
}

impl Carried {
    /// What a frozen row is carried out as.
    pub(super) fn bytes<'a>(&self, slot: &'a Slot) -> Option<Cow<'a, [u8]>> {
        let is_cut = self.cuts.iter().any(|(at, _)| *at > slot.at());
        match slot.encoded() {
            Some(bytes) if !is_cut => (!bytes.is_empty()).then_some(Cow::Borrowed(bytes)),
            _ => stored_bytes(&through_cuts(&self.cuts, &row_key(slot.key()), slot.row(), slot.at())),
        }
    }

    /// What the cuts leave of a stored row, if that is not all of it.
    pub(super) fn changed_by_cuts(&self, key: &RowKey, row: &Row, at: Position) -> Option<Cow<'static, Row>> {
        let cut = through_cuts(&self.cuts, key, Cow::Borrowed(row), at).into_owned();
        (cut != *row).then_some(Cow::Owned(cut))
    }

    /// Where the namespaces with a cut begin, in order.
    pub(super) fn spaces_under_cuts(&self) -> BTreeMap<Bytes, &Space> {
        self.cuts.iter().map(|(_, cut)| (RowKey::range_start(&cut.space, 0), &cut.space)).collect()
    }

    /// The places whose rows change, by namespace, in order.
    fn places(&self) -> Result<Vec<(Space, Vec<u64>)>, StoreError> {
        let mut places: Vec<(Space, Vec<u64>)> = Vec::new();
        let mut prefix = Vec::new();
        for slot in self.table.from(&[]) {
            let key = slot.key();
            if places.is_empty() || !key.starts_with(&prefix) {
                prefix = key[..=usize::from(key[0])].to_vec();
                places.push((row_key(key).space(), Vec::new()));
            }
            let (place, places) = (RowKey::place_of(key), &mut places.last_mut().expect("one was just pushed").1);
            if places.last() != Some(&place) {
                places.push(place);
            }
        }
        for space in self.spaces_under_cuts().into_values() {
            let mut all = Vec::new();
            SpaceChange { carried: self, space }.rows(Path::ROOT, &mut |key, states| {
                if states.before != states.after {
                    all.push(RowKey::place_of(key));
                }
                ControlFlow::Continue(())
            })?;
            all.dedup();
            places.retain(|(touched, _)| touched != space);
            places.push((space.clone(), all));
        }
        Ok(places)
    }

    /// The nodes and gists that change with the rows.
    fn draw(&self, placer: &Placer) -> Result<Drawn, StoreError> {
        let mut drawn = Drawn::default();
        for (space, places) in self.places()? {
            update(&mut drawn, &SpaceChange { carried: self, space: &space }, placer, &space, &places)?;
        }
        Ok(drawn)
    }

    /// All nodes and gists of these namespaces as they ought to be, whatever is stored.
    pub(super) fn draw_anew<'a>(
        &self,
        placer: &Placer,
        spaces: impl Iterator<Item = &'a Space>,
    ) -> Result<Drawn, StoreError> {
        let mut drawn = Drawn::default();
        for space in spaces {
            rebuild(&mut drawn, &SpaceChange { carried: self, space }, placer, space)?;
        }
        Ok(drawn)
    }
}

/// The tree's new nodes, being computed or to be.
#[derive(Debug)]
pub(super) enum Drawing {
    /// By the one who wants them.
    Here,
    /// By a thread of its own.
    Beside(JoinHandle<Result<Drawn, StoreError>>),
}

impl Drawing {
    /// Begins, if there is enough to compute.
    pub(super) fn begin(carried: &Arc<Carried>, placer: &Placer) -> Self {
        if carried.table.len() < ROWS_FOR_A_THREAD {
            return Self::Here;
        }
        let (carried, placer) = (Arc::clone(carried), placer.clone());
        let thread = thread::Builder::new().name("tree".to_owned());
        // Without a thread it takes longer, that is all.
        thread.spawn(move || super::panics::guarded(|| carried.draw(&placer))).map_or(Self::Here, Self::Beside)
    }

    /// What came out.
    pub(super) fn end(self, carried: &Carried, placer: &Placer) -> Result<Drawn, StoreError> {
        match self {
            Self::Here => carried.draw(placer),
            Self::Beside(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
        }
    }
}

/// One namespace of what is carried out.
struct SpaceChange<'a> {
    carried: &'a Carried,
    space: &'a Space,
}

impl SpaceChange<'_> {
    /// What becomes of a stored row that was not put since.
    fn after<'a>(&self, key: &[u8], row: &'a [u8], is_cut: bool) -> Result<Option<Cow<'a, [u8]>>, StoreError> {
        if !is_cut {
            return Ok(Some(Cow::Borrowed(row)));
        }
        let row_key = row_key(key);
        let stored = decode_row(row_key.kind(), row).map_err(|_| StoreError::Row(key.escape_ascii().to_string()))?;
        let at = self.carried.base.progress().position(key);
        Ok(match self.carried.changed_by_cuts(&row_key, &stored, at) {
            Some(changed) => stored_bytes(&changed),
            None => Some(Cow::Borrowed(row)),
        })
    }
}

impl Change for SpaceChange<'_> {
    type Error = StoreError;

    fn node(&self, path: Path) -> Result<Option<Node>, StoreError> {
        self.carried.base.node(self.space, path)
    }

    fn gist(&self, path: Path) -> Result<Option<Gist>, StoreError> {
        self.carried.base.gist(self.space, path)
    }

    fn rows(&self, path: Path, visit: &mut dyn FnMut(&[u8], States<'_>) -> ControlFlow<()>) -> Result<(), StoreError> {
        let start = RowKey::range_start(self.space, path.first());
        let (prefix, last) = (&start[..start.len() - size_of::<u64>()], path.last());
        let is_inside = |key: &[u8]| key.starts_with(prefix) && RowKey::place_of(key) <= last;
        let is_cut = self.carried.cuts.iter().any(|(_, cut)| cut.space == *self.space);
        let stored = self.carried.base.rows().range::<&[u8]>((Bound::Included(start.as_ref()), Bound::Unbounded))?;
        let is_stored_inside = |entry: &Result<(redb::AccessGuard<'_, _>, _), _>| {
            entry.as_ref().map_or(true, |(key, _): &(redb::AccessGuard<'_, &'static [u8]>, _)| is_inside(key.value()))
        };
        let mut stored = stored.take_while(is_stored_inside).peekable();
        let mut frozen = self.carried.table.from(&start).take_while(|slot| is_inside(slot.key())).peekable();
        loop {
            if let Some(error) = stored.next_if(Result::is_err) {
                error?;
            }
            let below = stored.peek().and_then(|entry| entry.as_ref().ok()).map(|(key, _)| key.value());
            let above = frozen.peek().map(|slot| slot.key());
            let Some(key) = [below, above].into_iter().flatten().min() else { return Ok(()) };
            let (is_below, is_above) = (below == Some(key), above == Some(key));
            let below = if is_below { stored.next().transpose()? } else { None };
            let above = if is_above { frozen.next() } else { None };
            let row = below.as_ref().map(|(_, row)| row.value());
            let flow = match (above, &below) {
                (Some(slot), _) => {
                    visit(slot.key(), States { before: row, after: self.carried.bytes(slot).as_deref() })
                }
                (None, Some((key, row))) => {
                    let after = self.after(key.value(), row.value(), is_cut)?;
                    visit(key.value(), States { before: Some(row.value()), after: after.as_deref() })
                }
                (None, None) => ControlFlow::Continue(()),
            };
            if flow.is_break() {
                return Ok(());
            }
        }
    }
}

/// What a row is stored as; nothing if it holds nothing.
pub(super) fn stored_bytes(row: &Row) -> Option<Cow<'static, [u8]>> {
    (!row.is_empty()).then(|| Cow::Owned(encode_row(row).into()))
}
