//! Frames and datagrams: where one message ends and the next begins.
//!
//! Apart from the messages because it must hold whatever they become. A [`Frame`] is made once and may go to many
//! streams (cloning shares its bytes); a [`FrameReader`] is fed what arrives in any pieces. Neither does input or output.

use bytes::{Bytes, BytesMut};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{FRAME_LEN_MAX, Malformed, VERSION, VERSION_MIN, Writer, exactly};

/// Bytes of a frame before its version.
const LENGTH_BYTES: usize = 4;

/// The peer sent bytes that are no message of the expected kind. Nothing was taken from them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WireError {
    /// A frame announced, or a message takes, more bytes than a frame may have.
    #[error("frame of {len} bytes, at most {FRAME_LEN_MAX} allowed")]
    TooLong {
        /// The length.
        len: u64,
    },
    /// The version is none that this agent reads.
    #[error("wire version {got}, this agent reads {VERSION_MIN} to {VERSION}")]
    Version {
        /// The version byte found.
        got: u8,
    },
    /// The body is not a message of the expected type, or more than one.
    #[error("malformed message")]
    Malformed,
}

impl From<Malformed> for WireError {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

/// One encoded message with its length and version, ready for a stream. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame(Bytes);

impl Frame {
    /// The bytes as they go on the stream.
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// Hands the bytes over.
    pub fn into_bytes(self) -> Bytes {
        self.0
    }

    /// Bytes on the stream.
    pub fn len_bytes(&self) -> u64 {
        self.0.len() as u64
    }
}

/// The body of one frame that arrived, its version checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Received {
    version: u8,
    body: Bytes,
}

impl Received {
    /// The version it was written in.
    pub fn version(&self) -> u8 {
        self.version
    }

    /// The undecoded body.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Reads the body as a `T` and nothing more.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, WireError> {
        Ok(exactly(&self.body)?)
    }
}

/// Cuts a byte stream into frames.
///
/// Holds at most one frame and what was pushed behind it: push, then call [`next_frame`](Self::next_frame) until it
/// returns `None`.
#[derive(Debug, Default)]
pub struct FrameReader {
    buffer: BytesMut,
}

impl FrameReader {
    /// A reader at the start of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes bytes in the order in which the stream delivered them.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame, `None` until more bytes come. After an error the stream is beyond repair.
    pub fn next_frame(&mut self) -> Result<Option<Received>, WireError> {
        let Some((header, rest)) = self.buffer.split_first_chunk::<LENGTH_BYTES>() else {
            return Ok(None);
        };
        let len = u32::from_le_bytes(*header);
        if len == 0 {
            return Err(WireError::Malformed);
        }
        if len > FRAME_LEN_MAX {
            return Err(WireError::TooLong { len: len.into() });
        }
        if let Some(&version) = rest.first() {
            check_version(version)?;
        }
        if (rest.len() as u64) < u64::from(len) {
            return Ok(None);
        }
        let mut frame = self.buffer.split_to(LENGTH_BYTES + len as usize);
        let version = frame[LENGTH_BYTES];
        let body = frame.split_off(LENGTH_BYTES + 1).freeze();
        Ok(Some(Received { version, body }))
    }

    /// Whether the stream stands between two frames: the only place where it may end.
    pub fn is_between_frames(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Bytes held: those of a frame still incomplete, and of whole ones not taken yet.
    pub fn held_bytes(&self) -> u64 {
        self.buffer.len() as u64
    }
}

/// Encodes a message for a stream.
pub fn encode_frame<T: Serialize>(message: &T) -> Result<Frame, WireError> {
    let mut frame = Writer(vec![0, 0, 0, 0, VERSION]).append(message);
    let len = frame.len() - LENGTH_BYTES;
    match u32::try_from(len) {
        Ok(short) if short <= FRAME_LEN_MAX => {
            frame[..LENGTH_BYTES].copy_from_slice(&short.to_le_bytes());
            Ok(Frame(frame.into()))
        }
        Ok(_) | Err(_) => Err(WireError::TooLong { len: len as u64 }),
    }
}

/// Encodes a message for a datagram; whether it fits is for the link to say.
pub fn encode_datagram<T: Serialize>(message: &T) -> Bytes {
    Writer::versioned(VERSION).value(message)
}

/// Reads the one message of a datagram.
pub fn decode_datagram<T: DeserializeOwned>(datagram: &[u8]) -> Result<T, WireError> {
    let (&version, body) = datagram.split_first().ok_or(WireError::Malformed)?;
    check_version(version)?;
    Ok(exactly(body)?)
}

fn check_version(version: u8) -> Result<(), WireError> {
    if (VERSION_MIN..=VERSION).contains(&version) { Ok(()) } else { Err(WireError::Version { got: version }) }
}
