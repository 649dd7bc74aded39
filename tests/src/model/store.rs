//! A store with every moving part of the agent's, in memory: memtable with positions, cuts as layers, a flush in chunks
//! whose progress is durable, a watermark.
//!
//! [`Disk`] is what a crash leaves: rows, the settled facts of the watermark, and how far unfinished flushes came (newest
//! first). A row's position on disk is the `to` of the newest pass whose cursor lies beyond it, else the watermark.
//! Everything else dies with the process and is rebuilt by replay.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::ops::{Bound, ControlFlow};

use everett_mesh_proto::crdt::{NEVER_MS, Raise, Scalar, Seen, Sibling};
use everett_mesh_proto::id::Space;
use everett_mesh_proto::log::Commit;
use everett_mesh_proto::replica::Settled;
use everett_mesh_proto::rows::{Cut, Found, Position, Row, RowKey, Rows};

use super::plan::{Flaw, Plan};

/// What survives the process.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    /// The rows, each as of its position.
    pub rows: BTreeMap<RowKey, Row>,
    /// The watermark and what belongs to it.
    pub settled: Settled,
    passes: Vec<(Commit, RowKey)>,
}

impl Disk {
    fn position(&self, key: &RowKey) -> Position {
        let pass = self.passes.iter().find(|(_, cursor)| key < cursor);
        Position::end_of(pass.map_or(self.settled.commit, |&(to, _)| to))
    }

    fn advance(&mut self, to: Commit, cursor: RowKey) {
        self.passes.retain(|(_, older)| *older > cursor);
        self.passes.insert(0, (to, cursor));
    }
}

/// A flush under way.
#[derive(Clone, Debug)]
struct Frozen {
    rows: BTreeMap<RowKey, (Row, Position)>,
    settled: Settled,
    /// The keys still to be written, last first.
    todo: Vec<RowKey>,
}

/// One node's rows.
#[derive(Clone, Debug)]
pub struct Store {
    disk: Disk,
    memtable: BTreeMap<RowKey, (Row, Position)>,
    frozen: Option<Frozen>,
    cuts: Vec<(Position, Cut)>,
    revision: u64,
    plan: Plan,
}

impl Store {
    /// Opens what an earlier process left.
    pub fn open(disk: Disk, plan: Plan) -> Self {
        Self { disk, memtable: BTreeMap::new(), frozen: None, cuts: Vec::new(), revision: 0, plan }
    }

    /// What a crash would leave.
    pub fn disk(&self) -> &Disk {
        &self.disk
    }

    /// Changes whenever anything here may have.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Everything up to the settled commit is to be on disk; false if a flush is under way or there is nothing to do.
    pub fn freeze(&mut self, settled: Settled) -> bool {
        let idle = settled.commit == self.disk.settled.commit && self.disk.passes.is_empty();
        if self.frozen.is_some() || idle {
            return false;
        }
        let rows = std::mem::take(&mut self.memtable);
        let mut keys: BTreeSet<&RowKey> = rows.keys().collect();
        if !self.cuts.is_empty() {
            keys.extend(self.disk.rows.keys());
        }
        let todo = keys.into_iter().rev().cloned().collect();
        self.frozen = Some(Frozen { rows, settled, todo });
        self.revision += 1;
        true
    }

    /// The commit that the flush under way waits for and writes; `None` if there is none.
    pub fn flushing(&self) -> Option<Commit> {
        self.frozen.as_ref().map(|frozen| frozen.settled.commit)
    }

    /// Writes one chunk durably. True if that was the last, so that the watermark has risen.
    pub fn flush_chunk(&mut self, rows: usize) -> bool {
        let Some(mut frozen) = self.frozen.take() else { return false };
        self.revision += 1;
        let to = frozen.settled.commit;
        for _ in 0..rows {
            let Some(key) = frozen.todo.pop() else { break };
            let row = match frozen.rows.remove(&key) {
                Some((row, at)) => self.through_cuts(&row, at, Some(to), false).into_owned(),
                None => match self.disk.rows.get(&key) {
                    Some(row) => self.through_cuts(row, self.disk.position(&key), Some(to), true).into_owned(),
                    None => continue,
                },
            };
            if row.is_empty() {
                self.disk.rows.remove(&key);
            } else {
                self.disk.rows.insert(key, row);
            }
        }
        if let Some(next) = frozen.todo.last() {
            self.disk.advance(to, next.clone());
            self.frozen = Some(frozen);
            return false;
        }
        self.cuts.retain(|(at, _)| *at > Position::end_of(to));
        self.disk.passes.clear();
        self.disk.settled = frozen.settled;
        true
    }

    /// Carries pending cuts out on one row, which then reflects everything up to `commit`.
    pub fn fold(&mut self, key: &RowKey, commit: Commit) {
        let Ok(found) = self.row(key);
        let row = found.row.map_or_else(|| Row::empty(key.kind()), Cow::into_owned);
        self.memtable.insert(key.clone(), (row, Position::end_of(commit)));
        self.revision += 1;
    }

    /// The non-empty rows of `space`.
    pub fn content(&self, space: &Space) -> BTreeMap<RowKey, Row> {
        let mut content = BTreeMap::new();
        let Ok(()) = self.range(space, 0, &mut |key, row| {
            content.insert(key.clone(), row.clone());
            ControlFlow::Continue(())
        });
        content
    }

    /// The row as the cuts later than `at`, up to the end of `upto`, leave it.
    fn through_cuts<'a>(&self, row: &'a Row, at: Position, upto: Option<Commit>, base: bool) -> Cow<'a, Row> {
        let mut row = Cow::Borrowed(row);
        if self.plan.has(Flaw::CutFirst) && !base {
            return row;
        }
        let within = |cut_at: Position| upto.is_none_or(|upto| cut_at <= Position::end_of(upto));
        for (_, cut) in self.cuts.iter().filter(|&&(cut_at, _)| cut_at > at && within(cut_at)) {
            row.to_mut().cut(&cut.context);
        }
        row
    }

    fn held(&self, key: &RowKey) -> (Option<&Row>, Position, bool) {
        let frozen = || self.frozen.as_ref().and_then(|frozen| frozen.rows.get(key));
        match self.memtable.get(key).or_else(frozen) {
            Some((row, at)) => (Some(row), *at, false),
            None => (self.disk.rows.get(key), self.disk.position(key), true),
        }
    }
}

impl Rows for Store {
    type Error = Infallible;

    fn row(&self, key: &RowKey) -> Result<Found<'_>, Infallible> {
        let (row, at, base) = self.held(key);
        let row = row.map(|row| self.through_cuts(row, at, None, base)).filter(|row| !row.is_empty());
        let newest = self.disk.passes.first().map(|&(to, _)| Position::end_of(to));
        let at = if self.plan.has(Flaw::CursorIgnored) && base { newest.unwrap_or(at) } else { at };
        Ok(Found { row, at })
    }

    fn range(
        &self,
        space: &Space,
        place: u64,
        visit: &mut dyn FnMut(&RowKey, &Row) -> ControlFlow<()>,
    ) -> Result<(), Infallible> {
        let start = RowKey::range_start(space, place);
        let bounds = (Bound::Included(start.as_ref()), Bound::Unbounded);
        let mut keys: BTreeSet<&RowKey> = self.disk.rows.range::<[u8], _>(bounds).map(|(key, _)| key).collect();
        keys.extend(self.memtable.range::<[u8], _>(bounds).map(|(key, _)| key));
        if let Some(frozen) = &self.frozen {
            keys.extend(frozen.rows.range::<[u8], _>(bounds).map(|(key, _)| key));
        }
        for key in keys.into_iter().take_while(|key| key.is_in(space)) {
            let Ok(found) = self.row(key);
            if let Some(row) = found.row
                && visit(key, &row).is_break()
            {
                break;
            }
        }
        Ok(())
    }

    fn put(&mut self, key: RowKey, row: Row, at: Position) {
        let row = if self.plan.has(Flaw::NoInheritedDeadlines) { without_deadlines(row) } else { row };
        self.memtable.insert(key, (row, at));
        self.revision += 1;
    }

    fn cut(&mut self, cut: Cut, at: Position) {
        self.cuts.push((at, cut));
        self.revision += 1;
    }
}

/// The row with elements that never expire by themselves.
fn without_deadlines(row: Row) -> Row {
    let Row::Scalar(scalar) = row else { return row };
    let mut bare = Scalar::default();
    for sibling in scalar.siblings() {
        bare.insert(Sibling { deadline_ms: NEVER_MS, ..sibling.clone() });
    }
    for entry in scalar.entries() {
        bare.raise(entry.presence(), Raise { deadline_ms: NEVER_MS, ..entry.raise });
        if let Some(reset) = entry.reset {
            let seen = Seen { presence: entry.presence(), seq: reset.seen_seq, up: reset.up, down: reset.down };
            bare.reset(reset.dot, &seen);
        }
    }
    Row::Scalar(bare)
}
