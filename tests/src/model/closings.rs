//! Closed lives: they are closed at random, living ones too, and the table of every node is held to the closings told.

use std::collections::BTreeMap;

use bytes::Bytes;
use everett_mesh_proto::id::{Dot, ReplicaId};
use everett_mesh_proto::replica::{Adoption, Group, Input, Op, Payload};
use everett_mesh_proto::vector::{Closing, Vector};
use everett_mesh_proto::wire;
use rand::RngExt;

use super::node::{node_id, space};
use super::world::{At, World};

/// All closings of a schedule, visible anywhere or not: a life's last write, and the write that closed it.
#[derive(Debug, Default)]
pub(super) struct Closings(Vec<(Dot, Dot)>);

impl Closings {
    /// Takes down what `group` closes.
    pub(super) fn tell(&mut self, group: &Group) {
        self.0.extend(closed_by(group));
    }

    /// Whether the table of `vector` holds just the lives of which it covers a closing, and nothing later than that.
    pub(super) fn are_in(&self, vector: &Vector) -> bool {
        let mut table: BTreeMap<ReplicaId, Closing> = BTreeMap::new();
        for &(last, by) in self.0.iter().filter(|(last, by)| vector.covers(*by) && vector.seq(last.replica) == last.seq)
        {
            let closing = table.entry(last.replica).or_insert(Closing { last: last.seq, by });
            closing.by = by.min(closing.by);
        }
        vector.closed().iter().eq(table)
    }
}

fn closed_by(group: &Group) -> impl Iterator<Item = (Dot, Dot)> + '_ {
    group.ops.iter().enumerate().filter_map(|(index, op)| match op {
        &Op::Close { last } => Some((last, group.dot(index))),
        Op::Key { .. } | Op::Cut { .. } => None,
    })
}

impl World {
    /// A node closes lives: nothing may be lost by it, even if they are not over and others have heard more of them.
    pub(super) fn close_lives(&mut self, number: usize) -> Result<(), At> {
        let vector = self.nodes[number].vector();
        let lives: Vec<Dot> = vector.open().filter(|_| self.rng.random_bool(0.6)).collect();
        self.tell(|| format!("{number} closes {lives:?}"));
        let sealed = self.input(number, [Input::Close { space: space(), lives }], &[])?;
        if !sealed.is_empty() {
            self.count("closings");
        }
        Ok(())
    }

    /// `to` takes for applied what a group closes.
    pub(super) fn cover_closed(&mut self, from: usize, to: usize, payload: &Bytes) -> Result<(), At> {
        let Ok(Payload::Group(group)) = wire::decode_payload(payload) else { return Ok(()) };
        let vector = closed_by(&group).map(|(last, _)| last).filter(|last| last.replica != self.nodes[to].replica.id());
        let adoption = Adoption { space: space(), vector: vector.collect(), rows: Vec::new() };
        self.input(to, [Input::Adopt { from: node_id(from), adoption }], &[]).map(drop)
    }
}
