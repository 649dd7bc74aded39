//! Authoring: turning what clients want into a group of ops that say exactly what their author saw.
//!
//! Each edit first takes away what it found hidden (expired elements, and the expiry register if nothing is visible any
//! more), so that what was hidden never comes back; then it does what was asked. Ops are applied as they are made, so
//! that the next edit of the group sees them.

use std::ops::ControlFlow;

use bytes::Bytes;

use super::apply::Mint;
use super::view::KeyState;
use super::{Counted, DROPS_MAX, Edit, Effect, Expiry, Group, Observed, Op, Replica};
use crate::crdt::{Entry, NEVER_MS, Seen};
use crate::id::{Dot, Space};
use crate::log::Commit;
use crate::rows::{Kind, Position, Row, Rows};
use crate::time::Now;
use crate::vector::Vector;

/// How many counters one group resets at most.
const RESETS_MAX: usize = 4_096;

/// About how many bytes the counters that one group resets may take: the group has to fit a frame.
const RESETS_BYTES_MAX: usize = 4 << 20;

/// What a reset entry takes in a group, at most about.
const SEEN_BYTES: usize = 64;

/// Who writes into a group, and with what at hand.
pub(super) struct Draft<'a, R> {
    pub(super) replica: &'a mut Replica,
    pub(super) rows: &'a mut R,
    pub(super) now: Now,
    pub(super) space: &'a Space,
    pub(super) group: Group,
}

impl Replica {
    /// Carries out a client's edits, all in one commit; returns it, or none if they change nothing.
    pub fn edit<R: Rows>(
        &mut self,
        now: Now,
        rows: &mut R,
        space: &Space,
        edits: Vec<Edit>,
    ) -> Result<Option<Commit>, R::Error> {
        if edits.contains(&Edit::Flush) {
            self.thin_counters(now, rows, space)?;
        }
        self.write(now, rows, space, |draft| edits.into_iter().try_for_each(|edit| draft.edit(edit)))
    }

    /// Adds to a key's number if it is one, or none yet, and clients can read the sum; says what it came to, and the
    /// greatest commit that this reflects.
    pub fn count<R: Rows>(
        &mut self,
        now: Now,
        rows: &mut R,
        space: &Space,
        (key, by): (Bytes, i64),
    ) -> Result<(Counted, Commit), R::Error> {
        let (mut counted, mut seen) = (Counted::NoNumber, Commit::default());
        let commit = self.write(now, rows, space, |draft| {
            let opened = draft.open(key)?;
            (counted, seen) = (opened.state.count(by), opened.state.at);
            if matches!(counted, Counted::Sum(_)) {
                draft.add(opened, by);
            }
            Ok(())
        })?;
        Ok((counted, commit.unwrap_or(seen)))
    }

    /// Resets counters in groups of their own until those that are left fit the one group that cuts: a group has to fit a
    /// frame, however many counters a namespace has.
    fn thin_counters<R: Rows>(&mut self, now: Now, rows: &mut R, space: &Space) -> Result<(), R::Error> {
        let mut place = 0;
        loop {
            let counters = live_counters(rows, space, place)?;
            let bytes: usize = counters.iter().map(|(_, key, seen)| key.len() + SEEN_BYTES * seen.len()).sum();
            let few = counters.len() < RESETS_MAX && bytes < RESETS_BYTES_MAX / 2;
            let Some((last, ..)) = counters.last().filter(|_| !few) else { return Ok(()) };
            place = *last;
            self.write(now, rows, space, |draft| {
                counters.into_iter().try_for_each(|(_, key, entries)| {
                    let opened = draft.open(key)?;
                    draft.push_last(opened, Effect::Reset { seen: Observed { siblings: Vec::new(), entries } });
                    Ok(())
                })
            })?;
        }
    }

    /// Drops own counter entries that others have reset.
    pub(super) fn drop_dead<R: Rows>(&mut self, now: Now, rows: &mut R) -> Result<(), R::Error> {
        while let Some(first) = self.dead.first() {
            let space = first.space();
            let mut batch = Vec::new();
            let mut bytes = 0;
            while batch.len() < DROPS_MAX
                && bytes < RESETS_BYTES_MAX
                && self.dead.first().is_some_and(|key| key.is_in(&space))
            {
                bytes += self.dead.first().map_or(0, |key| key.as_bytes().len());
                batch.extend(self.dead.pop_first());
            }
            self.write(now, rows, &space, |draft| {
                batch.iter().try_for_each(|row_key| {
                    let mut opened = draft.open(row_key.key())?;
                    draft.drop_own_dead(&mut opened);
                    draft.close(opened);
                    Ok(())
                })
            })?;
        }
        Ok(())
    }
}

impl<R: Rows> Draft<'_, R> {
    fn edit(&mut self, edit: Edit) -> Result<(), R::Error> {
        match edit {
            Edit::Set { key, value, expiry } => {
                let state = self.open(key)?;
                self.set(state, value, expiry);
            }
            Edit::Delete { key } => {
                let state = self.open(key)?;
                self.delete(state);
            }
            Edit::Add { key, by } => {
                let state = self.open(key)?;
                self.add(state, by);
            }
            Edit::Expire { key, deadline_ms } => {
                let state = self.open(key)?;
                self.expire(state, deadline_ms);
            }
            Edit::Withdraw { key, parts } => {
                let state = self.open(key)?;
                self.withdraw(state, &parts);
            }
            Edit::Flush => return self.flush(),
        }
        Ok(())
    }

    fn set(&mut self, mut key: Opened, value: Bytes, expiry: Expiry) {
        let state = &key.state;
        let expiry = if expiry == Expiry::Keep && state.value().is_none() { Expiry::Clear } else { expiry };
        let removed = state.register.dots();
        let deadline_ms = match expiry {
            Expiry::Clear => {
                if !removed.is_empty() {
                    self.push(&mut key, Effect::Unexpire { removed });
                }
                NEVER_MS
            }
            Expiry::Keep => state.deadline_ms(),
            Expiry::At(deadline_ms) => {
                self.push(&mut key, Effect::Expire { removed, deadline_ms });
                deadline_ms
            }
        };
        self.drop_own_dead(&mut key);
        let seen = observed(&key.state, |_, _| true);
        self.push_last(key, Effect::Set { seen, value, deadline_ms });
    }

    fn delete(&mut self, mut key: Opened) {
        self.drop_own_dead(&mut key);
        let seen = observed(&key.state, |_, _| true);
        if !seen.is_empty() {
            self.push(&mut key, Effect::Reset { seen });
        }
        self.unexpire(&mut key);
        self.close(key);
    }

    fn add(&mut self, mut key: Opened, by: i64) {
        let visible = key.state.value().is_some();
        if by == 0 {
            // Nothing to add up: an existing number stays as it is, a missing key is created.
            if !visible {
                self.set(key, Bytes::from_static(b"0"), Expiry::Clear);
            }
            return;
        }
        let deadline_ms = if visible { key.state.deadline_ms() } else { NEVER_MS };
        self.clear_hidden(&mut key);
        self.drop_own_dead(&mut key);
        let own = self.replica.config.id;
        let entries = key.state.scalar.entries().iter();
        let live = entries
            .filter(|entry| entry.owner == own && entry.is_live())
            .find(|entry| key.state.sees(entry.raise.deadline_ms));
        let (generation, up, down) =
            live.map_or((self.next().seq, 0, 0), |entry| (entry.generation, entry.raise.up, entry.raise.down));
        let amount = u128::from(by.unsigned_abs());
        let (up, down) = if by > 0 { (up.saturating_add(amount), down) } else { (up, down.saturating_add(amount)) };
        self.push_last(key, Effect::Raise { generation, up, down, deadline_ms });
    }

    fn expire(&mut self, mut key: Opened, deadline_ms: u64) {
        if key.state.value().is_none() {
            return;
        }
        self.clear_hidden(&mut key);
        let removed = key.state.register.dots();
        self.push_last(key, Effect::Expire { removed, deadline_ms });
    }

    /// Resets these parts, and the register if nothing is left to see.
    fn withdraw(&mut self, mut key: Opened, parts: &[Dot]) {
        self.clear_hidden(&mut key);
        let seen = observed(&key.state, |part, _| parts.contains(&part));
        if !seen.is_empty() {
            self.push(&mut key, Effect::Reset { seen });
            if key.state.value().is_none() {
                self.unexpire(&mut key);
            }
        }
        self.close(key);
    }

    fn flush(&mut self) -> Result<(), R::Error> {
        let mut found = false;
        self.rows.range(self.space, 0, &mut |_, _| {
            found = true;
            ControlFlow::Break(())
        })?;
        if !found {
            return Ok(());
        }
        let counters = live_counters(self.rows, self.space, 0)?;
        let resets = counters.into_iter().map(|(_, key, entries)| (key, entries)).collect();
        // Its own earlier ops included.
        let mint = self.mint();
        let mut context: Vector = self.replica.keyspace(self.space).vector.dots().collect();
        context.raise(Dot { seq: mint.dot.seq - 1, ..mint.dot });
        let op = Op::Cut { context, resets };
        self.replica.apply_op(self.rows, self.space, &op, mint)?;
        self.group.ops.push(op);
        Ok(())
    }

    /// Resets the elements of a key that are hidden; the register too, if nothing else is left to see.
    fn clear_hidden(&mut self, key: &mut Opened) {
        let visible = key.state.value().is_some();
        let hidden = observed(&key.state, |_, deadline_ms| !key.state.sees(deadline_ms));
        if !hidden.is_empty() {
            self.push(key, Effect::Reset { seen: hidden });
        }
        if !visible {
            self.unexpire(key);
        }
    }

    fn unexpire(&mut self, key: &mut Opened) {
        let removed = key.state.register.dots();
        if !removed.is_empty() {
            self.push(key, Effect::Unexpire { removed });
        }
    }

    fn drop_own_dead(&mut self, key: &mut Opened) {
        let own = self.replica.config.id;
        let is_dead = |entry: &&Entry| entry.owner == own && !entry.is_live();
        while let Some(presence) = key.state.scalar.entries().iter().find(is_dead).map(Entry::presence) {
            self.push(key, Effect::Drop { presence });
        }
    }

    /// Takes a key's rows out to be worked on; [`close`](Self::close) puts them back.
    fn open(&mut self, key: Bytes) -> Result<Opened, R::Error> {
        let state = self.replica.key_state(self.now, self.rows, self.space, &key)?.into_owned();
        Ok(Opened { key, state, register_at: None, scalar_at: None })
    }

    /// Puts the rows that were changed back, as of their last change. Nobody saw what they were in between.
    fn close(&mut self, key: Opened) {
        let Opened { state, register_at, scalar_at, .. } = key;
        if let Some(at) = register_at {
            let row_key = state.row_key.clone().into_kind(Kind::Expiry);
            self.replica.put(self.rows, row_key, Row::Expiry(state.register.into_owned()), at);
        }
        if let Some(at) = scalar_at {
            self.replica.put(self.rows, state.row_key, Row::Scalar(state.scalar.into_owned()), at);
        }
    }

    fn next(&self) -> Dot {
        Dot { replica: self.replica.config.id, seq: self.group.first + self.group.ops.len() as u64 }
    }

    pub(super) fn mint(&self) -> Mint {
        let index = self.group.ops.len();
        Mint { dot: self.next(), stamp: self.group.stamp_of(index), at: self.replica.position(index) }
    }

    fn push(&mut self, opened: &mut Opened, effect: Effect) {
        self.apply(opened, &effect);
        self.group.ops.push(Op::Key { key: opened.key.clone(), effect });
    }

    /// The last op of an edit: its key is closed.
    fn push_last(&mut self, mut opened: Opened, effect: Effect) {
        self.apply(&mut opened, &effect);
        let key = std::mem::take(&mut opened.key);
        self.group.ops.push(Op::Key { key, effect });
        self.close(opened);
    }

    fn apply(&self, opened: &mut Opened, effect: &Effect) {
        let mint = self.mint();
        match effect.kind() {
            Kind::Expiry => {
                effect.apply_to_register(opened.state.register.to_mut(), mint.dot);
                opened.register_at = Some(mint.at);
            }
            Kind::Scalar => {
                effect.apply_to_scalar(opened.state.scalar.to_mut(), mint.dot, mint.stamp);
                opened.scalar_at = Some(mint.at);
            }
        }
    }
}

/// A key whose rows are being worked on.
struct Opened {
    key: Bytes,
    state: KeyState<'static>,
    /// The last change of its register.
    register_at: Option<Position>,
    /// The last change of its value.
    scalar_at: Option<Position>,
}

/// A counter's place, key and live entries.
type Counter = (u64, Bytes, Vec<Seen>);

/// The keys with live counter entries from `place` on, as many as one group resets, each with its place and entries.
fn live_counters<R: Rows>(rows: &R, space: &Space, place: u64) -> Result<Vec<Counter>, R::Error> {
    let mut counters = Vec::new();
    let mut bytes = 0;
    rows.range(space, place, &mut |row_key, row| {
        if let Row::Scalar(scalar) = row {
            let live: Vec<Seen> = scalar.entries().iter().filter(|entry| entry.is_live()).map(Seen::from).collect();
            if !live.is_empty() {
                bytes += row_key.as_bytes().len() + SEEN_BYTES * live.len();
                counters.push((row_key.place(), row_key.key(), live));
            }
        }
        let full = counters.len() >= RESETS_MAX || bytes >= RESETS_BYTES_MAX;
        if full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    Ok(counters)
}

/// The siblings and live counter entries of a key whose part and own deadline `wanted` takes.
fn observed(state: &KeyState, wanted: impl Fn(Dot, u64) -> bool) -> Observed {
    let siblings = state.scalar.siblings().iter().filter(|sibling| wanted(sibling.dot, sibling.deadline_ms));
    let live = state.scalar.entries().iter().filter(|entry| entry.is_live());
    let entries = live.filter(|entry| wanted(entry.presence(), entry.raise.deadline_ms));
    Observed { siblings: siblings.map(|sibling| sibling.dot).collect(), entries: entries.map(Seen::from).collect() }
}
