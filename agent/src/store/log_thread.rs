//! The thread of a commit: gathers what has come, appends it as one group, syncs, and opens what was held for it.
//!
//! Nothing is waited for on purpose: a group is whatever arrived while the last sync ran. Requests come over one bounded
//! channel; when it is full, whoever commits waits, which is the pace of the disk. Results leave through a [`LogSink`], so
//! that this thread knows neither ledger nor mesh.
//!
//! Invariants: outputs leave in the order of commits, each after its record is durable; after the first error nothing is
//! appended and nothing leaves any more.

use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
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

/// What the log thread is asked for.
#[derive(Debug)]
pub enum LogRequest {
    /// Make these records durable, then say what is held.
    Append(Vec<Sealed>),
    /// Let go of what may leave.
    Recycle(Recyclable),
    /// Take a file that was made ready.
    Spare(Spare),
    /// Say what the log holds.
    Index(Sender<LogIndex>),
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
    /// A file should be made ready for the log before it is needed.
    fn spare_wanted(&mut self, request: SpareRequest);
    /// The log is lost to this process, which must end with the store's exit code.
    fn failed(&mut self, error: LogError);
}

/// Serves requests until their channel is closed and drained, or the log fails. Returns the log if it did not fail.
pub fn run<D: Disk, S: LogSink>(
    mut log: Log<LogDir<D>>,
    requests: &Receiver<LogRequest>,
    sink: &mut S,
) -> Option<Log<LogDir<D>>> {
    let mut group = Group::default();
    let mut spare_is_coming = false;
    while let Ok(first) = requests.recv() {
        let mut next = Some(first);
        while let Some(request) = next {
            match request {
                LogRequest::Append(sealed) => sealed.into_iter().for_each(|(record, held)| group.push(record, held)),
                LogRequest::Recycle(allowed) => {
                    if let Err(error) = log.medium_mut().recycle(allowed) {
                        sink.failed(error);
                        return None;
                    }
                }
                LogRequest::Spare(spare) => {
                    spare_is_coming = false;
                    log.medium_mut().adopt_spare(spare);
                }
                // Whoever asked may have gone; then nobody wants to know.
                LogRequest::Index(reply) => drop(reply.try_send(log.medium().index())),
            }
            next = if group.is_full() { None } else { requests.try_recv().ok() };
        }
        if let Err(error) = group.commit(&mut log, sink) {
            sink.failed(error);
            return None;
        }
        if !spare_is_coming && let Some(request) = log.medium_mut().wanted_spare() {
            spare_is_coming = true;
            sink.spare_wanted(request);
        }
    }
    Some(log)
}

/// Records that will be one write, and what waits for them.
#[derive(Default)]
struct Group {
    records: Vec<Record>,
    held: Vec<Held<Outputs>>,
    bytes: usize,
}

impl Group {
    fn push(&mut self, record: Record, held: Held<Outputs>) {
        self.bytes += record.payload.len();
        self.records.push(record);
        self.held.push(held);
    }

    fn is_full(&self) -> bool {
        self.bytes >= GROUP_BYTES || self.records.len() >= GROUP_RECORDS
    }

    fn commit<D: Disk, S: LogSink>(&mut self, log: &mut Log<LogDir<D>>, sink: &mut S) -> Result<(), LogError> {
        let began = Instant::now();
        let Some(durable) = log.commit(&self.records)? else {
            return Ok(());
        };
        let took = began.elapsed();
        let release = |held: Held<Outputs>| {
            let commit = held.commit();
            let outputs = held.release(durable).expect("what is held came with its record, which is durable now");
            (commit, outputs)
        };
        let said = self.held.drain(..).map(release).collect();
        self.records.clear();
        self.bytes = 0;
        sink.committed(Committed { durable, said, took, log_bytes: log.medium().bytes() });
        Ok(())
    }
}

#[cfg(test)]
mod tests;
