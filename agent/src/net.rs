//! Links to the other agents: one QUIC endpoint, mutual TLS, HELLO, and the streams between two agents.
//!
//! The net moves bytes between agents whose certificates and HELLOs it has judged; what the bytes mean is for membership
//! (datagrams and its own stream), the ledger (ops) and repair (sessions). It stands apart because it is all waiting, on
//! a runtime, while the rest of the agent is threads and machines that never wait: the only way in is [`Command`], the
//! only ways out are the events in [`messages`], each over a bounded channel.
//!
//! Invariants: a peer's identity is its certificate's; nothing is sent to a peer before its certificate and HELLO are
//! judged, except a HELLO to an acceptor whose certificate is verified; there is at most one link per peer, and both ends
//! agree which; a slow or hostile peer costs a bounded amount of memory and delays nobody else; a refusal is counted and
//! touches nothing but its connection. Not here: who ought to be dialed, what is sent when, what is true.

mod accept;
pub mod channels;
mod context;
mod dial;
mod endpoint;
mod greet;
mod hub;
mod lane;
pub mod limits;
mod link;
pub mod messages;
mod meter;
mod pace;
mod refusal;
mod reset;
mod session;
mod settle;
mod socket;
mod stream;
mod table;
mod thread;
mod tls;

#[cfg(test)]
mod tests;

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use everett_certs::Mtls;
use everett_mesh_proto::wire::{FRAME_LEN_MAX, Frame};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

pub use channels::{Credit, Inbox, Wake};
pub use limits::Limits;
pub use messages::{Command, DataEvent, DownReason, Lane, Local, MemberEvent, SessionEvent, Target};
pub use meter::{LinkFigures, LinkMeter};
pub use refusal::{Close, Counters, Refusal};
pub use session::{NotSent, SessionId, SessionSender};
pub use thread::{MeshThread, spawn};

use crate::identity::NodeIdentity;

/// The UDP port of an agent that is not told another.
pub const DEFAULT_PORT: u16 = 7117;

/// What the net needs to start.
#[derive(Clone)]
pub struct Setup {
    /// The UDP socket to listen on and dial from; see [`bind`].
    pub socket: Arc<UdpSocket>,
    /// Who we are and whom we trust.
    pub mtls: Arc<Mtls>,
    /// Bounds and paces.
    pub limits: Limits,
    /// What HELLO says of us, kept current by its sender.
    pub local: watch::Receiver<Arc<Local>>,
    /// Wakes the consumer of data events.
    pub wake_data: Wake,
    /// Wakes the consumer of session events.
    pub wake_sessions: Wake,
}

impl std::fmt::Debug for Setup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Setup").field("socket", &self.socket).field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// The net did not start. Nothing is left open.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The UDP address cannot be had.
    #[error("cannot listen on udp {listen}")]
    Bind {
        /// The address.
        listen: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The socket cannot be driven.
    #[error("cannot use the udp socket")]
    Socket(#[source] io::Error),
    /// The TLS provider lacks the cipher suite that begins every QUIC handshake.
    #[error("the TLS provider cannot speak QUIC")]
    Cipher,
    /// A limit makes no sense: a timeout too long for QUIC, or less room for received bytes than one frame takes.
    #[error("a limit of the net is out of range")]
    Limits,
    /// No thread, or no runtime on it.
    #[error("cannot start the mesh thread")]
    Thread(#[source] io::Error),
}

/// The net has ended and takes no commands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the net has ended")]
pub struct Ended;

/// A command was not taken.
#[derive(Debug, thiserror::Error)]
pub enum NotTaken {
    /// The channel is full; the command comes back.
    #[error("the net's command channel is full")]
    Full(Box<Command>),
    /// The net has ended.
    #[error("the net has ended")]
    Ended,
}

/// Speaks to the net. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Net {
    commands: mpsc::Sender<Command>,
    overrun: Arc<AtomicBool>,
    counters: Arc<Counters>,
    me: NodeIdentity,
    local_address: SocketAddr,
}

impl Net {
    /// Gives a command, waiting for room: for tasks of a runtime.
    pub async fn command(&self, command: Command) -> Result<(), Ended> {
        self.commands.send(command).await.map_err(|_| Ended)
    }

    /// Gives a command or says at once that there is no room: for threads that never wait.
    pub fn try_command(&self, command: Command) -> Result<(), NotTaken> {
        self.commands.try_send(command).map_err(|error| match error {
            mpsc::error::TrySendError::Full(command) => NotTaken::Full(Box::new(command)),
            mpsc::error::TrySendError::Closed(_) => NotTaken::Ended,
        })
    }

    /// Gives a command from a thread that never waits and has no use for one that comes back. If there is no room, the
    /// command is lost and every peer is behind: `Behind` and `Drained` begin its catch-up anew, so nothing is lost unseen.
    /// Says whether the command was taken.
    pub fn tell(&self, command: Command) -> bool {
        match self.commands.try_send(command) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.overrun.store(true, Ordering::SeqCst);
                false
            }
            Err(mpsc::error::TrySendError::Closed(_)) => false,
        }
    }

    /// Queues a frame for every peer that is not behind.
    pub fn broadcast(&self, frame: Frame) {
        self.tell(Command::Broadcast { frame });
    }

    /// Who we are, by our own certificate.
    pub fn me(&self) -> &NodeIdentity {
        &self.me
    }

    /// Where we listen.
    pub fn local_address(&self) -> SocketAddr {
        self.local_address
    }

    /// Refusals and drops so far.
    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }
}

/// What comes out of the net.
#[derive(Debug)]
pub struct Inboxes {
    /// For the ledger.
    pub data: Inbox<DataEvent>,
    /// For membership.
    pub members: Inbox<MemberEvent>,
    /// For repair.
    pub sessions: Inbox<SessionEvent>,
}

/// The UDP socket for a [`Setup`]: had before anything else of an agent begins, so that a second one on its port stops there.
pub fn bind(listen: SocketAddr) -> Result<Arc<UdpSocket>, StartError> {
    socket::bind(listen).map(Arc::new).map_err(|source| StartError::Bind { listen, source })
}

/// Starts the net on the current runtime. The task ends when every [`Net`] is dropped or `Command::Shutdown` is done.
pub fn start(setup: &Setup) -> Result<(Net, Inboxes, JoinHandle<()>), StartError> {
    if setup.limits.inbound_bytes_max < FRAME_LEN_MAX {
        return Err(StartError::Limits);
    }
    let (endpoint, client) = endpoint::open(setup)?;
    let local_address = endpoint.local_addr().map_err(StartError::Socket)?;
    let (command_sender, commands) = mpsc::channel(channels::COMMANDS);
    let (ask_sender, asks) = mpsc::channel(channels::ASKS);
    let (data_out, data) = channels::outlet(channels::DATA_EVENTS, Arc::clone(&setup.wake_data));
    let (members_out, members) = channels::outlet(channels::MEMBER_EVENTS, Arc::new(|| {}));
    let (sessions_out, sessions) = channels::outlet(channels::SESSION_EVENTS, Arc::clone(&setup.wake_sessions));
    let me = NodeIdentity::from(&setup.mtls.identity());
    let context = Arc::new(context::Context {
        me: me.clone(),
        place: setup.mtls.place_key().fingerprint(),
        mtls: Arc::clone(&setup.mtls),
        endpoint,
        client,
        limits: setup.limits.clone(),
        local: setup.local.clone(),
        asks: ask_sender,
        outlets: context::Outlets { data: data_out, members: members_out, sessions: sessions_out },
        allowances: context::Allowances::new(&setup.limits),
        counters: Arc::default(),
        sessions: AtomicU64::new(0),
    });
    let net = Net {
        commands: command_sender,
        overrun: Arc::default(),
        counters: Arc::clone(&context.counters),
        me,
        local_address,
    };
    let hub = hub::Hub::new(context, Arc::clone(&net.overrun));
    let task = tokio::spawn(hub.run(hub::Inputs { commands, asks }));
    Ok((net, Inboxes { data, members, sessions }, task))
}
