//! The units that stand in a configuration file: sizes, durations, file modes, addresses.
//!
//! Each is parsed to a number or a small type right here, so that nothing behind the configuration ever sees text. A
//! value that parses is in range.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};

use super::memory;
use crate::api::NUMBERED_SPACES;
use crate::api::notify::Classes;
use crate::durability::Durability;

/// The suffixes of a size and what they multiply by.
const SUFFIXES: [(&str, u64); 5] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// The part of this host's memory that `"auto"` stands for: one in eight.
const AUTO_DIVISOR: u64 = 8;

/// What `"auto"` is taken for where the host does not tell its memory.
const AUTO_FALLBACK_BYTES: u64 = 128 << 20;

/// An amount of memory: stated, or an eighth of what the host has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// An eighth of the memory that this process may use.
    Auto,
    /// So many bytes.
    Bytes(u64),
}

impl Share {
    /// The bytes this stands for on this host.
    pub fn resolve(self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Auto => memory::usable_bytes().map_or(AUTO_FALLBACK_BYTES, |m| m / AUTO_DIVISOR),
        }
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SizeVisitor { auto: true })
    }
}

/// A file mode, written in octal as a string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mode(pub u32);

impl<'de> Deserialize<'de> for Mode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let octal = text.len() <= 4 && text.bytes().all(|b| b.is_ascii_digit());
        match u32::from_str_radix(&text, 8) {
            Ok(mode) if octal && mode <= 0o777 => Ok(Self(mode)),
            Ok(_) | Err(_) => Err(Error::invalid_value(Unexpected::Str(&text), &"an octal file mode such as \"0660\"")),
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

/// Classes of keyspace events, by the letters that Redis has for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Letters(pub Classes);

impl<'de> Deserialize<'de> for Letters {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let classes = Classes::parse(text.as_bytes()).map(Self);
        classes.ok_or_else(|| Error::invalid_value(Unexpected::Str(&text), &"letters of \"Ag$lshzxeKEtmdn\""))
    }
}

/// Levels of some numbered namespaces, such as `{ 3 = "interval" }`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Namespaces(pub BTreeMap<u8, Durability>);

impl<'de> Deserialize<'de> for Namespaces {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let named = BTreeMap::<String, Durability>::deserialize(deserializer)?;
        let numbered = |(name, level): (String, Durability)| match name.parse() {
            Ok(number) if number < NUMBERED_SPACES => Ok((number, level)),
            Ok(_) | Err(_) => Err(Error::invalid_value(Unexpected::Str(&name), &"a namespace's number, 0 to 15")),
        };
        named.into_iter().map(numbered).collect::<Result<_, _>>().map(Self)
    }
}

/// Where another agent may be found: a host, by name or address, and a UDP port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seed {
    /// A name or an address, without brackets.
    pub host: String,
    /// The UDP port.
    pub port: u16,
}

/// Why a text is no [`Seed`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not of the form \"host:port\"")]
pub struct NotASeed;

impl FromStr for Seed {
    type Err = NotASeed;

    fn from_str(text: &str) -> Result<Self, NotASeed> {
        let (host, port) = text.rsplit_once(':').ok_or(NotASeed)?;
        let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        let host = match bare {
            Some(v6) => v6,
            None if host.contains(':') => return Err(NotASeed),
            None => host,
        };
        let port = port.parse().map_err(|_| NotASeed)?;
        let plain = !host.is_empty() && host.bytes().all(|b| b.is_ascii_graphic() && b != b'/');
        if port == 0 || !plain {
            return Err(NotASeed);
        }
        Ok(Self { host: host.to_owned(), port })
    }
}

impl fmt::Display for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl<'de> Deserialize<'de> for Seed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|NotASeed| {
            Error::invalid_value(Unexpected::Str(&text), &"\"host:port\" with a port from 1 to 65535")
        })
    }
}

/// Reads a size: a number of bytes, or a string such as `"64MiB"`.
pub(super) fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    match deserializer.deserialize_any(SizeVisitor { auto: false })? {
        Share::Bytes(bytes) => Ok(bytes),
        Share::Auto => Err(Error::invalid_value(Unexpected::Str("auto"), &"a size")),
    }
}

/// Reads a duration such as `"500ms"`.
pub(super) fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    humantime::parse_duration(&text)
        .map_err(|_| Error::invalid_value(Unexpected::Str(&text), &"a duration with its unit, such as \"500ms\""))
}

struct SizeVisitor {
    auto: bool,
}

impl Visitor<'_> for SizeVisitor {
    type Value = Share;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of bytes, or a size such as \"64MiB\"")?;
        if self.auto { f.write_str(", or \"auto\"") } else { Ok(()) }
    }

    fn visit_u64<E: Error>(self, bytes: u64) -> Result<Share, E> {
        Ok(Share::Bytes(bytes))
    }

    fn visit_i64<E: Error>(self, bytes: i64) -> Result<Share, E> {
        match u64::try_from(bytes) {
            Ok(bytes) => Ok(Share::Bytes(bytes)),
            Err(_) => Err(E::invalid_value(Unexpected::Signed(bytes), &self)),
        }
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Share, E> {
        if self.auto && text == "auto" {
            return Ok(Share::Auto);
        }
        match parse_size(text) {
            Some(bytes) => Ok(Share::Bytes(bytes)),
            None => Err(E::invalid_value(Unexpected::Str(text), &self)),
        }
    }
}

fn parse_size(text: &str) -> Option<u64> {
    let (number, factor) = SUFFIXES.iter().find_map(|(suffix, factor)| Some((text.strip_suffix(suffix)?, *factor)))?;
    number.trim_end().parse::<u64>().ok()?.checked_mul(factor)
}
