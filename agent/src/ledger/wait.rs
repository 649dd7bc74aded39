//! Connections that wait: for peers that hold their last write (`WAIT`), or for a settled state (`MESH.DIGEST`).

use everett_mesh_proto::id::Space;
use everett_mesh_proto::log::Commit;
use everett_mesh_proto::summary::root;

use super::{Ledger, LedgerError};
use crate::api::call::Wait;
use crate::api::resp::Reply;
use crate::store::StoreError;

impl Ledger {
    /// Answers those whose wait is over.
    pub(super) fn answer_waiters(&mut self) -> Result<(), LedgerError> {
        let waiters: Vec<_> = self.links.waits().collect();
        for (slot, wait) in waiters {
            match wait {
                Wait::Copies { space, dot, copies, until } => {
                    let found = self.host.peers.push.copies(self.host.data.space(space), dot);
                    if found >= copies || until.is_some_and(|until| until <= self.now.mono) {
                        self.answer(slot, |reply| reply.count(found));
                    }
                }
                Wait::Digest { commit } if self.host.data.rows.base().watermark() >= commit => {
                    let base = self.host.data.rows.base();
                    let line = |space: &Space| Ok(format!("{space} {}", root(&**base, space)?));
                    let lines = base.vectors().keys().map(line).collect::<Result<Vec<_>, StoreError>>()?;
                    self.answer(slot, |reply| {
                        reply.array(lines.len());
                        lines.iter().for_each(|line| reply.bulk(line.as_bytes()));
                    });
                }
                Wait::Digest { .. } => {}
            }
        }
        self.links.forget_answered();
        Ok(())
    }

    fn answer(&mut self, slot: usize, write: impl FnOnce(&mut Reply<'_>)) {
        let Some(link) = self.links.get(slot) else { return };
        if link.waiting.take().is_none() {
            return;
        }
        write(&mut Reply::new(link.output.buffer(), self.host.sessions.of(slot).proto));
        link.output.end_reply(Commit(0), None, link.arrived);
        // What it sent behind the command is executed now.
        self.links.mark_ready(slot);
        self.links.mark_dirty(slot);
    }
}
