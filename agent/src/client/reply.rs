//! Answers of an agent: RESP2 and RESP3 decoded within bounds.

use std::io::{BufRead, Read};

use serde_json::{Map, Number, Value};

use super::ClientError;

/// The longest line (a type, a length, a status or an error) that is read.
const LINE_BYTES_MAX: u64 = 64 << 10;

/// The longest bulk string that is read.
const BULK_BYTES_MAX: u64 = 512 << 20;

/// The most elements of one array or map that are read.
const ELEMENTS_MAX: usize = 1 << 20;

/// How deep arrays and maps may be nested.
const DEPTH_MAX: usize = 8;

/// Capacity taken in advance on the word of a length that was not yet made good.
const ADVANCE_MAX: usize = 64 << 10;

/// One answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// A status such as `OK`.
    Status(String),
    /// An error, in the agent's words.
    Error(String),
    /// An integer.
    Integer(i64),
    /// A floating-point number.
    Double(f64),
    /// A truth value.
    Boolean(bool),
    /// A string of bytes.
    Bulk(Vec<u8>),
    /// Nothing.
    Nil,
    /// Several answers.
    Array(Vec<Reply>),
    /// Pairs, in the agent's order.
    Map(Vec<(Reply, Reply)>),
}

/// How an answer broke the protocol; the connection is of no further use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// A type byte that RESP does not have.
    #[error("an answer of unknown type")]
    Type,
    /// A number or line end that is none.
    #[error("a malformed answer")]
    Malformed,
    /// Longer, larger or deeper than any answer of an agent.
    #[error("an answer beyond all limits")]
    TooLarge,
}

impl Reply {
    /// Reads one answer.
    pub fn read(from: &mut impl BufRead) -> Result<Self, ClientError> {
        Self::read_at(from, 0)
    }

    fn read_at(from: &mut impl BufRead, depth: usize) -> Result<Self, ClientError> {
        if depth > DEPTH_MAX {
            return Err(ProtocolError::TooLarge.into());
        }
        let line = line(from)?;
        let (kind, rest) = line.split_at_checked(1).ok_or(ProtocolError::Malformed)?;
        Ok(match kind {
            "+" => Self::Status(rest.to_owned()),
            "-" => Self::Error(rest.to_owned()),
            ":" => Self::Integer(number(rest)?),
            "," => Self::Double(number(rest)?),
            "#" => Self::Boolean(rest == "t"),
            "_" => Self::Nil,
            "$" | "*" if rest == "-1" => Self::Nil,
            "$" | "=" | "!" | "(" => bulk(from, kind, rest)?,
            "*" | "~" | ">" => Self::Array(array(from, number(rest)?, depth)?),
            "%" => {
                let count: usize = number(rest)?;
                let count = count.checked_mul(2).ok_or(ProtocolError::TooLarge)?;
                Self::Map(pairs(array(from, count, depth)?))
            }
            _ => return Err(ProtocolError::Type.into()),
        })
    }

    /// The text of a status or string, if it is one and is text.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Status(text) => Some(text),
            Self::Bulk(bytes) => std::str::from_utf8(bytes).ok(),
            Self::Error(_)
            | Self::Integer(_)
            | Self::Double(_)
            | Self::Boolean(_)
            | Self::Nil
            | Self::Array(_)
            | Self::Map(_) => None,
        }
    }

    /// The integer, if it is one.
    pub fn integer(&self) -> Option<i64> {
        let Self::Integer(value) = self else {
            return None;
        };
        Some(*value)
    }

    /// The elements, if it is an array.
    pub fn into_array(self) -> Option<Vec<Self>> {
        let Self::Array(elements) = self else {
            return None;
        };
        Some(elements)
    }

    /// The pairs of a map, or of the flat array that RESP2 has in its place.
    pub fn into_map(self) -> Option<Vec<(Self, Self)>> {
        if let Self::Map(pairs) = self {
            return Some(pairs);
        }
        self.into_array().filter(|flat| flat.len().is_multiple_of(2)).map(pairs)
    }

    /// A map as a JSON object.
    pub fn into_object(self) -> Option<Map<String, Value>> {
        self.into_map().map(|pairs| object(&pairs))
    }

    /// The same as JSON; bytes that are no text are shown as far as they are.
    pub fn to_json(&self) -> Value {
        match self {
            Self::Status(text) | Self::Error(text) => Value::String(text.clone()),
            Self::Integer(value) => Value::Number((*value).into()),
            Self::Double(value) => Number::from_f64(*value).map_or(Value::Null, Value::Number),
            Self::Boolean(value) => Value::Bool(*value),
            Self::Bulk(bytes) => Value::String(String::from_utf8_lossy(bytes).into_owned()),
            Self::Nil => Value::Null,
            Self::Array(elements) => Value::Array(elements.iter().map(Self::to_json).collect()),
            Self::Map(pairs) => Value::Object(object(pairs)),
        }
    }
}

/// The pairs as a JSON object; keys that are no text are left out.
fn object(pairs: &[(Reply, Reply)]) -> Map<String, Value> {
    pairs.iter().filter_map(|(key, value)| Some((key.text()?.to_owned(), value.to_json()))).collect()
}

fn pairs(flat: Vec<Reply>) -> Vec<(Reply, Reply)> {
    let mut flat = flat.into_iter();
    std::iter::from_fn(|| Some((flat.next()?, flat.next()?))).collect()
}

fn line(from: &mut impl BufRead) -> Result<String, ClientError> {
    let mut bytes = Vec::new();
    from.take(LINE_BYTES_MAX).read_until(b'\n', &mut bytes)?;
    if bytes.is_empty() {
        return Err(ClientError::Closed);
    }
    let Some(text) = bytes.strip_suffix(b"\r\n") else {
        let full = bytes.len() as u64 == LINE_BYTES_MAX;
        return Err(if full { ProtocolError::TooLarge } else { ProtocolError::Malformed }.into());
    };
    Ok(std::str::from_utf8(text).map_err(|_| ProtocolError::Malformed)?.to_owned())
}

fn number<N: std::str::FromStr>(text: &str) -> Result<N, ProtocolError> {
    text.parse().map_err(|_| ProtocolError::Malformed)
}

fn bulk(from: &mut impl BufRead, kind: &str, rest: &str) -> Result<Reply, ClientError> {
    if kind == "(" {
        return Ok(Reply::Bulk(rest.as_bytes().to_vec()));
    }
    let length: u64 = number(rest)?;
    if length > BULK_BYTES_MAX {
        return Err(ProtocolError::TooLarge.into());
    }
    let mut bytes = Vec::with_capacity(ADVANCE_MAX.min(usize::try_from(length).unwrap_or(ADVANCE_MAX)));
    from.take(length).read_to_end(&mut bytes)?;
    let mut end = [0; 2];
    from.read_exact(&mut end)?;
    if end != *b"\r\n" {
        return Err(ProtocolError::Malformed.into());
    }
    Ok(match kind {
        "!" => Reply::Error(String::from_utf8_lossy(&bytes).into_owned()),
        "=" => Reply::Bulk(bytes.get(4..).unwrap_or_default().to_vec()),
        _ => Reply::Bulk(bytes),
    })
}

fn array(from: &mut impl BufRead, count: usize, depth: usize) -> Result<Vec<Reply>, ClientError> {
    if count > ELEMENTS_MAX {
        return Err(ProtocolError::TooLarge.into());
    }
    let mut elements = Vec::with_capacity(count.min(ADVANCE_MAX / size_of::<Reply>()));
    for _ in 0..count {
        elements.push(Reply::read_at(from, depth + 1)?);
    }
    Ok(elements)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(mut bytes: &[u8]) -> Result<Reply, ClientError> {
        Reply::read(&mut bytes)
    }

    fn broken(bytes: &[u8]) -> ProtocolError {
        match read(bytes) {
            Err(ClientError::Protocol(error)) => error,
            other => panic!("expected a broken protocol, got {other:?}"),
        }
    }

    #[test]
    fn every_type_is_read() {
        assert_eq!(read(b"+OK\r\n").unwrap(), Reply::Status("OK".into()));
        assert_eq!(read(b"-ERR no\r\n").unwrap(), Reply::Error("ERR no".into()));
        assert_eq!(read(b"!2\r\nno\r\n").unwrap(), Reply::Error("no".into()));
        assert_eq!(read(b":-7\r\n").unwrap().integer(), Some(-7));
        assert_eq!(read(b",1.5\r\n").unwrap(), Reply::Double(1.5));
        assert_eq!(read(b"#t\r\n").unwrap(), Reply::Boolean(true));
        assert_eq!(read(b"$4\r\na\r\nb\r\n").unwrap(), Reply::Bulk(b"a\r\nb".to_vec()));
        assert_eq!(read(b"=6\r\ntxt:hi\r\n").unwrap().text(), Some("hi"));
        for nil in [&b"$-1\r\n"[..], b"*-1\r\n", b"_\r\n"] {
            assert_eq!(read(nil).unwrap(), Reply::Nil);
        }
    }

    #[test]
    fn a_map_and_a_flat_array_say_the_same() {
        let map = read(b"%2\r\n$1\r\na\r\n:1\r\n$1\r\nb\r\n:2\r\n").unwrap();
        let flat = read(b"*4\r\n$1\r\na\r\n:1\r\n$1\r\nb\r\n:2\r\n").unwrap();
        assert_eq!(map.to_json().to_string(), r#"{"a":1,"b":2}"#);
        assert_eq!(map.into_map(), flat.into_map());
    }

    #[test]
    fn lengths_beyond_all_limits_are_refused_before_memory_is_taken() {
        assert_eq!(broken(b"$99999999999\r\n"), ProtocolError::TooLarge);
        assert_eq!(broken(b"*99999999\r\n"), ProtocolError::TooLarge);
        assert_eq!(broken(b"%9223372036854775808\r\n"), ProtocolError::TooLarge);
        assert_eq!(broken(&b"*1\r\n".repeat(100)), ProtocolError::TooLarge);
        assert_eq!(broken(&vec![b'+'; 1 << 17]), ProtocolError::TooLarge);
    }

    #[test]
    fn nonsense_is_refused() {
        assert_eq!(broken(b"HTTP/1.1 400 Bad Request\r\n"), ProtocolError::Type);
        assert_eq!(broken(b"$1\r\nabc\r\n"), ProtocolError::Malformed);
        assert_eq!(broken(b":x\r\n"), ProtocolError::Malformed);
        assert_eq!(broken(b"\r\n"), ProtocolError::Malformed);
        assert!(matches!(read(b""), Err(ClientError::Closed)));
        assert!(matches!(read(b"*2\r\n:1\r\n"), Err(ClientError::Closed)));
    }
}
