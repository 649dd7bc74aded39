//! The keeper thread: carries flushes out, makes log files ready and recycles them, and tends summaries and repair.
//!
//! Its work is long and nobody's reply waits for it, so it has a thread of its own, at low priority, and does it in pieces:
//! between two chunks of a flush it looks for what is more urgent. What it finds out goes to the ledger as notices; what
//! it needs of the ledger (a settled snapshot) it asks for.
//!
//! Invariants: at most one flush is under way; the only writer of `rows.redb` after the start is this thread.

mod sessions;
mod summaries;
mod walks;

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use everett_mesh_proto::id::{NodeId, Space};
use everett_mesh_proto::membership::Record;
use everett_mesh_proto::push::Vectors;
use everett_mesh_proto::repair::Relation;
use everett_mesh_proto::replica::PinId;

use crate::clock::Clock;
use crate::ledger::{Door, Notice};
use crate::mesh;
use crate::net::{Inbox, Net, SessionEvent};
use crate::peers::{Cause, Question};
use crate::store::{
    ChunkLimit, FlushJob, FlushStep, Folder, LogRequest, Recyclable, RowsFile, Snapshot, SpareRequest, Spent,
    StoreError,
};

pub use sessions::Brought;

use sessions::{Pinned, Sessions};
use summaries::{Summaries, Wanted};
use walks::Walks;

/// Tasks that may queue. Full: the ledger says links, epochs and flushes again in its next turn, the rest with the next
/// summary.
pub const TASKS: usize = 1_024;

/// How often sessions are looked at for what has taken too long, while there are any.
const LOOK_PERIOD: Duration = Duration::from_secs(1);

/// How much less of the processor than others it gets: Unix niceness.
const NICENESS: i32 = 10;

/// One thing the keeper is to do, or to know.
#[derive(Debug)]
pub enum Task {
    /// Carry frozen rows out.
    Flush(Flush),
    /// Free these rows.
    Free(Spent),
    /// Make a file ready for the log.
    Spare(SpareRequest),
    /// A link is up.
    Up(NodeId),
    /// A link is gone.
    Down(NodeId),
    /// The peer's log does not reach down to what is here: repair with it.
    BelowLog(NodeId, Space),
    /// Somebody wants to know how the peer differs.
    Verify(Question, NodeId, Space),
    /// The peer pushed a summary.
    Summary(NodeId, bytes::Bytes),
    /// Something happened in a repair session.
    Sessions,
    /// Keep on disk whom the next start should know.
    Remember(Vec<Record>),
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
    pub job: Box<FlushJob>,
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
    /// From the end of one walk through all rows to the next.
    pub verify_period: Duration,
    /// To the ledger.
    pub ledger: Door<Notice>,
    /// To the log thread.
    pub log: Sender<LogRequest>,
    /// To membership.
    pub mesh: tokio::sync::mpsc::Sender<mesh::Order>,
}

/// What a keeper of the mesh's content works with beside.
#[derive(Debug)]
pub struct MeshTools {
    /// The net.
    pub net: Net,
    /// What happens in repair sessions.
    pub sessions: Inbox<SessionEvent>,
    /// The process's clocks.
    pub clock: Clock,
}

/// Serves tasks until nobody can give one any more and a flush under way has finished.
pub fn run(tools: Tools, mesh: MeshTools, tasks: &Receiver<Task>) -> Result<(), StoreError> {
    lower_priority();
    let MeshTools { net, sessions, clock } = mesh;
    let now = clock.now().mono;
    let mut keeper = Keeper {
        summaries: Summaries::new(now, net.clone(), tools.ledger.clone()),
        sessions: Sessions::new(tools.file.placer().clone(), net, tools.ledger.clone(), clock),
        walks: Walks::new(now, tools.verify_period, (tools.file.clone(), tools.ledger.clone())),
        inbox: sessions,
        clock,
        tools,
        flush: None,
    };
    // What an earlier life left is what there is to tell of.
    keeper.settled(None, &Arc::new(keeper.tools.file.snapshot()?))?;
    loop {
        let is_busy = keeper.flush.is_some() || keeper.sessions.is_working(keeper.clock.now().mono);
        let patience = if is_busy { Duration::ZERO } else { keeper.patience() };
        match tasks.recv_timeout(patience) {
            Ok(task) => keeper.take(task)?,
            // The thread ends only once the flush is done.
            Err(RecvTimeoutError::Disconnected) if keeper.flush.is_none() => return Ok(()),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
        }
        keeper.flush_on()?;
        keeper.tend()?;
    }
}

struct Keeper {
    tools: Tools,
    flush: Option<Flush>,
    summaries: Summaries,
    sessions: Sessions,
    walks: Walks,
    inbox: Inbox<SessionEvent>,
    clock: Clock,
}

impl Keeper {
    /// Until there is something to do without being told.
    fn patience(&self) -> Duration {
        let now = self.clock.now().mono;
        let next = self.summaries.beacons.poll_timeout().at.min(self.walks.poll_timeout()).saturating_since(now);
        if self.sessions.is_idle() { next } else { next.min(LOOK_PERIOD) }
    }

    /// Pushes summaries and drives sessions.
    fn tend(&mut self) -> Result<(), StoreError> {
        let now = self.clock.now().mono;
        while let Some(event) = self.inbox.next_now() {
            self.sessions.heed(now, event)?;
        }
        self.summaries.push(now);
        self.sessions.work(now)?;
        self.sessions.handle_timeout(now)?;
        if self.flush.is_none() {
            self.walks.handle_timeout(now)?;
        }
        Ok(())
    }

    /// Rows and tree stand at a new commit.
    fn settled(&mut self, pin: Option<PinId>, snapshot: &Arc<Snapshot>) -> Result<(), StoreError> {
        let now = self.clock.now().mono;
        for wanted in self.summaries.settled(now, snapshot)? {
            self.sessions.open(now, wanted);
        }
        if let Some(pin) = pin {
            self.sessions.settled(now, &Pinned { pin, snapshot: Arc::clone(snapshot) })?;
        }
        Ok(())
    }

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
            Task::Free(spent) => drop(spent),
            Task::RaiseEpoch { known } => {
                let epoch = self.tools.file.raise_boot_epoch(known)?;
                // If either has ended, so does the process.
                let _ = self.tools.ledger.send(Notice::BootEpoch(epoch));
                let _ = self.tools.mesh.blocking_send(mesh::Order::BootEpoch(epoch));
            }
            Task::Remember(known) => {
                self.tools.file.remember_peers(&mesh::encode_known(&known))?;
                tracing::debug!(members = known.len(), "kept whom the next start should know");
            }
            Task::Up(peer) => self.summaries.up(self.clock.now().mono, peer),
            Task::Down(peer) => self.summaries.down(peer),
            Task::BelowLog(peer, space) => {
                let (relation, cause) = (Relation::Apart, Cause::LongAbsence);
                let wanted = Wanted { peer, space, relation, cause, asked: None };
                self.sessions.open(self.clock.now().mono, wanted);
            }
            Task::Verify(asked, peer, space) => {
                let (relation, cause) = (Relation::Apart, Cause::LateOp);
                let wanted = Wanted { peer, space, relation, cause, asked: Some(asked) };
                self.sessions.open(self.clock.now().mono, wanted);
            }
            Task::Summary(peer, summary) => {
                let now = self.clock.now().mono;
                for wanted in self.summaries.heard(peer, &summary) {
                    self.sessions.open(now, wanted);
                }
            }
            // The inbox is read after every task.
            Task::Sessions => {}
        }
        Ok(())
    }

    /// Carries out the next chunk of the flush under way.
    fn flush_on(&mut self) -> Result<(), StoreError> {
        let Some(Flush { job, pin, acknowledged }) = self.flush.take() else { return Ok(()) };
        let upto = job.commit().0;
        match job.step(ChunkLimit::default())? {
            FlushStep::More(job) => {
                // The next chunk says more.
                drop(self.tools.ledger.try_send(Notice::Carried(job.carried_bytes())));
                self.flush = Some(Flush { job, pin, acknowledged });
            }
            FlushStep::Done(flushed) => {
                let snapshot = Arc::clone(flushed.snapshot());
                // If the ledger has ended, nobody waits for it.
                let _ = self.tools.ledger.send(Notice::Flushed(flushed));
                self.recycle(upto, &acknowledged);
                self.settled(pin, &snapshot)?;
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
