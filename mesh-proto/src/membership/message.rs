//! The words members say to each other: small ones in datagrams, tables in streams.
//!
//! Apart from the machine so that the wire's golden files have one place to look at. A datagram may be lost, doubled or
//! late; every one of them is safe to receive at any time. The sender is never named inside: the link's certificate says
//! who speaks.

use serde::{Deserialize, Serialize};

use super::record::{Fact, Life, Record, Standing, varint_bytes};
use crate::id::NodeId;
use crate::wire::bounded;

const ID_BYTES: usize = 16;
/// Facts in what is, or would have been, a datagram.
const NEWS_MAX: usize = 4_096;
/// Members spoken of in one message on a stream.
const LIST_MAX: usize = 16_384;

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
        #[serde(deserialize_with = "bounded::list::<_, _, NEWS_MAX>")]
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
        #[serde(deserialize_with = "bounded::list::<_, _, NEWS_MAX>")]
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
        #[serde(deserialize_with = "bounded::list::<_, _, NEWS_MAX>")]
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

/// The version in front of every datagram.
const VERSION_BYTES: usize = 1;

impl Datagram {
    /// What a datagram with this message weighs, version included.
    pub fn packet_bytes(&self) -> usize {
        self.bytes() + VERSION_BYTES
    }

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
        #[serde(deserialize_with = "bounded::list::<_, _, LIST_MAX>")]
        facts: Vec<Fact>,
    },
    /// Our views differ: these are my standings.
    Sync {
        /// One per member.
        #[serde(deserialize_with = "bounded::list::<_, _, LIST_MAX>")]
        standings: Vec<Standing>,
    },
    /// What you lack, and what I lack.
    SyncReply {
        /// Newer here.
        #[serde(deserialize_with = "bounded::list::<_, _, LIST_MAX>")]
        facts: Vec<Fact>,
        /// Newer there.
        #[serde(deserialize_with = "bounded::list::<_, _, LIST_MAX>")]
        wanted: Vec<NodeId>,
        /// Lives still listed there that were forgotten here.
        #[serde(deserialize_with = "bounded::list::<_, _, LIST_MAX>")]
        forgotten: Vec<Life>,
    },
    /// What you asked for.
    Facts {
        /// One per member asked for.
        #[serde(deserialize_with = "bounded::list::<_, _, LIST_MAX>")]
        facts: Vec<Fact>,
    },
    /// What would have been a datagram, had it fitted one.
    Said {
        /// The message.
        message: Datagram,
    },
}

#[cfg(test)]
mod tests {
    use super::super::record::{Card, State};
    use super::*;
    use crate::wire::{decode_datagram, encode_datagram, encode_frame};

    const LIFE_HEX: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa 03 ac02";
    const CARD_HEX: &str = "026e31 026f73 01 00 0a000001 cd37 05";

    fn standing(state: State) -> Standing {
        let life = Life { id: NodeId([0xaa; 16]), boot_epoch: 3, nonce: 300 };
        Standing { life, incarnation: 2, state }
    }

    fn card() -> Card {
        Card { name: "n1".into(), site: "os".into(), addrs: vec![([10, 0, 0, 1], 7_117).into()], caps: 5 }
    }

    fn facts() -> Vec<Fact> {
        let card = Some(card());
        vec![
            Fact { standing: standing(State::Alive), card },
            Fact { standing: standing(State::Unreachable), card: None },
        ]
    }

    fn facts_hex() -> String {
        format!("02 {LIFE_HEX} 02 00 01 {CARD_HEX} {LIFE_HEX} 02 01 00")
    }

    fn hex(bytes: &[u8]) -> String {
        let digit = |nibble: u8| char::from_digit(nibble.into(), 16).unwrap();
        bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
    }

    /// The version, then exactly these bytes; and the weight the machine reckons with. A change is a new wire version.
    fn golden(message: &Datagram, expected: &str) {
        let bytes = encode_datagram(message);
        assert_eq!(hex(&bytes[1..]), expected.replace(' ', ""), "{message:?}");
        assert_eq!(message.bytes(), bytes.len() - 1, "{message:?}");
        assert_eq!(decode_datagram::<Datagram>(&bytes).as_ref(), Ok(message));
    }

    #[test]
    fn datagrams_keep_their_bytes_and_know_their_weight() {
        let (facts_hex, target) = (facts_hex(), NodeId([0xbb; 16]));
        let target_hex = "bb".repeat(16);
        golden(&Datagram::Ping { nonce: 300, view: 1, facts: facts() }, &format!("00 ac02 01 {facts_hex}"));
        let ack = Datagram::Ack { nonce: 7, next_in_ms: 4_000, view: u64::MAX, facts: Vec::new() };
        golden(&ack, "01 07 a01f ffffffffffffffffff01 00");
        golden(&Datagram::Relay { nonce: 7, target }, &format!("02 07 {target_hex}"));
        golden(&Datagram::Relayed { nonce: 7, target }, &format!("03 07 {target_hex}"));
        golden(&Datagram::Inquire { target, ballot: 1 }, &format!("04 {target_hex} 01"));
        golden(&Datagram::Finding { target, ballot: 300, alive: true }, &format!("05 {target_hex} ac02 01"));
        golden(&Datagram::Gossip { facts: facts() }, &format!("06 {facts_hex}"));
        golden(&Datagram::Leaving { standing: standing(State::Left) }, &format!("07 {LIFE_HEX} 02 02"));
        golden(&Datagram::Leaving { standing: standing(State::Draining) }, &format!("07 {LIFE_HEX} 02 03"));
        golden(&Datagram::Farewell, "08");
    }

    #[test]
    fn stream_messages_keep_their_bytes() {
        let golden = |message: &StreamMessage, expected: &str| {
            let frame = encode_frame(message).unwrap();
            assert_eq!(hex(&frame.as_bytes()[5..]), expected.replace(' ', ""), "{message:?}");
        };
        let Standing { life, incarnation, .. } = standing(State::Alive);
        let record = Record { life, incarnation, card: card() };
        golden(&StreamMessage::Join { record }, &format!("00 {LIFE_HEX} 02 {CARD_HEX}"));
        golden(&StreamMessage::Table { facts: facts() }, &format!("01 {}", facts_hex()));
        let standings = vec![standing(State::Left)];
        golden(&StreamMessage::Sync { standings }, &format!("02 01 {LIFE_HEX} 02 02"));
        let reply = StreamMessage::SyncReply { facts: facts(), wanted: vec![life.id], forgotten: vec![life] };
        let (facts_hex, id_hex) = (facts_hex(), "aa".repeat(16));
        golden(&reply, &format!("03 {facts_hex} 01 {id_hex} 01 {LIFE_HEX}"));
        golden(&StreamMessage::Facts { facts: facts() }, &format!("04 {facts_hex}"));
        let message = Datagram::Gossip { facts: facts() };
        golden(&StreamMessage::Said { message }, &format!("05 06 {facts_hex}"));
    }
}
