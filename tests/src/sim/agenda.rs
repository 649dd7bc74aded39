//! Virtual time: what is due when, and worlds that run by it.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::time::Duration;

use everett_mesh_proto::time::Instant;

/// What is due, in order of time; what is due at one time, in the order in which it was put down.
#[derive(Debug)]
pub(super) struct Agenda<D> {
    now: Instant,
    entries: BinaryHeap<Reverse<Entry<D>>>,
    last: u64,
}

impl<D> Agenda<D> {
    pub(super) fn new() -> Self {
        Self { now: Instant::ZERO, entries: BinaryHeap::new(), last: 0 }
    }

    pub(super) fn now(&self) -> Instant {
        self.now
    }

    pub(super) fn at(&mut self, at: Instant, due: D) {
        self.last += 1;
        self.entries.push(Reverse(Entry { at, number: self.last, due }));
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
        Some(entry.due)
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

#[derive(Debug)]
struct Entry<D> {
    at: Instant,
    number: u64,
    due: D,
}

impl<D> Entry<D> {
    fn key(&self) -> (Instant, u64) {
        (self.at, self.number)
    }
}

impl<D> PartialEq for Entry<D> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl<D> Eq for Entry<D> {}

impl<D> PartialOrd for Entry<D> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<D> Ord for Entry<D> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}
