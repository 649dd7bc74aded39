//! The table of closed lives: of each, its last write and the write that said so.
//!
//! Canonical: the same lives closed by the same writes are the same table, whatever the history, so one hash says all of it.
//! Exact: nothing is covered by it but what it names. Copies share the table until one of them changes, which is rare.

#![expect(clippy::disallowed_types, reason = "a table that is shared never changes: who changes it has a copy first")]

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::hash::{Hash as StdHash, Hasher};
use std::sync::{Arc, OnceLock};

use serde::ser::SerializeSeq;
use serde::{Deserialize, Serialize, Serializer};

use crate::id::{Dot, ReplicaId};
use crate::summary::Hash;

/// How a life was closed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Closing {
    /// The seq of its last write.
    pub last: u64,
    /// The write that closed it, of a life that sorts after it; the least if there are several.
    pub by: Dot,
}

/// Closed lives and their closings.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(from = "Vec<(ReplicaId, Closing)>")]
pub struct Closed(Option<Arc<Table>>);

#[derive(Clone, Debug, Default)]
struct Table {
    lives: BTreeMap<ReplicaId, Closing>,
    /// Computed when it is first asked for: many lives may be closed at a time.
    hash: OnceLock<Hash>,
}

impl Table {
    fn hash(&self) -> Hash {
        *self.hash.get_or_init(|| {
            let mut hasher = blake3::Hasher::new();
            for (life, Closing { last, by }) in &self.lives {
                hasher.update(&life.0).update(&last.to_be_bytes());
                hasher.update(&by.replica.0).update(&by.seq.to_be_bytes());
            }
            Hash(*hasher.finalize().as_bytes())
        })
    }
}

impl Closed {
    /// No life.
    pub const fn new() -> Self {
        Self(None)
    }

    /// How many lives.
    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |table| table.lives.len())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// How `life` was closed; `None` if it is not here.
    pub fn get(&self, life: ReplicaId) -> Option<Closing> {
        self.0.as_ref()?.lives.get(&life).copied()
    }

    /// The last seq of a closed life; zero for others.
    pub fn seq(&self, life: ReplicaId) -> u64 {
        self.get(life).map_or(0, |closing| closing.last)
    }

    /// All of them, in order of replica id.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (ReplicaId, Closing)> + '_ {
        self.0.iter().flat_map(|table| table.lives.iter().map(|(&life, &closing)| (life, closing)))
    }

    /// Stands for the whole table: BLAKE3 over its entries in order, each as life, last seq, closer's life, closer's seq, the
    /// numbers big-endian. `None` for an empty one.
    pub fn hash(&self) -> Option<Hash> {
        self.0.as_ref().map(|table| table.hash())
    }

    /// Adds lives; of two closings of one the later counts, and of two of the same last write the lesser closer. Says whether
    /// anything changed.
    pub(super) fn extend(&mut self, closings: impl IntoIterator<Item = (ReplicaId, Closing)>) -> bool {
        let is_news = |&(life, closing): &(ReplicaId, Closing)| {
            self.get(life).is_none_or(|known| (known.last, Reverse(known.by)) < (closing.last, Reverse(closing.by)))
        };
        let news: Vec<_> = closings.into_iter().filter(is_news).collect();
        if news.is_empty() {
            return false;
        }
        let mut lives = self.take();
        lives.extend(news);
        *self = Self::of(lives);
        true
    }

    /// Takes a life out, if it is here.
    pub(super) fn remove(&mut self, life: ReplicaId) {
        if self.get(life).is_some() {
            let mut lives = self.take();
            lives.remove(&life);
            *self = Self::of(lives);
        }
    }

    fn take(&mut self) -> BTreeMap<ReplicaId, Closing> {
        self.0.take().map(Arc::unwrap_or_clone).unwrap_or_default().lives
    }

    fn of(lives: BTreeMap<ReplicaId, Closing>) -> Self {
        Self((!lives.is_empty()).then(|| Arc::new(Table { lives, hash: OnceLock::new() })))
    }
}

impl PartialEq for Closed {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(mine), Some(theirs)) => Arc::ptr_eq(mine, theirs) || mine.lives == theirs.lives,
            (mine, theirs) => mine.is_none() && theirs.is_none(),
        }
    }
}

impl Eq for Closed {}

impl StdHash for Closed {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Self::hash(self).hash(state);
    }
}

impl Serialize for Closed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.len()))?;
        self.iter().try_for_each(|entry| list.serialize_element(&entry))?;
        list.end()
    }
}

/// What comes from outside may be no closing: that is dropped.
impl From<Vec<(ReplicaId, Closing)>> for Closed {
    fn from(entries: Vec<(ReplicaId, Closing)>) -> Self {
        entries.into_iter().collect()
    }
}

impl FromIterator<(ReplicaId, Closing)> for Closed {
    fn from_iter<I: IntoIterator<Item = (ReplicaId, Closing)>>(entries: I) -> Self {
        let possible = |(life, closing): &(ReplicaId, Closing)| closing.last > 0 && closing.by.replica > *life;
        Self::of(entries.into_iter().filter(possible).collect())
    }
}
