//! Connections that wait: for peers that hold their last write (`WAIT`), or for a settled state (`MESH.DIGEST`).

use everett_mesh_proto::log::Commit;
use everett_mesh_proto::summary::root;

use super::{Ledger, LedgerError};
use crate::api::call::Wait;
use crate::api::resp::Reply;

impl Ledger {
    /// Answers those whose wait is over.
    pub(super) fn answer_waiters(&mut self) -> Result<(), LedgerError> {
        let waiters: Vec<_> = self.links.iter().filter_map(|(slot, link)| Some((slot, link.waiting?))).collect();
        for (slot, wait) in waiters {
            let mut answer = Vec::new();
            let mut reply = Reply::new(&mut answer, self.host.sessions.of(slot).proto);
            let over = match wait {
                Wait::Copies { space, dot, copies, until } => {
                    let found = self.host.peers.push.copies(self.host.data.space(space), dot);
                    reply.count(found);
                    found >= copies || until.is_some_and(|until| until <= self.now.mono)
                }
                Wait::Digest { commit } => {
                    let base = self.host.data.rows.base();
                    reply.array(base.vectors().len());
                    for space in base.vectors().keys() {
                        reply.text(&format_args!("{space} {}", root(&**base, space)?));
                    }
                    base.watermark() >= commit
                }
            };
            let Some(link) = self.links.get(slot).filter(|_| over) else { continue };
            link.waiting = None;
            link.output.buffer().extend_from_slice(&answer);
            link.output.end_reply(Commit(0), None, link.arrived);
            // What it sent behind the command is executed now.
            self.links.mark_ready(slot);
            self.links.mark_dirty(slot);
        }
        Ok(())
    }
}
