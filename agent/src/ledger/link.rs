//! One client's connection: its socket, what came in and is not understood yet, what goes out and is not sent yet.

use std::io::{self, ErrorKind, Read, Write};

use everett_mesh_proto::log::Commit;
use everett_mesh_proto::time::Instant;
use mio::net::UnixStream;

use super::output::{Output, Released};
use crate::api::call::Wait;
use crate::api::resp::Requests;

/// A connection as the loop keeps it.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts about a socket, not states of one machine")]
pub(super) struct Link {
    pub(super) stream: UnixStream,
    pub(super) requests: Requests,
    pub(super) input: Vec<u8>,
    pub(super) output: Output,
    /// The socket may hold more to read: edges are told once.
    pub(super) readable: bool,
    /// The peer will send no more; a short read does not mean that the socket is empty.
    pub(super) hung_up: bool,
    /// Nothing more is executed; the connection ends when its replies are out.
    pub(super) ending: bool,
    /// A command that waits for the mesh; nothing after it is executed meanwhile.
    pub(super) waiting: Option<Wait>,
    /// When the bytes being executed came.
    pub(super) arrived: Instant,
    /// Whether the loop's list of links to serve has it.
    pub(super) queued: bool,
    /// Whether the loop's list of links to flush has it.
    pub(super) listed: bool,
}

/// How reading went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ReadEnd {
    /// Bytes came.
    Some,
    /// Nothing at present.
    Empty,
    /// The peer will send no more.
    Closed,
}

impl Link {
    const INPUT_KEPT_BYTES: usize = 16 << 10;

    pub(super) fn new(stream: UnixStream) -> Self {
        Self {
            stream,
            requests: Requests::default(),
            input: Vec::new(),
            output: Output::default(),
            readable: true,
            hung_up: false,
            ending: false,
            waiting: None,
            arrived: Instant::ZERO,
            queued: false,
            listed: false,
        }
    }

    /// Whether requests may be executed now.
    pub(super) fn may_execute(&self, held_bytes_max: usize) -> bool {
        !self.ending && self.waiting.is_none() && self.output.held_bytes() <= held_bytes_max
    }

    /// Reads once into `scratch` and from there to the input.
    pub(super) fn read(&mut self, scratch: &mut [u8], now: Instant) -> io::Result<ReadEnd> {
        loop {
            match self.stream.read(scratch) {
                Ok(0) => {
                    self.readable = false;
                    return Ok(ReadEnd::Closed);
                }
                Ok(len) => {
                    self.readable = len == scratch.len() || self.hung_up;
                    self.arrived = now;
                    self.input.extend_from_slice(&scratch[..len]);
                    return Ok(ReadEnd::Some);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.readable = false;
                    return Ok(ReadEnd::Empty);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Puts back what is not executed yet of an input that was taken out.
    pub(super) fn keep_input(&mut self, mut input: Vec<u8>, executed: usize) {
        self.requests.forget();
        if executed == input.len() {
            input.clear();
            input.shrink_to(Self::INPUT_KEPT_BYTES);
        } else {
            input.drain(..executed);
        }
        self.input = input;
    }

    /// Sends what `durable` allows as far as the socket takes it; returns how many bytes it took.
    pub(super) fn flush(&mut self, durable: Commit, tell: impl FnMut(Released)) -> io::Result<usize> {
        self.output.release(durable, tell);
        let mut sent = 0;
        while !self.output.sendable().is_empty() {
            match self.stream.write(self.output.sendable()) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(len) => {
                    sent += len;
                    self.output.advance(len);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(sent)
    }
}
