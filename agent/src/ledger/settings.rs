//! What the ledger is told at its start: limits towards clients, and where its outputs go.

use std::fmt;
use std::time::Duration;

use crossbeam_channel::Sender;
use everett_mesh_proto::log::{Held, Record};
use everett_mesh_proto::replica::{Outputs, Signal};

use super::listener::SocketSettings;
use crate::api::resp;

/// The ledger's knobs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The clients' socket.
    pub socket: SocketSettings,
    /// What a request may consist of.
    pub request: resp::Limits,
    /// Most connections at a time; each costs some kilobytes while it does nothing.
    pub clients_max: usize,
    /// A connection with more unread replies than this is cut.
    pub output_bytes_max: usize,
    /// A connection with more replies waiting for the disk than this is not read until they left.
    pub held_bytes_max: usize,
    /// Notices from other threads that may queue before their senders wait.
    pub inbox_max: usize,
    /// How long a drain waits for clients to take their last replies.
    pub drain_max: Duration,
}

impl Settings {
    /// The defaults, on this socket.
    pub fn on(socket: SocketSettings) -> Self {
        Self {
            socket,
            request: resp::Limits::default(),
            clients_max: 10_000,
            output_bytes_max: 256 << 20,
            held_bytes_max: 1 << 20,
            inbox_max: 4_096,
            drain_max: Duration::from_secs(5),
        }
    }
}

/// One commit on its way to the log, with what may be said once it is there.
pub type Sealed = (Record, Held<Outputs>);

/// Where the ledger's outputs go.
pub struct Ports {
    /// To the log: what one turn of the loop committed. Bounded; while it is full no client is served.
    pub log: Sender<Vec<Sealed>>,
    /// To the mesh: requests and alarms. Must not wait; what it drops is asked for again.
    pub signal: Box<dyn FnMut(Signal) + Send>,
}

impl fmt::Debug for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ports").field("log", &self.log).finish_non_exhaustive()
    }
}
