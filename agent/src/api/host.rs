//! The server as commands see it: everything the ledger thread owns except sockets and buffers.

use super::session::Sessions;
use super::table::Table;

/// What commands read and change. One thread owns it; nothing in it is shared.
#[derive(Debug)]
pub struct Host {
    /// The commands.
    pub table: Table,
    /// Everyone connected.
    pub sessions: Sessions,
    /// What `CONFIG GET` shows.
    pub settings: Vec<(&'static str, String)>,
    /// What was counted since the start or the last reset.
    pub stats: Stats,
    /// Which commands are answered at present.
    pub phase: Phase,
}

/// Which commands are answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// This agent has never held its cluster's data: commands on data are refused until it does.
    Loading,
    /// All.
    Serving,
    /// The agent is leaving: what is in flight finishes, nothing new begins.
    Draining,
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
    /// Connections ended because they broke the protocol.
    pub cut_protocol: u64,
    /// Reads that found their key.
    pub keyspace_hits: u64,
    /// Reads that did not.
    pub keyspace_misses: u64,
}
