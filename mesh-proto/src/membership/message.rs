//! The words members say to each other: small ones in datagrams, tables in streams.
//!
//! Apart from the machine so that the wire's golden files have one place to look at. A datagram may be lost, doubled or
//! late; every one of them is safe to receive at any time. The sender is never named inside: the link's certificate says
//! who speaks.

use serde::{Deserialize, Serialize};

use super::record::{Fact, Life, Record, Standing, varint_bytes};
use crate::id::NodeId;

const ID_BYTES: usize = 16;

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
    /// What it weighs on the wire, in bytes, without the version.
    pub fn bytes(&self) -> usize {
        let weigh = |facts: &[Fact]| varint_bytes(facts.len() as u64) + facts.iter().map(Fact::bytes).sum::<usize>();
        1 + match self {
            Self::Ping { nonce, view, facts } => varint_bytes(*nonce) + varint_bytes(*view) + weigh(facts),
            Self::Ack { nonce, next_in_ms, view, facts } => {
                varint_bytes(*nonce) + varint_bytes((*next_in_ms).into()) + varint_bytes(*view) + weigh(facts)
            }
            Self::Relay { nonce, .. } | Self::Relayed { nonce, .. } => varint_bytes(*nonce) + ID_BYTES,
            Self::Inquire { ballot, .. } => ID_BYTES + varint_bytes((*ballot).into()),
            Self::Finding { ballot, .. } => ID_BYTES + varint_bytes((*ballot).into()) + 1,
            Self::Gossip { facts } => weigh(facts),
            Self::Leaving { standing } => standing.bytes(),
            Self::Farewell => 0,
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
