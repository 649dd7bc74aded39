//! One table of everything that is due.
//!
//! A timer is set by name; setting it again moves it. The table also holds the machine's only notion of "now": the time of
//! the step being taken, handed in at the door.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::id::NodeId;
use crate::time::{Deadline, Instant};

/// Why the machine wants to be woken.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Timer {
    /// The next probe of an observed member, or the next attempt of a running one.
    Probe(NodeId),
    /// The next round of a case against a member.
    Case(NodeId),
    /// The next ping of an inquiry answered for others, or its end.
    Inquest(NodeId),
    /// News to be passed on.
    Flush,
    /// Known members to be dialled again, until joined.
    Join,
    /// Links to strangers of whom no news has come.
    Greet,
    /// A round of comparing views after joining.
    FollowUp,
    /// A look for lost members.
    Heal,
    /// Another comparison between two halves that met.
    Bridge,
    /// Dead, Forgotten, or shown again.
    Fate(NodeId),
    /// The leave to be repeated or finished.
    Leave,
    /// Has anybody answered lately?
    Isolation,
}

#[derive(Debug, Default)]
pub(super) struct Timers {
    now: Instant,
    due: BTreeMap<Timer, Instant>,
    order: BTreeSet<(Instant, Timer)>,
}

impl Timers {
    pub(super) fn now(&self) -> Instant {
        self.now
    }

    /// Moves to `now`; a step never goes back in time.
    pub(super) fn advance(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    pub(super) fn set(&mut self, timer: Timer, after: Duration) {
        let at = self.now + after;
        if let Some(old) = self.due.insert(timer, at) {
            self.order.remove(&(old, timer));
        }
        self.order.insert((at, timer));
    }

    /// Sets a timer that is not set yet.
    pub(super) fn set_within(&mut self, timer: Timer, after: Duration) {
        if !self.due.contains_key(&timer) {
            self.set(timer, after);
        }
    }

    pub(super) fn cancel(&mut self, timer: Timer) {
        if let Some(at) = self.due.remove(&timer) {
            self.order.remove(&(at, timer));
        }
    }

    pub(super) fn clear(&mut self) {
        self.due.clear();
        self.order.clear();
    }

    pub(super) fn next(&self) -> Option<Deadline<Timer>> {
        self.order.first().map(|&(at, why)| Deadline { at, why })
    }

    pub(super) fn pop_due(&mut self) -> Option<Timer> {
        let &(at, timer) = self.order.first()?;
        if at > self.now {
            return None;
        }
        self.cancel(timer);
        Some(timer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn setting_a_timer_again_moves_it() {
        let mut timers = Timers::default();
        timers.set(Timer::Flush, Duration::from_secs(5));
        timers.set(Timer::Heal, Duration::from_secs(2));
        timers.set(Timer::Flush, Duration::from_secs(1));
        timers.advance(Instant::ZERO + Duration::from_secs(3));
        assert_eq!(timers.pop_due(), Some(Timer::Flush));
        assert_eq!(timers.pop_due(), Some(Timer::Heal));
        assert_eq!(timers.pop_due(), None);
        assert!(timers.next().is_none());
    }
}
