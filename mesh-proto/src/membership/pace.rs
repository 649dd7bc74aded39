//! Turns: a subject paces its observers, so that they probe it evenly without talking to each other.
//!
//! Every answer says how long until the asker's next turn, and the subject remembers what it promised to whom: the next
//! turn is a period after the last promised one, or in the first gap that has room for one. So with m observers each has
//! one turn in m periods, and when one of them is gone, or another comes, the others close up as they ask, instead of
//! leaving a hole until all have been told anew. An observer that gets no such word falls back to one probe per cycle.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Membership;
use crate::id::NodeId;
use crate::time::Instant;

/// More than a cycle of the saving profile. Links stay up by themselves.
const NEXT_IN_MAX: Duration = Duration::from_secs(40);

/// The turns promised to observers that are still to come.
#[derive(Debug, Default)]
pub(super) struct Turns(BTreeMap<NodeId, Instant>);

impl Turns {
    /// The turn of an observer that asks now. Who comes more than half a period early has its turn still before it.
    fn promise(&mut self, now: Instant, observer: NodeId, period: Duration) -> Instant {
        if let Some(&turn) = self.0.get(&observer).filter(|turn| turn.saturating_since(now) > period / 2) {
            return turn;
        }
        self.0.remove(&observer);
        let mut promised: Vec<_> = self.0.values().copied().filter(|turn| *turn > now).collect();
        promised.sort_unstable();
        let mut last = now;
        for turn in promised {
            if turn.saturating_since(last) >= period * 7 / 4 {
                break;
            }
            last = turn;
        }
        self.0.insert(observer, last + period);
        last + period
    }

    /// Only these are to keep their turns.
    fn retain(&mut self, now: Instant, kept: impl Fn(NodeId) -> bool) {
        self.0.retain(|&id, turn| *turn > now && kept(id));
    }
}

impl Membership {
    /// How long until this observer's next turn.
    pub(super) fn next_in(&mut self, observer: NodeId) -> Duration {
        let (now, period) = (self.timers.now(), self.config.probe_period);
        let observers = &self.watch.observers;
        let wait = if observers.contains(&observer) {
            self.watch.turns.retain(now, |id| id == observer || observers.contains(&id));
            self.watch.turns.promise(now, observer, period).saturating_since(now)
        } else {
            period * ring_count(observers.len())
        };
        wait.min(NEXT_IN_MAX)
    }

    /// When to send the next probe so that it arrives at the turn the subject named.
    pub(super) fn until_turn(&self, next_in: Duration, rtt: Duration) -> Duration {
        next_in.min(NEXT_IN_MAX).saturating_sub(rtt).max(self.config.timeout_min)
    }

    /// How long between two probes of `id` from here if `id` does not say.
    pub(super) fn pace_of(&self, id: NodeId) -> Duration {
        let observers = self.watch.observers_of(id).unwrap_or(1);
        (self.config.probe_period * ring_count(observers)).min(NEXT_IN_MAX)
    }
}

fn ring_count(count: usize) -> u32 {
    u32::try_from(count.max(1)).expect("at most one per ring")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_secs(4);

    fn id(number: u8) -> NodeId {
        NodeId([number; 16])
    }

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn observers_that_come_at_once_are_spread_over_a_cycle_and_stay_so() {
        let mut turns = Turns::default();
        let first: Vec<_> = (1..=4).map(|observer| turns.promise(at(0), id(observer), PERIOD)).collect();
        assert_eq!(first, [4, 8, 12, 16].map(at));
        turns.retain(at(4), |_| true);
        assert_eq!(turns.promise(at(4), id(1), PERIOD), at(20), "behind the others");
    }

    #[test]
    fn the_hole_of_one_that_is_gone_is_filled_by_the_next_that_asks() {
        let mut turns = Turns::default();
        for observer in 1..=4 {
            turns.promise(at(0), id(observer), PERIOD);
        }
        turns.retain(at(4), |observer| observer != id(2));
        assert_eq!(turns.promise(at(4), id(1), PERIOD), at(8));
        assert_eq!(turns.promise(at(5), id(3), PERIOD), at(12), "an early ping moves no turn");
    }
}
