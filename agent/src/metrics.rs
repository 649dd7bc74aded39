//! Latencies, as percentiles.
//!
//! The ledger thread owns every histogram; other threads send it their samples with the messages they send anyway, so
//! recording costs no lock. A histogram exists from its first sample on: most commands are never called, and one takes
//! some hundred kilobytes.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

/// What is measured besides commands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Path {
    /// Handed to the log → durable.
    Commit,
    /// A local write → durable at a peer.
    DurableAtPeer,
    /// A peer's write, by its stamp → visible here.
    VisibleHere,
    /// A probe and its answer.
    ProbeRoundTrip,
    /// A repair session from its first to its last message.
    Session,
    /// A remote group's wait for its dependencies.
    GateWait,
}

impl Path {
    /// The name reports show.
    pub fn name(self) -> &'static str {
        match self {
            Self::Commit => "commit",
            Self::DurableAtPeer => "durable-at-peer",
            Self::VisibleHere => "visible-here",
            Self::ProbeRoundTrip => "probe-round-trip",
            Self::Session => "session",
            Self::GateWait => "gate-wait",
        }
    }
}

/// All histograms of the process.
#[derive(Debug, Default)]
pub struct Metrics {
    paths: BTreeMap<Path, Latencies>,
    commands: Vec<Option<Latencies>>,
}

impl Metrics {
    /// Records one sample of `path`.
    pub fn record(&mut self, path: Path, took: Duration) {
        self.paths.entry(path).or_default().record(took);
    }

    /// Records one execution of the command with this number, from its arrival to its reply.
    pub fn record_command(&mut self, number: usize, took: Duration) {
        if self.commands.len() <= number {
            self.commands.resize_with(number + 1, || None);
        }
        self.commands[number].get_or_insert_default().record(took);
    }

    /// Everything recorded by path.
    pub fn paths(&self) -> impl Iterator<Item = (&'static str, Percentiles)> {
        self.paths.iter().map(|(path, latencies)| (path.name(), latencies.percentiles()))
    }

    /// Everything recorded by command number.
    pub fn commands(&self) -> impl Iterator<Item = (usize, Percentiles)> {
        let numbered = self.commands.iter().enumerate();
        numbered.filter_map(|(number, latencies)| Some((number, latencies.as_ref()?.percentiles())))
    }

    /// Forgets everything recorded.
    pub fn reset(&mut self) {
        *self = Self::default();
    }
}

/// One path's samples in ns, up to a minute, with three significant digits.
#[derive(Debug)]
struct Latencies(Histogram<u64>);

impl Latencies {
    const LONGEST_NS: u64 = 60_000_000_000;

    fn record(&mut self, took: Duration) {
        self.0.saturating_record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }

    fn percentiles(&self) -> Percentiles {
        let us = |quantile: f64| self.0.value_at_quantile(quantile).div_ceil(1_000);
        Percentiles {
            count: self.0.len(),
            p50_us: us(0.5),
            p90_us: us(0.9),
            p99_us: us(0.99),
            p999_us: us(0.999),
            max_us: self.0.max().div_ceil(1_000),
        }
    }
}

impl Default for Latencies {
    fn default() -> Self {
        Self(Histogram::new_with_bounds(1, Self::LONGEST_NS, 3).expect("the bounds are constants that are allowed"))
    }
}

/// What a report shows of one path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Percentiles {
    /// How many samples.
    pub count: u64,
    /// Half took no longer.
    pub p50_us: u64,
    /// Nine of ten took no longer.
    pub p90_us: u64,
    /// 99 of 100 took no longer.
    pub p99_us: u64,
    /// 999 of 1,000 took no longer.
    pub p999_us: u64,
    /// None took longer.
    pub max_us: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_describe_what_was_recorded_and_nothing_else() {
        let mut metrics = Metrics::default();
        for ms in 1..=100 {
            metrics.record(Path::Commit, Duration::from_millis(ms));
        }
        metrics.record_command(3, Duration::MAX);
        let paths: Vec<_> = metrics.paths().collect();
        let [(name, commit)] = paths[..] else { panic!("one path was recorded: {paths:?}") };
        assert_eq!((name, commit.count), ("commit", 100));
        assert!(commit.p50_us.abs_diff(50_000) < 100 && commit.max_us.abs_diff(100_000) < 200, "{commit:?}");
        let commands: Vec<_> = metrics.commands().map(|(number, percentiles)| (number, percentiles.count)).collect();
        assert_eq!(commands, [(3, 1)]);
        metrics.reset();
        assert_eq!(metrics.paths().count() + metrics.commands().count(), 0);
    }
}
