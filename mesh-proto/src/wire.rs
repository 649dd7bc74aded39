//! Bytes: the only room that knows how things are encoded.
//!
//! Everything that is stored or sent is a version byte and postcard. Postcard is not self-describing, so variants are
//! never reordered and fields never inserted: a change is a new version. Golden tests freeze the bytes.

mod payload;
mod row;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use payload::{PAYLOAD_FORMAT, Span, decode_payload, decode_span, encode_payload};
pub use row::{ROW_FORMAT, decode_row, encode_row};

/// Bytes that no encoder of a known version wrote.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("bytes that no encoder of a known version wrote")]
pub struct Malformed;

/// Builds one encoded value.
struct Writer(Vec<u8>);

impl Writer {
    fn versioned(version: u8) -> Self {
        let mut bytes = Vec::with_capacity(192);
        bytes.push(version);
        Self(bytes)
    }

    fn value<T: Serialize>(self, value: &T) -> Bytes {
        let bytes = postcard::to_extend(value, self.0).expect("a growing buffer takes any value of ours");
        bytes.into()
    }
}

/// Decodes a value behind its version byte; all bytes must be used.
fn versioned<T: DeserializeOwned>(version: u8, bytes: &[u8]) -> Result<T, Malformed> {
    let (&found, rest) = bytes.split_first().ok_or(Malformed)?;
    if found != version {
        return Err(Malformed);
    }
    let (value, rest) = postcard::take_from_bytes(rest).map_err(|_| Malformed)?;
    if rest.is_empty() { Ok(value) } else { Err(Malformed) }
}
