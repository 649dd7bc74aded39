//! A connection that costs next to nothing: for clocking single commands, and for filling stores.
//!
//! It blocks, and knows no more of RESP than where a reply ends. Whoever wants to understand replies takes the `redis`
//! crate.

use everett_tests::resp::encode;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long one reply may take before a section gives up.
const REPLY_MAX: Duration = Duration::from_mins(1);

/// SETs under way at once when a store is filled.
const FILL_BATCH: u64 = 500;

/// The key of that number, as redis-benchmark names it.
pub(crate) fn key(number: u64) -> Vec<u8> {
    format!("key:{number:012}").into_bytes()
}

/// A reply, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    /// A status, a number or a string.
    Text(Vec<u8>),
    /// There is nothing.
    Null,
    /// The server refused.
    Error(String),
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Client {
    stream: BufReader<UnixStream>,
    line: Vec<u8>,
}

impl Client {
    /// Connects; nothing if nobody is there.
    pub(crate) fn connect(socket: &Path) -> Option<Self> {
        let stream = UnixStream::connect(socket).ok()?;
        stream.set_read_timeout(Some(REPLY_MAX)).ok()?;
        Some(Self { stream: BufReader::new(stream), line: Vec::new() })
    }

    /// Connects to a server that is there.
    pub(crate) fn of(socket: &Path) -> Self {
        Self::connect(socket).unwrap_or_else(|| panic!("somebody answers at {}", socket.display()))
    }

    /// Sends what [`encode`] made and waits for the reply; nothing if the connection broke.
    pub(crate) fn try_ask(&mut self, request: &[u8]) -> Option<Reply> {
        self.stream.get_mut().write_all(request).ok()?;
        self.reply()
    }

    /// The same where it must not break.
    pub(crate) fn ask(&mut self, request: &[u8]) -> Reply {
        self.try_ask(request).expect("a server that answered goes on answering")
    }

    /// Asks, and returns how long the reply took.
    pub(crate) fn clock(&mut self, request: &[u8]) -> Duration {
        let asked = Instant::now();
        let reply = self.ask(request);
        let took = asked.elapsed();
        assert!(!matches!(reply, Reply::Error(_)), "{reply:?}");
        took
    }

    fn reply(&mut self) -> Option<Reply> {
        self.line.clear();
        self.stream.read_until(b'\n', &mut self.line).ok()?;
        let line = self.line.strip_suffix(b"\r\n")?;
        let (kind, rest) = line.split_first()?;
        let text = || String::from_utf8_lossy(rest).into_owned();
        match kind {
            b'-' => Some(Reply::Error(text())),
            b'$' => {
                let Ok(length) = text().parse::<usize>() else { return Some(Reply::Null) };
                let mut bytes = vec![0; length + 2];
                self.stream.read_exact(&mut bytes).ok()?;
                bytes.truncate(length);
                Some(Reply::Text(bytes))
            }
            _ => Some(Reply::Text(rest.to_vec())),
        }
    }

    /// Sets the keys of these numbers to values of so many bytes.
    pub(crate) fn fill(&mut self, numbers: std::ops::Range<u64>, value_bytes: usize) {
        let value = vec![b'x'; value_bytes];
        let mut at = numbers.start;
        while at < numbers.end {
            let upto = (at + FILL_BATCH).min(numbers.end);
            let batch: Vec<u8> = (at..upto).flat_map(|number| encode(&[b"SET", &key(number), &value])).collect();
            self.stream.get_mut().write_all(&batch).expect("a store is filled");
            for _ in at..upto {
                let reply = self.reply();
                assert_eq!(reply, Some(Reply::Text(b"OK".to_vec())), "a store is filled");
            }
            at = upto;
        }
    }

    /// A figure of `INFO`'s lines.
    pub(crate) fn info(&mut self, section: &str, name: &str) -> u64 {
        let Reply::Text(text) = self.ask(&encode(&[b"INFO", section.as_bytes()])) else { panic!("INFO is answered") };
        let text = String::from_utf8_lossy(&text);
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        value.and_then(|value| value.trim().parse().ok()).unwrap_or_else(|| panic!("INFO {section} tells {name}"))
    }
}
