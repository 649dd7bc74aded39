//! Requests: bytes of a client's stream into arguments, as they come.
//!
//! The parser keeps its place inside a half-received request, so that a request of a million arguments that arrives
//! in small pieces is still read once. Arguments are ranges of the input, never copies; only an inline command's words
//! are written to a scratch buffer, since quoting changes their bytes. The parser reserves nothing for a length that
//! was merely announced.

use std::ops::Range;

use super::number::parse_i64;
use super::words;

/// What one request may consist of. Memory per connection grows at most to `request_bytes_max` plus one read.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Longest inline command, and longest line that announces a count or a length.
    pub inline_bytes_max: usize,
    /// Most arguments of one request.
    pub args_max: usize,
    /// Longest single argument.
    pub bulk_bytes_max: usize,
    /// Longest request, with all its arguments.
    pub request_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { inline_bytes_max: 64 << 10, args_max: 1 << 20, bulk_bytes_max: 512 << 20, request_bytes_max: 1 << 30 }
    }
}

/// The client does not speak the protocol: it gets this text and its connection ends, since what follows in its
/// stream has no meaning any more. Nothing of the request was executed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ProtocolError {
    /// An inline command never ended.
    #[error("Protocol error: too big inline request")]
    InlineTooBig,
    /// The line that announces the number of arguments never ended.
    #[error("Protocol error: too big mbulk count string")]
    CountTooBig,
    /// The line that announces an argument's length never ended.
    #[error("Protocol error: too big bulk count string")]
    LengthTooBig,
    /// The number of arguments is no number, or above the limit.
    #[error("Protocol error: invalid multibulk length")]
    BadCount,
    /// An argument's length is no number, negative, or above the limit.
    #[error("Protocol error: invalid bulk length")]
    BadLength,
    /// An argument does not begin with its length.
    #[error("Protocol error: expected '$', got '{}'", char::from(*.0))]
    NoLength(u8),
    /// The arguments together are longer than a request may be.
    #[error("Protocol error: too big request")]
    RequestTooBig,
    /// An inline command's quotes do not match.
    #[error("Protocol error: unbalanced quotes in request")]
    UnbalancedQuotes,
}

/// Where the parser stands within the request at the front of the input.
#[derive(Clone, Copy, Debug)]
enum Stage {
    /// Nothing but perhaps a piece of the first line has been seen.
    Start,
    /// This many arguments are still to come, the next one's length first.
    Length(usize),
    /// This many are still to come, the first of them this long.
    Bulk(usize, usize),
}

/// Reads one connection's requests, one after the other.
#[derive(Debug)]
pub struct RequestParser {
    stage: Stage,
    /// Up to here the request at the front is understood.
    pos: usize,
    /// Up to here the current line has no end.
    scanned: usize,
    args: Vec<Range<usize>>,
    /// The words of an inline command.
    scratch: Vec<u8>,
    inline: bool,
}

impl Default for RequestParser {
    fn default() -> Self {
        Self::new()
    }
}

impl RequestParser {
    /// Room for arguments that is kept from one request to the next.
    const ARGS_KEPT: usize = 64;

    /// A parser at the beginning of a stream.
    pub fn new() -> Self {
        Self { stage: Stage::Start, pos: 0, scanned: 0, args: Vec::new(), scratch: Vec::new(), inline: false }
    }

    /// Reads on in `input`, whose first byte is the first of the request that is being read.
    ///
    /// `Some(n)`: the request is complete, is `n` bytes long, and its arguments are [`args`](Self::args) of the same
    /// input until the next call (there are none in an empty line or an empty array). `None`: more bytes are needed;
    /// the next call must begin with the same bytes.
    pub fn parse(&mut self, input: &[u8], limits: &Limits) -> Result<Option<usize>, ProtocolError> {
        if matches!(self.stage, Stage::Start) && self.pos == 0 {
            self.forget_last();
            match input.first() {
                None => return Ok(None),
                Some(b'*') => {}
                Some(_) => return self.inline(input, limits),
            }
        }
        loop {
            let done = match self.stage {
                Stage::Start => self.count(input, limits)?,
                Stage::Length(left) => self.length(left, input, limits)?,
                Stage::Bulk(left, len) => self.bulk(left, len, input),
            };
            match done {
                Step::Again => {}
                Step::Starved => return Ok(None),
                Step::Done => return Ok(Some(self.finish())),
            }
        }
    }

    /// The arguments of the request that [`parse`](Self::parse) just completed in `input`.
    pub fn args<'a>(&'a self, input: &'a [u8]) -> Args<'a> {
        Args { bytes: if self.inline { &self.scratch } else { input }, ranges: &self.args }
    }

    /// Whether the request that was just completed is an inline command, whose words are no ranges of the input.
    pub(super) fn is_inline(&self) -> bool {
        self.inline
    }

    /// Gives the arguments of the request that was just completed away, as ranges of an input in which it begins at `from`.
    pub(super) fn move_args(&mut self, from: usize, to: &mut Vec<Range<usize>>) {
        if from == 0 && to.is_empty() && self.args.len() > Self::ARGS_KEPT {
            std::mem::swap(&mut self.args, to);
        } else {
            to.extend(self.args.drain(..).map(|range| range.start + from..range.end + from));
        }
    }

    fn forget_last(&mut self) {
        if self.args.capacity() > Self::ARGS_KEPT {
            self.args = Vec::new();
        }
        self.args.clear();
        if self.inline {
            self.scratch = Vec::new();
            self.inline = false;
        }
    }

    fn finish(&mut self) -> usize {
        self.stage = Stage::Start;
        self.scanned = 0;
        std::mem::take(&mut self.pos)
    }

    fn inline(&mut self, input: &[u8], limits: &Limits) -> Result<Option<usize>, ProtocolError> {
        let found = input[self.scanned..].iter().position(|byte| *byte == b'\n');
        let end = self.scanned + found.unwrap_or(input.len() - self.scanned);
        self.scanned = end;
        if end > limits.inline_bytes_max {
            return Err(ProtocolError::InlineTooBig);
        }
        if found.is_none() {
            return Ok(None);
        }
        let line = &input[..end];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        self.inline = true;
        self.scanned = 0;
        words::split(line, &mut self.scratch, &mut self.args)
            .map_err(|words::Unbalanced| ProtocolError::UnbalancedQuotes)?;
        Ok(Some(end + 1))
    }

    fn count(&mut self, input: &[u8], limits: &Limits) -> Result<Step, ProtocolError> {
        let line = self.line(input, limits).map_err(|TooLong| ProtocolError::CountTooBig)?;
        let Some(line) = line else { return Ok(Step::Starved) };
        let count = parse_i64(&line[1..]).ok_or(ProtocolError::BadCount)?;
        if count <= 0 {
            return Ok(Step::Done);
        }
        let count = usize::try_from(count).map_err(|_| ProtocolError::BadCount)?;
        if count > limits.args_max {
            return Err(ProtocolError::BadCount);
        }
        self.stage = Stage::Length(count);
        Ok(Step::Again)
    }

    fn length(&mut self, left: usize, input: &[u8], limits: &Limits) -> Result<Step, ProtocolError> {
        let line = self.line(input, limits).map_err(|TooLong| ProtocolError::LengthTooBig)?;
        let Some(line) = line else { return Ok(Step::Starved) };
        let digits = match line {
            [b'$', digits @ ..] => digits,
            [other, ..] => return Err(ProtocolError::NoLength(*other)),
            [] => return Err(ProtocolError::NoLength(b'\r')),
        };
        let len = parse_i64(digits).and_then(|len| usize::try_from(len).ok()).ok_or(ProtocolError::BadLength)?;
        if len > limits.bulk_bytes_max {
            return Err(ProtocolError::BadLength);
        }
        if len > limits.request_bytes_max.saturating_sub(self.pos) {
            return Err(ProtocolError::RequestTooBig);
        }
        self.stage = Stage::Bulk(left, len);
        Ok(Step::Again)
    }

    fn bulk(&mut self, left: usize, len: usize, input: &[u8]) -> Step {
        if input.len() - self.pos < len + 2 {
            return Step::Starved;
        }
        self.args.push(self.pos..self.pos + len);
        self.pos += len + 2;
        self.scanned = self.pos;
        if left == 1 {
            return Step::Done;
        }
        self.stage = Stage::Length(left - 1);
        Step::Again
    }

    /// The line at the parser's place without its end, if the end is here; steps past it.
    fn line<'a>(&mut self, input: &'a [u8], limits: &Limits) -> Result<Option<&'a [u8]>, TooLong> {
        let found = input[self.scanned..].iter().position(|byte| *byte == b'\r');
        let end = self.scanned + found.unwrap_or(input.len() - self.scanned);
        self.scanned = end;
        if end - self.pos > limits.inline_bytes_max {
            return Err(TooLong);
        }
        if end + 1 >= input.len() {
            return Ok(None);
        }
        let line = &input[self.pos..end];
        self.pos = end + 2;
        self.scanned = self.pos;
        Ok(Some(line))
    }
}

/// A line that announces a count or a length does not end.
struct TooLong;

/// What one step of the parser came to.
enum Step {
    Again,
    Starved,
    Done,
}

/// One request's arguments, the command's name first.
#[derive(Clone, Copy, Debug)]
pub struct Args<'a> {
    bytes: &'a [u8],
    ranges: &'a [Range<usize>],
}

impl<'a> Args<'a> {
    pub(super) fn new(bytes: &'a [u8], ranges: &'a [Range<usize>]) -> Self {
        Self { bytes, ranges }
    }

    /// How many there are, the command's name included.
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Whether the request was an empty line or an empty array.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The argument at `index`, if there is one.
    pub fn get(&self, index: usize) -> Option<&'a [u8]> {
        self.ranges.get(index).map(|range| &self.bytes[range.clone()])
    }

    /// The arguments from `index` on.
    pub fn from(&self, index: usize) -> impl ExactSizeIterator<Item = &'a [u8]> + Clone + use<'a> {
        let bytes = self.bytes;
        let ranges = self.ranges.get(index..).unwrap_or_default();
        ranges.iter().map(move |range| &bytes[range.clone()])
    }
}

impl std::ops::Index<usize> for Args<'_> {
    type Output = [u8];

    fn index(&self, index: usize) -> &[u8] {
        &self.bytes[self.ranges[index].clone()]
    }
}
