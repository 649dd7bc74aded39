//! *Durable before said*, as types.
//!
//! A machine hands out what it has to say only as [`Held`]; `Held` opens only with a [`Durable`]; and a `Durable` is made
//! only in [`Log::sync`], after the medium has synced. Nobody has to remember an order of calls. Between a record's
//! [`append`](Log::append) and the next sync nothing is promised of it, so a sync may be put off at nobody's expense but of
//! those who agreed to it. The medium (segments on disk, memory, a simulated disk) is the shell's; an error from it ends the
//! process, because after a failed sync nobody knows what the disk holds.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// A local commit number: dense from 1, in the order applied. Zero is "before everything".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Commit(pub u64);

impl Commit {
    /// The commit after this one.
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// What one commit appends: its number and its payload, encoded once for the log and the wire.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// The commit.
    pub commit: Commit,
    /// A format byte and the encoded group, adoption or clock mark.
    pub payload: Bytes,
}

/// Proof that every commit up to its number is on stable storage. Only [`Log::sync`] and [`Log::resume`] make one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Durable(Commit);

impl Durable {
    /// The last commit that is durable.
    pub fn upto(self) -> Commit {
        self.0
    }
}

/// Something to be said once a commit is durable.
#[derive(Debug)]
#[must_use = "what is held must be released, or it is never said"]
pub struct Held<T> {
    commit: Commit,
    outputs: T,
}

impl<T> Held<T> {
    /// Holds `outputs` until `commit` is durable.
    pub fn new(commit: Commit, outputs: T) -> Self {
        Self { commit, outputs }
    }

    /// The commit it waits for.
    pub fn commit(&self) -> Commit {
        self.commit
    }

    /// Opens it if its commit is durable, else gives it back.
    pub fn release(self, upto: Durable) -> Result<T, Self> {
        if self.commit <= upto.0 { Ok(self.outputs) } else { Err(self) }
    }
}

/// Where records go. What is appended may be lost, whole or in part, until it is synced.
pub trait Medium {
    /// Why the medium failed; after it nothing more may be appended.
    type Error;

    /// Appends `records`; none of them need be on stable storage when this returns.
    fn append(&mut self, records: &[Record]) -> Result<(), Self::Error>;

    /// Returns once everything appended is on stable storage.
    fn sync(&mut self) -> Result<(), Self::Error>;
}

/// The log: the only maker of [`Durable`].
#[derive(Debug)]
pub struct Log<M> {
    medium: M,
    appended: Commit,
    durable: Durable,
}

impl<M: Medium> Log<M> {
    /// A log over `medium`, whose records up to `last` were read back and are therefore durable.
    pub fn resume(medium: M, last: Commit) -> Self {
        Self { medium, appended: last, durable: Durable(last) }
    }

    /// Appends records in order; they are durable after the next sync.
    pub fn append(&mut self, records: &[Record]) -> Result<(), M::Error> {
        let Some(last) = records.last() else { return Ok(()) };
        let follows = records.iter().zip(1..).all(|(record, step)| record.commit.0 == self.appended.0 + step);
        assert!(follows, "commit numbers are dense: the log has no holes");
        self.medium.append(records)?;
        self.appended = last.commit;
        Ok(())
    }

    /// Makes everything appended durable. `None` if it was already.
    pub fn sync(&mut self) -> Result<Option<Durable>, M::Error> {
        if self.appended == self.durable.0 {
            return Ok(None);
        }
        self.medium.sync()?;
        self.durable = Durable(self.appended);
        Ok(Some(self.durable))
    }

    /// Appends records, in order, and syncs. `None` if there is nothing to be made durable.
    pub fn commit(&mut self, records: &[Record]) -> Result<Option<Durable>, M::Error> {
        self.append(records)?;
        self.sync()
    }

    /// The last commit appended, durable or not.
    pub fn appended(&self) -> Commit {
        self.appended
    }

    /// What is durable so far.
    pub fn durable(&self) -> Durable {
        self.durable
    }

    /// The medium, for reading back.
    pub fn medium(&self) -> &M {
        &self.medium
    }

    /// The medium, for what is not an append (recycling).
    pub fn medium_mut(&mut self) -> &mut M {
        &mut self.medium
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    /// Records, and how many of them were there at the last sync.
    struct Memory(Vec<Record>, usize);

    impl Medium for Memory {
        type Error = Infallible;

        fn append(&mut self, records: &[Record]) -> Result<(), Infallible> {
            self.0.extend_from_slice(records);
            Ok(())
        }

        fn sync(&mut self) -> Result<(), Infallible> {
            self.1 = self.0.len();
            Ok(())
        }
    }

    fn record(commit: u64) -> Record {
        Record { commit: Commit(commit), payload: Bytes::new() }
    }

    #[test]
    fn what_is_held_opens_with_its_commit_and_not_before() {
        let mut log = Log::resume(Memory(Vec::new(), 0), Commit(0));
        let held = Held::new(Commit(2), "said");
        let Ok(Some(first)) = log.commit(&[record(1)]) else { panic!("a group of one is durable") };
        let held = held.release(first).expect_err("commit 2 is not durable yet");
        let Ok(Some(second)) = log.commit(&[record(2)]) else { panic!("a group of one is durable") };
        assert_eq!(held.release(second).ok(), Some("said"));
        assert_eq!(log.medium().0.len(), 2);
    }

    #[test]
    fn what_is_appended_is_durable_with_the_next_sync_and_not_before() {
        let mut log = Log::resume(Memory(Vec::new(), 0), Commit(0));
        let Ok(()) = log.append(&[record(1)]);
        let Ok(()) = log.append(&[record(2), record(3)]);
        assert_eq!((log.durable().upto(), log.appended(), log.medium().1), (Commit(0), Commit(3), 0));
        assert_eq!(log.sync().map(|durable| durable.map(Durable::upto)), Ok(Some(Commit(3))));
        assert_eq!(log.medium().1, 3);
        assert_eq!(log.sync(), Ok(None), "there is nothing new");
    }
}
