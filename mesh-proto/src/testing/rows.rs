//! Rows in memory: the simplest store that keeps the promises of [`Rows`].

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ops::{Bound, ControlFlow};

use crate::id::Space;
use crate::rows::{Cut, Found, Position, Row, RowKey, Rows};

/// Every row with its position, and the cuts that later reads go through.
#[derive(Clone, Debug, Default)]
pub struct MemoryRows {
    rows: BTreeMap<RowKey, (Row, Position)>,
    cuts: Vec<(Position, Cut)>,
}

impl MemoryRows {
    /// The non-empty rows of `space`, every cut applied: what two converged stores have in common.
    pub fn content(&self, space: &Space) -> BTreeMap<RowKey, Row> {
        let mut content = BTreeMap::new();
        let Ok(()) = self.range(space, 0, &mut |key, row| {
            content.insert(key.clone(), row.clone());
            ControlFlow::Continue(())
        });
        content
    }

    fn through_cuts<'a>(&self, key: &RowKey, row: &'a Row, at: Position) -> Cow<'a, Row> {
        let mut row = Cow::Borrowed(row);
        for (_, cut) in self.cuts.iter().filter(|(cut_at, cut)| *cut_at > at && key.is_in(&cut.space)) {
            row.to_mut().cut(&cut.context);
        }
        row
    }
}

impl Rows for MemoryRows {
    type Error = Infallible;

    fn row(&self, key: &RowKey) -> Result<Found<'_>, Infallible> {
        let Some((row, at)) = self.rows.get(key) else {
            return Ok(Found { row: None, at: Position::default() });
        };
        let row = self.through_cuts(key, row, *at);
        Ok(Found { row: (!row.is_empty()).then_some(row), at: *at })
    }

    fn range(
        &self,
        space: &Space,
        place: u64,
        visit: &mut dyn FnMut(&RowKey, &Row) -> ControlFlow<()>,
    ) -> Result<(), Infallible> {
        let start = RowKey::range_start(space, place);
        let range = (Bound::Included(start.as_ref()), Bound::Unbounded);
        for (key, (row, at)) in self.rows.range::<[u8], _>(range).take_while(|(key, _)| key.is_in(space)) {
            let row = self.through_cuts(key, row, *at);
            if !row.is_empty() && visit(key, &row).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn put(&mut self, key: RowKey, row: Row, at: Position) {
        self.rows.insert(key, (row, at));
    }

    fn cut(&mut self, cut: Cut, at: Position) {
        self.cuts.push((at, cut));
    }
}
