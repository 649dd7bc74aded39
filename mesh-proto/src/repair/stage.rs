//! The stage: the peer's rows and absences, kept apart from everything that can be seen until they are adopted.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use bytes::Bytes;

use super::{DIVERGED_MAX, Failure, Outcome, Pin};
use crate::id::Space;
use crate::replica::Adoption;
use crate::rows::{Placer, Row, RowKey};
use crate::summary::{Content, Path};
use crate::vector::Vector;
use crate::wire::decode_row;

/// What came so far.
#[derive(Debug, Default)]
pub(super) struct Stage {
    rows: BTreeMap<RowKey, Option<Row>>,
    bytes: usize,
}

impl Stage {
    /// The peer holds this row. It comes once, belongs to the namespace, and lies where its key belongs.
    pub(super) fn put(
        &mut self,
        (space, placer): (&Space, &Placer),
        key: RowKey,
        bytes: &Bytes,
    ) -> Result<(), Failure> {
        if !key.is_in(space) || placer.place(&key.key()) != key.place() {
            return Err(Failure::Broke);
        }
        let row = decode_row(key.kind(), bytes).map_err(|_| Failure::Broke)?;
        self.bytes += key.as_bytes().len() + bytes.len();
        if row.is_empty() || self.rows.insert(key, Some(row)).is_some() {
            return Err(Failure::Broke);
        }
        Ok(())
    }

    /// What it weighs.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The peer has told all that it holds in `path`: of the rows here it lacks those that did not come.
    ///
    /// A row none of whose dots the peer's vector covers is new to the peer and stays as it is, so it need not be staged.
    pub(super) fn absences<P: Pin>(
        &mut self,
        pin: &P,
        space: &Space,
        theirs: &Vector,
        path: Path,
    ) -> Result<(), P::Error> {
        let mut absent = Vec::new();
        for key in keys_in(pin, space, path)? {
            if self.rows.contains_key(&key) {
                continue;
            }
            let seen = pin.row(&key)?.is_some_and(|row| row.dots().into_iter().any(|dot| theirs.covers(dot)));
            if seen {
                absent.push(key);
            }
        }
        self.bytes += absent.iter().map(|key| key.as_bytes().len()).sum::<usize>();
        self.rows.extend(absent.into_iter().map(|key| (key, None)));
        Ok(())
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &RowKey> {
        self.rows.keys()
    }

    pub(super) fn into_rows(self) -> Vec<(RowKey, Option<Row>)> {
        self.rows.into_iter().collect()
    }

    /// The keys of what was staged, as many as are named.
    pub(super) fn named(&self) -> Vec<RowKey> {
        self.keys().take(DIVERGED_MAX).cloned().collect()
    }
}

/// The keys of the rows in `path`.
fn keys_in<C: Content>(content: &C, space: &Space, path: Path) -> Result<Vec<RowKey>, C::Error> {
    let mut keys = Vec::new();
    content.rows(space, path, &mut |key, _| {
        keys.push(key.clone());
        ControlFlow::Continue(())
    })?;
    Ok(keys)
}

impl Outcome {
    /// Makes the adoption of what the session brought. `touched` are the rows changed here since the pin: one that was
    /// equal in both pins stands for the peer's row too, so it is added as it was pinned, or as its absence. Without this
    /// second kind of rows, what changed here during the session would be joined with nothing, and lost.
    pub fn complete<'a, P: Pin>(
        self,
        touched: impl IntoIterator<Item = &'a RowKey>,
        pin: &P,
    ) -> Result<Adoption, P::Error> {
        let Self { space, vector, stage, .. } = self;
        let mut rows: BTreeMap<RowKey, Option<Row>> = stage.into_iter().collect();
        for key in touched {
            if !rows.contains_key(key) {
                rows.insert(key.clone(), pin.row(key)?);
            }
        }
        Ok(Adoption { space, vector, rows: rows.into_iter().collect() })
    }
}
