//! Connections that wait: for peers that hold their last write (`WAIT`), for a settled state (`MESH.DIGEST`), or for what a
//! session finds (`MESH.VERIFY`).

use everett_mesh_proto::id::Space;
use everett_mesh_proto::summary::root;

use super::{Ledger, LedgerError};
use crate::api::call::{Reflects, Wait};
use crate::api::resp::Reply;
use crate::keeper::Task;
use crate::peers::Found;
use crate::store::StoreError;

/// A session that did not begin, or did not end well.
const NOTHING_CAME: &str = "ERR no session with that node came to an end, try again";

impl Ledger {
    /// Answers those whose wait is over.
    pub(super) fn answer_waiters(&mut self) -> Result<(), LedgerError> {
        for (question, peer, space) in self.host.peers.questions.take_asked() {
            // A keeper that is too busy hands it back: then nothing was found out.
            if (self.ports.keeper)(Task::Verify(question, peer, space)).is_some() {
                self.host.peers.questions.answer(question, None);
            }
        }
        let answers = self.host.peers.questions.take_answers();
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
                Wait::Verify { question, until } => {
                    let answer = answers.iter().find(|(answered, _)| *answered == question);
                    match answer {
                        Some((_, Some(found))) => self.answer(slot, |reply| write_found(reply, found)),
                        Some((_, None)) => self.answer(slot, |reply| reply.error(&NOTHING_CAME)),
                        None if until <= self.now.mono => self.answer(slot, |reply| reply.error(&NOTHING_CAME)),
                        None => {}
                    }
                }
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
        link.output.end_reply(Reflects::default(), None, link.arrived);
        // What it sent behind the command is executed now.
        self.links.mark_ready(slot);
        self.links.mark_dirty(slot);
    }
}

fn write_found(reply: &mut Reply<'_>, found: &Found) {
    reply.map(4);
    reply.bulk(b"rows");
    reply.uint(found.rows);
    reply.bulk(b"ranges");
    reply.array(found.ranges.len());
    for range in &found.ranges {
        reply.map(3);
        for (name, place) in [(b"first".as_slice(), range.first), (b"last", range.last)] {
            reply.bulk(name);
            reply.bulk(format!("{place:016x}").as_bytes());
        }
        reply.bulk(b"rows");
        reply.uint(range.rows);
    }
    for (name, keys) in [("keys", &found.keys), ("diverged", &found.diverged)] {
        reply.bulk(name.as_bytes());
        reply.array(keys.len());
        keys.iter().for_each(|key| reply.bulk(key));
    }
}
