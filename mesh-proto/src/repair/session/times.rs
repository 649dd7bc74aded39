//! When a session began, when the peer was last heard, and how far it may be run ahead of.

use std::time::Duration;

use super::super::Limits;
use crate::time::{Deadline, Instant};

/// An answer that comes within this time says that the link carries more at a time. Much less than a side may be silent, so
/// that what is in flight over a slow link does not look like silence.
const SOON: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    began: Instant,
    heard: Instant,
    /// How many turns of rows may go out in a row now: more while they are answered soon.
    pub(super) in_flight: u32,
}

impl Times {
    pub(super) fn begin(now: Instant) -> Self {
        Self { began: now, heard: now, in_flight: 1 }
    }

    /// The peer has said something.
    pub(super) fn hear(&mut self, now: Instant, in_flight_max: u32) {
        let soon = now.saturating_since(self.heard) < SOON;
        self.heard = now;
        self.in_flight = if soon { self.in_flight * 2 } else { self.in_flight / 2 }.clamp(1, in_flight_max.max(1));
    }

    /// When the session is given up, with a peer that may be silent for so many times as long as usual.
    pub(super) fn end(&self, limits: &Limits, patience: u32) -> Deadline<&'static str> {
        let silence = Deadline { at: self.heard + limits.silence * patience, why: "the peer is silent" };
        let duration = Deadline { at: self.began + limits.duration, why: "the session is long" };
        silence.min(duration)
    }
}
