//! What other threads tell the ledger.

use std::sync::Arc;
use std::time::Duration;

use everett_mesh_proto::id::NodeId;
use everett_mesh_proto::push;
use everett_mesh_proto::replica::PinId;

use super::{Ledger, LedgerError};
use crate::keeper::Brought;
use crate::mesh::News;
use crate::metrics::{Path, PeerPath};
use crate::net::Local;
use crate::peers::{Found, Question, Talked};
use crate::store::{Committed, Damage, Flushed, StoreError};

/// One thing another thread tells the ledger.
#[derive(Debug)]
pub enum Notice {
    /// The log: a group is on stable storage.
    Committed(Committed),
    /// The keeper: the flush under way has carried out so many bytes so far.
    Carried(usize),
    /// The keeper: a flush has finished.
    Flushed(Flushed),
    /// The keeper: a settled snapshot is wanted, with a pin from its commit on if a session is to work on it.
    Settle {
        /// Whether to open a pin.
        pin: bool,
    },
    /// The keeper: a repair session has brought all that it set out to bring.
    Brought(Box<Brought>),
    /// The keeper: rows on the disk are not as they were written.
    Damaged(Damage),
    /// The keeper: how a peer differs, for whoever asked; none if the session came to nothing.
    Verified(Question, Option<Found>),
    /// The keeper: a repair session has ended.
    Talked(NodeId, Talked),
    /// The keeper: how many rows sessions under way have brought, and of about how many; none if there are none.
    UnderWay(Option<(u64, u64)>),
    /// The keeper: no session needs this pin any more.
    Unpin(PinId),
    /// The keeper or the courier: an input for what is known of peers.
    Push(push::Input),
    /// The keeper: a peer's summary was compared with ours.
    Compared {
        /// Whose.
        peer: NodeId,
        /// Whether all roots were equal.
        equal: bool,
    },
    /// The keeper: this boot epoch is durable, and the node's from now on.
    BootEpoch(u64),
    /// Membership: something about who is here.
    News(News),
    /// Anybody: a latency that was measured.
    Measured(Path, Duration),
    /// Anybody with the store in hands: it failed, and the process must end.
    Failed(StoreError),
    /// The agent leaves: finish what is in flight, then end.
    Drain,
}

impl Ledger {
    /// Takes every notice that is waiting.
    pub(super) fn take_notices(&mut self) -> Result<(), LedgerError> {
        self.doorway.inbox.open();
        // No more than there can be at once, so that senders cannot keep clients from being served.
        for _ in 0..self.settings.inbox_max {
            let Some(notice) = self.doorway.inbox.next() else { return Ok(()) };
            match notice {
                Notice::Committed(committed) => self.committed(committed),
                Notice::Carried(bytes) => self.timers.pace.carried(self.now.mono, bytes),
                Notice::Flushed(flushed) => self.flushed(flushed),
                Notice::Settle { pin } => self.want_settled(pin),
                Notice::Brought(brought) => self.adopt(*brought)?,
                Notice::Verified(question, found) => self.host.peers.questions.answer(question, found),
                Notice::Damaged(damage) => self.host.peers.damaged(&damage),
                Notice::Talked(peer, talked) => self.host.peers.repairs.talked(peer, talked),
                Notice::UnderWay(rows) => self.host.peers.repairs.under_way = rows,
                Notice::Unpin(pin) => self.host.data.replica.close_pin(pin),
                Notice::Push(mut input) => {
                    if let push::Input::Acked { space, vector, .. } = &mut input {
                        // A summary names open lives alone.
                        *vector = self.host.data.replica.resolve(space, vector);
                    }
                    self.host.peers.push.handle_input(self.now.mono, input);
                    self.answer_waiters()?;
                }
                Notice::Compared { peer, equal } => self.host.peers.links.compared(self.now, peer, equal),
                Notice::BootEpoch(epoch) => self.take_epoch(epoch),
                Notice::News(news) => self.take_news(news)?,
                Notice::Measured(path, took) => self.host.metrics.record(path, took),
                Notice::Failed(error) => return Err(LedgerError::Store(error)),
                Notice::Drain => self.begin_drain()?,
            }
        }
        Ok(())
    }

    fn committed(&mut self, committed: Committed) {
        let Committed { durable, said, took, log_bytes } = committed;
        self.log.committed(durable.upto());
        self.host.stats.log_bytes = log_bytes;
        self.host.metrics.record(Path::Commit, took);
        self.host.peers.committed(self.now, durable, said);
        self.links.mark_holding_dirty();
        self.release_flush(durable);
    }

    fn take_news(&mut self, news: News) -> Result<(), LedgerError> {
        let peers = &mut self.host.peers;
        match news {
            News::Roster(roster, tally) => {
                peers.listed(roster, tally);
                self.tend_leases()?;
            }
            News::Changed(change) => self.tell_change(&change),
            News::Probed { node, rtt } => {
                if let Some(name) = peers.name_of(node) {
                    self.host.metrics.record_peer(PeerPath::Probe, &name, rtt);
                }
            }
            News::Fenced => self.fall_silent(),
            News::EpochBehind { known } => self.owe_epoch(known),
            News::SeedUnreached => peers.seeds_unreached += 1,
            News::LeaveDone => self.mesh.left = true,
        }
        Ok(())
    }

    fn take_epoch(&mut self, boot_epoch: u64) {
        self.host.about.boot_epoch = boot_epoch;
        self.ports.hello.send_modify(|local| *local = Arc::new(Local { boot_epoch, ..Local::clone(local) }));
    }

    /// A later life of this node speaks in the mesh: this process goes on serving its host, and says nothing more to peers.
    fn fall_silent(&mut self) {
        self.host.peers.fenced = true;
        self.mesh.left = true;
        self.owe_silence();
    }
}
