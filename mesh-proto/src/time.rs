//! Time as the machines see it: handed in, never read.
//!
//! The shell reads its clocks once per step and passes a [`Now`]; a machine that wants to be woken returns a
//! [`Deadline`] that says why. Nothing in this crate knows what an operating system's clock looks like.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

/// A point on the process's monotonic clock: the time since the process (or the simulation) began.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant(Duration);

impl Instant {
    /// The beginning of the process or simulation.
    pub const ZERO: Self = Self(Duration::ZERO);

    /// The instant `since_start` after the beginning.
    pub const fn from_start(since_start: Duration) -> Self {
        Self(since_start)
    }

    /// The time since the beginning.
    pub const fn since_start(self) -> Duration {
        self.0
    }

    /// The time from `earlier` to here, zero if `earlier` is in fact later.
    pub fn saturating_since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, by: Duration) -> Self {
        Self(self.0.saturating_add(by))
    }
}

impl Sub<Duration> for Instant {
    type Output = Self;

    fn sub(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(by))
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "+{:?}", self.0)
    }
}

/// The clocks of one step, read once by the shell.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Now {
    /// Monotonic time: for timers, timeouts and everything that must never jump.
    pub mono: Instant,
    /// Physical time in ms since the Unix epoch: for stamps and deadlines.
    pub wall_ms: u64,
}

/// When a machine wants to be woken, and why: the reason is a log field when somebody asks why the process is busy.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Deadline<W> {
    /// Not before this instant.
    pub at: Instant,
    /// What will be done then.
    pub why: W,
}
