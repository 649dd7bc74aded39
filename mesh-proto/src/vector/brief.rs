//! A vector as it is said to a peer that probably holds the same: its open entries, and one hash for all closed lives.

use serde::{Deserialize, Serialize};

use super::{Closed, Vector};
use crate::summary::Hash;

/// A vector in few bytes. Equal briefs are equal vectors.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Brief {
    /// The open entries.
    pub named: Vector,
    /// The hash of the table of closed lives; `None` for an empty one.
    pub closed: Option<Hash>,
}

impl Brief {
    /// The vector whose table of closed lives is `closed`; `None` if that is another table than the one meant.
    pub fn with(self, closed: &Closed) -> Option<Vector> {
        (closed.hash() == self.closed).then(|| Vector::assemble(self.named, closed.clone()))
    }
}

impl From<&Vector> for Brief {
    fn from(vector: &Vector) -> Self {
        Self { named: vector.named(), closed: vector.closed().hash() }
    }
}
