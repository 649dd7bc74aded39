//! Reading a key: what clients see of its rows at a moment.

use std::borrow::Cow;

use super::Replica;
use crate::crdt::{DeadlineMs, Entry, NEVER_MS, Register, Scalar, Sibling, Value, is_visible};
use crate::id::{Dot, Space};
use crate::log::Commit;
use crate::rows::{Kind, Row, RowKey, Rows};
use crate::time::Now;

/// A key as a client sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct View {
    /// The value; `None` if the key does not exist (any more).
    pub value: Option<Value>,
    /// When it expires; `None` if never.
    pub deadline_ms: Option<DeadlineMs>,
    /// Until when it stays as it is if nothing is written: a deadline among the key's elements may hide some then.
    pub steady_until_ms: DeadlineMs,
    /// The greatest local commit that this view reflects: a reply made of it waits until that is durable.
    pub at: Commit,
}

/// What counting came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Counted {
    /// The key's number now.
    Sum(i64),
    /// The key holds no number that a client can count in; nothing was changed.
    NoNumber,
    /// The sum is beyond what a client can count in; nothing was changed.
    Overflow,
}

/// The rows of one key, and which parts of them can be seen.
pub(super) struct KeyState<'a> {
    /// The key of the row of its value.
    pub(super) row_key: RowKey,
    pub(super) scalar: Cow<'a, Scalar>,
    pub(super) register: Cow<'a, Register>,
    pub(super) at: Commit,
    now_ms: u64,
}

impl KeyState<'_> {
    /// The same, apart from the store, which can then be written to.
    pub(super) fn into_owned(self) -> KeyState<'static> {
        let Self { row_key, scalar, register, at, now_ms } = self;
        let (scalar, register) = (Cow::Owned(scalar.into_owned()), Cow::Owned(register.into_owned()));
        KeyState { row_key, scalar, register, at, now_ms }
    }

    /// Whether an element with this deadline of its own can be seen.
    pub(super) fn sees(&self, deadline_ms: DeadlineMs) -> bool {
        is_visible(self.now_ms, self.register.deadline_ms(), deadline_ms)
    }

    /// The value; `None` if nothing is visible.
    pub(super) fn value(&self) -> Option<Value> {
        self.scalar.value(|deadline_ms| self.sees(deadline_ms))
    }

    /// What adding `by` would come to.
    pub(super) fn count(&self, by: i64) -> Counted {
        let before = match self.value() {
            None => Some(0),
            // Sums of several agents' increments may have left the range of what a client can count in.
            Some(value) => value.integer().and_then(|sum| i64::try_from(sum).ok()),
        };
        let Some(before) = before else { return Counted::NoNumber };
        before.checked_add(by).map_or(Counted::Overflow, Counted::Sum)
    }

    /// When the next element becomes hidden by time alone.
    fn steady_until_ms(&self) -> DeadlineMs {
        let siblings = self.scalar.siblings().iter().map(|sibling| sibling.deadline_ms);
        let own = siblings.chain(self.scalar.entries().iter().map(|entry| entry.raise.deadline_ms));
        let binding = own.map(|own_ms| self.register.deadline_ms().unwrap_or(own_ms));
        binding.filter(|&deadline_ms| deadline_ms > self.now_ms).min().unwrap_or(NEVER_MS)
    }

    /// The deadline that a new element inherits: the register's, else the latest among the visible elements.
    pub(super) fn deadline_ms(&self) -> DeadlineMs {
        let latest = || self.scalar.latest_deadline_ms(|deadline_ms| self.sees(deadline_ms));
        self.register.deadline_ms().or_else(latest).unwrap_or(NEVER_MS)
    }
}

impl Replica {
    /// What a client sees of `key`.
    pub fn view<R: Rows>(&self, now: Now, rows: &R, space: &Space, key: &[u8]) -> Result<View, R::Error> {
        let state = self.key_state(now, rows, space, key)?;
        let value = state.value();
        let deadline_ms = Some(state.deadline_ms()).filter(|&ms| ms != NEVER_MS && value.is_some());
        Ok(View { value, deadline_ms, steady_until_ms: state.steady_until_ms(), at: state.at })
    }

    /// The concurrent values of `key` that can be seen, the winner first.
    pub fn siblings<R: Rows>(&self, now: Now, rows: &R, space: &Space, key: &[u8]) -> Result<Vec<Sibling>, R::Error> {
        let state = self.key_state(now, rows, space, key)?;
        let visible = state.scalar.siblings().iter().filter(|sibling| state.sees(sibling.deadline_ms));
        let mut siblings: Vec<_> = visible.cloned().collect();
        siblings.sort_by_key(|sibling| std::cmp::Reverse((sibling.stamp, sibling.dot)));
        Ok(siblings)
    }

    /// The parts of `key` that can be seen, each under the name by which it can be withdrawn: the dots of values, the
    /// presence dots of counter entries.
    pub fn parts<R: Rows>(&self, now: Now, rows: &R, space: &Space, key: &[u8]) -> Result<Vec<Dot>, R::Error> {
        let state = self.key_state(now, rows, space, key)?;
        let siblings = state.scalar.siblings().iter().filter(|sibling| state.sees(sibling.deadline_ms));
        let live = state.scalar.entries().iter().filter(|entry| entry.is_live());
        let counted = live.filter(|entry| state.sees(entry.raise.deadline_ms));
        Ok(siblings.map(|sibling| sibling.dot).chain(counted.map(Entry::presence)).collect())
    }

    pub(super) fn key_state<'a, R: Rows>(
        &self,
        now: Now,
        rows: &'a R,
        space: &Space,
        key: &[u8],
    ) -> Result<KeyState<'a>, R::Error> {
        let place = self.config.placer.place(key);
        let row_key = RowKey::new(space, place, key, Kind::Scalar);
        let [register, scalar] = rows.pair(&row_key)?;
        let cut = self.spaces.get(space).map(|keyspace| keyspace.cut).unwrap_or_default();
        Ok(KeyState {
            row_key,
            at: register.at.max(scalar.at).commit.max(cut),
            now_ms: self.now_ms(now),
            register: match register.row {
                Some(Cow::Borrowed(Row::Expiry(register))) => Cow::Borrowed(register),
                Some(Cow::Owned(Row::Expiry(register))) => Cow::Owned(register),
                Some(Cow::Borrowed(Row::Scalar(_)) | Cow::Owned(Row::Scalar(_))) | None => {
                    Cow::Owned(Register::default())
                }
            },
            scalar: match scalar.row {
                Some(Cow::Borrowed(Row::Scalar(scalar))) => Cow::Borrowed(scalar),
                Some(Cow::Owned(Row::Scalar(scalar))) => Cow::Owned(scalar),
                Some(Cow::Borrowed(Row::Expiry(_)) | Cow::Owned(Row::Expiry(_))) | None => {
                    Cow::Owned(Scalar::default())
                }
            },
        })
    }
}
