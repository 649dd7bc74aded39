//! The stage: the peer's rows and absences, kept apart from everything that can be seen until they are adopted.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use bytes::Bytes;

use super::kept::{has_diverged, restored};
use super::{DIVERGED_MAX, Failure, Kept, Outcome, Pin};
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
    /// Keys whose rows have the same dots on both sides and other bytes.
    diverged: Vec<RowKey>,
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

    /// The peer holds of this row nothing that is new here.
    pub(super) fn keep<P: Pin>(
        &mut self,
        (pin, mine): (&P, &Vector),
        (space, placer): (&Space, &Placer),
        kept: &Kept,
    ) -> Result<Result<(), Failure>, P::Error> {
        let key = &kept.key;
        let is_known = kept.parts.iter().all(|&dot| mine.covers(dot));
        if !is_known || !key.is_in(space) || placer.place(&key.key()) != key.place() {
            return Ok(Err(Failure::Broke));
        }
        let row = pin.row(key)?;
        if has_diverged(placer, row.as_ref(), kept) && self.diverged.len() < DIVERGED_MAX {
            self.diverged.push(key.clone());
        }
        self.bytes += key.as_bytes().len() + size_of_val(kept.parts.as_slice());
        let is_new = self.rows.insert(key.clone(), restored(row.as_ref(), kept)).is_none();
        Ok(if is_new { Ok(()) } else { Err(Failure::Broke) })
    }

    /// How many rows and absences it has.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
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

    pub(super) fn into_rows(self) -> Vec<(RowKey, Option<Row>)> {
        self.rows.into_iter().collect()
    }

    /// The keys that have diverged, as many as are named: under equal vectors, all that were staged.
    pub(super) fn diverged(&mut self, vectors_are_equal: bool) -> Vec<RowKey> {
        if vectors_are_equal {
            return self.rows.keys().take(DIVERGED_MAX).cloned().collect();
        }
        std::mem::take(&mut self.diverged)
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
