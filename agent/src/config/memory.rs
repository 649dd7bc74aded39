//! How much memory this process may use, for the one default that depends on it.
//!
//! The host's memory, or the limit of the process's control group where that is lower: an agent in a 512 MiB service
//! must not size itself for the whole machine.

use std::fs;
use std::path::Path;

/// Bytes of memory that this process may use, where the kernel tells.
pub(super) fn usable_bytes() -> Option<u64> {
    let host = fs::read_to_string("/proc/meminfo").ok().and_then(|text| host_bytes(&text))?;
    Some(group_limit_bytes().map_or(host, |limit| limit.min(host)))
}

fn host_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    kib.checked_mul(1024)
}

fn group_limit_bytes() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let limit = Path::new("/sys/fs/cgroup").join(own).join("memory.max");
    fs::read_to_string(limit).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_bytes() {
        assert_eq!(host_bytes("MemTotal:       24603932 kB\nMemFree: 1 kB\n"), Some(24_603_932 * 1024));
    }

    #[test]
    fn a_kernel_that_does_not_tell_its_memory_is_not_guessed() {
        assert_eq!(host_bytes("MemFree: 1 kB\n"), None);
        assert_eq!(host_bytes("MemTotal: lots\n"), None);
    }

    #[test]
    fn this_host_tells_its_memory() {
        assert!(usable_bytes().is_some_and(|bytes| bytes > 1 << 20));
    }
}
