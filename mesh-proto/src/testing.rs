//! What tests elsewhere need of this crate: rows in memory, and a clock to turn by hand.
//!
//! Compiled only with the `testing` feature or for this crate's own tests. Worlds (many nodes, networks, schedules) are
//! the tests crate's.

mod content;
mod log;
mod rows;

pub use content::{MemoryChange, MemoryContent, MemoryTree};
pub use log::Nowhere;
pub use rows::MemoryRows;

use std::time::Duration;

use crate::time::{Instant, Now};

/// A moment `ms` after the beginning, whose physical clock shows `1_700_000_000_000 + ms`.
pub fn now_at(ms: u64) -> Now {
    Now { mono: Instant::from_start(Duration::from_millis(ms)), wall_ms: 1_700_000_000_000 + ms }
}
