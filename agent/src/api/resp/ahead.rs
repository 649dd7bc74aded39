//! Requests that are understood and not executed yet: some at a time, so that what they need can be looked at together.
//!
//! Apart from the parser, which reads one request and keeps its place in it. A request that will not be executed now is
//! forgotten and read again later: its bytes are still there.
//!
//! Invariant: what is understood lies in order and without gaps at the front of the input.

use std::ops::Range;

use super::request::{Args, Limits, ProtocolError, RequestParser};

/// How many requests of one connection are read ahead.
const AHEAD_MAX: usize = 64;

/// One connection's requests: those understood, and the one that is being read.
#[derive(Debug, Default)]
pub struct Requests {
    parser: RequestParser,
    whole: Vec<Whole>,
    /// How many of those were taken.
    taken: usize,
    /// The arguments of all of them, as ranges of the input.
    ranges: Vec<Range<usize>>,
    /// What follows them is no request.
    broken: Option<ProtocolError>,
    /// The input may hold another request that was not looked for.
    may_follow: bool,
}

/// One request.
#[derive(Clone, Copy, Debug)]
struct Whole {
    /// Where its bytes end, and the next one's begin.
    end: usize,
    /// Where its arguments end among all.
    ranges_end: usize,
    /// The parser has its words, and reads on only when they were taken.
    is_inline: bool,
}

impl Requests {
    /// Room for arguments that is kept from one batch to the next.
    const RANGES_KEPT: usize = 1_024;

    /// Understands what lies at the front of `input`, unless something is understood already; returns how often there is
    /// something to [`take`](Self::take).
    pub fn read_ahead(&mut self, input: &[u8], limits: &Limits) -> usize {
        if !self.is_empty() {
            return self.len();
        }
        self.clear();
        self.may_follow = true;
        let mut from = 0;
        while self.whole.len() < AHEAD_MAX && from < input.len() {
            match self.parser.parse(&input[from..], limits) {
                Ok(None) => {
                    self.may_follow = false;
                    break;
                }
                Ok(Some(len)) => {
                    let is_inline = self.parser.is_inline();
                    if !is_inline {
                        self.parser.move_args(from, &mut self.ranges);
                    }
                    from += len;
                    self.whole.push(Whole { end: from, ranges_end: self.ranges.len(), is_inline });
                    if is_inline {
                        break;
                    }
                }
                Err(error) => {
                    self.broken = Some(error);
                    break;
                }
            }
        }
        self.may_follow &= from < input.len();
        self.len()
    }

    /// How often there is something to [`take`](Self::take).
    pub fn len(&self) -> usize {
        self.whole.len() - self.taken + usize::from(self.broken.is_some())
    }

    /// Whether there is nothing to [`take`](Self::take).
    pub fn is_empty(&self) -> bool {
        self.taken == self.whole.len() && self.broken.is_none()
    }

    /// Whether the input may hold a request that was not taken, though nothing is added to it.
    pub fn may_follow(&self) -> bool {
        self.may_follow
    }

    /// The words behind the commands' names, which are keys for the most part.
    pub fn keys<'a>(&'a self, input: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        (self.taken..self.whole.len()).filter_map(|number| self.args(number, input).get(1))
    }

    /// Takes the next request that is understood; its arguments lie in the same `input`. After the last one comes what
    /// is wrong with the stream behind it, once.
    pub fn take<'a>(&'a mut self, input: &'a [u8]) -> Result<Option<Args<'a>>, ProtocolError> {
        if self.taken == self.whole.len() {
            return self.broken.take().map_or(Ok(None), Err);
        }
        self.taken += 1;
        Ok(Some(self.args(self.taken - 1, input)))
    }

    /// How many bytes of the input were taken.
    pub fn taken_bytes(&self) -> usize {
        self.taken.checked_sub(1).map_or(0, |last| self.whole[last].end)
    }

    /// Forgets what is understood and was not taken: the input begins with it from now on.
    pub fn forget(&mut self) {
        if !self.is_empty() {
            self.parser = RequestParser::new();
            self.may_follow = true;
        }
        self.clear();
    }

    fn clear(&mut self) {
        self.whole.clear();
        self.taken = 0;
        self.broken = None;
        if self.ranges.capacity() > Self::RANGES_KEPT {
            self.ranges = Vec::new();
        }
        self.ranges.clear();
    }

    fn args<'a>(&'a self, number: usize, input: &'a [u8]) -> Args<'a> {
        let Whole { ranges_end, is_inline, .. } = self.whole[number];
        if is_inline {
            return self.parser.args(input);
        }
        let first = number.checked_sub(1).map_or(0, |before| self.whole[before].ranges_end);
        Args::new(input, &self.ranges[first..ranges_end])
    }
}
