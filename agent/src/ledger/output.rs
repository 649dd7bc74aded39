//! One connection's replies on their way out: in order, each held until what it reflects is durable.
//!
//! Apart from sockets because the rule is the product's: *durable before said*, for those who have not agreed to hear
//! earlier, and a reply never overtakes an earlier one of its connection. Bytes lie in one buffer; a queue says where each
//! reply ends and which commit it waits for. The greatest commit asked for so far binds all later replies, so what may be
//! sent is always a prefix.

use std::collections::VecDeque;

use everett_mesh_proto::log::Commit;
use everett_mesh_proto::time::Instant;

use crate::api::call::Reflects;

/// The replies of one connection that are not yet sent.
#[derive(Debug, Default)]
pub(super) struct Output {
    bytes: Vec<u8>,
    /// Where `bytes` begins in the stream of everything ever replied.
    base: u64,
    /// Up to here in that stream the client has it.
    sent: u64,
    /// Up to here it may have it.
    released: u64,
    /// The greatest commit that any reply so far has told of.
    shown: Commit,
    held: VecDeque<Held>,
}

/// One reply that waits.
#[derive(Debug)]
struct Held {
    end: u64,
    commit: Commit,
    command: Option<usize>,
    arrived: Instant,
}

/// A reply that was just released.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Released {
    /// Its command's number.
    pub(super) command: Option<usize>,
    /// When the request had arrived.
    pub(super) arrived: Instant,
}

impl Output {
    /// A buffer larger than this is given back when it has run empty.
    const KEPT_BYTES: usize = 16 << 10;

    /// Where the next reply is to be appended.
    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Ends the reply just appended.
    pub(super) fn end_reply(&mut self, reflects: Reflects, command: Option<usize>, arrived: Instant) {
        self.shown = self.shown.max(reflects.shown);
        let commit = self.waits_for().max(reflects.awaited);
        self.held.push_back(Held { end: self.end(), commit, command, arrived });
    }

    /// The greatest commit that the client may know of: what it passes on waits for that.
    pub(super) fn shown(&self) -> Commit {
        self.shown
    }

    /// The commit that everything replied so far waits for.
    pub(super) fn waits_for(&self) -> Commit {
        self.held.back().map_or(Commit(0), |last| last.commit)
    }

    /// Releases all that `durable` allows, telling of each reply.
    pub(super) fn release(&mut self, durable: Commit, mut tell: impl FnMut(Released)) {
        while let Some(reply) = self.held.pop_front_if(|reply| reply.commit <= durable) {
            self.released = reply.end;
            tell(Released { command: reply.command, arrived: reply.arrived });
        }
    }

    /// What may be sent now.
    pub(super) fn sendable(&self) -> &[u8] {
        &self.bytes[self.index(self.sent)..self.index(self.released)]
    }

    /// The client took the first `len` of the sendable bytes.
    pub(super) fn advance(&mut self, len: usize) {
        self.sent += len as u64;
        let sent = self.index(self.sent);
        if sent == self.bytes.len() {
            self.base = self.sent;
            self.bytes.clear();
            self.bytes.shrink_to(Self::KEPT_BYTES);
        } else if sent >= Self::KEPT_BYTES && sent >= self.bytes.len() / 2 {
            self.base = self.sent;
            self.bytes.drain(..sent);
        }
    }

    /// Bytes in memory.
    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.index(self.sent)
    }

    /// Whether the client has everything.
    pub(super) fn is_empty(&self) -> bool {
        self.sent == self.end()
    }

    /// Bytes that wait for a commit rather than for the client.
    pub(super) fn held_bytes(&self) -> usize {
        self.bytes.len() - self.index(self.released)
    }

    fn end(&self) -> u64 {
        self.base + self.bytes.len() as u64
    }

    fn index(&self, place: u64) -> usize {
        usize::try_from(place - self.base).expect("what is in memory has an address")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(output: &mut Output, text: &str, commit: u64) {
        output.buffer().extend_from_slice(text.as_bytes());
        output.end_reply(Reflects::durably(Commit(commit)), None, Instant::ZERO);
    }

    #[test]
    fn a_reply_leaves_when_its_commit_is_durable_and_never_before_an_earlier_one() {
        let mut output = Output::default();
        reply(&mut output, "a", 0);
        reply(&mut output, "b", 2);
        reply(&mut output, "c", 0);
        reply(&mut output, "d", 3);
        output.release(Commit(1), |_| {});
        assert_eq!(output.sendable(), b"a");
        assert_eq!(output.held_bytes(), 3);
        output.release(Commit(2), |_| {});
        assert_eq!(output.sendable(), b"abc");
        output.advance(2);
        assert_eq!(output.sendable(), b"c");
        output.release(Commit(9), |_| {});
        assert_eq!(output.sendable(), b"cd");
        output.advance(2);
        assert!(output.is_empty());
    }

    #[test]
    fn a_reply_that_waits_for_nothing_shows_all_the_same_and_stays_behind_one_that_waits() {
        let mut output = Output::default();
        output.buffer().push(b'a');
        output.end_reply(Reflects { shown: Commit(5), awaited: Commit(0) }, None, Instant::ZERO);
        output.release(Commit(1), |_| {});
        assert_eq!((output.sendable(), output.shown()), (&b"a"[..], Commit(5)));
        reply(&mut output, "b", 3);
        output.buffer().push(b'c');
        output.end_reply(Reflects { shown: Commit(4), awaited: Commit(0) }, None, Instant::ZERO);
        output.release(Commit(2), |_| {});
        assert_eq!((output.sendable(), output.waits_for()), (&b"a"[..], Commit(3)));
        output.release(Commit(3), |_| {});
        assert_eq!((output.sendable(), output.shown()), (&b"abc"[..], Commit(5)));
    }

    #[test]
    fn a_slow_reader_gets_every_byte_once_while_the_buffer_is_compacted() {
        let mut output = Output::default();
        let mut expected = Vec::new();
        let mut received = Vec::new();
        for round in 0..200_u32 {
            let text = format!("{round:01000}");
            reply(&mut output, &text, u64::from(round));
            expected.extend_from_slice(text.as_bytes());
            output.release(Commit(u64::from(round)), |_| {});
            let piece = output.sendable()[..777.min(output.sendable().len())].to_vec();
            output.advance(piece.len());
            received.extend(piece);
        }
        received.extend_from_slice(output.sendable());
        assert_eq!(received, expected);
    }
}
