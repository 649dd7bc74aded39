//! *Durable before said*, as types.
//!
//! A machine hands out what it has to say only as [`Held`]; `Held` opens only with a [`Durable`]; and a `Durable` is made
//! only in [`Log::commit`], after the medium has synced. Nobody has to remember an order of calls. The medium (segments
//! on disk, memory, a simulated disk) is the shell's; an error from it ends the process, because after a failed sync
//! nobody knows what the disk holds.

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

/// Proof that every commit up to its number is on stable storage. Only [`Log::commit`] and [`Log::resume`] make one.
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

/// Where records go: appends a group and syncs it.
pub trait Medium {
    /// Why the medium failed; after it nothing more may be appended.
    type Error;

    /// Appends `group` and returns once it is on stable storage.
    fn append(&mut self, group: &[Record]) -> Result<(), Self::Error>;
}

/// The log: the only maker of [`Durable`].
#[derive(Debug)]
pub struct Log<M> {
    medium: M,
    durable: Durable,
}

impl<M: Medium> Log<M> {
    /// A log over `medium`, whose records up to `last` were read back and are therefore durable.
    pub fn resume(medium: M, last: Commit) -> Self {
        Self { medium, durable: Durable(last) }
    }

    /// Appends the records of a group, in order, and syncs. `None` if the group is empty.
    pub fn commit(&mut self, group: &[Record]) -> Result<Option<Durable>, M::Error> {
        let Some(last) = group.last() else { return Ok(None) };
        let follows = group.iter().zip(1..).all(|(record, step)| record.commit.0 == self.durable.0.0 + step);
        assert!(follows, "commit numbers are dense: the log has no holes");
        self.medium.append(group)?;
        self.durable = Durable(last.commit);
        Ok(Some(self.durable))
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

    struct Memory(Vec<Record>);

    impl Medium for Memory {
        type Error = Infallible;

        fn append(&mut self, group: &[Record]) -> Result<(), Infallible> {
            self.0.extend_from_slice(group);
            Ok(())
        }
    }

    #[test]
    fn what_is_held_opens_with_its_commit_and_not_before() {
        let mut log = Log::resume(Memory(Vec::new()), Commit(0));
        let record = |commit| Record { commit: Commit(commit), payload: Bytes::new() };
        let held = Held::new(Commit(2), "said");
        let Ok(Some(first)) = log.commit(&[record(1)]) else { panic!("a group of one is durable") };
        let held = held.release(first).expect_err("commit 2 is not durable yet");
        let Ok(Some(second)) = log.commit(&[record(2)]) else { panic!("a group of one is durable") };
        assert_eq!(held.release(second).ok(), Some("said"));
        assert_eq!(log.medium().0.len(), 2);
    }
}
