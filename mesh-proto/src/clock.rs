//! The hybrid logical clock (Kulkarni et al., "Logical Physical Clocks", 2014): stamps that order concurrent values.
//!
//! A stamp never decides causality (dots do); it only says which of two concurrent values wins. Invariants: an own stamp
//! never repeats, not after a restart and not after the physical clock was set back, because the high-water mark is
//! logged ahead of use; a remote stamp never drags this clock further than `max_skew` past the own physical time, so one
//! sick clock cannot poison a mesh.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// 48 bits of ms since the Unix epoch, then a 16-bit counter: ordered as one number, eight bytes wherever it is stored.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(from = "[u8; 8]", into = "[u8; 8]")]
pub struct Stamp(u64);

impl Stamp {
    /// The first stamp of the millisecond `ms`.
    pub const fn at_ms(ms: u64) -> Self {
        Self(ms << 16)
    }

    /// The physical part: ms since the Unix epoch.
    pub const fn ms(self) -> u64 {
        self.0 >> 16
    }

    /// The stamp `steps` after this one; the counter overflows into the next millisecond.
    pub const fn plus(self, steps: u64) -> Self {
        Self(self.0.saturating_add(steps))
    }
}

impl From<[u8; 8]> for Stamp {
    fn from(bytes: [u8; 8]) -> Self {
        Self(u64::from_be_bytes(bytes))
    }
}

impl From<Stamp> for [u8; 8] {
    fn from(stamp: Stamp) -> Self {
        stamp.0.to_be_bytes()
    }
}

impl fmt::Debug for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.ms(), self.0 & 0xffff)
    }
}

/// How far ahead of the stamps in use the logged high-water mark is kept: long enough that few records carry one, short
/// enough that a restart does not begin visibly in the future.
const MARK_AHEAD: Duration = Duration::from_millis(250);

/// This agent's clock.
#[derive(Clone, Debug)]
pub struct Hlc {
    last: Stamp,
    mark_ms: u64,
    max_skew: Duration,
}

impl Hlc {
    /// A clock that goes on after `mark_ms`, the durable high-water mark of all lives before.
    pub fn resume(mark_ms: u64, max_skew: Duration) -> Self {
        Self { last: Stamp::at_ms(mark_ms), mark_ms, max_skew }
    }

    /// A stamp later than any issued or absorbed before.
    pub fn issue(&mut self, wall_ms: u64) -> Stamp {
        self.last = self.last.plus(1).max(Stamp::at_ms(wall_ms));
        self.last
    }

    /// The stamps up to `last` are in use: the own group that the last issued stamp began is this long.
    pub fn advance(&mut self, last: Stamp) {
        self.last = self.last.max(last);
    }

    /// Takes note of a stamp from elsewhere; returns how far it lies ahead of the own physical time beyond `max_skew`.
    pub fn absorb(&mut self, wall_ms: u64, remote: Stamp) -> Option<Duration> {
        let skew_ms = u64::try_from(self.max_skew.as_millis()).unwrap_or(u64::MAX);
        let ceiling = Stamp::at_ms(wall_ms.saturating_add(skew_ms));
        self.last = self.last.max(remote.min(ceiling));
        (remote > ceiling).then(|| Duration::from_millis(remote.ms() - wall_ms))
    }

    /// The monotone time that expiry goes by: never earlier than a stamp or mark seen before.
    pub fn ms(&self, wall_ms: u64) -> u64 {
        wall_ms.max(self.last.ms())
    }

    /// The greatest stamp issued or absorbed so far.
    pub fn last(&self) -> Stamp {
        self.last
    }

    /// The new high-water mark to log with the stamps just issued, if they passed the old one.
    pub fn raise_mark(&mut self) -> Option<u64> {
        if self.last.ms() < self.mark_ms {
            return None;
        }
        let ahead_ms = u64::try_from(MARK_AHEAD.as_millis()).unwrap_or(u64::MAX);
        self.mark_ms = self.last.ms().saturating_add(ahead_ms);
        Some(self.mark_ms)
    }

    /// The high-water mark in force; what a flush stores.
    pub fn mark_ms(&self) -> u64 {
        self.mark_ms
    }

    /// Takes a mark out of the log at replay.
    pub fn replay_mark(&mut self, mark_ms: u64) {
        self.mark_ms = self.mark_ms.max(mark_ms);
        self.last = self.last.max(Stamp::at_ms(mark_ms));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SKEW: Duration = Duration::from_millis(500);

    #[test]
    fn stamps_rise_while_the_wall_clock_stands_or_falls() {
        let mut clock = Hlc::resume(0, SKEW);
        let a = clock.issue(1_000);
        let b = clock.issue(1_000);
        clock.advance(b.plus(69_999));
        let c = clock.issue(10);
        assert!(a < b && b.plus(69_999) < c);
    }

    #[test]
    fn a_restart_behind_the_mark_goes_on_after_it() {
        let mut clock = Hlc::resume(0, SKEW);
        let issued = clock.issue(5_000);
        let mark_ms = clock.raise_mark().expect("the first stamp passes mark zero");
        assert!(Hlc::resume(mark_ms, SKEW).issue(1) > issued);
        assert_eq!(clock.raise_mark(), None);
    }

    #[test]
    fn a_remote_stamp_moves_the_clock_no_further_than_the_skew() {
        let mut clock = Hlc::resume(0, SKEW);
        assert_eq!(clock.absorb(1_000, Stamp::at_ms(1_400)), None);
        assert_eq!(clock.ms(1_000), 1_400);
        assert_eq!(clock.absorb(1_000, Stamp::at_ms(9_000)), Some(Duration::from_secs(8)));
        assert_eq!(clock.ms(1_000), 1_500);
    }
}
