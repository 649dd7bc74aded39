//! The keys, as commands see them: the replica that decides what writes mean, and the rows it decides about.
//!
//! Apart so that commands reach both through a few words (see, change, walk) and never through the row format.

use std::ops::ControlFlow;

use everett_mesh_proto::crdt::is_visible;
use everett_mesh_proto::id::Space;
use everett_mesh_proto::log::Commit;
use everett_mesh_proto::replica::{Edit, Input, Replica, View};
use everett_mesh_proto::rows::{Row, RowKey, Rows};
use everett_mesh_proto::summary::{Content, Path};
use everett_mesh_proto::time::Now;

use super::connection::NUMBERED_SPACES;
use crate::store::{Memtable, StoreError};

/// Replica and rows together.
#[derive(Debug)]
pub struct Data {
    /// What writes mean.
    pub replica: Replica,
    /// Where they end up.
    pub rows: Memtable,
    spaces: Vec<Space>,
}

impl Data {
    /// The keys of `replica` in `rows`.
    pub fn new(replica: Replica, rows: Memtable) -> Self {
        let numbers = 0..u8::try_from(NUMBERED_SPACES).expect("a numbered namespace fits a byte");
        Self { replica, rows, spaces: numbers.map(Space::numbered).collect() }
    }

    /// The namespace of that number.
    pub fn space(&self, number: u8) -> &Space {
        &self.spaces[usize::from(number)]
    }

    /// What can be seen of a key.
    pub fn view(&self, now: Now, space: u8, key: &[u8]) -> Result<View, StoreError> {
        self.replica.view(now, &self.rows, self.space(space), key)
    }

    /// Makes the changes in one commit; returns it, or nothing if nothing changed.
    pub fn edit(&mut self, now: Now, space: u8, edits: Vec<Edit>) -> Result<Option<Commit>, StoreError> {
        let before = self.replica.commit();
        let space = self.space(space).clone();
        self.replica.handle_input(now, &mut self.rows, Input::Local { space, edits })?;
        let after = self.replica.commit();
        Ok((after > before).then_some(after))
    }

    /// About how many keys a namespace has: those that the last flush found, expired ones included. O(1).
    pub fn keys_flushed(&self, space: u8) -> Result<u64, StoreError> {
        let root = self.rows.base().node(self.space(space), Path::ROOT)?;
        Ok(root.map_or(0, |node| node.count))
    }

    /// Visits the visible keys of a namespace from `place` on, in order of their places.
    pub fn walk(
        &self,
        now: Now,
        space: u8,
        place: u64,
        visit: &mut dyn FnMut(u64, &RowKey) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let now_ms = self.replica.now_ms(now);
        let mut register: Option<(RowKey, Option<u64>)> = None;
        self.rows.range(self.space(space), place, &mut |row_key, row| match row {
            // A key's register comes before its value.
            Row::Expiry(deadlines) => {
                register = Some((row_key.clone(), deadlines.deadline_ms()));
                ControlFlow::Continue(())
            }
            Row::Scalar(scalar) => {
                let of_this_key = register.take().filter(|(key, _)| is_same_key(key, row_key));
                let register_ms = of_this_key.and_then(|(_, deadline_ms)| deadline_ms);
                let visible = scalar.value(|deadline_ms| is_visible(now_ms, register_ms, deadline_ms)).is_some();
                if visible { visit(row_key.place(), row_key) } else { ControlFlow::Continue(()) }
            }
        })
    }
}

fn is_same_key(one: &RowKey, other: &RowKey) -> bool {
    one.place() == other.place() && one.key() == other.key()
}
