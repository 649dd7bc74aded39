//! What the rest of the agent says to the net, and what it hears from it.
//!
//! Messages are lanes: [`DataEvent`] is for the ledger, [`MemberEvent`] for membership, [`SessionEvent`] for repair, each
//! in a channel of its own, so that bulk never delays a probe. For one peer, `Up` comes before anything else from that
//! link, `Down` after everything, and the next link's `Up` after that.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use everett_mesh_proto::id::{NodeId, ReplicaId};
use everett_mesh_proto::wire::{Frame, Hello, OpsFrame, Received, SpaceHello};

use super::channels::Credit;
use super::meter::LinkMeter;
use super::refusal::{Close, Refusal};
use super::session::{SessionId, SessionSender};
use crate::identity::NodeIdentity;

/// Whom to dial.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Target {
    /// `host:port` of the configuration; who answers there is learnt from the certificate.
    Seed(String),
    /// A member of the roster.
    Member(NodeId),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Seed(address) => f.write_str(address),
            Self::Member(id) => id.fmt(f),
        }
    }
}

/// The long-lived streams to a peer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Lane {
    /// Ops, acknowledgements, catch-up.
    Ops,
    /// Membership's tables and records.
    Membership,
}

/// What the net is told to do. Everything concerning a peer that is not linked is dropped: `Down` has said or will say so.
#[derive(Debug)]
pub enum Command {
    /// Reach this target and keep reaching it; a target known already is tried again at once.
    Connect {
        /// Whom.
        target: Target,
        /// Where a member may be found, newest first; unused for a seed.
        addresses: Vec<SocketAddr>,
    },
    /// Stop dialing this node and close its link.
    Disconnect {
        /// Whom.
        peer: NodeId,
    },
    /// Queue a frame for one peer.
    Send {
        /// To whom.
        peer: NodeId,
        /// On which stream.
        lane: Lane,
        /// The encoded message.
        frame: Frame,
    },
    /// Queue a frame on the ops stream of every peer that is not behind.
    Broadcast {
        /// The encoded message.
        frame: Frame,
    },
    /// The peer has caught up: it gets broadcasts again from the next one on.
    Resume {
        /// Whom.
        peer: NodeId,
    },
    /// Say `Drained` once the peer has taken all that was queued for it, behind or not.
    Await {
        /// Whom.
        peer: NodeId,
    },
    /// Send a datagram; lost without notice if it does not fit or the network drops it.
    Datagram {
        /// To whom.
        peer: NodeId,
        /// Version and body.
        bytes: Bytes,
    },
    /// Open a repair session.
    OpenSession {
        /// With whom.
        peer: NodeId,
        /// Comes back in `SessionEvent::Opened` or `SessionEvent::Failed`.
        ticket: u64,
    },
    /// Judge the certificates of all links again: trust has changed.
    Recheck,
    /// Send what is queued, close everything, and end.
    Shutdown,
}

/// What the ledger hears.
#[derive(Debug)]
pub enum DataEvent {
    /// A link is up. The peer counts as behind, and gets no broadcast, until `Command::Resume`.
    Up {
        /// Who, by its certificate.
        peer: NodeIdentity,
        /// What it said of itself.
        hello: Arc<Hello>,
        /// Shows the link's figures.
        meter: LinkMeter,
    },
    /// A message on the peer's ops stream.
    Ops {
        /// From whom.
        peer: NodeId,
        /// The message.
        frame: OpsFrame,
        /// Drop it when the message is no longer held in memory.
        credit: Credit,
    },
    /// The peer does not keep up (or the net did not): what was queued for it is dropped, and it gets no broadcasts until
    /// `Command::Resume`.
    Behind {
        /// Who.
        peer: NodeId,
    },
    /// The peer is behind, or was awaited, and has taken all that was sent to it: there is room for catch-up.
    Drained {
        /// Who.
        peer: NodeId,
    },
    /// The link is gone.
    Down {
        /// Whose.
        peer: NodeId,
        /// Why.
        reason: DownReason,
    },
}

/// What membership hears.
#[derive(Debug)]
pub enum MemberEvent {
    /// A link is up.
    Up {
        /// Who, by its certificate.
        peer: NodeIdentity,
        /// What it said of itself.
        hello: Arc<Hello>,
        /// Where it is.
        address: SocketAddr,
        /// Shows the link's figures.
        meter: LinkMeter,
    },
    /// A datagram came.
    Datagram {
        /// From whom.
        peer: NodeId,
        /// Version and body, undecoded.
        bytes: Bytes,
    },
    /// A message on the peer's membership stream.
    Frame {
        /// From whom.
        peer: NodeId,
        /// Undecoded.
        frame: Received,
        /// Drop it when the message is no longer held in memory.
        credit: Credit,
    },
    /// The link is gone.
    Down {
        /// Whose.
        peer: NodeId,
        /// Why.
        reason: DownReason,
    },
    /// Another process bears this node's name.
    Clash {
        /// Its boot epoch, if it came to say so.
        boot_epoch: Option<u64>,
        /// Whether it began later, or nobody can say who did: then this process is the one to be silent.
        fenced: bool,
    },
    /// A target could not be reached; it is tried again by itself.
    Unreached {
        /// Which.
        target: Target,
    },
}

/// What repair hears.
#[derive(Debug)]
pub enum SessionEvent {
    /// A session is open.
    Opened {
        /// Its handle in later events.
        session: SessionId,
        /// With whom.
        peer: NodeId,
        /// The ticket of `Command::OpenSession`; `None` if the peer opened it.
        ticket: Option<u64>,
        /// Sends; dropping it ends the session.
        sender: SessionSender,
    },
    /// The session could not be opened.
    Failed {
        /// The ticket of `Command::OpenSession`.
        ticket: u64,
    },
    /// A message came.
    Frame {
        /// In which session.
        session: SessionId,
        /// Undecoded.
        frame: Received,
        /// Drop it when the message is no longer held in memory.
        credit: Credit,
    },
    /// The peer has ended the session, or the link is gone. Nothing follows.
    Closed {
        /// Which.
        session: SessionId,
    },
}

/// Why a link went down.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DownReason {
    /// The peer closed it and said why, if this version knows the code.
    ByPeer(Option<Close>),
    /// This agent closed it.
    ByUs(Close),
    /// Nothing was heard for the idle timeout.
    TimedOut,
    /// The peer's process knows nothing of the link: it has restarted.
    Reset,
    /// QUIC broke down.
    Transport,
}

/// What this agent says of itself in HELLO; kept current by those who know it.
#[derive(Clone, Debug)]
pub struct Local {
    /// This start's number, durable before the first packet.
    pub boot_epoch: u64,
    /// Drawn at this start.
    pub nonce: u64,
    /// Optional abilities, one bit each.
    pub features: u64,
    /// The living replica id.
    pub replica: ReplicaId,
    /// How far the own data goes. May lag: a peer then sends what is here already.
    pub spaces: Vec<SpaceHello>,
    /// The newest known replica id of every other node.
    pub lives: Vec<ReplicaId>,
}

/// Something a link broke over: the peer's fault, or the network's.
#[derive(Debug)]
pub(super) enum Fault {
    /// The peer broke the protocol.
    Refused(Refusal),
    /// The connection or stream is gone; the connection says why.
    Lost,
    /// The process is ending.
    Ending,
}
