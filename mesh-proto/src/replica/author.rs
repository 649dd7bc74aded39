//! Authoring: turning what clients want into a group of ops that say exactly what their author saw.
//!
//! Each edit first takes away what it found hidden (expired elements, and the expiry register if nothing is visible any
//! more), so that what was hidden never comes back; then it does what was asked. Ops are applied as they are made, so
//! that the next edit of the group sees them.

use std::ops::ControlFlow;

use bytes::Bytes;

use super::apply::Mint;
use super::view::KeyState;
use super::{DROPS_MAX, Edit, Effect, Expiry, Group, Observed, Op, Output, Payload, Replica};
use crate::clock::Stamp;
use crate::crdt::{NEVER_MS, Seen};
use crate::id::{Dot, Space};
use crate::rows::{Row, Rows};
use crate::time::Now;

/// How many counters one group resets at most.
const RESETS_MAX: usize = 4_096;

/// About how many bytes the counters that one group resets may take: the group has to fit a frame.
const RESETS_BYTES_MAX: usize = 4 << 20;

/// What a reset entry takes in a group, at most about.
const SEEN_BYTES: usize = 64;

/// A group that is being written.
struct Draft<'a, R> {
    replica: &'a mut Replica,
    rows: &'a mut R,
    now: Now,
    space: &'a Space,
    first: u64,
    stamp: Stamp,
    ops: Vec<Op>,
}

impl Replica {
    /// Carries out a client's edits as one commit; no commit if they change nothing.
    pub(super) fn edit<R: Rows>(
        &mut self,
        now: Now,
        rows: &mut R,
        space: &Space,
        edits: Vec<Edit>,
    ) -> Result<(), R::Error> {
        if edits.contains(&Edit::Flush) {
            self.thin_counters(now, rows, space)?;
        }
        self.write(now, rows, space, |draft| edits.into_iter().try_for_each(|edit| draft.edit(edit)))
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
                    draft.push(&key, Effect::Reset { seen: Observed { siblings: Vec::new(), entries } })
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
                    let key = row_key.key();
                    let state = draft.state(&key)?;
                    draft.drop_own_dead(&key, &state)
                })
            })?;
        }
        Ok(())
    }

    fn write<R: Rows>(
        &mut self,
        now: Now,
        rows: &mut R,
        space: &Space,
        fill: impl FnOnce(&mut Draft<'_, R>) -> Result<(), R::Error>,
    ) -> Result<(), R::Error> {
        // The clock's mark is a commit of its own, ahead of the one that uses it.
        let stamp = self.issue(now);
        let commit = self.commit;
        self.commit = commit.next();
        let author = self.config.id;
        let first = self.keyspace(space).vector.seq(author) + 1;
        let mut draft = Draft { replica: self, rows, now, space, first, stamp, ops: Vec::new() };
        fill(&mut draft)?;
        let ops = draft.ops;
        if ops.is_empty() {
            self.commit = commit;
            return Ok(());
        }
        // Stamps are consecutive from the group's: the clock goes on after the last of them.
        self.clock.advance(stamp.plus(ops.len() as u64 - 1));
        let keyspace = self.keyspace(space);
        let deps = std::mem::take(&mut keyspace.unsaid).dots().collect();
        let group = Group { space: space.clone(), author, first, stamp, deps, ops };
        let last = group.last();
        self.commit_payload(&Payload::Group(group), |payload| {
            let push = Output::Push { space: space.clone(), payload: payload.clone() };
            vec![push, Output::Applied { space: space.clone(), dots: vec![last] }]
        });
        Ok(())
    }
}

impl<R: Rows> Draft<'_, R> {
    fn edit(&mut self, edit: Edit) -> Result<(), R::Error> {
        match edit {
            Edit::Set { key, value, expiry } => self.set(&key, value, expiry),
            Edit::Delete { key } => self.delete(&key),
            Edit::Add { key, by } => self.add(&key, by),
            Edit::Expire { key, deadline_ms } => self.expire(&key, deadline_ms),
            Edit::Flush => self.flush(),
        }
    }

    fn set(&mut self, key: &Bytes, value: Bytes, expiry: Expiry) -> Result<(), R::Error> {
        let state = self.state(key)?;
        let expiry = if state.value().is_none() && expiry == Expiry::Keep { Expiry::Clear } else { expiry };
        let removed = state.register.dots();
        let deadline_ms = match expiry {
            Expiry::Clear => {
                if !removed.is_empty() {
                    self.push(key, Effect::Unexpire { removed })?;
                }
                NEVER_MS
            }
            Expiry::Keep => state.deadline_ms(),
            Expiry::At(deadline_ms) => {
                self.push(key, Effect::Expire { removed, deadline_ms })?;
                deadline_ms
            }
        };
        self.drop_own_dead(key, &state)?;
        let seen = observed(&state, |_| true);
        self.push(key, Effect::Set { seen, value, deadline_ms })
    }

    fn delete(&mut self, key: &Bytes) -> Result<(), R::Error> {
        let state = self.state(key)?;
        self.drop_own_dead(key, &state)?;
        let seen = observed(&state, |_| true);
        if !seen.is_empty() {
            self.push(key, Effect::Reset { seen })?;
        }
        self.unexpire(key, &state)
    }

    fn add(&mut self, key: &Bytes, by: i64) -> Result<(), R::Error> {
        let state = self.state(key)?;
        let visible = state.value().is_some();
        if by == 0 {
            // Nothing to add up: an existing number stays as it is, a missing key is created.
            return if visible { Ok(()) } else { self.set(key, Bytes::from_static(b"0"), Expiry::Clear) };
        }
        self.clear_hidden(key, &state)?;
        self.drop_own_dead(key, &state)?;
        let deadline_ms = if visible { state.deadline_ms() } else { NEVER_MS };
        let own = self.replica.config.id;
        let entries = state.scalar.entries().iter();
        let live = entries
            .filter(|entry| entry.owner == own && entry.is_live())
            .find(|entry| state.sees(entry.raise.deadline_ms));
        let (generation, up, down) =
            live.map_or((self.next().seq, 0, 0), |entry| (entry.generation, entry.raise.up, entry.raise.down));
        let amount = u128::from(by.unsigned_abs());
        let (up, down) = if by > 0 { (up.saturating_add(amount), down) } else { (up, down.saturating_add(amount)) };
        self.push(key, Effect::Raise { generation, up, down, deadline_ms })
    }

    fn expire(&mut self, key: &Bytes, deadline_ms: u64) -> Result<(), R::Error> {
        let state = self.state(key)?;
        if state.value().is_none() {
            return Ok(());
        }
        self.clear_hidden(key, &state)?;
        self.push(key, Effect::Expire { removed: state.register.dots(), deadline_ms })
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
        let context = self.replica.keyspace(self.space).vector.clone();
        self.apply(Op::Cut { context, resets })
    }

    /// Resets the elements of a key that are hidden; the register too, if nothing else is left to see.
    fn clear_hidden(&mut self, key: &Bytes, state: &KeyState<'_>) -> Result<(), R::Error> {
        let hidden = observed(state, |deadline_ms| !state.sees(deadline_ms));
        if !hidden.is_empty() {
            self.push(key, Effect::Reset { seen: hidden })?;
        }
        if state.value().is_none() { self.unexpire(key, state) } else { Ok(()) }
    }

    fn unexpire(&mut self, key: &Bytes, state: &KeyState<'_>) -> Result<(), R::Error> {
        let removed = state.register.dots();
        if removed.is_empty() { Ok(()) } else { self.push(key, Effect::Unexpire { removed }) }
    }

    fn drop_own_dead(&mut self, key: &Bytes, state: &KeyState<'_>) -> Result<(), R::Error> {
        let own = self.replica.config.id;
        let dead = state.scalar.entries().iter().filter(|entry| entry.owner == own && !entry.is_live());
        dead.map(|entry| Effect::Drop { presence: entry.presence() }).try_for_each(|effect| self.push(key, effect))
    }

    fn state(&self, key: &[u8]) -> Result<KeyState<'static>, R::Error> {
        self.replica.key_state(self.now, self.rows, self.space, key).map(KeyState::into_owned)
    }

    fn next(&self) -> Dot {
        Dot { replica: self.replica.config.id, seq: self.first + self.ops.len() as u64 }
    }

    fn push(&mut self, key: &Bytes, effect: Effect) -> Result<(), R::Error> {
        self.apply(Op::Key { key: key.clone(), effect })
    }

    fn apply(&mut self, op: Op) -> Result<(), R::Error> {
        let index = self.ops.len();
        let mint = Mint { dot: self.next(), stamp: self.stamp.plus(index as u64), at: self.replica.position(index) };
        self.replica.apply_op(self.rows, self.space, &op, mint)?;
        self.replica.keyspace(self.space).vector.raise(mint.dot);
        self.ops.push(op);
        Ok(())
    }
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

/// The siblings and live counter entries of a key whose own deadlines `wanted` takes.
fn observed(state: &KeyState, wanted: impl Fn(u64) -> bool) -> Observed {
    let siblings = state.scalar.siblings().iter().filter(|sibling| wanted(sibling.deadline_ms));
    let entries = state.scalar.entries().iter().filter(|entry| entry.is_live() && wanted(entry.raise.deadline_ms));
    Observed { siblings: siblings.map(|sibling| sibling.dot).collect(), entries: entries.map(Seen::from).collect() }
}
