//! Loads: redis-benchmark where it can do the job, and a client at a pace where it cannot.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use everett_tests::cluster::wait;

use crate::client::Client;

/// A load of redis-benchmark: values of 100 bytes, keys at random.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    /// Connections.
    pub(crate) clients: u32,
    /// Requests under way on each.
    pub(crate) pipeline: u32,
    /// Keys to choose from.
    pub(crate) keys: u64,
}

impl Load {
    /// The load that `clients:pipeline` says.
    pub(crate) fn parse(text: &str, keys: u64) -> Self {
        let parsed = text.split_once(':').and_then(|(clients, pipeline)| {
            Some(Self { clients: clients.parse().ok()?, pipeline: pipeline.parse().ok()?, keys })
        });
        parsed.unwrap_or_else(|| panic!("a load is CLIENTS:PIPELINE, not {text}"))
    }

    /// As tables name it.
    pub(crate) fn name(&self) -> String {
        format!("{} x {}", self.clients, self.pipeline)
    }

    /// Requests that take a second or two.
    fn requests(&self) -> u64 {
        match (self.clients, self.pipeline) {
            (_, 2..) => 500_000,
            (1, _) => 12_000,
            _ => 80_000,
        }
    }

    fn command(&self, socket: &Path, test: &str) -> Command {
        let mut command = Command::new("redis-benchmark");
        command.arg("-s").arg(socket).args(["-t", test, "-d", "100"]);
        command.args(["-c", &self.clients.to_string(), "-P", &self.pipeline.to_string()]);
        command.args(["-r", &self.keys.to_string()]);
        command.stdin(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// Runs it for a second or two; returns the requests a second.
    pub(crate) fn run(&self, socket: &Path, test: &str) -> f64 {
        self.run_of(socket, test, self.requests())
    }

    /// Runs so many requests.
    pub(crate) fn run_of(&self, socket: &Path, test: &str, requests: u64) -> f64 {
        let output = self.command(socket, test).args(["-n", &requests.to_string(), "--csv"]).output();
        let output = output.expect("redis-benchmark, which Debian has, runs");
        let said = String::from_utf8_lossy(&output.stdout);
        // The test's name, the rate, then latencies.
        let rate = said.lines().last().and_then(|line| line.split(',').nth(1)?.trim_matches('"').parse().ok());
        rate.unwrap_or_else(|| panic!("redis-benchmark says figures, not {said}"))
    }

    /// Begins it; it goes on until dropped.
    pub(crate) fn begin(&self, socket: &Path, test: &str) -> Running {
        let mut command = self.command(socket, test);
        let child = command.args(["-n", "1000000000", "-q"]).stdout(Stdio::null()).spawn();
        Running { child: child.expect("redis-benchmark, which Debian has, runs") }
    }
}

/// A load that goes on beside something else.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only for a child that has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Times in the order of their length.
#[derive(Debug, Clone, Default)]
pub(crate) struct Times(Vec<Duration>);

impl Times {
    /// Sorts them.
    pub(crate) fn new(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self(times)
    }

    /// The time that so many of a hundred do not exceed, in ms.
    pub(crate) fn percentile_ms(&self, percent: usize) -> f64 {
        let rank = (self.0.len() * percent).div_ceil(100);
        let time = self.0.get(rank.clamp(1, self.0.len().max(1)) - 1);
        time.map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
    }
}

/// Does something at a steady pace, so often; returns how long each time took.
///
/// A time begins when it was due, if what came before it took too long to let it begin: a server that stops for a second
/// is late for all that was due in it, as it would be for many clients. Being woken late by the kernel is not the
/// server's doing and does not count.
pub(crate) fn at_pace(period: Duration, count: u32, mut act: impl FnMut(u32) -> Duration) -> Times {
    let start = Instant::now();
    let mut times = Vec::with_capacity(count as usize);
    for number in 0..count {
        let due = start + period * number;
        let late = Instant::now().saturating_duration_since(due);
        wait::pause_until(due);
        times.push(late + act(number));
    }
    Times::new(times)
}

/// Commands that were executed in each second, for so many seconds, as the server counts them.
pub(crate) fn rates(socket: &Path, seconds: u64) -> Vec<f64> {
    let mut client = Client::of(socket);
    let mut executed = || client.info("stats", "total_commands_processed");
    let (mut at, mut before) = (Instant::now(), executed());
    let start = at;
    let second = |number: u64| start + Duration::from_secs(number);
    let rates = (1..=seconds).map(|number| {
        wait::pause_until(second(number));
        let (now, count) = (Instant::now(), executed());
        let rate = (count - before) as f64 / now.duration_since(at).as_secs_f64();
        (at, before) = (now, count);
        rate
    });
    rates.collect()
}
