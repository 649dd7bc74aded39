//! Replies: shapes of both protocol versions, appended to a connection's output buffer.
//!
//! A command says which shape it answers with (a map, a set, a double); here it becomes the bytes of the version that
//! the connection speaks, RESP2 showing a map as a flat array and a double as text. Nothing is allocated per reply
//! beyond the buffer's own growth. An aggregate is announced with its size first, so a command knows it beforehand.

use std::fmt::{self, Display};
use std::io::Write;

use super::number::{push_i64, push_u64};

/// The protocol version of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Proto {
    /// What every connection begins with.
    #[default]
    Resp2,
    /// After `HELLO 3`.
    Resp3,
}

impl Proto {
    /// The version's number.
    pub fn number(self) -> u8 {
        match self {
            Self::Resp2 => 2,
            Self::Resp3 => 3,
        }
    }
}

/// The reply to one request, under construction at the end of a connection's output.
pub struct Reply<'a> {
    out: &'a mut Vec<u8>,
    proto: Proto,
    start: usize,
}

impl fmt::Debug for Reply<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.proto, self.out[self.start..].escape_ascii())
    }
}

impl<'a> Reply<'a> {
    /// A reply to be appended to `out`.
    pub fn new(out: &'a mut Vec<u8>, proto: Proto) -> Self {
        let start = out.len();
        Self { out, proto, start }
    }

    /// Where in the output it begins.
    pub fn start(&self) -> usize {
        self.start
    }

    /// The version this reply is written in.
    pub fn proto(&self) -> Proto {
        self.proto
    }

    /// Goes on in another version: `HELLO` answers in the one it was asked for.
    pub fn set_proto(&mut self, proto: Proto) {
        self.proto = proto;
    }

    /// Takes back what was written since this reply began.
    pub fn retract(&mut self) {
        self.out.truncate(self.start);
    }

    /// `+OK`.
    pub fn ok(&mut self) {
        self.out.extend_from_slice(b"+OK\r\n");
    }

    /// A short status word.
    pub fn status(&mut self, text: &str) {
        self.out.push(b'+');
        self.out.extend_from_slice(text.as_bytes());
        self.end();
    }

    /// An error: code, space, text. A line break inside it would end the reply early, so it becomes a space.
    pub fn error(&mut self, text: &dyn Display) {
        self.out.push(b'-');
        let start = self.out.len();
        write!(self.out, "{text}").expect("memory takes every write");
        self.end_error(start);
    }

    /// An error in pieces of bytes, for those that quote what the client sent.
    pub fn error_parts<'p>(&mut self, parts: impl IntoIterator<Item = &'p [u8]>) {
        self.out.push(b'-');
        let start = self.out.len();
        for part in parts {
            self.out.extend_from_slice(part);
        }
        self.end_error(start);
    }

    /// An integer.
    pub fn int(&mut self, value: i64) {
        self.out.push(b':');
        push_i64(self.out, value);
        self.end();
    }

    /// A count as an integer.
    pub fn count(&mut self, value: usize) {
        self.header(b':', value);
    }

    /// An integer that may exceed what the protocol's integers hold; the greatest of those stands for it then.
    pub fn uint(&mut self, value: u64) {
        self.int(i64::try_from(value).unwrap_or(i64::MAX));
    }

    /// A string of bytes.
    pub fn bulk(&mut self, bytes: &[u8]) {
        self.header(b'$', bytes.len());
        self.out.extend_from_slice(bytes);
        self.end();
    }

    /// A value's text as a string.
    pub fn text(&mut self, value: &dyn Display) {
        let mark = self.out.len();
        write!(self.out, "{value}").expect("memory takes every write");
        let len = self.out.len() - mark;
        self.header(b'$', len);
        self.out[mark..].rotate_left(len);
        self.end();
    }

    /// An integer as a string: cursors, and numbers that are values.
    pub fn digits(&mut self, value: u64) {
        let digits = value.checked_ilog10().map_or(1, |log| log as usize + 1);
        self.header(b'$', digits);
        push_u64(self.out, value);
        self.end();
    }

    /// Nothing where a string was asked for.
    pub fn null(&mut self) {
        self.out.extend_from_slice(match self.proto {
            Proto::Resp2 => b"$-1\r\n",
            Proto::Resp3 => b"_\r\n",
        });
    }

    /// Nothing where an array was asked for.
    pub fn null_array(&mut self) {
        self.out.extend_from_slice(match self.proto {
            Proto::Resp2 => b"*-1\r\n",
            Proto::Resp3 => b"_\r\n",
        });
    }

    /// A truth value; 1 or 0 in RESP2.
    pub fn boolean(&mut self, value: bool) {
        self.out.extend_from_slice(match (self.proto, value) {
            (Proto::Resp2, true) => b":1\r\n",
            (Proto::Resp2, false) => b":0\r\n",
            (Proto::Resp3, true) => b"#t\r\n",
            (Proto::Resp3, false) => b"#f\r\n",
        });
    }

    /// A floating-point number; a string in RESP2.
    pub fn double(&mut self, value: f64) {
        match self.proto {
            Proto::Resp2 => self.text(&Double(value)),
            Proto::Resp3 => {
                self.out.push(b',');
                write!(self.out, "{}", Double(value)).expect("memory takes every write");
                self.end();
            }
        }
    }

    /// Text for people, as `INFO` gives; a plain string in RESP2.
    pub fn verbatim(&mut self, text: &str) {
        match self.proto {
            Proto::Resp2 => self.bulk(text.as_bytes()),
            Proto::Resp3 => {
                self.header(b'=', text.len() + 4);
                self.out.extend_from_slice(b"txt:");
                self.out.extend_from_slice(text.as_bytes());
                self.end();
            }
        }
    }

    /// Begins an array: `len` replies follow.
    pub fn array(&mut self, len: usize) {
        self.header(b'*', len);
    }

    /// Begins a map: `len` pairs of replies follow.
    pub fn map(&mut self, len: usize) {
        match self.proto {
            Proto::Resp2 => self.header(b'*', len * 2),
            Proto::Resp3 => self.header(b'%', len),
        }
    }

    /// Begins a set: `len` replies follow.
    pub fn set(&mut self, len: usize) {
        self.header(if self.proto == Proto::Resp3 { b'~' } else { b'*' }, len);
    }

    /// Begins a message that answers no request: `len` replies follow.
    pub fn push(&mut self, len: usize) {
        self.header(if self.proto == Proto::Resp3 { b'>' } else { b'*' }, len);
    }

    fn header(&mut self, kind: u8, len: usize) {
        self.out.push(kind);
        push_u64(self.out, len as u64);
        self.end();
    }

    fn end(&mut self) {
        self.out.extend_from_slice(b"\r\n");
    }

    fn end_error(&mut self, start: usize) {
        for byte in &mut self.out[start..] {
            if matches!(byte, b'\r' | b'\n') {
                *byte = b' ';
            }
        }
        self.end();
    }
}

/// A floating-point number as the protocol spells it.
struct Double(f64);

impl Display for Double {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            value if value.is_nan() => f.write_str("nan"),
            value if value.is_infinite() => f.write_str(if value > 0.0 { "inf" } else { "-inf" }),
            value => write!(f, "{value}"),
        }
    }
}
