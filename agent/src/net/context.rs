//! What every task of the net shares: read-only, behind one `Arc`.
//!
//! Whatever changes belongs to the hub; tasks ask it through [`Ask`]. Here are the endpoint, who we are, the bounds, the
//! ways out, and the helpers that every conversation with a peer needs.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{SystemTime, UNIX_EPOCH};

use everett_certs::Mtls;
use everett_mesh_proto::id::{NodeId, ReplicaId};
use everett_mesh_proto::wire::{Hello, Protocol, SPACES_MAX};
use quinn::{ClientConfig, Connection, Endpoint, VarInt};
use tokio::sync::{mpsc, oneshot, watch};

use super::channels::{Allowance, Outlet};
use super::limits::Limits;
use super::messages::{DataEvent, Local, MemberEvent, SessionEvent};
use super::refusal::{Close, Counters, Refusal};
use super::settle::Process;
use crate::identity::NodeIdentity;

/// A connection whose HELLO was found good and that wants to become the link to its peer.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) connection: Connection,
    pub(super) peer: NodeIdentity,
    pub(super) hello: Hello,
    /// The number the other side gave the link, if the other side is the one who decides.
    pub(super) granted: Option<u64>,
}

/// What tasks ask of the hub, or tell it.
#[derive(Debug)]
pub(super) enum Ask {
    /// Whether a greeting is worth going on with.
    MayGreet {
        peer: NodeId,
        /// Which start of the peer it is, once it has said so.
        process: Option<Process>,
        reply: oneshot::Sender<Result<(), Close>>,
    },
    /// Make this connection the link, or say why not. The reply is the link's number.
    Settle { candidate: Box<Candidate>, reply: oneshot::Sender<Result<u64, Close>> },
    /// A peer was turned away.
    Refused {
        cause: Refusal,
        /// Its name if it has one, else its address.
        who: String,
    },
    /// This agent was turned away.
    TurnedAway { close: Close, who: String },
    /// Another process bears our name.
    Clash { boot_epoch: Option<u64>, fenced: bool },
    /// A link's task is done.
    Ended { peer: NodeId, link: LinkId },
}

/// Tells the links of one process apart.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct LinkId(pub(super) u64);

/// The ways out.
#[derive(Clone, Debug)]
pub(super) struct Outlets {
    pub(super) data: Outlet<DataEvent>,
    pub(super) members: Outlet<MemberEvent>,
    pub(super) sessions: Outlet<SessionEvent>,
}

/// Received bytes that may wait for their consumer, by kind.
#[derive(Debug)]
pub(super) struct Allowances {
    pub(super) ops: Allowance,
    pub(super) members: Allowance,
    pub(super) sessions: Allowance,
}

impl Allowances {
    pub(super) fn new(limits: &Limits) -> Self {
        let allowance = || Allowance::new(limits.inbound_bytes_max);
        Self { ops: allowance(), members: allowance(), sessions: allowance() }
    }
}

/// Shared by all tasks.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) me: NodeIdentity,
    pub(super) place: [u8; 16],
    pub(super) mtls: Arc<Mtls>,
    pub(super) endpoint: Endpoint,
    pub(super) client: ClientConfig,
    pub(super) limits: Limits,
    pub(super) local: watch::Receiver<Arc<Local>>,
    pub(super) asks: mpsc::Sender<Ask>,
    pub(super) outlets: Outlets,
    pub(super) allowances: Allowances,
    pub(super) counters: Arc<Counters>,
    pub(super) sessions: AtomicU64,
}

impl Context {
    /// What this agent says of itself now.
    pub(super) fn local(&self) -> Arc<Local> {
        Arc::clone(&self.local.borrow())
    }

    /// The HELLO for a peer.
    pub(super) fn hello_for(&self, peer: &NodeIdentity) -> Hello {
        let local = self.local();
        let of_peer = local.lives.iter().filter(|life| life.is_life_of(&peer.node));
        Hello {
            protocol: Protocol::OURS,
            features: local.features,
            place: self.place,
            boot_epoch: local.boot_epoch,
            nonce: local.nonce,
            replica: local.replica,
            wall_ms: wall_ms(),
            newest_start_of_yours_ms: of_peer.map(|life| ReplicaId::start_ms(*life)).max().unwrap_or(0),
            spaces: local.spaces.iter().take(SPACES_MAX).cloned().collect(),
        }
    }

    /// Whether this side numbers the links to `peer`.
    pub(super) fn decides(&self, peer: &NodeIdentity) -> bool {
        self.me.id < peer.id
    }

    /// Tells the hub; if it has ended, so has the process.
    pub(super) async fn tell(&self, ask: Ask) {
        let _ = self.asks.send(ask).await;
    }

    /// Asks the hub whether to go on with a greeting.
    pub(super) async fn may_greet(&self, peer: NodeId, process: Option<Process>) -> Result<(), Close> {
        let (reply, answer) = oneshot::channel();
        self.tell(Ask::MayGreet { peer, process, reply }).await;
        answer.await.unwrap_or(Err(Close::Leaving))
    }

    /// Asks the hub to make a connection the link.
    pub(super) async fn settle(&self, candidate: Candidate) -> Result<u64, Close> {
        let (reply, answer) = oneshot::channel();
        let candidate = Box::new(candidate);
        self.tell(Ask::Settle { candidate, reply }).await;
        answer.await.unwrap_or(Err(Close::Leaving))
    }
}

/// Closes a connection and says why.
pub(super) fn close(connection: &Connection, why: Close) {
    connection.close(VarInt::from_u32(why.code()), why.to_string().as_bytes());
}

/// The physical clock.
fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
