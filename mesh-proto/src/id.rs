//! Who wrote what: the names of nodes, lives and writes.
//!
//! A *node* is a process with an identity that survives restarts. A *replica id* is one life of one agent's store and the
//! author of its writes; every start takes a new one, so that no backup put back and no cloned disk can ever reuse a
//! [`Dot`]. A *dot* names one write. Nothing here is derived from an address or a clock reading alone.

#![expect(clippy::disallowed_types, reason = "a name never changes, so sharing it shares no state")]

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A node's handle in the mesh: the first 16 bytes of BLAKE3(cluster id ‖ node name). Survives key renewal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeId(pub [u8; 16]);

impl NodeId {
    /// The handle of the node called `name` in `cluster`.
    pub fn derive(cluster: ClusterId, name: &str) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&cluster.0);
        hasher.update(name.as_bytes());
        Self(first_16(&hasher.finalize()))
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(f, &self.0)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(f, &self.0[..4])
    }
}

/// A cluster's random id, made with its CA and carried by every certificate.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClusterId(pub [u8; 16]);

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(f, &self.0)
    }
}

impl fmt::Debug for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(f, &self.0)
    }
}

/// One life of one agent's store: 48-bit start in ms, 32-bit hash of the node name, 48 random bits, in this order, so
/// that ids of one node sort by start.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ReplicaId(pub [u8; 16]);

impl ReplicaId {
    /// The id of a life of the node called `node` that began at `start_ms`; `random` supplies the low 48 bits.
    pub fn new(start_ms: u64, node: &str, random: u64) -> Self {
        let mut bytes = [0; 16];
        bytes[..6].copy_from_slice(&start_ms.to_be_bytes()[2..]);
        bytes[6..10].copy_from_slice(&node_hash(node));
        bytes[10..].copy_from_slice(&random.to_be_bytes()[2..]);
        Self(bytes)
    }

    /// When this life began: ms since the Unix epoch.
    pub fn start_ms(self) -> u64 {
        let mut bytes = [0; 8];
        bytes[2..].copy_from_slice(&self.0[..6]);
        u64::from_be_bytes(bytes)
    }

    /// Whether this is a life of the node called `node` (a 32-bit hash says so: good for routing, not for trust).
    pub fn is_life_of(self, node: &str) -> bool {
        self.0[6..10] == node_hash(node)
    }
}

impl fmt::Display for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(f, &self.0)
    }
}

impl fmt::Debug for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(f, &self.0[10..])
    }
}

/// One write within a namespace: its author and the author's dense sequence number there, from 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Dot {
    /// The life that wrote it.
    pub replica: ReplicaId,
    /// Its place among that life's writes to the namespace.
    pub seq: u64,
}

/// The name of a namespace: 1 to 64 bytes of printable ASCII without spaces. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Space(Arc<str>);

impl Space {
    /// The longest name, in bytes.
    pub const LEN_MAX: usize = 64;

    /// Checks and takes a name.
    pub fn new(name: &str) -> Result<Self, BadSpace> {
        if Self::is_name(name.as_bytes()) { Ok(Self(name.into())) } else { Err(BadSpace) }
    }

    /// Whether a namespace may be called so.
    pub fn is_name(name: &[u8]) -> bool {
        (1..=Self::LEN_MAX).contains(&name.len()) && name.iter().all(u8::is_ascii_graphic)
    }

    /// The namespace that `SELECT index` picks: the one named by the number.
    pub fn numbered(index: u8) -> Self {
        Self(index.to_string().into())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Maps by namespace are looked up by name.
impl Borrow<str> for Space {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl Serialize for Space {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Space {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(SpaceVisitor)
    }
}

struct SpaceVisitor;

impl Visitor<'_> for SpaceVisitor {
    type Value = Space;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{BadSpace}")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Space, E> {
        Space::new(name).map_err(E::custom)
    }
}

impl fmt::Display for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// A namespace's name was empty, too long, or not printable ASCII.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a namespace is 1 to 64 printable ASCII characters without spaces")]
pub struct BadSpace;

fn node_hash(node: &str) -> [u8; 4] {
    let hash = blake3::hash(node.as_bytes());
    let [a, b, c, d, ..] = *hash.as_bytes();
    [a, b, c, d]
}

fn first_16(hash: &blake3::Hash) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.as_bytes()[..16]);
    bytes
}

fn hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replica_ids_of_one_node_sort_by_start() {
        let early = ReplicaId::new(1_000, "a", u64::MAX);
        let late = ReplicaId::new(1_001, "a", 0);
        assert!(early < late);
        assert_eq!(late.start_ms(), 1_001);
        assert!(late.is_life_of("a"));
        assert!(!late.is_life_of("b"));
    }

    #[test]
    fn a_space_refuses_what_cannot_be_shown() {
        assert_eq!(Space::new(""), Err(BadSpace));
        assert_eq!(Space::new("a b"), Err(BadSpace));
        assert_eq!(Space::new(&"x".repeat(65)), Err(BadSpace));
        assert_eq!(Space::numbered(3).as_str(), "3");
    }
}
