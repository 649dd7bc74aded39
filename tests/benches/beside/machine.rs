//! What the kernel says of processes, files and the loopback interface.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rustix::process::Pid;

fn process_file(pid: Pid, name: &str) -> String {
    fs::read_to_string(format!("/proc/{}/{name}", pid.as_raw_nonzero())).expect("a running process can be looked at")
}

fn field(text: &str, name: &str) -> u64 {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok());
    value.unwrap_or_else(|| panic!("the kernel tells {name}"))
}

/// Bytes written to the device that `path` lies on, by whomever. What the kernel counts for a process is no measure: it
/// counts whole folios that a few bytes made dirty, many times what it writes.
pub(crate) fn device_written_bytes(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let device = fs::metadata(path).expect("what was made can be looked at").dev();
    let number = (rustix::fs::major(device).to_string(), rustix::fs::minor(device).to_string());
    let table = fs::read_to_string("/proc/diskstats").expect("the kernel tells of disks");
    let sectors = table.lines().find_map(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        let is_it = words.len() > 9 && words[0] == number.0 && words[1] == number.1;
        is_it.then(|| words[9].parse::<u64>().ok())?
    });
    sectors.expect("the directory lies on a disk") * 512
}

/// Bytes of memory that the process has for itself or shares.
pub(crate) fn resident_bytes(pid: Pid) -> u64 {
    field(&process_file(pid, "status"), "VmRSS:") * 1024
}

/// Processor time that all threads of the process have taken, those that have ended not counted.
pub(crate) fn processor_time(pid: Pid) -> Duration {
    let tasks =
        fs::read_dir(format!("/proc/{}/task", pid.as_raw_nonzero())).expect("a process's threads can be listed");
    let times = tasks.flatten().filter_map(|task| {
        let stat = fs::read_to_string(task.path().join("schedstat")).ok()?;
        stat.split_whitespace().next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(times.sum())
}

/// Bytes that crossed the loopback interface, headers included. A burst that the kernel hands over in one piece has one
/// header.
pub(crate) fn loopback_bytes() -> u64 {
    let table = fs::read_to_string("/proc/net/dev").expect("the kernel tells of interfaces");
    let line = table.lines().find_map(|line| line.trim_start().strip_prefix("lo:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).expect("there is a loopback interface")
}

/// Bytes on disk of all files below a folder, or of a file.
pub(crate) fn stored_bytes(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let Ok(data) = fs::metadata(path) else { return 0 };
    if data.is_file() {
        return data.blocks() * 512;
    }
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.map(|entry| stored_bytes(&entry.path())).sum()
}

/// Whether the program can be found.
pub(crate) fn has_program(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(name).is_file())
}
