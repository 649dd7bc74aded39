//! Waiting for a condition: the only place in the tests that lets real time pass.

use std::thread;
use std::time::{Duration, Instant};

/// Between two looks.
const LOOK_PERIOD: Duration = Duration::from_millis(10);

/// Looks until `holds` is true; panics with `what` if it is not within `at_most`.
pub fn until(what: &str, at_most: Duration, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < at_most, "not within {} s: {what}", at_most.as_secs());
        thread::sleep(LOOK_PERIOD);
    }
}
