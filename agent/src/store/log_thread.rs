//! The thread of a commit: gathers what has come, appends it, syncs when somebody waits for that, and opens what was held.
//!
//! With somebody waiting nothing is put off: a group is whatever arrived while the last sync ran. What nobody waits for is
//! appended all the same, so that it is in the kernel's hands and outlives this process, and is synced once the first of
//! it is an interval old, or there is much of it: the timer exists only while something waits for it. Results leave
//! through a [`LogSink`], so that this thread knows neither ledger nor mesh.
//!
//! Invariants: outputs leave in the order of commits, each after its record is durable; after the first error nothing is
//! appended and nothing leaves any more.

use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvError, Sender, after, never, select};
use everett_mesh_proto::log::{Commit, Durable, Held, Log, Record};
use everett_mesh_proto::replica::Outputs;

use super::disk::Disk;
use super::error::LogError;
use super::log_dir::{LogDir, Recyclable, Spare, SpareRequest};
use super::log_index::LogIndex;

/// No more records are gathered once there are this many bytes of them.
const GATHERED_BYTES: usize = 1 << 20;
/// Nor once there are this many records, so that the first of them does not wait for the encoding of all.
const GATHERED_RECORDS: usize = 4096;
/// So many bytes are synced whoever waits: what is held for them is in memory, and a sync of more takes longer than those
/// who wait for the next one should.
const UNSYNCED_BYTES: usize = 2 << 20;

/// One commit on its way to the log, with what may be said once it is there.
pub type Sealed = (Record, Held<Outputs>);

/// What one turn of the ledger hands over.
#[derive(Debug, Default)]
pub struct Batch {
    /// Commits, in order; none if only a sync is wanted.
    pub sealed: Vec<Sealed>,
    /// Somebody waits until these and all before them are durable.
    pub urgent: bool,
}

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
    pub appends: Receiver<Batch>,
    /// Everything else.
    pub requests: Receiver<LogRequest>,
    /// How long what nobody waits for may wait for its sync.
    pub interval: Duration,
}

/// A group that has become durable.
#[derive(Debug)]
pub struct Committed {
    /// Everything up to here is durable.
    pub durable: Durable,
    /// What may be said now, in the order of commits.
    pub said: Vec<(Commit, Outputs)>,
    /// How long its last append and its sync took.
    pub took: Duration,
    /// Bytes of the log's files in use.
    pub log_bytes: u64,
}

/// Where the log thread's results go.
pub trait LogSink {
    /// A group is durable.
    fn committed(&mut self, committed: Committed);
    /// The channel of commits was full and no longer is.
    fn drained(&mut self);
    /// A file should be made ready for the log before it is needed; false if nobody will, so that it is asked for again.
    fn spare_wanted(&mut self, request: SpareRequest) -> bool;
    /// The log is lost to this process, which must end with the store's exit code.
    fn failed(&mut self, error: LogError);
}

/// Serves the inbox until no more commits can come, or the log fails. Returns the log if it did not fail.
pub fn run<D: Disk, S: LogSink>(log: Log<LogDir<D>>, inbox: &LogInbox, sink: &mut S) -> Option<Log<LogDir<D>>> {
    let mut writer = Writer { log, sink, spare_is_coming: false, held: Vec::new(), unsynced_bytes: 0, due: never() };
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
    /// What waits for the next sync.
    held: Vec<Held<Outputs>>,
    unsynced_bytes: usize,
    /// Speaks when what was appended first has waited long enough; never, while nothing waits.
    due: Receiver<Instant>,
}

impl<D: Disk, S: LogSink> Writer<'_, D, S> {
    fn serve(&mut self, inbox: &LogInbox) -> Result<(), LogError> {
        let mut gathered = Gathered::default();
        // A closed request channel must not end the wait for commits.
        let mut requests = inbox.requests.clone();
        loop {
            let mut is_due = false;
            select! {
                recv(inbox.appends) -> batch => match batch {
                    Ok(batch) => gathered.take(batch, &inbox.appends),
                    Err(RecvError) => return self.sync(Instant::now()),
                },
                recv(requests) -> request => match request {
                    Ok(request) => self.answer(request)?,
                    Err(RecvError) => requests = never(),
                },
                recv(self.due) -> _ => is_due = true,
            }
            while !gathered.is_full()
                && let Ok(batch) = inbox.appends.try_recv()
            {
                gathered.take(batch, &inbox.appends);
            }
            let began = Instant::now();
            self.append(&mut gathered, inbox.interval)?;
            if std::mem::take(&mut gathered.urgent) || is_due || self.unsynced_bytes >= UNSYNCED_BYTES {
                self.sync(began)?;
            }
            if std::mem::take(&mut gathered.was_full) {
                self.sink.drained();
            }
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

    fn append(&mut self, gathered: &mut Gathered, interval: Duration) -> Result<(), LogError> {
        if gathered.records.is_empty() {
            return Ok(());
        }
        self.log.append(&gathered.records)?;
        if self.held.is_empty() {
            self.due = after(interval);
        }
        self.held.append(&mut gathered.held);
        self.unsynced_bytes += std::mem::take(&mut gathered.bytes);
        gathered.records.clear();
        Ok(())
    }

    /// Makes everything appended durable and opens what was held for it.
    fn sync(&mut self, began: Instant) -> Result<(), LogError> {
        let Some(durable) = self.log.sync()? else { return Ok(()) };
        let took = began.elapsed();
        self.due = never();
        self.unsynced_bytes = 0;
        let open = |held: Held<Outputs>| {
            let commit = held.commit();
            let outputs = held.release(durable).expect("what is held came with its record, which is durable now");
            (commit, outputs)
        };
        let said = self.held.drain(..).map(open).collect();
        self.sink.committed(Committed { durable, said, took, log_bytes: self.log.medium().bytes() });
        Ok(())
    }
}

/// Records that will be appended together, and what waits for them.
#[derive(Default)]
struct Gathered {
    records: Vec<Record>,
    held: Vec<Held<Outputs>>,
    bytes: usize,
    /// Somebody waits for the sync.
    urgent: bool,
    /// The channel that they came through was full, so that its sender may wait for room.
    was_full: bool,
}

impl Gathered {
    fn take(&mut self, batch: Batch, from: &Receiver<Batch>) {
        // With this one it was full, or another has come since.
        self.was_full |= from.capacity().is_some_and(|capacity| from.len() + 1 >= capacity);
        self.urgent |= batch.urgent;
        for (record, held) in batch.sealed {
            self.bytes += record.payload.len();
            self.records.push(record);
            self.held.push(held);
        }
    }

    fn is_full(&self) -> bool {
        self.bytes >= GATHERED_BYTES || self.records.len() >= GATHERED_RECORDS
    }
}

#[cfg(test)]
mod tests;
