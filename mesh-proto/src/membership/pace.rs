//! Turns: a subject paces its observers, so that they probe it evenly without talking to each other.
//!
//! With m observers a cycle is m periods long and each observer has one turn in it, by the order of ids. Every answer says
//! how long until the asker's next turn; no state is kept. An observer that gets no such word falls back to one probe per
//! cycle.

use std::time::Duration;

use super::Membership;
use crate::id::NodeId;

/// More than a cycle of the saving profile. Links stay up by themselves.
const NEXT_IN_MAX: Duration = Duration::from_secs(40);

impl Membership {
    /// How long until this observer's next turn. Who comes within half a period before its turn has had it.
    pub(super) fn next_in(&self, observer: NodeId) -> Duration {
        let observers = &self.watch.observers;
        let turn = observers.iter().position(|&id| id == observer).unwrap_or(0);
        let period = self.config.probe_period;
        let cycle = period * ring_count(observers.len());
        let own_offset = Duration::from_micros(self.me.standing.life.nonce % 1_000_000);
        let earliest = self.timers.now().since_start() + own_offset + period / 2;
        let turn_at = period * ring_count(turn + 1);
        let wait = remainder(turn_at + cycle.saturating_sub(remainder(earliest, cycle)), cycle);
        (period / 2 + wait).min(NEXT_IN_MAX)
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

fn remainder(of: Duration, by: Duration) -> Duration {
    let rest = of.as_nanos() % by.as_nanos().max(1);
    Duration::from_nanos(u64::try_from(rest).unwrap_or(u64::MAX))
}
