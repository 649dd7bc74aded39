//! Frames over a QUIC stream, in both directions, and what its failures mean.

use everett_mesh_proto::wire::{FrameReader, Received, StreamKind, WireError, encode_frame};
use quinn::{ReadError, RecvStream, SendStream, WriteError};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::messages::Fault;
use super::refusal::Refusal;

/// Bytes taken from a stream at once.
const CHUNK_BYTES_MAX: usize = 64 << 10;

/// Priorities of streams: membership before ops before repair.
pub(super) const PRIORITY_MEMBERSHIP: i32 = 2;
/// Fresh ops.
pub(super) const PRIORITY_OPS: i32 = 1;
/// Bulk.
pub(super) const PRIORITY_SESSION: i32 = 0;

/// Reads frames off a stream.
#[derive(Debug)]
pub(super) struct StreamReader {
    stream: RecvStream,
    frames: FrameReader,
}

impl StreamReader {
    pub(super) fn new(stream: RecvStream) -> Self {
        Self { stream, frames: FrameReader::new() }
    }

    /// The next frame; `None` when the peer has finished the stream.
    pub(super) async fn next(&mut self) -> Result<Option<Received>, Fault> {
        loop {
            if let Some(frame) = self.frames.next_frame()? {
                return Ok(Some(frame));
            }
            match self.stream.read_chunk(CHUNK_BYTES_MAX, true).await? {
                Some(chunk) => self.frames.push(&chunk.bytes),
                None if self.frames.is_between_frames() => return Ok(None),
                None => return Err(Fault::Refused(Refusal::Malformed)),
            }
        }
    }

    /// The next frame, which must be there and a `T`.
    pub(super) async fn expect<T: DeserializeOwned>(&mut self) -> Result<T, Fault> {
        let frame = self.next().await?.ok_or(Fault::Refused(Refusal::Malformed))?;
        Ok(frame.decode()?)
    }

    /// Tells the peer that nothing more will be read.
    pub(super) fn stop(mut self) {
        // Stopping a stream that has ended is no error of anybody.
        let _ = self.stream.stop(quinn::VarInt::from_u32(0));
    }
}

/// Writes one message.
pub(super) async fn write<T: Serialize>(stream: &mut SendStream, message: &T) -> Result<(), Fault> {
    // A message of ours that does not fit a frame is not the peer's fault, but it ends the conversation all the same.
    let frame = encode_frame(message).map_err(|_| Fault::Lost)?;
    Ok(stream.write_chunk(frame.into_bytes()).await?)
}

/// Sets a new stream's priority and names its purpose.
pub(super) async fn begin(stream: &mut SendStream, kind: StreamKind, priority: i32) -> Result<(), Fault> {
    stream.set_priority(priority).map_err(|_| Fault::Lost)?;
    write(stream, &kind).await
}

impl From<WireError> for Fault {
    fn from(error: WireError) -> Self {
        match error {
            WireError::Version { .. } => Self::Refused(Refusal::Version),
            WireError::TooLong { .. } | WireError::Malformed => Self::Refused(Refusal::Malformed),
        }
    }
}

impl From<ReadError> for Fault {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Reset(_) => Self::Refused(Refusal::Malformed),
            ReadError::ConnectionLost(_)
            | ReadError::ClosedStream
            | ReadError::IllegalOrderedRead
            | ReadError::ZeroRttRejected => Self::Lost,
        }
    }
}

impl From<WriteError> for Fault {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Stopped(_) => Self::Refused(Refusal::Malformed),
            WriteError::ConnectionLost(_) | WriteError::ClosedStream | WriteError::ZeroRttRejected => Self::Lost,
        }
    }
}
