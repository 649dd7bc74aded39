//! The process's clocks, read once per step and handed to the machines as [`Now`].
//!
//! One value, copied to every thread at start, so that their monotonic instants have the same beginning.

use std::time::{Instant as StdInstant, SystemTime, UNIX_EPOCH};

use everett_mesh_proto::time::{Instant, Now};

/// Reads the operating system's clocks.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: StdInstant,
}

impl Clock {
    /// A clock whose monotonic time begins now.
    pub fn start() -> Self {
        Self { start: StdInstant::now() }
    }

    /// Both clocks. A physical clock before 1970 reads as 1970.
    pub fn now(&self) -> Now {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now {
            mono: Instant::from_start(self.start.elapsed()),
            wall_ms: u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX),
        }
    }
}
