//! Virtual time: what is due when, and worlds that run by it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use everett_mesh_proto::time::Instant;

/// What is due, in order of time; what is due at one time, in the order in which it was put down.
///
/// The heap moves its entries about with every change, so what is due lies beside it.
#[derive(Debug)]
pub(super) struct Agenda<D> {
    now: Instant,
    entries: BinaryHeap<Reverse<Entry>>,
    slots: Vec<Option<D>>,
    free: Vec<usize>,
    last: u64,
}

impl<D> Agenda<D> {
    pub(super) fn new() -> Self {
        Self { now: Instant::ZERO, entries: BinaryHeap::new(), slots: Vec::new(), free: Vec::new(), last: 0 }
    }

    pub(super) fn now(&self) -> Instant {
        self.now
    }

    pub(super) fn at(&mut self, at: Instant, due: D) {
        self.last += 1;
        let slot = self.free.pop().unwrap_or(self.slots.len());
        if slot == self.slots.len() {
            self.slots.push(None);
        }
        self.slots[slot] = Some(due);
        self.entries.push(Reverse(Entry { at, number: self.last, slot }));
    }

    pub(super) fn after(&mut self, delay: Duration, due: D) {
        self.at(self.now + delay, due);
    }

    /// Goes on to the next that is due by `end`; to `end` if there is none.
    pub(super) fn next(&mut self, end: Instant) -> Option<D> {
        if self.entries.peek().is_none_or(|Reverse(entry)| entry.at > end) {
            self.now = end;
            return None;
        }
        let Reverse(entry) = self.entries.pop()?;
        self.now = entry.at;
        self.free.push(entry.slot);
        self.slots[entry.slot].take()
    }
}

/// A world that time passes in.
pub trait Clockwork {
    /// The time.
    fn now(&self) -> Instant;

    /// Lets the next thing happen that is due by `end`; if there is none, it is `end` now, and the answer no.
    fn step(&mut self, end: Instant) -> bool;

    /// Runs for this long.
    fn run_for(&mut self, time: Duration) {
        self.run_until(time, |_| false);
    }

    /// Runs until the condition holds, at most `limit`; how long it took.
    fn run_until(&mut self, limit: Duration, mut holds: impl FnMut(&Self) -> bool) -> Option<Duration> {
        let (start, end) = (self.now(), self.now() + limit);
        loop {
            if holds(self) {
                return Some(self.now().saturating_since(start));
            }
            if !self.step(end) {
                return None;
            }
        }
    }

    /// The same for a condition that costs: it is looked at once in `period`.
    fn run_until_seen(
        &mut self,
        limit: Duration,
        period: Duration,
        mut holds: impl FnMut(&Self) -> bool,
    ) -> Option<Duration> {
        let mut looked_at = self.now();
        self.run_until(limit, |world| {
            let due = world.now().saturating_since(looked_at) >= period;
            if due {
                looked_at = world.now();
            }
            due && holds(world)
        })
    }
}

/// Ordered by time, then by number, which is unique.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    at: Instant,
    number: u64,
    slot: usize,
}
