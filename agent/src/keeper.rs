//! The keeper thread: carries flushes out, makes log files ready and recycles them, and tends summaries and repair.
//!
//! Its work is long and nobody's reply waits for it, so it has a thread of its own, at low priority, and does it in pieces:
//! between two chunks of a flush it looks for what is more urgent. What it finds out goes to the ledger as notices; what
//! it needs of the ledger (a settled snapshot) it asks for.
//!
//! Invariants: at most one flush is under way; the only writer of `rows.redb` after the start is this thread.

use crossbeam_channel::{Receiver, RecvError, Sender, bounded};
use everett_mesh_proto::id::{NodeId, Space};
use everett_mesh_proto::push::Vectors;
use everett_mesh_proto::replica::PinId;

use crate::ledger::{Door, Notice};
use crate::mesh;
use crate::store::{
    ChunkLimit, FlushJob, FlushStep, Folder, LogRequest, Recyclable, RowsFile, SpareRequest, StoreError,
};

/// Tasks that may queue. Full: what the ledger wanted to tell is dropped, and told again by the next summary.
pub const TASKS: usize = 1_024;

/// How much less of the processor than others it gets: Unix niceness.
const NICENESS: i32 = 10;

/// One thing the keeper is to do, or to know.
#[derive(Debug)]
pub enum Task {
    /// Carry frozen rows out.
    Flush(Flush),
    /// Make a file ready for the log.
    Spare(SpareRequest),
    /// A link is up.
    Up(NodeId),
    /// A link is gone.
    Down(NodeId),
    /// The peer's log does not reach down to what is here: repair with it.
    BelowLog(NodeId, Space),
    /// The peer pushed a summary.
    Summary(NodeId, bytes::Bytes),
    /// Something happened in a repair session.
    Sessions,
    /// Make a boot epoch above this one durable.
    RaiseEpoch {
        /// The epoch that the mesh knows of this node.
        known: u64,
    },
}

/// Frozen rows, and what becomes possible once they are carried out.
#[derive(Debug)]
pub struct Flush {
    /// The rows.
    pub job: FlushJob,
    /// Opened at the job's commit, if a session asked for it.
    pub pin: Option<PinId>,
    /// What the log need not keep for anybody.
    pub acknowledged: Vectors,
}

/// What the keeper works with.
#[derive(Debug)]
pub struct Tools {
    /// The rows' file.
    pub file: RowsFile,
    /// The log's directory.
    pub log_folder: Folder,
    /// Bytes of log to keep for members that have not acknowledged.
    pub log_bytes_max: u64,
    /// To the ledger.
    pub ledger: Door<Notice>,
    /// To the log thread.
    pub log: Sender<LogRequest>,
    /// To membership.
    pub mesh: tokio::sync::mpsc::Sender<mesh::Order>,
}

/// Serves tasks until nobody can give one any more and a flush under way has finished.
pub fn run(tools: Tools, tasks: &Receiver<Task>) -> Result<(), StoreError> {
    lower_priority();
    let mut keeper = Keeper { tools, flush: None };
    loop {
        let task = if keeper.flush.is_some() {
            // A closed channel ends the thread only once the flush is done.
            tasks.try_recv().ok()
        } else {
            match tasks.recv() {
                Ok(task) => Some(task),
                Err(RecvError) => return Ok(()),
            }
        };
        if let Some(task) = task {
            keeper.take(task)?;
        }
        keeper.flush_on()?;
    }
}

struct Keeper {
    tools: Tools,
    flush: Option<Flush>,
}

impl Keeper {
    fn take(&mut self, task: Task) -> Result<(), StoreError> {
        match task {
            Task::Flush(flush) => {
                let previous = self.flush.replace(flush);
                assert!(previous.is_none(), "the memtable freezes again only after a flush has finished");
            }
            Task::Spare(request) => {
                let spare = request.fulfil(&self.tools.log_folder)?;
                // If the log has ended, so does the process.
                let _ = self.tools.log.send(LogRequest::Spare(spare));
            }
            Task::RaiseEpoch { known } => {
                let epoch = self.tools.file.raise_boot_epoch(known)?;
                // Membership asks again if it did not hear.
                let _ = self.tools.mesh.try_send(mesh::Order::BootEpoch(epoch));
            }
            Task::Up(_) | Task::Down(_) | Task::BelowLog(..) | Task::Summary(..) | Task::Sessions => {}
        }
        Ok(())
    }

    /// Carries out the next chunk of the flush under way.
    fn flush_on(&mut self) -> Result<(), StoreError> {
        let Some(Flush { job, pin, acknowledged }) = self.flush.take() else { return Ok(()) };
        let upto = job.commit().0;
        match job.step(ChunkLimit::default())? {
            FlushStep::More(job) => self.flush = Some(Flush { job, pin, acknowledged }),
            FlushStep::Done(flushed) => {
                // If the ledger has ended, nobody waits for it.
                let _ = self.tools.ledger.send(Notice::Flushed(flushed));
                self.recycle(upto, &acknowledged);
            }
        }
        Ok(())
    }

    /// Lets the log go of what is flushed and acknowledged.
    fn recycle(&self, flushed: u64, acknowledged: &Vectors) {
        let (reply, index) = bounded(1);
        let asked = self.tools.log.send(LogRequest::Index(reply)).is_ok();
        let Some(index) = index.recv().ok().filter(|_| asked) else { return };
        let acknowledged =
            index.acknowledged_through(|space, author| acknowledged.get(space).map_or(0, |vector| vector.seq(author)));
        let allowed = Recyclable { flushed, acknowledged, bytes_max: self.tools.log_bytes_max };
        // If the log has ended, so does the process.
        let _ = self.tools.log.send(LogRequest::Recycle(allowed));
    }
}

fn lower_priority() {
    let thread = rustix::thread::gettid();
    if let Err(error) = rustix::process::setpriority_process(Some(thread), NICENESS) {
        tracing::warn!(%error, "the keeper runs at the priority of the others");
    }
}
