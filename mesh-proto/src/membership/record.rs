//! What is said about a member: its life, its card, its standing.
//!
//! A *life* is one run of one node's process; a *card* is what that life says of itself and never changes while it runs; a
//! *standing* is what the mesh holds about it. Apart from the roster because these are the nouns of every message.
//!
//! Invariants: only the subject raises its incarnation or its boot epoch; standings of one node are totally ordered by
//! [`Standing::beats`], so any two nodes that heard the same facts hold the same standing; Left ends an epoch.
//! After SWIM (Das, Gupta, Motivala 2002, section 4.2), with a boot epoch in front.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::id::NodeId;

/// One run of one node's process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Life {
    /// Whose run.
    pub id: NodeId,
    /// Raised, durably, before the first packet of every run.
    pub boot_epoch: u64,
    /// Random per run: tells two processes apart that claim the same id and epoch.
    pub nonce: u64,
}

/// What the mesh shares about a life.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum State {
    /// Believed to answer.
    Alive,
    /// Found silent by several members together.
    Unreachable,
    /// Took its leave. Final for its epoch.
    Left,
    /// Answers, and says of itself that it is about to leave.
    Draining,
}

impl State {
    /// How bad it is; of two standings of one incarnation the graver holds.
    fn gravity(self) -> u8 {
        match self {
            Self::Alive => 0,
            Self::Draining => 1,
            Self::Unreachable => 2,
            Self::Left => 3,
        }
    }
}

/// What is held about one node: which life, which of its refutations, which state.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Standing {
    /// The life spoken of.
    pub life: Life,
    /// How often this life has refuted; raised by the subject alone.
    pub incarnation: u32,
    /// Its state.
    pub state: State,
}

impl Standing {
    /// Whether this replaces `other`, a standing of the same node: later epoch; else Left; else later life, later
    /// incarnation, graver state.
    pub fn beats(&self, other: &Self) -> bool {
        self.rank() > other.rank()
    }

    /// Whether the subject is believed to answer.
    pub fn is_alive(&self) -> bool {
        matches!(self.state, State::Alive | State::Draining)
    }

    /// What it weighs on the wire, in bytes.
    pub(super) fn bytes(&self) -> usize {
        let Life { boot_epoch, nonce, .. } = self.life;
        17 + varint_bytes(boot_epoch) + varint_bytes(nonce) + varint_bytes(self.incarnation.into())
    }

    /// 64 bits that differ whenever the standing does; the view hash is the XOR of them.
    pub(super) fn digest(&self) -> u64 {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.life.id.0);
        hasher.update(&self.life.boot_epoch.to_le_bytes());
        hasher.update(&self.life.nonce.to_le_bytes());
        hasher.update(&self.incarnation.to_le_bytes());
        hasher.update(&[self.state as u8]);
        let hash = hasher.finalize();
        u64::from_le_bytes(*hash.as_bytes().first_chunk().expect("32 bytes begin with 8"))
    }

    fn rank(&self) -> (u64, bool, u64, u32, u8) {
        let left = self.state == State::Left;
        (self.life.boot_epoch, left, self.life.nonce, self.incarnation, self.state.gravity())
    }
}

/// What a life says of itself; fixed while it runs.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Card {
    /// The operator's name for the node, unique in the cluster.
    pub name: String,
    /// The site it stands in.
    pub site: String,
    /// Where it can be dialled.
    pub addrs: Vec<SocketAddr>,
    /// Feature bits; unknown ones are carried along.
    pub caps: u32,
}

impl Card {
    /// The longest name of a node or a site, in bytes.
    pub const NAME_LEN_MAX: usize = 63;
    /// The most addresses of one node.
    pub const ADDRS_MAX: usize = 8;

    /// Whether a card that came from outside is within bounds.
    pub fn is_within_bounds(&self) -> bool {
        let named = |text: &str| !text.is_empty() && text.len() <= Self::NAME_LEN_MAX;
        named(&self.name) && named(&self.site) && self.addrs.len() <= Self::ADDRS_MAX
    }

    /// What it weighs on the wire, in bytes.
    pub fn bytes(&self) -> usize {
        let addr_bytes = |addr: &SocketAddr| if addr.is_ipv4() { 5 } else { 17 } + varint_bytes(addr.port().into());
        let addrs: usize = self.addrs.iter().map(addr_bytes).sum();
        // Within bounds, each of the three lengths is one byte.
        3 + self.name.len() + self.site.len() + addrs + varint_bytes(self.caps.into())
    }
}

/// A member as it introduces itself, and as a peer cache keeps it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Record {
    /// Which run of which node.
    pub life: Life,
    /// How often this life has refuted.
    pub incarnation: u32,
    /// What it says of itself.
    pub card: Card,
}

/// One thing to know about one node.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Fact {
    /// The standing claimed.
    pub standing: Standing,
    /// The card of that life, for those who may not have it.
    pub card: Option<Card>,
}

impl Fact {
    /// What it weighs on the wire, in bytes.
    pub fn bytes(&self) -> usize {
        self.standing.bytes() + 1 + self.card.as_ref().map_or(0, Card::bytes)
    }
}

impl From<Record> for Fact {
    fn from(record: Record) -> Self {
        let Record { life, incarnation, card } = record;
        Self { standing: Standing { life, incarnation, state: State::Alive }, card: Some(card) }
    }
}

/// What an integer weighs on the wire: seven bits a byte.
pub(super) fn varint_bytes(value: u64) -> usize {
    let bits = u64::BITS - (value | 1).leading_zeros();
    bits.div_ceil(7) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(boot_epoch: u64, incarnation: u32, state: State) -> Standing {
        let life = Life { id: NodeId([1; 16]), boot_epoch, nonce: 7 };
        Standing { life, incarnation, state }
    }

    #[test]
    fn a_refutation_beats_the_accusation_and_the_accusation_beats_the_accused() {
        let alive = standing(1, 3, State::Alive);
        let accused = standing(1, 3, State::Unreachable);
        let refuted = standing(1, 4, State::Alive);
        assert!(accused.beats(&alive) && refuted.beats(&accused));
        let draining = standing(1, 3, State::Draining);
        assert!(draining.beats(&alive) && accused.beats(&draining) && draining.is_alive());
        assert!(!alive.beats(&accused) && !alive.beats(&alive));
    }

    #[test]
    fn left_ends_its_epoch_and_only_its_epoch() {
        let left = standing(1, 0, State::Left);
        assert!(left.beats(&standing(1, 900, State::Alive)));
        assert!(left.beats(&standing(1, 900, State::Unreachable)));
        assert!(standing(2, 0, State::Alive).beats(&left));
        let other_life = Life { nonce: 9, ..left.life };
        assert!(!Standing { life: other_life, state: State::Alive, ..left }.beats(&left));
    }
}
