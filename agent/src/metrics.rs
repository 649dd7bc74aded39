//! How long things take, kept as histograms and reported as percentiles.
//!
//! The ledger thread owns every histogram; other threads send it their samples with the messages they send anyway, so
//! recording costs no lock. A histogram exists from its first sample on: most commands are never called, and one takes
//! some hundred kilobytes. What this does not do: it reads no clock and computes no rates.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::report::Line;

/// Peers beyond so many are kept under one name.
const PEERS_MAX: usize = 1_024;

/// The name under which peers beyond [`PEERS_MAX`] are kept together.
const OTHER_PEERS: &str = "others";

/// What is measured besides commands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Path {
    /// Handed to the log → durable.
    Commit,
    /// A peer's write, by its stamp → visible here.
    VisibleHere,
    /// A remote group's wait for its dependencies.
    GateWait,
    /// A repair session from its first to its last message.
    Session,
}

/// What is measured of each peer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum PeerPath {
    /// A local write → durable at the peer.
    DurableAt,
    /// A probe and its answer.
    Probe,
}

impl Path {
    fn name(self) -> &'static str {
        match self {
            Self::Commit => "commit",
            Self::VisibleHere => "visible here",
            Self::GateWait => "gate wait",
            Self::Session => "repair session",
        }
    }
}

impl PeerPath {
    fn name(self) -> &'static str {
        match self {
            Self::DurableAt => "durable at",
            Self::Probe => "probe",
        }
    }
}

/// All histograms of the process.
#[derive(Debug, Default)]
pub struct Metrics {
    paths: BTreeMap<Path, Latencies>,
    peers: BTreeMap<PeerPath, BTreeMap<Box<str>, Latencies>>,
    commands: Vec<Option<Latencies>>,
}

impl Metrics {
    /// Records one sample of `path`.
    pub fn record(&mut self, path: Path, took: Duration) {
        self.paths.entry(path).or_default().record(took);
    }

    /// Records one sample of `path` to or from `peer`.
    pub fn record_peer(&mut self, path: PeerPath, peer: &str, took: Duration) {
        let peers = self.peers.entry(path).or_default();
        let peer = if peers.contains_key(peer) || peers.len() < PEERS_MAX { peer } else { OTHER_PEERS };
        match peers.get_mut(peer) {
            Some(latencies) => latencies.record(took),
            None => peers.entry(peer.into()).or_default().record(took),
        }
    }

    /// Records one execution of the command with this number, from its arrival to its reply.
    pub fn record_command(&mut self, number: usize, took: Duration) {
        if self.commands.len() <= number {
            self.commands.resize_with(number + 1, || None);
        }
        self.commands[number].get_or_insert_default().record(took);
    }

    /// The percentiles of every path that was taken, commands first; `name` names a command by its number.
    pub fn lines<'a>(&self, name: impl Fn(usize) -> &'a str) -> Vec<Line> {
        let numbered = self.commands.iter().enumerate();
        let commands = numbered.filter_map(|(number, latencies)| Some((number, latencies.as_ref()?)));
        let commands = commands.map(|(number, latencies)| latencies.line(format!("command {}", name(number))));
        let paths = self.paths.iter().map(|(path, latencies)| latencies.line(path.name().to_owned()));
        let peers = self.peers.iter().flat_map(|(path, peers)| {
            peers.iter().map(|(peer, latencies)| latencies.line(format!("{} {peer}", path.name())))
        });
        commands.chain(paths).chain(peers).collect()
    }

    /// Forgets everything recorded.
    pub fn reset(&mut self) {
        *self = Self::default();
    }
}

/// One path's samples in ns, up to a minute, with three significant digits.
#[derive(Debug)]
struct Latencies {
    samples: Histogram<u64>,
    sum_ns: u64,
}

impl Latencies {
    const LONGEST_NS: u64 = 60_000_000_000;

    fn record(&mut self, took: Duration) {
        let took_ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.samples.saturating_record(took_ns);
        self.sum_ns = self.sum_ns.saturating_add(took_ns);
    }

    /// Times are whole microseconds, rounded up, so that nothing takes no time.
    fn line(&self, path: String) -> Line {
        let at_us = |quantile: f64| self.samples.value_at_quantile(quantile).div_ceil(1_000);
        Line {
            path,
            count: self.samples.len(),
            sum_us: self.sum_ns.div_ceil(1_000),
            p50_us: at_us(0.5),
            p90_us: at_us(0.9),
            p99_us: at_us(0.99),
            p999_us: at_us(0.999),
            max_us: self.samples.max().div_ceil(1_000),
        }
    }
}

impl Default for Latencies {
    fn default() -> Self {
        let samples = Histogram::new_with_bounds(1, Self::LONGEST_NS, 3);
        Self { samples: samples.expect("the bounds are constants that are allowed"), sum_ns: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(metrics: &Metrics) -> Vec<Line> {
        metrics.lines(|_| "get")
    }

    #[test]
    fn percentiles_describe_what_was_recorded_and_nothing_else() {
        let mut metrics = Metrics::default();
        for ms in 1..=100 {
            metrics.record(Path::Commit, Duration::from_millis(ms));
        }
        metrics.record_command(3, Duration::MAX);
        let lines_before = lines(&metrics);
        let [command, commit] = &lines_before[..] else { panic!("two paths were recorded: {lines_before:?}") };
        assert_eq!((command.path.as_str(), command.count), ("command get", 1));
        assert_eq!((commit.path.as_str(), commit.count), ("commit", 100));
        assert!(commit.p50_us.abs_diff(50_000) < 100 && commit.max_us.abs_diff(100_000) < 200, "{commit:?}");
        metrics.reset();
        assert_eq!(lines(&metrics), []);
    }

    #[test]
    fn a_flood_of_peer_names_is_bounded() {
        let mut metrics = Metrics::default();
        for n in 0..2 * PEERS_MAX {
            metrics.record_peer(PeerPath::Probe, &format!("n{n}"), Duration::from_micros(5));
        }
        let lines = lines(&metrics);
        assert_eq!(lines.len(), PEERS_MAX + 1);
        let others = lines.iter().find(|line| line.path == "probe others").expect("the rest is kept together");
        assert_eq!(others.count, PEERS_MAX as u64);
    }
}
