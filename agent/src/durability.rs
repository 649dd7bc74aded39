//! When a write is answered: once it is on the disk, or at once with the disk an interval behind.
//!
//! A connection's own choice goes before its namespace's. The choice is about replies alone: what leaves this host waits for
//! the disk whatever anybody chose, by type ([`Held`](everett_mesh_proto::log::Held)), and so does a reply to somebody who
//! chose otherwise about what such a write left. The log is one, in the order of commits: what a crash takes of it is its
//! end.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Deserialize;

use crate::api::NUMBERED_SPACES;

/// A level for each numbered namespace.
const SPACES: usize = NUMBERED_SPACES as usize;

/// When a write is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// Once it is on this host's disk.
    #[default]
    Commit,
    /// At once; it is on the disk within the interval.
    Interval,
}

impl Durability {
    /// The level of that name, in any case.
    pub fn parse(word: &[u8]) -> Option<Self> {
        let named = |level: &Self| word.eq_ignore_ascii_case(level.name().as_bytes());
        [Self::Commit, Self::Interval].into_iter().find(named)
    }

    /// The name that clients and the configuration know.
    pub fn name(self) -> &'static str {
        match self {
            Self::Commit => "commit",
            Self::Interval => "interval",
        }
    }
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What holds for connections that have not chosen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Levels {
    /// The most that may lie between the answer to a write and its being on the disk.
    pub interval: Duration,
    spaces: [Durability; SPACES],
}

impl Levels {
    /// These namespaces as given, all others at `default`.
    pub fn new(interval: Duration, default: Durability, spaces: &BTreeMap<u8, Durability>) -> Self {
        let mut levels = Self { interval, spaces: [default; SPACES] };
        for (&number, &level) in spaces {
            levels.spaces[usize::from(number)] = level;
        }
        levels
    }

    /// The level of a namespace by its number. One that no client can select is the agent's own, and waits for the disk.
    pub fn of(&self, space: u8) -> Durability {
        self.spaces.get(usize::from(space)).copied().unwrap_or_default()
    }

    /// All numbered namespaces with their levels.
    pub fn iter(&self) -> impl Iterator<Item = (usize, Durability)> {
        self.spaces.into_iter().enumerate()
    }
}

impl Default for Levels {
    fn default() -> Self {
        Self::new(Duration::from_secs(1), Durability::Commit, &BTreeMap::new())
    }
}
