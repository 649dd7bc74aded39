//! The words members say to each other: small ones in datagrams, tables in streams.
//!
//! Apart from the machine so that the wire's golden files have one place to look at. A datagram may be lost, doubled or
//! late; every one of them is safe to receive at any time. The sender is never named inside: the link's certificate says
//! who speaks.

use serde::{Deserialize, Serialize};

use super::record::{Fact, Life, Record, Standing};
use crate::id::NodeId;

/// What fits a datagram.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Datagram {
    /// Are you there?
    Ping {
        /// Comes back in the answer: the proof that both directions work.
        nonce: u64,
        /// The sender's view hash.
        view: u64,
        /// News along for the ride.
        facts: Vec<Fact>,
    },
    /// I am.
    Ack {
        /// The ping's nonce.
        nonce: u64,
        /// When the subject would like to be probed next by this observer, in ms from its answer.
        next_in_ms: u32,
        /// The sender's view hash.
        view: u64,
        /// News along for the ride.
        facts: Vec<Fact>,
    },
    /// Ping `target` for me.
    Relay {
        /// The asker's nonce.
        nonce: u64,
        /// Who is to be pinged.
        target: NodeId,
    },
    /// `target` answered the ping sent for you.
    Relayed {
        /// The asker's nonce.
        nonce: u64,
        /// Who answered.
        target: NodeId,
    },
    /// I cannot reach `target`: probe it now and tell me.
    Inquire {
        /// Whom it is about.
        target: NodeId,
        /// Which of the asker's rounds of questioning the answer counts for.
        ballot: u32,
    },
    /// What came of an inquiry.
    Finding {
        /// Whom it is about.
        target: NodeId,
        /// The inquiry's ballot.
        ballot: u32,
        /// Whether the target proved its life to the sender.
        alive: bool,
    },
    /// News.
    Gossip {
        /// The news.
        facts: Vec<Fact>,
    },
    /// I am leaving; say that you have heard.
    Leaving {
        /// The leaver's last standing.
        standing: Standing,
    },
    /// I have heard that you leave.
    Farewell,
}

impl Datagram {
    /// About what it weighs on the wire: an upper bound for short names.
    pub fn bytes(&self) -> usize {
        let weigh = |facts: &[Fact]| facts.iter().map(Fact::bytes).sum::<usize>();
        match self {
            Self::Ping { facts, .. } => 18 + weigh(facts),
            Self::Ack { facts, .. } => 21 + weigh(facts),
            Self::Relay { .. } | Self::Relayed { .. } => 23,
            Self::Inquire { .. } | Self::Finding { .. } => 21,
            Self::Gossip { facts } => 4 + weigh(facts),
            Self::Leaving { .. } => 38,
            Self::Farewell => 2,
        }
    }
}

/// What needs a stream.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum StreamMessage {
    /// Here I am; tell me who is here.
    Join {
        /// The newcomer.
        record: Record,
    },
    /// Everything I know, to a newcomer.
    Table {
        /// Every member, with its card.
        facts: Vec<Fact>,
    },
    /// Our views differ: these are my standings.
    Sync {
        /// One per member.
        standings: Vec<Standing>,
    },
    /// What you lack, and what I lack.
    SyncReply {
        /// Newer here.
        facts: Vec<Fact>,
        /// Newer there.
        wanted: Vec<NodeId>,
        /// Lives still listed there that were forgotten here.
        forgotten: Vec<Life>,
    },
    /// What you asked for.
    Facts {
        /// One per member asked for.
        facts: Vec<Fact>,
    },
}
