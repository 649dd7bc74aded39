//! A row's canonical bytes: what is stored, what a digest is taken of, and what repair moves.
//!
//! A format byte and postcard of the row's state with full replica ids and everything sorted. Equal states are equal
//! bytes, whatever their history; nothing local is in them.

use bytes::Bytes;

use super::{Malformed, Writer};
use crate::rows::{Kind, Row};

/// The version of the row encoding; the first byte of each row.
pub const ROW_FORMAT: u8 = 1;

/// Encodes a row.
pub fn encode_row(row: &Row) -> Bytes {
    let writer = Writer::versioned(ROW_FORMAT);
    match row {
        Row::Expiry(register) => writer.value(register),
        Row::Scalar(scalar) => writer.value(scalar),
    }
}

/// Decodes a row of `kind`; refuses what no encoder wrote.
pub fn decode_row(kind: Kind, bytes: &[u8]) -> Result<Row, Malformed> {
    let (row, canonical) = match kind {
        Kind::Expiry => {
            let register: crate::crdt::Register = super::versioned(ROW_FORMAT, bytes)?;
            let canonical = register.is_canonical();
            (Row::Expiry(register), canonical)
        }
        Kind::Scalar => {
            let scalar: crate::crdt::Scalar = super::versioned(ROW_FORMAT, bytes)?;
            let canonical = scalar.is_canonical();
            (Row::Scalar(scalar), canonical)
        }
    };
    if canonical { Ok(row) } else { Err(Malformed) }
}
