//! The first exchange on a link: who speaks, in which versions, and how far its data goes.
//!
//! The dialer says HELLO, the acceptor WELCOME, the dialer READY, each once, on a stream of their own; nothing else is
//! said before. Two agents may dial each other at the same moment, so one of them decides which link stays: the one with
//! the lower node id numbers the links it grants, in whichever of WELCOME and READY is its own, and the other keeps the
//! highest number. The identity itself is not in here: it comes from the certificate alone. What a HELLO claims is judged
//! by the receiver, and its shape is the same in every version, so that an old and a new agent can at least say why not.

use serde::{Deserialize, Serialize};

use super::{VERSION, VERSION_MIN, bounded};
use crate::id::{ReplicaId, Space};
use crate::vector::Vector;

/// The most namespaces one HELLO may name; those beyond it are learnt from summaries.
pub const SPACES_MAX: usize = 1024;

/// A range of wire versions.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Protocol {
    /// The oldest one spoken.
    pub min: u8,
    /// The newest one spoken.
    pub max: u8,
}

impl Protocol {
    /// What this agent speaks.
    pub const OURS: Self = Self { min: VERSION_MIN, max: VERSION };

    /// The newest version both speak.
    pub fn agree(self, other: Self) -> Option<u8> {
        let newest = self.max.min(other.max);
        (newest >= self.min.max(other.min)).then_some(newest)
    }
}

/// How far one side's data goes in one namespace.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SpaceHello {
    /// The namespace.
    pub space: Space,
    /// The last seq of the speaker's living replica id there, 0 if it wrote nothing.
    pub last_seq: u64,
    /// The running hash over that id's ops up to `last_seq`.
    pub running_hash: u64,
    /// What the speaker has applied there.
    pub vector: Vector,
}

/// What each side says of itself.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Hello {
    /// Wire versions spoken.
    pub protocol: Protocol,
    /// Optional abilities, one bit each; unknown bits are ignored.
    pub features: u64,
    /// Fingerprint of the cluster's place key.
    pub place: [u8; 16],
    /// The speaker's boot epoch: higher is the later start of that node.
    pub boot_epoch: u64,
    /// Drawn at the speaker's start: tells two processes of one boot epoch apart.
    pub nonce: u64,
    /// The speaker's living replica id.
    pub replica: ReplicaId,
    /// The speaker's physical clock, ms since the Unix epoch.
    pub wall_ms: u64,
    /// When the newest life of the *listener* that the speaker knows of began, in ms; 0 if it knows none.
    pub newest_start_of_yours_ms: u64,
    /// How far the speaker's data goes, per namespace.
    #[serde(deserialize_with = "bounded::list::<_, _, SPACES_MAX>")]
    pub spaces: Vec<SpaceHello>,
}

/// The acceptor's answer to a HELLO it found good.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Welcome {
    /// The number of this link if the acceptor is the one who decides, else 0.
    pub ordinal: u64,
    /// The acceptor's own HELLO.
    pub hello: Hello,
}

/// The dialer's last word: it found the WELCOME good and takes the link into use.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Ready {
    /// The number of this link if the dialer is the one who decides, else 0.
    pub ordinal: u64,
}
