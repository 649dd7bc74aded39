//! The group that is being written: edits of one namespace that become one commit.
//!
//! What clients want between two calls of [`seal`](Replica::seal) is written into one group, so that a busy agent pays for
//! a record, its encoding and its way to every peer once for many edits. An edit lies whole in one group, and a group is
//! applied whole everywhere; nobody is told of its commit before that is sealed.
//!
//! Invariants: while a group is open the present commit is its own; it is closed before anything else takes a commit
//! number, and before the present commit is said to describe something (a flush, a pin), so no commit grows afterwards.

use super::author::Draft;
use super::closing::closed_by;
use super::{Group, Op, Output, Payload, Replica};
use crate::id::Space;
use crate::log::Commit;
use crate::rows::Rows;
use crate::time::Now;

/// An open group takes no further edit once it has so many ops: the log can begin with it.
const OPS_MAX: usize = 128;

/// Nor once its ops take about so many bytes: with one more input's edits it must still fit a frame.
const BYTES_MAX: usize = 64 << 10;

/// A group that may take further edits.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) group: Group,
    /// About what its ops take.
    bytes: usize,
}

impl Open {
    fn is_full(&self) -> bool {
        self.group.ops.len() >= OPS_MAX || self.bytes >= BYTES_MAX
    }
}

impl Replica {
    /// Writes into the open group of `space`; returns the commit that this becomes part of, if it changes anything.
    pub(super) fn write<R: Rows>(
        &mut self,
        now: Now,
        rows: &mut R,
        space: &Space,
        fill: impl FnOnce(&mut Draft<'_, R>) -> Result<(), R::Error>,
    ) -> Result<Option<Commit>, R::Error> {
        let mut open = match self.open.take() {
            Some(open) if open.group.space == *space => open,
            other => {
                self.open = other;
                self.close();
                self.begin(now, space)
            }
        };
        let before = open.group.ops.len();
        let mut draft = Draft { replica: self, rows, now, space, group: open.group };
        fill(&mut draft)?;
        open.group = draft.group;
        let commit = self.commit;
        if open.group.ops.is_empty() {
            self.commit = Commit(commit.0 - 1);
            return Ok(None);
        }
        let added = &open.group.ops[before..];
        let changed = !added.is_empty();
        open.bytes += added.iter().map(Op::bytes).sum::<usize>();
        // Stamps are consecutive from the group's: the clock goes on after the last of them.
        self.clock.advance(open.group.stamp_of(open.group.ops.len() - 1));
        let keyspace = self.keyspace(space);
        if before == 0 {
            open.group.deps = std::mem::take(&mut keyspace.unsaid).dots().collect();
        }
        keyspace.vector.raise(open.group.last());
        let may_grow = !open.is_full();
        self.open = Some(open);
        if !may_grow {
            self.close();
        }
        Ok(changed.then_some(commit))
    }

    /// Begins a group at the next commit.
    fn begin(&mut self, now: Now, space: &Space) -> Open {
        // The clock's mark is a commit of its own, ahead of the one that uses it.
        let stamp = self.issue(now);
        self.commit = self.commit.next();
        let author = self.config.id;
        let first = self.keyspace(space).vector.seq(author) + 1;
        let ops = Vec::with_capacity(1);
        Open { group: Group { space: space.clone(), author, first, stamp, deps: Vec::new(), ops }, bytes: 0 }
    }

    /// Seals the open group, if there is one.
    pub(super) fn close(&mut self) {
        let Some(Open { group, .. }) = self.open.take() else { return };
        let (space, dot) = (group.space.clone(), group.last());
        let closed: Vec<Output> = closed_by(&group).collect();
        self.commit_payload(&Payload::Group(group), |payload| {
            let said = [Output::Push { payload: payload.clone() }, Output::Applied { space, dot }];
            said.into_iter().chain(closed).collect()
        });
    }
}
