//! The Merkle tree over a namespace: says whether two stores hold the same rows, and where they do not.
//!
//! A radix-16 trie over `place` order. An *element* is everything at one place: its digest is a keyed hash of its rows. A
//! node with more than [`LEAF_MAX`] elements is inner, else a leaf, so the shape is a function of the content alone,
//! whatever the history; hashes are collision-resistant and keyed by the cluster, so chosen keys can neither unbalance the
//! tree nor cancel in it. Nodes live where the rows live and describe the same commit: [`update`] computes those that a
//! change makes new, reading only the leaves that hold what changed, each once, for both of its states.
//!
//! After Merkle 1987 and the anti-entropy trees of Dynamo (DeCandia et al. 2007, section 4.7), with a canonical shape.
//! Gists find differences in one shot, and prove nothing; they stand beside the tree's larger nodes, which do.

mod change;
mod estimator;
mod field;
mod gist;
mod path;
mod rest;
mod sketch;
mod tree;

use std::ops::ControlFlow;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::id::Space;
use crate::rows::{Placer, RowKey};

pub use change::{Change, Standing, States};
pub use estimator::{ESTIMATOR_BYTES, Estimator};
pub use gist::{GIST_BYTES, Gist};
pub use path::{CHILDREN, Path};
pub(crate) use rest::hash_without;
pub use sketch::{CAPACITY_MAX, Sketch};
pub use tree::{rebuild, update};

/// A node with more elements than this has children.
pub const LEAF_MAX: u64 = 64;

/// A node with more elements than this has its [`Gist`] stored; one is kept until they are fewer than half of it, so that a
/// node about this size does not make and drop one with every flush.
pub const GIST_MIN: u64 = 2_048;

/// A keyed, collision-resistant hash. Zero stands for "nothing there".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Hash(pub [u8; 32]);

impl std::fmt::Debug for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0[..4].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::fmt::Display for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A node of the tree; a path without elements has none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Node {
    /// Elements under it.
    pub count: u64,
    /// What they hash to.
    pub hash: Hash,
}

impl Node {
    /// Whether its elements are listed, not divided among children.
    pub fn is_leaf(&self, path: Path) -> bool {
        self.count <= LEAF_MAX || path.is_deepest()
    }

    /// The stored form.
    pub fn to_bytes(self) -> [u8; 40] {
        let mut bytes = [0; 40];
        bytes[..8].copy_from_slice(&self.count.to_be_bytes());
        bytes[8..].copy_from_slice(&self.hash.0);
        bytes
    }

    /// Reads the stored form.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; 40] = bytes.try_into().ok()?;
        let (count, hash) = bytes.split_first_chunk::<8>()?;
        Some(Self { count: u64::from_be_bytes(*count), hash: Hash(hash.try_into().ok()?) })
    }
}

/// One element: a place, and the digest of all rows there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Element {
    /// The place.
    pub place: u64,
    /// The digest of its rows.
    pub digest: Hash,
}

impl Element {
    /// What stands for it in sketches: the upper half of its place, and the first part of its digest.
    pub fn id(&self) -> u64 {
        let digest = u32::from_be_bytes(*self.digest.0.first_chunk().expect("32 bytes begin with 4"));
        (self.place & 0xffff_ffff_0000_0000 | u64::from(digest)).max(1)
    }

    /// The upper half of its place: what an id says of where it lies.
    pub fn cell(&self) -> u32 {
        cell_of(self.place)
    }
}

/// The cell of a place or of an id.
pub fn cell_of(place: u64) -> u32 {
    u32::try_from(place >> 32).expect("half of 64 bits")
}

/// Rows and tree of one commit, to be read.
pub trait Content {
    /// Why a read failed.
    type Error;

    /// The node at `path` of the tree of `space`.
    fn node(&self, space: &Space, path: Path) -> Result<Option<Node>, Self::Error>;

    /// Visits the rows of `space` whose places lie in `path`, in order, each in its canonical bytes.
    fn rows(
        &self,
        space: &Space,
        path: Path,
        visit: &mut dyn FnMut(&RowKey, &Bytes) -> ControlFlow<()>,
    ) -> Result<(), Self::Error>;

    /// The gist of what is in `path`, where one is stored; elsewhere it is made from the rows.
    fn gist(&self, space: &Space, path: Path) -> Result<Option<Gist>, Self::Error>;
}

/// Where the tree of a change's outcome goes.
pub trait Tree {
    /// Why a write failed.
    type Error;

    /// Stores a node, or removes it.
    fn set_node(&mut self, space: &Space, path: Path, node: Option<Node>) -> Result<(), Self::Error>;

    /// Stores a gist, or removes it.
    fn set_gist(&mut self, space: &Space, path: Path, gist: Option<&Gist>) -> Result<(), Self::Error>;

    /// Removes all nodes and gists of a namespace.
    fn clear(&mut self, space: &Space) -> Result<(), Self::Error>;
}

/// The root of the tree of `space`; zero for an empty namespace.
pub fn root<C: Content>(content: &C, space: &Space) -> Result<Hash, C::Error> {
    Ok(content.node(space, Path::ROOT)?.map(|node| node.hash).unwrap_or_default())
}

/// The elements of `space` in `path`, in order.
pub fn elements<C: Content>(content: &C, placer: &Placer, space: &Space, path: Path) -> Result<Vec<Element>, C::Error> {
    let mut elements = Vec::new();
    change::turns(&Standing { content, space }, placer, path, &mut |turn| {
        elements.extend(turn.after());
        ControlFlow::Continue(())
    })?;
    Ok(elements)
}

/// What a leaf with these elements hashes to; zero for none.
pub fn leaf_hash(placer: &Placer, elements: &[Element]) -> Hash {
    if elements.is_empty() {
        return Hash::default();
    }
    let mut bytes = Vec::with_capacity(12 + 40 * elements.len());
    bytes.extend_from_slice(b"leaf");
    bytes.extend_from_slice(&(elements.len() as u64).to_be_bytes());
    for element in elements {
        bytes.extend_from_slice(&element.place.to_be_bytes());
        bytes.extend_from_slice(&element.digest.0);
    }
    Hash(placer.digest(&bytes))
}

/// What an inner node hashes to, whose children hash to these; zero for a child without elements.
fn inner_hash(placer: &Placer, children: impl Iterator<Item = Hash>) -> Hash {
    let mut bytes = Vec::with_capacity(5 + 32 * usize::from(CHILDREN));
    bytes.extend_from_slice(b"inner");
    children.for_each(|child| bytes.extend_from_slice(&child.0));
    Hash(placer.digest(&bytes))
}

#[cfg(test)]
mod tests;
