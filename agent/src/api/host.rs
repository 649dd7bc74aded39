//! The server as commands see it: everything the ledger thread owns except sockets and buffers.

use rand::SeedableRng;
use rand_pcg::Pcg64;

use super::about::About;
use super::data::Data;
use super::notify::Classes;
use super::session::Sessions;
use super::table::Table;
use crate::metrics::Metrics;
use crate::peers::Peers;

/// What commands read and change. One thread owns it; nothing in it is shared.
#[derive(Debug)]
pub struct Host {
    /// The commands.
    pub table: Table,
    /// Everyone connected.
    pub sessions: Sessions,
    /// The keys.
    pub data: Data,
    /// What is known of the peers.
    pub peers: Peers,
    /// Longest key that is taken.
    pub key_bytes_max: usize,
    /// Longest value that is taken.
    pub value_bytes_max: usize,
    /// What `CONFIG GET` shows.
    pub settings: Vec<(&'static str, String)>,
    /// What was counted since the start or the last reset.
    pub stats: Stats,
    /// For what may be any: seeded, so that a run can be repeated.
    pub random: Pcg64,
    /// Who answers.
    pub about: About,
    /// Latencies.
    pub metrics: Metrics,
    /// Which commands are answered at present.
    pub phase: Phase,
}

impl Host {
    /// A server of these keys to which nobody has connected yet.
    pub fn new(data: Data, peers: Peers, seed: u64) -> Self {
        Self {
            table: Table::new(),
            sessions: Sessions::default(),
            data,
            peers,
            key_bytes_max: 64 << 10,
            value_bytes_max: 512 << 20,
            settings: Vec::new(),
            stats: Stats::default(),
            random: Pcg64::seed_from_u64(seed),
            about: About::default(),
            metrics: Metrics::default(),
            phase: Phase::Serving,
        }
    }
}

impl Host {
    /// Which changes of keys are told to listeners from now on.
    pub fn set_classes(&mut self, classes: Classes) {
        const NAME: &str = "notify-keyspace-events";
        self.sessions.set_classes(classes);
        self.settings.retain(|(name, _)| *name != NAME);
        self.settings.push((NAME, classes.to_string()));
        self.settings.sort_unstable();
    }
}

/// Which commands are answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// This agent has never held its cluster's data: commands on data are refused until it does.
    Loading,
    /// All.
    Serving,
    /// The agent ends: what is in flight finishes, nothing new begins.
    Draining,
    /// The same, and for good: what it holds on lease goes with it.
    Leaving,
}

impl Phase {
    /// Whether nothing new begins.
    pub fn is_ending(self) -> bool {
        matches!(self, Self::Draining | Self::Leaving)
    }
}

/// Counts for `INFO`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stats {
    /// Connections accepted.
    pub connections: u64,
    /// Connections turned away because there were too many.
    pub connections_rejected: u64,
    /// Commands executed.
    pub commands: u64,
    /// Bytes read from clients.
    pub input_bytes: u64,
    /// Bytes written to clients.
    pub output_bytes: u64,
    /// Connections cut because they did not read their replies.
    pub cut_output: u64,
    /// Connections among these that listened on channels.
    pub cut_listeners: u64,
    /// Connections ended because they broke the protocol.
    pub cut_protocol: u64,
    /// Reads that found their key.
    pub keyspace_hits: u64,
    /// Reads that did not.
    pub keyspace_misses: u64,
    /// Leases of nodes that were gone, given up by this agent.
    pub leases_withdrawn: u64,
    /// Bytes of the log's files in use.
    pub log_bytes: u64,
}
