//! How long things take, kept as histograms and reported as percentiles.
//!
//! Every thread owns a [`Recorder`] of its own and records without a lock; from time to time it drains it into a bounded
//! channel, and the thread that answers `MESH.HISTOGRAM` absorbs what comes. Nothing is lost when that channel is full:
//! the owner keeps what it has and drains it later.
//!
//! Times are whole microseconds, rounded up, so that nothing takes no time; a histogram keeps two digits, some two
//! kilobytes for a path that stays under a millisecond. What this does not do: it reads no clock and computes no rates.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::report::Line;

/// Significant digits kept: a figure is within one percent.
const DIGITS: u8 = 2;

/// Anything longer is recorded as an hour, which bounds a histogram's size.
const LONGEST: Duration = Duration::from_hours(1);

/// Histograms of one peer's path beyond so many peers are kept under one name.
const PEERS_MAX: usize = 1024;

/// The name under which peers beyond [`PEERS_MAX`] are kept together.
const OTHER_PEERS: &str = "others";

/// The histograms of one thread, or of the whole process once absorbed.
#[derive(Debug, Clone, Default)]
pub struct Recorder {
    commands: BTreeMap<&'static str, Times>,
    durable_at: BTreeMap<Box<str>, Times>,
    probes: BTreeMap<Box<str>, Times>,
    commits: Times,
    visible: Times,
    sessions: Times,
    gate_waits: Times,
}

impl Recorder {
    /// A recorder that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// A client's command, from its bytes to its reply.
    pub fn command(&mut self, name: &'static str, took: Duration) {
        self.commands.entry(name).or_default().record(took);
    }

    /// A group of writes, from its sealing to the disk.
    pub fn commit(&mut self, took: Duration) {
        self.commits.record(took);
    }

    /// A local write, from its stamp to its durable acknowledgement by `peer`.
    pub fn durable_at(&mut self, peer: &str, took: Duration) {
        of_peer(&mut self.durable_at, peer).record(took);
    }

    /// A peer's write, from its stamp to its becoming visible here.
    pub fn visible(&mut self, took: Duration) {
        self.visible.record(took);
    }

    /// A probe of `peer` and its answer.
    pub fn probe(&mut self, peer: &str, round_trip: Duration) {
        of_peer(&mut self.probes, peer).record(round_trip);
    }

    /// A repair session, from its first message to its end.
    pub fn session(&mut self, took: Duration) {
        self.sessions.record(took);
    }

    /// An operation's wait for the ones it depends on.
    pub fn gate_wait(&mut self, took: Duration) {
        self.gate_waits.record(took);
    }

    /// Takes everything recorded so far, if there is anything, to be absorbed elsewhere.
    pub fn drain(&mut self) -> Option<Self> {
        (!self.is_empty()).then(|| std::mem::take(self))
    }

    /// Adds what another thread recorded, or what could not be handed over.
    pub fn absorb(&mut self, other: Self) {
        for (name, times) in other.commands {
            self.commands.entry(name).or_default().add(times);
        }
        for (peer, times) in other.durable_at {
            of_peer(&mut self.durable_at, &peer).add(times);
        }
        for (peer, times) in other.probes {
            of_peer(&mut self.probes, &peer).add(times);
        }
        self.commits.add(other.commits);
        self.visible.add(other.visible);
        self.sessions.add(other.sessions);
        self.gate_waits.add(other.gate_waits);
    }

    /// The percentiles of every path that was taken, commands first.
    pub fn lines(&self) -> Vec<Line> {
        let commands = self.commands.iter().map(|(name, times)| (format!("command {name}"), times));
        let durable = self.durable_at.iter().map(|(peer, t)| (format!("durable at {peer}"), t));
        let probes = self.probes.iter().map(|(peer, times)| (format!("probe {peer}"), times));
        let singles = [
            ("commit", &self.commits),
            ("visible here", &self.visible),
            ("gate wait", &self.gate_waits),
            ("repair session", &self.sessions),
        ];
        let singles = singles.into_iter().map(|(name, times)| (name.to_owned(), times));
        let all = commands.chain(singles).chain(durable).chain(probes);
        all.filter_map(|(path, times)| times.line(path)).collect()
    }

    fn is_empty(&self) -> bool {
        let keyed = self.commands.is_empty() && self.durable_at.is_empty() && self.probes.is_empty();
        let singles = [&self.commits, &self.visible, &self.sessions, &self.gate_waits];
        keyed && singles.iter().all(|times| times.0.is_none())
    }
}

/// One path's histogram, which costs nothing until the path is taken.
#[derive(Debug, Clone, Default)]
struct Times(Option<Box<Histogram<u64>>>);

impl Times {
    fn record(&mut self, took: Duration) {
        let nanos = took.min(LONGEST).as_nanos();
        let micros = u64::try_from(nanos.div_ceil(1_000)).unwrap_or(u64::MAX).max(1);
        let times = self.0.get_or_insert_with(|| Box::new(empty()));
        times.record(micros).expect("a histogram that resizes itself has room for an hour");
    }

    fn add(&mut self, other: Self) {
        match (&mut self.0, other.0) {
            (_, None) => {}
            (mine @ None, theirs) => *mine = theirs,
            (Some(mine), Some(theirs)) => {
                mine.add(&*theirs).expect("histograms of one precision that resize themselves add up");
            }
        }
    }

    fn line(&self, path: String) -> Option<Line> {
        let times = self.0.as_ref()?;
        let at = |quantile| times.value_at_quantile(quantile);
        Some(Line {
            path,
            count: times.len(),
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: times.max(),
        })
    }
}

fn empty() -> Histogram<u64> {
    Histogram::new(DIGITS).expect("two significant digits are a valid precision")
}

fn of_peer<'a>(peers: &'a mut BTreeMap<Box<str>, Times>, peer: &str) -> &'a mut Times {
    let known = peers.contains_key(peer);
    let peer = if known || peers.len() < PEERS_MAX { peer } else { OTHER_PEERS };
    if !peers.contains_key(peer) {
        peers.insert(peer.into(), Times::default());
    }
    peers.get_mut(peer).expect("the peer was inserted above if it was not there")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(recorder: &Recorder, path: &str) -> Line {
        let lines = recorder.lines();
        lines.into_iter().find(|line| line.path == path).expect("the path was taken")
    }

    #[test]
    fn percentiles_are_within_one_percent() {
        let mut recorder = Recorder::new();
        for micros in 1..=1_000 {
            recorder.command("get", Duration::from_micros(micros));
        }
        let line = line(&recorder, "command get");
        assert_eq!(line.count, 1_000);
        for (got, exact) in [(line.p50_us, 500), (line.p90_us, 900), (line.p99_us, 990), (line.max_us, 1_000)] {
            assert!(got.abs_diff(exact) * 100 <= exact, "{got} is not within a percent of {exact}");
        }
    }

    #[test]
    fn nothing_takes_no_time_and_nothing_takes_for_ever() {
        let mut recorder = Recorder::new();
        recorder.commit(Duration::ZERO);
        assert_eq!(line(&recorder, "commit").max_us, 1);
        recorder.commit(Duration::from_secs(1 << 40));
        let hour_us = 3_600_000_000_u64;
        assert!(line(&recorder, "commit").max_us.abs_diff(hour_us) * 100 <= hour_us);
    }

    #[test]
    fn two_threads_add_up_to_one() {
        let (mut ledger, mut mesh) = (Recorder::new(), Recorder::new());
        ledger.durable_at("oslo", Duration::from_micros(10));
        mesh.durable_at("oslo", Duration::from_millis(10));
        mesh.probe("lima", Duration::from_millis(80));
        let drained = mesh.drain().expect("something was recorded");
        assert!(mesh.drain().is_none() && mesh.lines().is_empty());
        ledger.absorb(drained);
        let oslo = line(&ledger, "durable at oslo");
        assert_eq!((oslo.count, oslo.p50_us), (2, 10));
        assert!(oslo.max_us >= 10_000);
        assert_eq!(line(&ledger, "probe lima").count, 1);
    }

    #[test]
    fn a_path_not_taken_has_no_line() {
        assert!(Recorder::new().lines().is_empty());
        assert!(Recorder::new().drain().is_none());
    }

    #[test]
    fn a_flood_of_peer_names_is_bounded() {
        let mut recorder = Recorder::new();
        for n in 0..2 * PEERS_MAX {
            recorder.probe(&format!("n{n}"), Duration::from_micros(5));
        }
        assert_eq!(recorder.lines().len(), PEERS_MAX + 1);
        assert_eq!(line(&recorder, "probe others").count, PEERS_MAX as u64);
    }
}
