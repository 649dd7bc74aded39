//! When rows go from memory to their file, and what waits for a settled snapshot.
//!
//! The memtable is frozen at a commit; when that is durable, the keeper gets the frozen rows and carries them out in
//! chunks. Repair sessions and `MESH.DIGEST` want a snapshot of a known commit: they ask for a flush and get its result.
//!
//! Invariant: a pin is opened at the very commit at which the memtable is frozen, so that no change between the snapshot
//! and the adoption goes unnoted.

use everett_mesh_proto::log::{Durable, Held};
use everett_mesh_proto::replica::{Alarm, Input, PinId};
use everett_mesh_proto::time::Instant;

use super::{Ledger, LedgerError};
use crate::keeper::{Brought, Flush, Task};
use crate::peers::Adopted;
use crate::store::{FlushJob, Flushed};

/// The state of flushing.
#[derive(Debug, Default)]
pub(super) struct Flushing {
    /// Frozen, and waiting for its commit to be durable.
    held: Option<(Held<Box<FlushJob>>, Option<PinId>)>,
    /// A settled snapshot is wanted.
    pub(super) wanted: bool,
    /// With a pin.
    pin_wanted: bool,
    /// Bytes logged since the last freeze.
    pub(super) logged_bytes: usize,
    /// When something last changed.
    pub(super) changed: Option<Instant>,
}

impl Ledger {
    /// The keeper or a client wants a settled snapshot.
    pub(super) fn want_settled(&mut self, pin: bool) {
        self.flushing.wanted = true;
        self.flushing.pin_wanted |= pin;
    }

    /// Freezes the memtable if it is time.
    pub(super) fn consider_flush(&mut self) {
        self.release_flush(self.host.peers.durable());
        if self.host.data.rows.is_flushing() || self.host.phase.is_ending() {
            return;
        }
        let settings = &self.settings.flush;
        let bytes = self.host.data.rows.active_bytes();
        let changed = self.host.data.replica.commit() > self.host.data.rows.base().watermark();
        let idle = self.flushing.changed.is_some_and(|at| self.now.mono.saturating_since(at) >= settings.idle);
        let full = bytes >= settings.memtable_bytes || self.flushing.logged_bytes >= settings.replay_bytes;
        if !(self.flushing.wanted || (changed && (idle || full))) {
            return;
        }
        let Some(held) = self.host.data.rows.freeze(self.host.data.replica.settled()) else { return };
        self.log.want(held.commit());
        let pin = self.flushing.pin_wanted.then(|| self.host.data.replica.open_pin());
        self.flushing = Flushing { held: Some((held, pin)), ..Flushing::default() };
        self.release_flush(self.host.peers.durable());
    }

    /// When the memtable is to be frozen because nothing changes.
    pub(super) fn flush_at(&self) -> Option<Instant> {
        let at = self.flushing.changed? + self.settings.flush.idle;
        (!self.host.data.rows.is_flushing() && !self.host.phase.is_ending()).then_some(at)
    }

    /// Hands frozen rows to the keeper once their commit is durable.
    pub(super) fn release_flush(&mut self, durable: Durable) {
        let Some((held, pin)) = self.flushing.held.take() else { return };
        match held.release(durable) {
            Ok(job) => {
                let acknowledged = self.host.peers.acknowledged();
                // A word can be said again; frozen rows cannot, so what the keeper does not take is offered again.
                let task = Task::Flush(Flush { job, pin, acknowledged });
                if let Some(Task::Flush(Flush { job, pin, .. })) = (self.ports.keeper)(task) {
                    self.flushing.held = Some((Held::new(job.commit(), job), pin));
                }
            }
            Err(held) => self.flushing.held = Some((held, pin)),
        }
    }

    /// Tells the keeper something that is told again later if it is lost.
    pub(super) fn tell_keeper(&mut self, task: Task) {
        if let Some(task) = (self.ports.keeper)(task) {
            tracing::debug!(?task, "the keeper is busy: a word to it was dropped");
        }
    }

    /// The keeper has carried out a flush.
    pub(super) fn flushed(&mut self, flushed: Flushed) {
        if let Some(spent) = self.host.data.rows.settle(flushed) {
            // A keeper that is too busy gives it back, and it is freed here.
            drop((self.ports.keeper)(Task::Free(spent)));
        }
    }

    /// More is in memory than there should be, though writers were slowed down: until the keeper is done, clients wait.
    pub(super) fn is_memory_full(&self) -> bool {
        let rows = &self.host.data.rows;
        rows.is_flushing() && rows.bytes() >= self.memory_bound()
    }

    /// What the rows of a flush and those behind it may take together.
    pub(super) fn memory_bound(&self) -> usize {
        2 * self.settings.flush.memtable_bytes
    }

    /// Adopts what a session brought: what differed between the pins, and what changed here since.
    pub(super) fn adopt(&mut self, brought: Brought) -> Result<(), LedgerError> {
        let Brought { from, cause, outcome, pin, snapshot } = brought;
        for key in &outcome.diverged {
            self.host.peers.alarm(&Alarm::Divergence { space: outcome.space.clone(), key: key.key() });
        }
        let data = &mut self.host.data;
        let (rows, space) = (outcome.stage.len(), outcome.space.clone());
        let (turns, diverged) = (outcome.cost.turns, outcome.diverged.len() as u64);
        let adoption = if let Some(touched) = data.replica.touched_since(pin, &space) {
            outcome.complete(touched, &*snapshot)?
        } else {
            tracing::info!("a repair session's pin was lost to many changes; the next session starts afresh");
            return Ok(());
        };
        let before = data.replica.commit();
        self.watch_changes();
        let data = &mut self.host.data;
        data.replica.handle_input(self.now, &mut data.rows, Input::Adopt { from, adoption })?;
        self.log.want(self.host.data.replica.commit());
        self.tell_changes()?;
        let data = &self.host.data;
        // Else everything had come by itself meanwhile.
        if data.replica.commit() > before {
            let peers = &mut self.host.peers;
            peers.repairs.adopted(from, Adopted { cause, rows: rows as u64, diverged, turns });
            tracing::info!(peer = peers.links.name(from), rows, turns, %space, "repair adopted");
        }
        Ok(())
    }
}
