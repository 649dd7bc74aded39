//! What the ledger is told at its start: limits towards clients, and where its outputs go.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Sender;
use tokio::sync::watch;

use super::listener::Claim;
use crate::api::resp;
use crate::courier::Order;
use crate::keeper::Task;
use crate::mesh;
use crate::net::{Command, DataEvent, Inbox, Local};
use crate::store::Batch;
use crate::systemd::Pulse;

/// The ledger's knobs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What a request may consist of.
    pub request: resp::Limits,
    /// Most connections at a time; each costs some kilobytes while it does nothing.
    pub clients_max: usize,
    /// A connection with more unread replies than this is cut.
    pub output_bytes_max: usize,
    /// A connection with more replies waiting for the disk than this is not read until they left.
    pub held_bytes_max: usize,
    /// Commits, in bytes, that the log has not taken yet; with more, no client is served.
    pub backlog_bytes_max: usize,
    /// Notices from other threads that may queue before their senders wait.
    pub inbox_max: usize,
    /// How long a drain waits for clients to take their last replies.
    pub drain_max: Duration,
    /// How long a node may be gone and keep what it holds on lease.
    pub restart_grace: Duration,
    /// When rows go from memory to their file.
    pub flush: FlushSettings,
}

/// When rows go from memory to their file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FlushSettings {
    /// At this many bytes of changed rows in memory. At twice as many, which
    /// writers are kept from by slowing them down, clients wait.
    pub memtable_bytes: usize,
    /// At this many bytes of log since the last flush: what a start after a kill has to replay.
    pub replay_bytes: usize,
    /// When nothing has changed for this long.
    pub idle: Duration,
}

impl Default for FlushSettings {
    fn default() -> Self {
        Self { memtable_bytes: 256 << 20, replay_bytes: 48 << 20, idle: Duration::from_secs(1) }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            request: resp::Limits::default(),
            clients_max: 10_000,
            output_bytes_max: 256 << 20,
            held_bytes_max: 1 << 20,
            backlog_bytes_max: 4 << 20,
            inbox_max: 4_096,
            drain_max: Duration::from_secs(5),
            restart_grace: Duration::from_secs(30),
            flush: FlushSettings::default(),
        }
    }
}

/// Where the ledger's outputs go, and where clients and peers' words come from.
pub struct Ports {
    /// Where clients find the ledger from its opening on; `None` for one without clients.
    pub clients: Option<Claim>,
    /// To the log: what one turn of the loop committed. Bounded; while it is full, turns gather.
    pub log: Sender<Batch>,
    /// To the net; false if it did not take the command. Must not wait.
    pub net: Box<dyn FnMut(Command) -> bool + Send>,
    /// To the courier. Full: the reading is lost, and the peer asks for what it misses.
    pub courier: Sender<Order>,
    /// To the keeper; gives back what it did not take. Must not wait.
    pub keeper: Box<dyn FnMut(Task) -> Option<Task> + Send>,
    /// To membership. Must not wait.
    pub mesh: Box<dyn FnMut(mesh::Order) + Send>,
    /// What HELLO says of this agent.
    pub hello: watch::Sender<Arc<Local>>,
    /// Shows that the ledger gets work done.
    pub pulse: Pulse,
    /// Shows that commits wait for the log.
    pub log_pulse: Pulse,
    /// What peers say; `None` for an agent without a net.
    pub peers: Option<Inbox<DataEvent>>,
}

impl fmt::Debug for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ports").field("log", &self.log).finish_non_exhaustive()
    }
}
