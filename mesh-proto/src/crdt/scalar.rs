//! String and counter, one type as in Redis: concurrent SETs leave siblings, INCRs add up, and a reset takes back only
//! what it saw.
//!
//! The value is the winner among the siblings (greatest stamp, then dot) plus the sum of the counter entries. An entry is
//! raised by its owner alone and carries the greatest reset of it; what a reset did not see still counts. This is a
//! resettable counter in the manner of Baquero, Almeida and Lerche ("The problem with embedded CRDT counters and a
//! solution", `PaPoC` 2016), made exact by causal delivery: a reset never meets an entry that it saw and this store lacks,
//! unless its owner has dropped it since.
//!
//! One rule goes beyond that: *a reset by the owner of its own entry drops it*, because nobody else can raise it.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{DeadlineMs, NEVER_MS};
use crate::clock::Stamp;
use crate::id::{Dot, ReplicaId};
use crate::vector::Vector;

/// One of the values written by SETs that did not see each other.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Sibling {
    /// The write.
    pub dot: Dot,
    /// Its time: orders it among its siblings.
    pub stamp: Stamp,
    /// The value.
    pub bytes: Bytes,
    /// The deadline that its writer saw.
    pub deadline_ms: DeadlineMs,
}

/// What the owner of a counter entry added to it so far.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Raise {
    /// The owner's seq of the last raise.
    pub seq: u64,
    /// Its time.
    pub stamp: Stamp,
    /// Sum of all increments.
    pub up: u128,
    /// Sum of all decrements.
    pub down: u128,
    /// The deadline that the last raise saw.
    pub deadline_ms: DeadlineMs,
}

/// The greatest reset of a counter entry: how much of it no longer counts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Reset {
    /// The raise that it saw.
    pub seen_seq: u64,
    /// The write that reset.
    pub dot: Dot,
    /// The increments that it saw.
    pub up: u128,
    /// The decrements that it saw.
    pub down: u128,
}

/// One owner's contribution to a counter since some raise of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// Who alone may raise it.
    pub owner: ReplicaId,
    /// The owner's seq that opened it: with the owner, its presence dot.
    pub generation: u64,
    /// What was added.
    pub raise: Raise,
    /// What was taken back.
    pub reset: Option<Reset>,
}

impl Entry {
    /// The dot whose absence under a vector that covers it means "dropped".
    pub fn presence(&self) -> Dot {
        Dot { replica: self.owner, seq: self.generation }
    }

    /// Whether anything of it still counts.
    pub fn is_live(&self) -> bool {
        self.reset.is_none_or(|reset| self.raise.up > reset.up || self.raise.down > reset.down)
    }

    /// What it adds to the value.
    pub fn amount(&self) -> i128 {
        let (up, down) = self.reset.map_or((0, 0), |reset| (reset.up, reset.down));
        to_signed(self.raise.up.saturating_sub(up)).saturating_sub(to_signed(self.raise.down.saturating_sub(down)))
    }

    fn join(self, other: Self) -> Self {
        Self { raise: self.raise.max(other.raise), reset: self.reset.max(other.reset), ..self }
    }

    fn key(&self) -> (ReplicaId, u64) {
        (self.owner, self.generation)
    }
}

/// A counter entry as a resetting writer saw it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seen {
    /// The entry's owner and generation.
    pub presence: Dot,
    /// The raise seen.
    pub seq: u64,
    /// The increments seen.
    pub up: u128,
    /// The decrements seen.
    pub down: u128,
}

impl From<&Entry> for Seen {
    fn from(entry: &Entry) -> Self {
        Self { presence: entry.presence(), seq: entry.raise.seq, up: entry.raise.up, down: entry.raise.down }
    }
}

/// The state of a string or counter.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Scalar {
    siblings: Vec<Sibling>,
    entries: Vec<Entry>,
}

impl Scalar {
    /// The siblings, sorted by dot.
    pub fn siblings(&self) -> &[Sibling] {
        &self.siblings
    }

    /// The counter entries, sorted by owner and generation.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Whether nothing is stored.
    pub fn is_empty(&self) -> bool {
        self.siblings.is_empty() && self.entries.is_empty()
    }

    /// The dots of all that it holds: siblings, last raises, resets.
    pub fn dots(&self) -> Vec<Dot> {
        let raises = self.entries.iter().map(|entry| Dot { replica: entry.owner, seq: entry.raise.seq });
        let resets = self.entries.iter().filter_map(|entry| entry.reset.map(|reset| reset.dot));
        self.siblings.iter().map(|sibling| sibling.dot).chain(raises).chain(resets).collect()
    }

    /// The dots of siblings, and the presence dots of entries.
    pub fn parts(&self) -> Vec<Dot> {
        let siblings = self.siblings.iter().map(|sibling| sibling.dot);
        siblings.chain(self.entries.iter().map(Entry::presence)).collect()
    }

    /// Only these parts of it.
    pub fn restricted(&self, parts: &[Dot]) -> Self {
        let siblings = self.siblings.iter().filter(|sibling| parts.contains(&sibling.dot)).cloned();
        let entries = self.entries.iter().filter(|entry| parts.contains(&entry.presence())).copied();
        Self { siblings: siblings.collect(), entries: entries.collect() }
    }

    /// Adds a SET's value.
    pub fn insert(&mut self, sibling: Sibling) {
        if let Err(index) = self.siblings.binary_search_by_key(&sibling.dot, |sibling| sibling.dot) {
            self.siblings.insert(index, sibling);
        }
    }

    /// Removes the siblings that a writer saw.
    pub fn remove(&mut self, seen: &[Dot]) {
        self.siblings.retain(|sibling| !seen.contains(&sibling.dot));
    }

    /// Carries out the reset that the write `by` made of one entry. False if the entry is not here: its owner has
    /// dropped it since, or the writer saw what this store has not applied, which the caller can tell apart.
    pub fn reset(&mut self, by: Dot, seen: &Seen) -> bool {
        let Ok(index) = self.find(seen.presence) else { return false };
        if seen.presence.replica == by.replica {
            self.entries.remove(index);
            return true;
        }
        let reset = Reset { seen_seq: seen.seq, dot: by, up: seen.up, down: seen.down };
        let entry = &mut self.entries[index];
        entry.reset = entry.reset.max(Some(reset));
        true
    }

    /// Raises the entry `presence`, which opens if it is not here.
    pub fn raise(&mut self, presence: Dot, raise: Raise) {
        match self.find(presence) {
            Ok(index) => self.entries[index].raise = self.entries[index].raise.max(raise),
            Err(index) => {
                let entry = Entry { owner: presence.replica, generation: presence.seq, raise, reset: None };
                self.entries.insert(index, entry);
            }
        }
    }

    /// Drops a dead entry.
    pub fn drop_entry(&mut self, presence: Dot) {
        if let Ok(index) = self.find(presence) {
            self.entries.remove(index);
        }
    }

    /// Removes the siblings that `context` covers.
    pub fn cut(&mut self, context: &Vector) {
        self.siblings.retain(|sibling| !context.covers(sibling.dot));
    }

    /// The join of two states, each under its store's vector. What only one side holds stays unless the other side's
    /// vector covers its presence dot, for then it was removed there; what both hold is joined part by part.
    pub fn join((mine, my_vector): (&Self, &Vector), (theirs, their_vector): (&Self, &Vector)) -> Self {
        let mut joined = Self::default();
        for sibling in &mine.siblings {
            if theirs.holds(sibling.dot) || !their_vector.covers(sibling.dot) {
                joined.insert(sibling.clone());
            }
        }
        for sibling in &theirs.siblings {
            if !mine.holds(sibling.dot) && !my_vector.covers(sibling.dot) {
                joined.insert(sibling.clone());
            }
        }
        for entry in &mine.entries {
            match theirs.find(entry.presence()) {
                Ok(index) => joined.entries.push(entry.join(theirs.entries[index])),
                Err(_) if !their_vector.covers(entry.presence()) => joined.entries.push(*entry),
                Err(_) => {}
            }
        }
        for entry in &theirs.entries {
            if mine.find(entry.presence()).is_err() && !my_vector.covers(entry.presence()) {
                joined.entries.push(*entry);
            }
        }
        joined.entries.sort_unstable_by_key(Entry::key);
        joined
    }

    /// Whether the state is one that this code could have made: sorted, nothing twice.
    pub fn is_canonical(&self) -> bool {
        self.siblings.is_sorted_by(|a, b| a.dot < b.dot) && self.entries.is_sorted_by(|a, b| a.key() < b.key())
    }

    /// The latest deadline among the elements for which `visible` holds; `None` if there is none.
    pub fn latest_deadline_ms(&self, visible: impl Fn(DeadlineMs) -> bool) -> Option<DeadlineMs> {
        let siblings = self.siblings.iter().map(|sibling| sibling.deadline_ms);
        let entries = self.entries.iter().filter(|entry| entry.is_live()).map(|entry| entry.raise.deadline_ms);
        siblings.chain(entries).filter(|&deadline_ms| visible(deadline_ms)).max()
    }

    /// The value that clients see when exactly the elements for which `visible` holds are; `None` if none is.
    pub fn value(&self, visible: impl Fn(DeadlineMs) -> bool) -> Option<Value> {
        let winner = self
            .siblings
            .iter()
            .filter(|sibling| visible(sibling.deadline_ms))
            .max_by_key(|sibling| (sibling.stamp, sibling.dot));
        let mut counted = false;
        let mut sum: i128 = 0;
        for entry in self.entries.iter().filter(|entry| entry.is_live() && visible(entry.raise.deadline_ms)) {
            counted = true;
            sum = sum.saturating_add(entry.amount());
        }
        match winner {
            None => counted.then_some(Value::Integer(sum)),
            Some(sibling) => Some(match counted.then(|| parse_integer(&sibling.bytes)).flatten() {
                Some(base) => Value::Integer(i128::from(base).saturating_add(sum)),
                None => Value::Bytes(sibling.bytes.clone()),
            }),
        }
    }

    fn holds(&self, dot: Dot) -> bool {
        self.siblings.binary_search_by_key(&dot, |sibling| sibling.dot).is_ok()
    }

    fn find(&self, presence: Dot) -> Result<usize, usize> {
        self.entries.binary_search_by_key(&(presence.replica, presence.seq), Entry::key)
    }
}

/// A string's or counter's value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value {
    /// As it was SET.
    Bytes(Bytes),
    /// A sum that increments took part in.
    Integer(i128),
}

impl Value {
    /// The value as clients read it.
    pub fn to_bytes(&self) -> Bytes {
        match self {
            Self::Bytes(bytes) => bytes.clone(),
            Self::Integer(integer) => integer.to_string().into(),
        }
    }

    /// The value as a number, if it is one.
    pub fn integer(&self) -> Option<i128> {
        match self {
            Self::Bytes(bytes) => parse_integer(bytes).map(i128::from),
            Self::Integer(integer) => Some(*integer),
        }
    }
}

/// Reads an integer as Redis does: the canonical decimal form of an `i64` and nothing else.
pub fn parse_integer(bytes: &[u8]) -> Option<i64> {
    let digits = bytes.strip_prefix(b"-").unwrap_or(bytes);
    let canonical = match digits {
        [b'0'] => digits.len() == bytes.len(),
        [b'1'..=b'9', ..] => true,
        _ => false,
    };
    if !canonical {
        return None;
    }
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

fn to_signed(amount: u128) -> i128 {
    i128::try_from(amount).unwrap_or(i128::MAX)
}

/// Whether an element with `deadline_ms` of its own can be seen at `now_ms`, under a register that says `register_ms`.
pub fn is_visible(now_ms: u64, register_ms: Option<DeadlineMs>, deadline_ms: DeadlineMs) -> bool {
    let binding_ms = register_ms.unwrap_or(deadline_ms);
    binding_ms == NEVER_MS || binding_ms > now_ms
}
