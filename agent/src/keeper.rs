//! The keeper thread: carries flushes out, recycles the log, and tends summaries and repair.
//!
//! Its work is long and nobody's reply waits for it, so it has a thread of its own and does it in pieces. What it finds out
//! goes to the ledger as notices; what it needs of the ledger (a settled snapshot) it asks for.

use crossbeam_channel::{Receiver, Sender, bounded};
use everett_mesh_proto::id::{NodeId, Space};
use everett_mesh_proto::push::Vectors;
use everett_mesh_proto::replica::PinId;

use crate::ledger::{Door, Notice};
use crate::mesh;
use crate::store::{ChunkLimit, FlushJob, LogRequest, Recyclable, RowsFile, StoreError};

/// Tasks that may queue. Full: what the ledger wanted to tell is dropped, and told again by the next summary.
pub const TASKS: usize = 1_024;

/// One thing the keeper is to do, or to know.
#[derive(Debug)]
pub enum Task {
    /// Carry frozen rows out.
    Flush {
        /// The rows.
        job: FlushJob,
        /// Opened at the job's commit, if a session asked for it.
        pin: Option<PinId>,
        /// What the log need not keep for anybody.
        acknowledged: Vectors,
    },
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

/// What the keeper works with.
#[derive(Debug)]
pub struct Tools {
    /// The rows' file.
    pub file: RowsFile,
    /// Bytes of log to keep for members that have not acknowledged.
    pub log_bytes_max: u64,
    /// To the ledger.
    pub ledger: Door<Notice>,
    /// To the log thread.
    pub log: Sender<LogRequest>,
    /// To membership.
    pub mesh: tokio::sync::mpsc::Sender<mesh::Order>,
}

/// Serves tasks until nobody can give one any more, or the ledger has ended.
pub fn run(tools: &Tools, tasks: &Receiver<Task>) -> Result<(), StoreError> {
    for task in tasks {
        match task {
            Task::Flush { job, acknowledged, .. } => {
                let upto = job.commit().0;
                let flushed = job.run(ChunkLimit::default())?;
                if tools.ledger.send(Notice::Flushed(flushed)).is_err() {
                    return Ok(());
                }
                tools.recycle(upto, &acknowledged);
            }
            Task::RaiseEpoch { known } => {
                let epoch = tools.file.raise_boot_epoch(known)?;
                // Membership asks again if it did not hear.
                let _ = tools.mesh.try_send(mesh::Order::BootEpoch(epoch));
            }
            Task::Up(_) | Task::Down(_) | Task::BelowLog(..) | Task::Summary(..) | Task::Sessions => {}
        }
    }
    Ok(())
}

impl Tools {
    /// Lets the log go of what is flushed and acknowledged.
    fn recycle(&self, flushed: u64, acknowledged: &Vectors) {
        let (reply, index) = bounded(1);
        let asked = self.log.send(LogRequest::Index(reply)).is_ok();
        let Some(index) = index.recv().ok().filter(|_| asked) else { return };
        let acknowledged = index.acknowledged_through(|space, author| {
            acknowledged.get(space).map_or(0, |vector| vector.seq(author))
        });
        let allowed = Recyclable { flushed, acknowledged, bytes_max: self.log_bytes_max };
        // If the log has ended, so does the process.
        drop(self.log.send(LogRequest::Recycle(allowed)));
    }
}
