//! The thread of a commit: gathers what has come, appends it as one group, syncs, and opens what was held for it.
//!
//! Nothing is waited for on purpose: a group is whatever arrived while the last sync ran. Results leave
//! through a [`LogSink`], so that this thread knows neither ledger nor mesh.
//!
//! Invariants: outputs leave in the order of commits, each after its record is durable; after the first error nothing is
//! appended and nothing leaves any more.

use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvError, Sender, never, select};
use everett_mesh_proto::log::{Commit, Durable, Held, Log, Record};
use everett_mesh_proto::replica::Outputs;

use super::disk::Disk;
use super::error::LogError;
use super::log_dir::{LogDir, Recyclable, Spare, SpareRequest};
use super::log_index::LogIndex;

/// A group takes no more records once it has this many bytes; it is one write and one sync.
const GROUP_BYTES: usize = 1 << 20;
/// Nor once it has this many records, so that the first of them does not wait for the encoding of all.
const GROUP_RECORDS: usize = 4096;

/// One commit on its way to the log, with what may be said once it is there.
pub type Sealed = (Record, Held<Outputs>);

/// What the log thread is asked for beside appends.
#[derive(Debug)]
pub enum LogRequest {
    /// Let go of what may leave.
    Recycle(Recyclable),
    /// Take a file that was made ready.
    Spare(Spare),
    /// Say what the log holds.
    Index(Sender<LogIndex>),
}

/// Where the log thread's work comes from. Both channels are bounded; whoever commits waits at the pace of the disk.
#[derive(Debug)]
pub struct LogInbox {
    /// Commits, in order. The thread ends when this channel is closed and drained.
    pub appends: Receiver<Vec<Sealed>>,
    /// Everything else.
    pub requests: Receiver<LogRequest>,
}

/// A group that has become durable.
#[derive(Debug)]
pub struct Committed {
    /// Everything up to here is durable.
    pub durable: Durable,
    /// What may be said now, in the order of commits.
    pub said: Vec<(Commit, Outputs)>,
    /// How long the append and its sync took.
    pub took: Duration,
    /// Bytes of the log's files in use.
    pub log_bytes: u64,
}

/// Where the log thread's results go.
pub trait LogSink {
    /// A group is durable.
    fn committed(&mut self, committed: Committed);
    /// A file should be made ready for the log before it is needed; false if nobody will, so that it is asked for again.
    fn spare_wanted(&mut self, request: SpareRequest) -> bool;
    /// The log is lost to this process, which must end with the store's exit code.
    fn failed(&mut self, error: LogError);
}

/// Serves the inbox until no more commits can come, or the log fails. Returns the log if it did not fail.
pub fn run<D: Disk, S: LogSink>(log: Log<LogDir<D>>, inbox: &LogInbox, sink: &mut S) -> Option<Log<LogDir<D>>> {
    let mut writer = Writer { log, sink, spare_is_coming: false };
    match writer.serve(inbox) {
        Ok(()) => Some(writer.log),
        Err(error) => {
            sink.failed(error);
            None
        }
    }
}

struct Writer<'a, D: Disk, S> {
    log: Log<LogDir<D>>,
    sink: &'a mut S,
    spare_is_coming: bool,
}

impl<D: Disk, S: LogSink> Writer<'_, D, S> {
    fn serve(&mut self, inbox: &LogInbox) -> Result<(), LogError> {
        let mut group = Group::default();
        // A closed request channel must not end the wait for commits.
        let mut requests = inbox.requests.clone();
        loop {
            select! {
                recv(inbox.appends) -> sealed => match sealed {
                    Ok(sealed) => group.extend(sealed),
                    Err(RecvError) => return Ok(()),
                },
                recv(requests) -> request => match request {
                    Ok(request) => self.answer(request)?,
                    Err(RecvError) => requests = never(),
                },
            }
            while !group.is_full()
                && let Ok(sealed) = inbox.appends.try_recv()
            {
                group.extend(sealed);
            }
            self.commit(&mut group)?;
            if !self.spare_is_coming
                && let Some(request) = self.log.medium_mut().wanted_spare()
            {
                self.spare_is_coming = self.sink.spare_wanted(request);
            }
        }
    }

    fn answer(&mut self, request: LogRequest) -> Result<(), LogError> {
        match request {
            LogRequest::Recycle(allowed) => {
                self.log.medium_mut().recycle(allowed)?;
            }
            LogRequest::Spare(spare) => {
                self.spare_is_coming = false;
                self.log.medium_mut().adopt_spare(spare);
            }
            // Whoever asked may have gone; then nobody wants to know.
            LogRequest::Index(reply) => drop(reply.try_send(self.log.medium().index())),
        }
        Ok(())
    }

    fn commit(&mut self, group: &mut Group) -> Result<(), LogError> {
        let began = Instant::now();
        let Some(durable) = self.log.commit(&group.records)? else {
            return Ok(());
        };
        let took = began.elapsed();
        let said = group.release(durable);
        self.sink.committed(Committed { durable, said, took, log_bytes: self.log.medium().bytes() });
        Ok(())
    }
}

/// Records that will be one append, and what waits for them.
#[derive(Default)]
struct Group {
    records: Vec<Record>,
    held: Vec<Held<Outputs>>,
    bytes: usize,
}

impl Group {
    fn extend(&mut self, sealed: Vec<Sealed>) {
        for (record, held) in sealed {
            self.bytes += record.payload.len();
            self.records.push(record);
            self.held.push(held);
        }
    }

    fn is_full(&self) -> bool {
        self.bytes >= GROUP_BYTES || self.records.len() >= GROUP_RECORDS
    }

    fn release(&mut self, durable: Durable) -> Vec<(Commit, Outputs)> {
        self.records.clear();
        self.bytes = 0;
        let open = |held: Held<Outputs>| {
            let commit = held.commit();
            let outputs = held.release(durable).expect("what is held came with its record, which is durable now");
            (commit, outputs)
        };
        self.held.drain(..).map(open).collect()
    }
}

#[cfg(test)]
mod tests;
