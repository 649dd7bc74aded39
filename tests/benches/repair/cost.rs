//! What a reconciliation costs: bytes and messages, time of a processor, memory.

use std::fs;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// What two sides said to each other.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Cost {
    /// Messages, without those that carry nothing but values.
    pub(crate) messages: usize,
    /// Bytes both ways, without values and without vectors.
    pub(crate) bytes: usize,
    /// Bytes both ways, everything.
    pub(crate) whole_bytes: usize,
    /// Both sides' time of a processor.
    pub(crate) cpu: Duration,
    /// By how much the process grew at most.
    pub(crate) memory_bytes: u64,
}

impl Cost {
    /// One more message.
    pub(crate) fn say(&mut self, bytes: usize) {
        self.messages += 1;
        self.bytes += bytes;
        self.whole_bytes += bytes;
    }
}

/// Runs `work` and adds what it took.
pub(crate) fn measured(work: impl FnOnce() -> Cost) -> Cost {
    // Resets the peak of the resident memory.
    let resets = fs::write("/proc/self/clear_refs", "5").is_ok();
    let (before, began) = (resident("VmRSS:"), thread_time());
    let mut cost = work();
    cost.cpu = thread_time().saturating_sub(began);
    cost.memory_bytes = if resets { resident("VmHWM:").saturating_sub(before) } else { 0 };
    cost
}

fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).expect("time that was spent is not negative")
}

fn resident(field: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kib = line.and_then(|line| line.split_whitespace().next()).and_then(|kib| kib.parse::<u64>().ok());
    kib.unwrap_or(0) << 10
}
