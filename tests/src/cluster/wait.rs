//! Waiting, for a condition or for the next beat of a load: the only place in the tests that lets real time pass.

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

/// Lets time pass until `at`: for loads that keep a pace and for delays that are simulated, never in the hope that
/// something has happened by then.
pub fn pause_until(at: Instant) {
    thread::sleep(at.saturating_duration_since(Instant::now()));
}
