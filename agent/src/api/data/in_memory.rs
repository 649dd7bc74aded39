//! Rows in memory behind [`AnyRows`], for tests.

use std::ops::ControlFlow;

use everett_mesh_proto::id::Space;
use everett_mesh_proto::rows::{Cut, Found, Position, Row, RowKey, Rows};
use everett_mesh_proto::testing::MemoryRows;

use super::{AnyRows, RowsFailed};

/// Rows in memory; they cannot fail.
#[derive(Debug, Default)]
struct InMemory(MemoryRows);

impl AnyRows {
    /// No rows yet, in memory.
    pub(crate) fn in_memory() -> Self {
        Self(Box::new(InMemory::default()))
    }
}

impl Rows for InMemory {
    type Error = RowsFailed;

    fn row(&self, key: &RowKey) -> Result<Found<'_>, RowsFailed> {
        let Ok(found) = self.0.row(key);
        Ok(found)
    }

    fn range(
        &self,
        space: &Space,
        place: u64,
        visit: &mut dyn FnMut(&RowKey, &Row) -> ControlFlow<()>,
    ) -> Result<(), RowsFailed> {
        let Ok(()) = self.0.range(space, place, visit);
        Ok(())
    }

    fn put(&mut self, key: RowKey, row: Row, at: Position) {
        self.0.put(key, row, at);
    }

    fn cut(&mut self, cut: Cut, at: Position) {
        self.0.cut(cut, at);
    }
}
