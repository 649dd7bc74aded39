//! `WAIT`: connections that wait until enough peers hold their last write.

use everett_mesh_proto::log::Commit;

use super::Ledger;
use crate::api::resp::Reply;

impl Ledger {
    /// Answers those who have waited for long enough, or for enough peers.
    pub(super) fn answer_waiters(&mut self) {
        let waiters: Vec<_> = self.links.iter().filter_map(|(slot, link)| Some((slot, link.waiting?))).collect();
        for (slot, wait) in waiters {
            let copies = self.host.peers.push.copies(self.host.data.space(wait.space), wait.dot);
            let is_late = wait.until.is_some_and(|until| until <= self.now.mono);
            let Some(link) = self.links.get(slot) else { continue };
            if copies < wait.copies && !is_late {
                continue;
            }
            link.waiting = None;
            Reply::new(link.output.buffer(), self.host.sessions.of(slot).proto).count(copies);
            link.output.end_reply(Commit(0), None, link.arrived);
            // What it sent behind the command is executed now.
            self.links.mark_ready(slot);
            self.links.mark_dirty(slot);
        }
    }
}
