//! Which earlier lives of this node can be closed: those that have ended, and of which everybody who is here holds the same.
//!
//! That everybody does is no condition of safety (see [`Vector`]): it keeps a life from being closed while writes of it are
//! still on their way, which would open it again.

use super::{Push, Vectors};
use crate::id::{Dot, NodeId, ReplicaId, Space};
use crate::vector::Vector;

/// So many ended lives may stay open in a namespace that the living one has not written to: closing is a write, and a node
/// that only starts again and again is not to write one each time.
const KEPT_OPEN: usize = 1;

impl Push {
    /// The last writes of lives of the node called `node` that can be closed by its life `own`, by namespace: each of
    /// `members` holds durably just what is durable here, in `mine`.
    pub fn closable(
        &self,
        mine: &Vectors,
        (node, own): (&str, ReplicaId),
        members: &[NodeId],
    ) -> Vec<(Space, Vec<Dot>)> {
        let at_all = |space: &Space, last: &Dot| {
            let holds = |vector: &Vector| vector.seq(last.replica) == last.seq;
            members.iter().all(|&member| self.durable_at(member, space).is_some_and(holds))
        };
        let in_space = |(space, vector): (&Space, &Vector)| {
            let ended: Vec<Dot> =
                vector.open().filter(|dot| dot.replica < own && dot.replica.is_life_of(node)).collect();
            if vector.seq(own) == 0 && ended.len() <= KEPT_OPEN {
                return None;
            }
            let lives: Vec<Dot> = ended.into_iter().filter(|last| at_all(space, last)).collect();
            (!lives.is_empty()).then(|| (space.clone(), lives))
        };
        mine.iter().filter_map(in_space).collect()
    }
}
