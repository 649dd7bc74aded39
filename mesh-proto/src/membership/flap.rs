//! Members that go and come.
//!
//! Each return costs a point; points halve every five minutes. Who has more than two and a half is on probation for a while
//! that doubles with each further point: alive to the protocol, not yet counted on by anybody who asks. Integers only,
//! so that every machine computes the same. After route flap damping (RFC 2439, section 4.2).

use std::time::Duration;

use crate::time::Instant;

const RETURN: u64 = 1_000;
const PATIENCE: u64 = 2_500;
const HALF_LIFE: Duration = Duration::from_mins(5);
const PROBATION_MIN: Duration = Duration::from_secs(15);
const PROBATION_MAX: Duration = Duration::from_mins(5);

/// One member's record of going and coming.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Flap {
    /// Alive, but not shown as such.
    pub(super) on_probation: bool,
    points: u64,
    counted: Instant,
}

impl Flap {
    /// Counts a return; the probation it earns, if any.
    pub(super) fn returned(&mut self, now: Instant) -> Option<Duration> {
        self.points = self.points_at(now) + RETURN;
        self.counted = now;
        let over = self.points.checked_sub(PATIENCE).filter(|&over| over > 0)?;
        let doublings = u32::try_from(over / RETURN).unwrap_or(u32::MAX).min(16);
        let partly = u32::try_from(over % RETURN).expect("a remainder of a thousand");
        let whole = PROBATION_MIN * (1 << doublings);
        Some((whole + whole * partly / 1_000).min(PROBATION_MAX))
    }

    /// Halves per whole half-life, on a straight line in between.
    fn points_at(&self, now: Instant) -> u64 {
        let age = now.saturating_since(self.counted).as_millis();
        let half = HALF_LIFE.as_millis();
        let halvings = u32::try_from(age / half).unwrap_or(u32::MAX).min(63);
        let whole = self.points >> halvings;
        let partly = u64::try_from(age % half * 1_000 / half).expect("below a thousand");
        whole - whole * partly / 2_000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_third_return_in_a_row_earns_probation_and_patience_comes_back() {
        let mut flap = Flap::default();
        let at = |seconds| Instant::ZERO + Duration::from_secs(seconds);
        assert_eq!(flap.returned(at(0)), None);
        assert_eq!(flap.returned(at(10)), None);
        let third = flap.returned(at(20)).unwrap();
        assert!(third >= PROBATION_MIN);
        assert!(flap.returned(at(30)).unwrap() > third);
        assert_eq!(flap.returned(at(4_000)), None);
    }
}
