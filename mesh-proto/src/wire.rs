//! Bytes: the only room that knows how things are encoded.
//!
//! Everything that is stored or sent is a version byte and postcard. Postcard is not self-describing, so variants are
//! never reordered and fields never inserted: a change is a new version. Golden tests freeze the bytes. On a stream every
//! message is a *frame*: length (u32, little-endian), version, body; in a datagram the length is the datagram's own.
//!
//! Invariants: a decoder never panics and never reserves memory for what has not arrived; counts are capped by the bytes
//! left, and by a named limit where an element is larger in memory than on the wire; bytes after a value are an error.
//! Not here: sockets, streams, and what any message means.

pub(crate) mod bounded;
mod frame;
mod group;
mod hello;
mod lease;
mod ops;
mod payload;
mod row;

#[cfg(test)]
mod golden;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use frame::{Frame, FrameReader, Received, WireError, decode_datagram, encode_datagram, encode_frame};
pub use hello::{Hello, Protocol, Ready, SPACES_MAX, SpaceHello, Welcome};
pub use lease::{LEASE_FORMAT, decode_lease, encode_lease};
pub use ops::{GROUPS_MAX, OpsFrame, StreamKind};
pub use payload::{PAYLOAD_FORMAT, Span, SpanRef, decode_payload, decode_span, encode_payload, peek_span};
pub use row::{ROW_FORMAT, append_row, decode_row, encode_row};

/// The version of frames and datagrams that this agent writes.
pub const VERSION: u8 = 1;

/// The oldest version of frames and datagrams that this agent still reads.
pub const VERSION_MIN: u8 = 1;

/// The longest frame in bytes, version included, length not: what one message may cost a reader in memory.
pub const FRAME_LEN_MAX: u32 = 16 << 20;

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
        self.append(value).into()
    }

    fn append<T: Serialize>(self, value: &T) -> Vec<u8> {
        postcard::to_extend(value, self.0).expect("a growing buffer takes any value of ours")
    }
}

/// Decodes a value behind its version byte; all bytes must be used.
fn versioned<T: DeserializeOwned>(version: u8, bytes: &[u8]) -> Result<T, Malformed> {
    let (&found, rest) = bytes.split_first().ok_or(Malformed)?;
    if found != version {
        return Err(Malformed);
    }
    exactly(rest)
}

/// Decodes a value without a version byte; all bytes must be used.
fn exactly<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Malformed> {
    let (value, rest) = postcard::take_from_bytes(bytes).map_err(|_| Malformed)?;
    if rest.is_empty() { Ok(value) } else { Err(Malformed) }
}
