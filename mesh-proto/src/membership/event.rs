//! What goes into the machine and what comes out of it.
//!
//! Apart from the machine because this is all that the agent, or a simulation, needs to know of it.

use std::net::SocketAddr;
use std::time::Duration;

use super::message::{Datagram, StreamMessage};
use super::record::{Life, Record};
use crate::id::NodeId;

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Input {
    /// A datagram came over a link whose certificate names `from`.
    Datagram {
        /// The peer.
        from: NodeId,
        /// What it said.
        message: Datagram,
    },
    /// A stream message came over a link whose certificate names `from`.
    Stream {
        /// The peer.
        from: NodeId,
        /// What it said.
        message: StreamMessage,
    },
    /// A link changed.
    Transport(Transport),
    /// The operator or the agent wants something.
    Cmd(Cmd),
}

/// What the links report.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transport {
    /// A link to `node` stands.
    Connected {
        /// The peer, as its certificate names it.
        node: NodeId,
        /// The handshake's round trip.
        rtt: Duration,
    },
    /// The link to `node` measured its round trip.
    Rtt {
        /// The peer.
        node: NodeId,
        /// The path's smoothed round trip.
        rtt: Duration,
    },
    /// The largest datagram that the link to `node` takes now, in bytes.
    Limit {
        /// The peer.
        node: NodeId,
        /// What a whole datagram may weigh, its version included; zero if the peer takes none.
        datagram_bytes_max: usize,
    },
    /// The last link to `node` is gone: closed, reset, or refused by its host.
    Closed {
        /// The peer.
        node: NodeId,
    },
}

/// What the agent asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Cmd {
    /// Take part. The agent dials its seeds by itself; `known` are members remembered from an earlier life, dialled until
    /// somebody has answered.
    Join {
        /// From the peer cache; may be empty.
        known: Vec<Record>,
    },
    /// Say that this node is about to leave: others stop preferring it, and it goes on answering.
    Drain,
    /// Take leave. [`Event::LeaveDone`] says when enough members know.
    Leave,
    /// Forget a member that is Dead or Left, now rather than after three days.
    Forget(NodeId),
    /// The answer to [`Event::EpochBehind`]: this epoch is durable, speak with it.
    BootEpoch(u64),
}

/// What the machine wants done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    /// Send a datagram; losing it is allowed.
    Datagram {
        /// To whom.
        to: NodeId,
        /// What.
        message: Datagram,
    },
    /// Send a message on a stream.
    Stream {
        /// To whom.
        to: NodeId,
        /// What.
        message: StreamMessage,
    },
    /// A link to this node would be of use.
    Dial {
        /// To whom.
        node: NodeId,
        /// Where its card says it is.
        addrs: Vec<SocketAddr>,
    },
    /// Something to tell.
    Event(Event),
}

/// What the agent, the operator and the data path may want to know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// A seed or a known member has answered with its table.
    Joined {
        /// Members now known, this one included.
        members: usize,
    },
    /// A life not seen before is here.
    Up {
        /// Which.
        life: Life,
    },
    /// A life found silent before has answered.
    Returned {
        /// Which.
        life: Life,
    },
    /// Members together found this one silent.
    Unreachable {
        /// Which.
        life: Life,
    },
    /// It says that it is about to leave.
    Draining {
        /// Which.
        life: Life,
    },
    /// Unreachable for a minute.
    Dead {
        /// Which.
        life: Life,
    },
    /// It took its leave.
    Left {
        /// Which.
        life: Life,
    },
    /// Gone for so long that it is no longer listed.
    Forgotten {
        /// Whose entry was dropped.
        node: NodeId,
    },
    /// All members of a site fell within two seconds: the site, not they.
    SiteUnreachable {
        /// The site.
        site: String,
    },
    /// Most first probes to this member go unanswered, or are answered much later than its path explains, though it
    /// lives; or no longer.
    Degraded {
        /// Which.
        node: NodeId,
        /// Whether it is so now.
        degraded: bool,
    },
    /// Nobody answers: this node is cut off, and accuses nobody.
    SelfIsolated,
    /// Somebody answered again.
    IsolationEnded,
    /// The mesh knows a later life of this node than this one: make `known + 1` durable and say [`Cmd::BootEpoch`].
    EpochBehind {
        /// The greatest epoch known of this node.
        known: u64,
    },
    /// A later life of this node speaks in the mesh while this one runs: this one is silent from now on.
    Fenced {
        /// The other.
        by: Life,
    },
    /// Enough members know that this one leaves, or a second has passed.
    LeaveDone,
    /// A probe was answered.
    Probed {
        /// By whom.
        node: NodeId,
        /// After how long.
        rtt: Duration,
    },
}
