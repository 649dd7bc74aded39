//! What is on its way to the log, who waits for it, and for how long.
//!
//! Commits are handed over in every turn. Whether the log is to sync them at once depends on whether anybody waits: a
//! reply, a peer that is to hear that its group is durable, a flush, an end. What nobody waits for is synced by the log
//! itself before long.
//!
//! Invariants: commits are handed over in order and none is lost while the log's channel is full; whoever waits makes the
//! log sync in the turn in which the waiting begins, or as soon as it takes anything.

use std::collections::VecDeque;
use std::time::Duration;

use crossbeam_channel::{Sender, TrySendError};
use everett_mesh_proto::log::Commit;
use everett_mesh_proto::time::Instant;

use super::LedgerError;
use crate::store::{Batch, Sealed};

/// About what a commit takes in the backlog beside its payload.
const ENTRY_BYTES: usize = 256;

/// Ages are kept for so many parts of an interval.
const AGES_PER_INTERVAL: u32 = 64;

/// The ledger's side of the log.
#[derive(Debug)]
pub(super) struct LogSide {
    /// Everything up to here is durable.
    pub(super) durable: Commit,
    /// What the log has not taken yet.
    backlog: Vec<Sealed>,
    backlog_bytes: usize,
    /// More than this is not gathered for it.
    backlog_bytes_max: usize,
    /// The last commit sealed.
    sealed: Commit,
    /// The greatest commit that somebody waits for.
    wanted: Commit,
    /// The log was told to sync everything up to here.
    urged: Commit,
    /// Commits that are not durable, some of them, oldest first, and when each was sealed.
    ages: VecDeque<(Commit, Instant)>,
    interval: Duration,
}

impl LogSide {
    /// Everything up to `durable` was read back at the start.
    pub(super) fn new(durable: Commit, backlog_bytes_max: usize, interval: Duration) -> Self {
        Self {
            durable,
            backlog: Vec::new(),
            backlog_bytes: 0,
            backlog_bytes_max,
            sealed: durable,
            wanted: durable,
            urged: durable,
            ages: VecDeque::new(),
            interval,
        }
    }

    /// Whether the log is so far behind that nothing more should be committed.
    pub(super) fn is_full(&self) -> bool {
        self.backlog_bytes >= self.backlog_bytes_max
    }

    /// Whether the log has taken everything.
    pub(super) fn is_handed_over(&self) -> bool {
        self.backlog.is_empty()
    }

    /// A commit was sealed.
    pub(super) fn push(&mut self, now: Instant, sealed: Sealed) {
        self.sealed = sealed.0.commit;
        self.backlog_bytes += sealed.0.payload.len() + ENTRY_BYTES;
        self.backlog.push(sealed);
        let grain = self.interval / AGES_PER_INTERVAL;
        if self.ages.back().is_none_or(|&(_, at)| now.saturating_since(at) >= grain) {
            self.ages.push_back((self.sealed, now));
        }
    }

    /// Somebody waits until `commit` is durable.
    pub(super) fn want(&mut self, commit: Commit) {
        self.wanted = self.wanted.max(commit);
    }

    /// Everything up to `durable` is.
    pub(super) fn committed(&mut self, durable: Commit) {
        self.durable = self.durable.max(durable);
        if self.durable >= self.sealed {
            self.ages.clear();
        }
        // The last one that is not later than the oldest commit that is not durable.
        while self.ages.get(1).is_some_and(|&(commit, _)| commit <= self.durable.next()) {
            self.ages.pop_front();
        }
    }

    /// For how long the oldest commit that is not durable has been waiting, at most.
    pub(super) fn lag(&self, now: Instant) -> Duration {
        self.ages.front().map_or(Duration::ZERO, |&(_, at)| now.saturating_since(at))
    }

    /// Whether the disk is further behind than those agreed to who are answered before it.
    pub(super) fn is_overdue(&self, now: Instant) -> bool {
        self.lag(now) >= self.interval
    }

    /// Hands over what there is, as far as the log takes it.
    pub(super) fn hand_over(&mut self, to: &Sender<Batch>) -> Result<(), LedgerError> {
        let urgent = self.wanted > self.durable.max(self.urged);
        if self.backlog.is_empty() && !urgent {
            return Ok(());
        }
        match to.try_send(Batch { sealed: std::mem::take(&mut self.backlog), urgent }) {
            Ok(()) => {
                self.backlog_bytes = 0;
                if urgent {
                    self.urged = self.sealed;
                }
                Ok(())
            }
            Err(TrySendError::Full(batch)) => {
                self.backlog = batch.sealed;
                Ok(())
            }
            Err(TrySendError::Disconnected(_)) => Err(LedgerError::LogEnded),
        }
    }
}
