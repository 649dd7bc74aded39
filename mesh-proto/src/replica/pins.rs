//! Pins: which rows have changed since a snapshot was taken, for the adoption that the snapshot serves.
//!
//! An adoption must join every row that changed here since its pin, or what changed meanwhile is lost (a row equal in
//! both pins stands for the peer's row too). A pin that would note too many rows is lost instead, and with it the
//! session: it costs a retry, never data.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use crate::id::Space;
use crate::rows::{RowKey, Rows};

/// How many changed rows a pin notes before it is lost.
const TOUCHED_MAX: usize = 1 << 20;

/// A handle to one pin.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PinId(u64);

#[derive(Debug, Default)]
pub(super) struct Pins {
    last: u64,
    /// The rows touched since; `None` once lost.
    open: BTreeMap<PinId, Option<BTreeSet<RowKey>>>,
}

impl Pins {
    pub(super) fn open(&mut self) -> PinId {
        self.last += 1;
        let pin = PinId(self.last);
        self.open.insert(pin, Some(BTreeSet::new()));
        pin
    }

    pub(super) fn close(&mut self, pin: PinId) {
        self.open.remove(&pin);
    }

    pub(super) fn touch(&mut self, key: &RowKey) {
        for touched in self.open.values_mut() {
            let Some(rows) = touched else { continue };
            rows.insert(key.clone());
            if rows.len() > TOUCHED_MAX {
                *touched = None;
            }
        }
    }

    /// A cut touches every row of its namespace, as long as a pin is left that notes it.
    pub(super) fn touch_all<R: Rows>(&mut self, rows: &R, space: &Space) -> Result<(), R::Error> {
        if self.notes() {
            rows.range(space, 0, &mut |key, _| {
                self.touch(key);
                if self.notes() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            })?;
        }
        Ok(())
    }

    fn notes(&self) -> bool {
        self.open.values().any(Option::is_some)
    }

    pub(super) fn touched(&self, pin: PinId, space: &Space) -> Option<impl Iterator<Item = &RowKey>> {
        let touched = self.open.get(&pin)?.as_ref()?;
        let space = space.clone();
        Some(touched.iter().filter(move |key| key.is_in(&space)))
    }
}
