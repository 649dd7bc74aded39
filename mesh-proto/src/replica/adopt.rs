//! Adoption: taking over, in one commit, all that a repair session found different in a namespace.
//!
//! For every row that came *or was changed here since the pin*: row := join((row now, V now), (peer's row, W)); then
//! V := V ⊔ W, and the gate is run again. The session supplies both kinds of rows, absences included, so that the log
//! record of the adoption needs no pin to be replayed. Adopting rows without the second kind loses data in three of a
//! thousand random schedules; adopting per message, in half of them.

use bytes::Bytes;

use super::closing::closed_in;
use super::{Alarm, Output, Payload, Replica, Signal};
use crate::crdt::Entry;
use crate::id::{Dot, NodeId, Space};
use crate::rows::{Row, RowKey, Rows};
use crate::time::Now;
use crate::vector::Vector;

/// What a session brought, ready to be adopted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Adoption {
    /// The namespace; a session's pins hold all of it.
    pub space: Space,
    /// W: the vector stored in the peer's pin.
    pub vector: Vector,
    /// The peer's row, or its explicit absence, for every row that differed between the pins or was changed here since.
    pub rows: Vec<(RowKey, Option<Row>)>,
}

impl Replica {
    pub(super) fn adopt<R: Rows>(
        &mut self,
        now: Now,
        rows: &mut R,
        from: NodeId,
        adoption: Adoption,
    ) -> Result<(), R::Error> {
        let space = adoption.space.clone();
        let own = self.config.id;
        let dot = Dot { replica: own, seq: adoption.vector.seq(own) };
        let nothing = Vector::new();
        let mine = self.spaces.get(&space).map_or(&nothing, |keyspace| &keyspace.vector);
        if !mine.covers(dot) {
            self.signals.push_back(Signal::Alarm(Alarm::Fork { from, dot }));
            return Ok(());
        }
        let raised: Vec<Dot> = adoption.vector.since(mine).collect();
        if raised.is_empty() {
            return Ok(());
        }
        let closed: Vec<Output> = closed_in(&space, &adoption.vector, mine).collect();
        self.commit = self.commit.next();
        self.warn_of_divergence(rows, &adoption)?;
        self.warn_of_reopening(&space, raised.iter().copied());
        self.apply_adoption(rows, &adoption)?;
        for key in self.own_dead(rows, &adoption)? {
            self.note_dead(now, key);
        }
        let applied = raised.into_iter().map(|dot| Output::Applied { space: space.clone(), dot });
        let applied = applied.chain(closed).collect();
        self.commit_payload(&Payload::Adoption(adoption), |_: &Bytes| applied);
        self.open_gate(now, rows, &space)
    }

    /// Joins the rows and the vector of an adoption at the present commit.
    pub(super) fn apply_adoption<R: Rows>(&mut self, rows: &mut R, adoption: &Adoption) -> Result<(), R::Error> {
        let at = self.position(0);
        let vector = self.keyspace(&adoption.space).vector.clone();
        for (key, theirs) in &adoption.rows {
            let found = rows.row(key)?;
            if found.at >= at {
                continue;
            }
            let empty = Row::empty(key.kind());
            let mine = found.row.as_deref().unwrap_or(&empty);
            let joined = Row::join((mine, &vector), (theirs.as_ref().unwrap_or(&empty), &adoption.vector));
            self.put(rows, key.clone(), joined, at);
        }
        let keyspace = self.keyspace(&adoption.space);
        // What is closed there lies in the past of what is open there.
        let raised: Vec<Dot> = adoption.vector.open().filter(|&dot| !keyspace.vector.covers(dot)).collect();
        keyspace.vector.join(&adoption.vector);
        keyspace.unsaid.join(&raised.into_iter().collect());
        Ok(())
    }

    /// Same dots, different bytes: both sides keep what the join makes of it, and say so.
    fn warn_of_divergence<R: Rows>(&mut self, rows: &R, adoption: &Adoption) -> Result<(), R::Error> {
        for (key, theirs) in &adoption.rows {
            let (Some(theirs), Some(mine)) = (theirs, rows.row(key)?.row) else { continue };
            let sorted = |row: &Row| {
                let mut dots = row.dots();
                dots.sort_unstable();
                dots
            };
            if *mine != *theirs && sorted(&mine) == sorted(theirs) {
                let alarm = Alarm::Divergence { space: adoption.space.clone(), key: key.key() };
                self.signals.push_back(Signal::Alarm(alarm));
            }
        }
        Ok(())
    }

    fn own_dead<R: Rows>(&self, rows: &R, adoption: &Adoption) -> Result<Vec<RowKey>, R::Error> {
        let mine_and_dead = |entry: &Entry| entry.owner == self.config.id && !entry.is_live();
        let mut dead = Vec::new();
        for (key, _) in &adoption.rows {
            if let Some(Row::Scalar(scalar)) = rows.row(key)?.row.as_deref()
                && scalar.entries().iter().any(mine_and_dead)
            {
                dead.push(key.clone());
            }
        }
        Ok(dead)
    }
}
