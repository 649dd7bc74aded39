//! What is told of sessions: how far those under way have come, and what one found, for whoever asked.

use std::time::Duration;

use everett_mesh_proto::repair::{DIVERGED_MAX, Outcome};
use everett_mesh_proto::rows::RowKey;
use everett_mesh_proto::time::Instant;

use crate::peers::{Found, Range};
use crate::store::{Snapshot, StoreError, leaf_at};

/// How many ranges are named.
const RANGES_MAX: usize = 64;

/// Between two words about how far it is.
const PERIOD: Duration = Duration::from_secs(1);

/// Between two lines in the log about it.
const LOG_PERIOD: Duration = Duration::from_secs(10);

/// Rows that came, and rows that the peers hold.
pub(super) type UnderWay = Option<(u64, u64)>;

/// What was told of sessions under way.
#[derive(Default)]
pub(super) struct Told {
    at: Instant,
    logged_at: Instant,
    rows: UnderWay,
}

impl Told {
    /// Whether `rows` is to be told now; that there are none is told at once.
    pub(super) fn is_news(&mut self, now: Instant, rows: UnderWay) -> bool {
        if rows == self.rows || (rows.is_some() && now.saturating_since(self.at) < PERIOD) {
            return false;
        }
        (self.at, self.rows) = (now, rows);
        if let Some((staged, of)) = rows
            && now.saturating_since(self.logged_at) >= LOG_PERIOD
        {
            self.logged_at = now;
            tracing::info!(rows = staged, of, "repair is under way");
        }
        true
    }
}

/// What a session found.
pub(super) fn found(outcome: &Outcome, pin: &Snapshot) -> Result<Found, StoreError> {
    let keys = || outcome.stage.iter().map(|(key, _)| key);
    Ok(Found {
        rows: outcome.stage.len() as u64,
        ranges: ranges(outcome, pin)?,
        keys: keys().take(DIVERGED_MAX).map(RowKey::key).collect(),
        diverged: outcome.diverged.iter().map(RowKey::key).collect(),
    })
}

/// The leaves that what differs lies in, in order.
fn ranges(outcome: &Outcome, pin: &Snapshot) -> Result<Vec<Range>, StoreError> {
    let mut ranges: Vec<Range> = Vec::new();
    for place in outcome.stage.iter().map(|(key, _)| key.place()) {
        if let Some(range) = ranges.last_mut().filter(|range| place <= range.last) {
            range.rows += 1;
            continue;
        }
        if ranges.len() == RANGES_MAX {
            break;
        }
        let (leaf, _) = leaf_at(pin, &outcome.space, place)?;
        ranges.push(Range { first: leaf.first(), last: leaf.last(), rows: 1 });
    }
    Ok(ranges)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_under_way_is_told_once_a_second_and_its_end_at_once() {
        let at = |ms| Instant::from_start(Duration::from_millis(ms));
        let mut told = Told::default();
        assert!(!told.is_news(at(5_000), None));
        assert!(told.is_news(at(5_000), Some((1, 10))));
        assert!(!told.is_news(at(5_500), Some((2, 10))) && !told.is_news(at(7_000), Some((1, 10))));
        assert!(told.is_news(at(7_000), Some((2, 10))));
        assert!(told.is_news(at(7_001), None) && !told.is_news(at(9_000), None));
    }
}
