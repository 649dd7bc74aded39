//! What can be wrong with a configuration, said so that one can go and mend it.
//!
//! Every variant names the file, and the line where there is one; [`ConfigError::hint`] says what to do. Nothing has
//! been started or written when one of these appears.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use everett_mesh_proto::wire::FRAME_LEN_MAX;

use super::{Config, Share};

/// The largest value: a row of two siblings and their keys fits a frame with room to spare.
const VALUE_BYTES_MAX: u64 = FRAME_LEN_MAX as u64 / 4;

/// Below this a disk would do nothing but sync.
const INTERVAL_MIN: Duration = Duration::from_millis(10);

/// What is promised of the level `interval`.
const INTERVAL_MAX: Duration = Duration::from_secs(1);

/// The least time between two readings of all rows.
const VERIFY_PERIOD_MIN: Duration = Duration::from_mins(1);

/// A file, and the line in it where one is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The configuration file.
    pub path: PathBuf,
    /// Counted from one; absent where the trouble is something that is not there.
    pub line: Option<usize>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        match self.line {
            Some(line) => write!(f, ":{line}"),
            None => Ok(()),
        }
    }
}

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("cannot read the configuration {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is larger than any configuration; it was not read.
    #[error("{} is larger than the {bytes_max} bytes a configuration may have", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit.
        bytes_max: u64,
    },
    /// The text is not TOML.
    #[error("{place}: not valid TOML: {message}")]
    Syntax {
        /// Where.
        place: Place,
        /// The parser's words.
        message: String,
    },
    /// A key is unknown, missing, of another type or out of range.
    #[error("{place}: {}{message}", prefix(key))]
    Value {
        /// Where.
        place: Place,
        /// The key's full name, empty at the top of the file.
        key: String,
        /// The decoder's words.
        message: String,
    },
    /// Each value is possible, but not together with the others.
    #[error("{place}: {relation}")]
    Relation {
        /// Where.
        place: Place,
        /// What must hold.
        relation: Relation,
    },
}

impl ConfigError {
    /// What the operator can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Read { .. } => "name the file with `--config FILE`; two keys are enough: `certificates` and `seeds`",
            Self::TooLarge { .. } => "is this the right file?",
            Self::Syntax { .. } => "a key, `=` and a value on each line; strings in double quotes",
            Self::Value { .. } => "every key with its unit and default: `everett agent --example`",
            Self::Relation { relation, .. } => relation.hint(),
        }
    }

    pub(super) fn syntax(path: &Path, text: &str, error: &toml::de::Error) -> Self {
        Self::Syntax { place: place(path, text, error), message: one_line(error.message()) }
    }

    pub(super) fn value(path: &Path, text: &str, error: &serde_path_to_error::Error<toml::de::Error>) -> Self {
        let key = error.path().to_string();
        Self::Value {
            place: place(path, text, error.inner()),
            key: if key == "." { String::new() } else { key },
            message: one_line(error.inner().message()),
        }
    }

    pub(super) fn relation(path: &Path, text: &str, relation: Relation) -> Self {
        let line = relation.keys().iter().find_map(|(table, key)| line_of_key(text, table, key));
        Self::Relation { place: Place { path: path.to_owned(), line }, relation }
    }
}

/// What must hold between values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// A value, its key and its sibling must fit the one frame that agents agree on.
    FrameHoldsValue,
    /// A value may not be empty by limit.
    ValueIsPositive,
    /// The log recycles whole segments, so it needs several.
    LogHoldsSegments,
    /// A segment holds at least the largest record.
    SegmentHoldsFrame,
    /// A flush must be worth its fsync.
    MemtableIsUseful,
    /// What `interval` loses is a second at most.
    IntervalIsShort,
    /// A client must get the largest value back.
    OutputHoldsValue,
    /// Somebody must be let in.
    ClientsAreServed,
    /// The disk must have a rest.
    VerifyingRests,
}

impl Relation {
    /// All of them, in the order in which they are checked.
    pub const ALL: [Self; 9] = [
        Self::ValueIsPositive,
        Self::FrameHoldsValue,
        Self::SegmentHoldsFrame,
        Self::LogHoldsSegments,
        Self::MemtableIsUseful,
        Self::IntervalIsShort,
        Self::OutputHoldsValue,
        Self::ClientsAreServed,
        Self::VerifyingRests,
    ];

    /// Whether `config` keeps it.
    pub fn holds(self, config: &Config) -> bool {
        let (store, limits) = (&config.store, &config.limits);
        match self {
            Self::ValueIsPositive => limits.value_max > 0,
            Self::FrameHoldsValue => limits.value_max <= VALUE_BYTES_MAX,
            Self::SegmentHoldsFrame => store.segment_bytes >= u64::from(FRAME_LEN_MAX),
            Self::LogHoldsSegments => store.log_bytes / 4 >= store.segment_bytes,
            Self::MemtableIsUseful => match store.memtable_bytes {
                Share::Auto => true,
                Share::Bytes(bytes) => bytes >= 1 << 20,
            },
            Self::IntervalIsShort => (INTERVAL_MIN..=INTERVAL_MAX).contains(&store.durability_interval),
            Self::OutputHoldsValue => limits.output_buffer_bytes >= limits.value_max,
            Self::ClientsAreServed => limits.clients_max > 0,
            Self::VerifyingRests => store.verify_period >= VERIFY_PERIOD_MIN,
        }
    }

    fn keys(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::ValueIsPositive | Self::FrameHoldsValue => &[("limits", "value_max")],
            Self::SegmentHoldsFrame => &[("store", "segment_bytes")],
            Self::LogHoldsSegments => &[("store", "log_bytes"), ("store", "segment_bytes")],
            Self::MemtableIsUseful => &[("store", "memtable_bytes")],
            Self::IntervalIsShort => &[("store", "durability_interval")],
            Self::OutputHoldsValue => &[("limits", "output_buffer_bytes"), ("limits", "value_max")],
            Self::ClientsAreServed => &[("limits", "clients_max")],
            Self::VerifyingRests => &[("store", "verify_period")],
        }
    }

    fn hint(self) -> &'static str {
        match self {
            Self::ValueIsPositive | Self::FrameHoldsValue => "leave `value_max` out for its default",
            Self::SegmentHoldsFrame => "leave `segment_bytes` out for its default",
            Self::LogHoldsSegments => "raise `log_bytes` or lower `segment_bytes`",
            Self::MemtableIsUseful => "leave `memtable_bytes` out for an eighth of the memory",
            Self::IntervalIsShort => "leave `durability_interval` out for a second",
            Self::OutputHoldsValue => "raise `output_buffer_bytes` or lower `value_max`",
            Self::ClientsAreServed => "leave `clients_max` out for its default",
            Self::VerifyingRests => "leave `verify_period` out for its default",
        }
    }
}

impl fmt::Display for Relation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ValueIsPositive => "limits.value_max must be at least 1",
            Self::FrameHoldsValue => "limits.value_max must be at most 4MiB",
            Self::SegmentHoldsFrame => "store.segment_bytes must be at least 16MiB",
            Self::LogHoldsSegments => "store.log_bytes must be at least four times store.segment_bytes",
            Self::MemtableIsUseful => "store.memtable_bytes must be at least 1MiB",
            Self::IntervalIsShort => "store.durability_interval must be from 10ms to 1s",
            Self::OutputHoldsValue => "limits.output_buffer_bytes must be at least limits.value_max",
            Self::ClientsAreServed => "limits.clients_max must be at least 1",
            Self::VerifyingRests => "store.verify_period must be at least 1min",
        })
    }
}

fn prefix(key: &str) -> String {
    if key.is_empty() { String::new() } else { format!("{key}: ") }
}

fn place(path: &Path, text: &str, error: &toml::de::Error) -> Place {
    let line =
        error.span().filter(|span| !span.is_empty() && span.len() < text.len()).map(|span| line_at(text, span.start));
    Place { path: path.to_owned(), line }
}

fn line_at(text: &str, offset: usize) -> usize {
    let before = text.get(..offset).unwrap_or(text);
    before.matches('\n').count() + 1
}

fn line_of_key(text: &str, table: &str, key: &str) -> Option<usize> {
    let document = toml::de::DeTable::parse(text).ok()?;
    let inner = document.get_ref().get(table)?.get_ref().as_table()?;
    let (key, _) = inner.get_key_value(key)?;
    Some(line_at(text, key.span().start))
}

fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}
