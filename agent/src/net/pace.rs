//! How fast one peer's datagrams are taken.
//!
//! All peers' datagrams go through one bounded channel to membership, so that one peer which sends without end would crowd
//! out everybody else's answers, and the others would look dead from here. What exceeds a peer's pace is dropped, which a
//! datagram must bear. Kept as the time at which the whole burst is allowed again.

use std::time::{Duration, Instant};

/// Datagrams that a peer may send at once.
const BURST: u32 = 512;
/// Between two of them in the long run: many times what membership sends to anybody at a third of all packets lost.
const PAUSE: Duration = Duration::from_millis(2);

/// One peer's pace.
#[derive(Debug, Default)]
pub(super) struct Pace {
    whole_at: Option<Instant>,
}

impl Pace {
    /// Whether one more may pass now.
    pub(super) fn permits(&mut self, now: Instant) -> bool {
        let next = self.whole_at.map_or(now, |at| at.max(now)) + PAUSE;
        let permitted = next.saturating_duration_since(now) <= PAUSE * BURST;
        if permitted {
            self.whole_at = Some(next);
        }
        permitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_then_the_pace_holds_and_rest_makes_room_again() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        assert_eq!((0..2_000).filter(|_| pace.permits(start)).count(), 512);
        let second = |nth: u32| start + Duration::from_millis(1) * nth;
        let passed = (1..=1_000).filter(|&nth| pace.permits(second(nth))).count();
        assert_eq!(passed, 500);
        assert_eq!((0..2_000).filter(|_| pace.permits(start + Duration::from_secs(9))).count(), 512);
    }
}
