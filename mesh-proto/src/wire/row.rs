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
    encode(Writer::versioned(ROW_FORMAT), row).into()
}

/// Appends what [`encode_row`] gives.
pub fn append_row(row: &Row, to: &mut Vec<u8>) {
    let mut writer = Writer(std::mem::take(to));
    writer.0.push(ROW_FORMAT);
    *to = encode(writer, row);
}

fn encode(writer: Writer, row: &Row) -> Vec<u8> {
    match row {
        Row::Expiry(register) => writer.append(register),
        Row::Scalar(scalar) => writer.append(scalar),
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
