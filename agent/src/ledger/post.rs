//! Messages on their way to connections that listen.
//!
//! A message is a reply that nobody asked for: it stands in its connection's output behind the replies before it, waits for
//! the commit that it reflects, and counts against the same bound. A connection that does not read is cut; the others
//! never wait for it.

use everett_mesh_proto::log::Commit;

use super::{Ledger, LedgerError};
use crate::api::call::Reflects;
use crate::api::notify::{Event, Watched};
use crate::mesh::Change;

impl Ledger {
    /// Puts what was posted into the listeners' outputs, to leave when `commit` is durable.
    pub(super) fn deliver(&mut self, commit: Commit) {
        for letter in self.host.sessions.take_post() {
            let Some(link) = self.links.get(letter.to).filter(|link| !link.ending) else { continue };
            link.output.buffer().extend_from_slice(&letter.bytes);
            link.output.end_reply(Reflects::durably(commit), None, self.now.mono);
            if link.output.len() > self.settings.output_bytes_max {
                self.cut(letter.to);
            } else {
                self.links.mark_dirty(letter.to);
            }
        }
    }

    /// Who is here has changed: tells those who listen.
    pub(super) fn tell_change(&mut self, change: &Change) {
        let line = change.to_json();
        self.host.sessions.publish(Change::CHANNEL, line.as_bytes());
        self.deliver(Commit(0));
        self.host.peers.changes.note(line);
    }

    /// Notes which keys change by what follows, if somebody wants to be told.
    pub(super) fn watch_changes(&mut self) {
        if self.host.sessions.notifies() {
            self.host.data.rows.watch();
        }
    }

    /// Tells which keys changed since, by others than this agent's clients.
    pub(super) fn tell_changes(&mut self) -> Result<(), LedgerError> {
        let Some(watched) = self.host.data.rows.take_watched() else { return Ok(()) };
        let commit = self.host.data.replica.commit();
        for (space, key, parts) in watched.into_keys() {
            let view = self.host.data.view(self.now, space, &key)?;
            for (class, name) in Watched::event_names(parts, &view) {
                self.host.sessions.notify(Event { space, class, name, key: &key });
            }
            self.deliver(commit);
        }
        Ok(())
    }

    /// Ends a connection whose client does not read what it is sent.
    pub(super) fn cut(&mut self, slot: usize) {
        let stats = &mut self.host.stats;
        stats.cut_output += 1;
        let listens = self.host.sessions.of(slot).subscriptions() > 0;
        stats.cut_listeners += u64::from(listens);
        tracing::warn!(slot, listens, "cut a client that does not read what it is sent");
        self.close(slot);
    }
}
