//! Closing lives: a later life of a node says of earlier ones that they are over.
//!
//! A closing is a write like any other, with a dot, dependencies and a way to everybody; what it changes is the vector, not a
//! row. So a table of closed lives is a function of the writes applied, as rows are, and a vector's open entries depend on all
//! that its closed ones cover. Nothing is forgotten and nothing is covered by it, hence nothing is lost if a life is closed
//! before everybody has heard all of it: the rest opens it again, which is worth an alarm.

use super::author::Draft;
use super::{Alarm, Group, Op, Output, Replica, Signal};
use crate::id::{Dot, Space};
use crate::rows::Rows;
use crate::vector::Vector;

impl<R: Rows> Draft<'_, R> {
    /// Closes a life if this is its last write here, and it is not closed yet, and began before this one.
    pub(super) fn close_life(&mut self, last: Dot) -> Result<(), R::Error> {
        let mint = self.mint();
        let vector = &self.replica.keyspace(self.space).vector;
        let is_open = vector.closed().get(last.replica).is_none();
        if !is_open || vector.seq(last.replica) != last.seq || last.seq == 0 || last.replica >= mint.dot.replica {
            return Ok(());
        }
        let op = Op::Close { last };
        self.replica.apply_op(self.rows, self.space, &op, mint)?;
        self.group.ops.push(op);
        Ok(())
    }
}

impl Replica {
    /// Somebody has more of lives that are closed here.
    pub(super) fn warn_of_reopening(&mut self, space: &Space, raised: impl IntoIterator<Item = Dot>) {
        let Some(keyspace) = self.spaces.get(space) else { return };
        let closed = keyspace.vector.closed();
        let reopened =
            raised.into_iter().filter(|dot| closed.get(dot.replica).is_some_and(|known| known.last < dot.seq));
        let alarm = |dot| Signal::Alarm(Alarm::Reopened { space: space.clone(), dot });
        self.signals.extend(reopened.map(alarm));
    }
}

/// What is to be said of the lives that a group closes.
pub(super) fn closed_by(group: &Group) -> impl Iterator<Item = Output> + '_ {
    group.ops.iter().enumerate().filter_map(|(index, op)| match op {
        &Op::Close { last } => Some(Output::Closed { space: group.space.clone(), last, by: group.dot(index) }),
        Op::Key { .. } | Op::Cut { .. } => None,
    })
}

/// What is to be said of the lives that are closed in `theirs`, and not in the same way in `mine`.
pub(super) fn closed_in<'a>(
    space: &'a Space,
    theirs: &'a Vector,
    mine: &'a Vector,
) -> impl Iterator<Item = Output> + 'a {
    let same_table = theirs.closed() == mine.closed();
    let news =
        theirs.closed().iter().filter(move |&(life, closing)| !same_table && mine.closed().get(life) != Some(closing));
    news.map(|(replica, closing)| {
        let last = Dot { replica, seq: closing.last };
        Output::Closed { space: space.clone(), last, by: closing.by }
    })
}
