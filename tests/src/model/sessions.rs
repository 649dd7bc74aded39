//! Repair sessions by hand, row by row, in steps that everything else can come between.
//!
//! Both sides settle and pin. Rows that differ are exchanged in random order; then each side adopts on its own, at a time
//! of its own: what came, and for every row changed here since the pin the own pinned row, which was equal and so stands
//! for the peer's. Either side can be lost on the way.

use std::collections::{BTreeMap, BTreeSet};

use everett_mesh_proto::replica::{Adoption, Input, Payload, PinId};
use everett_mesh_proto::rows::{Row, RowKey};
use everett_mesh_proto::vector::Vector;
use everett_mesh_proto::wire;
use rand::RngExt;

use super::edits::all_rows;
use super::node::{Node, node_id, space};
use super::plan::Flaw;
use super::world::{At, World};

/// A snapshot of one side, and what is noted of changes since.
#[derive(Debug)]
struct Pin {
    rows: BTreeMap<RowKey, Row>,
    vector: Vector,
    id: PinId,
    /// Changes noted before the pin was last opened anew.
    noted: BTreeSet<RowKey>,
}

/// One side of a session.
#[derive(Debug)]
struct Side {
    node: usize,
    on: bool,
    pin: Pin,
    /// What came: the peer's rows and absences.
    got: BTreeMap<RowKey, Option<Row>>,
    /// The peer's vector as its first and its last message showed it.
    shown: Option<(Vector, Vector)>,
}

/// One session.
#[derive(Debug)]
pub(super) struct Session {
    sides: [Side; 2],
    todo: Vec<RowKey>,
    equal: bool,
}

impl Session {
    fn involves(&self, node: usize) -> bool {
        self.sides.iter().any(|side| side.on && side.node == node)
    }

    fn is_over(&self) -> bool {
        self.sides.iter().all(|side| !side.on)
    }
}

impl World {
    pub(super) fn open_session(&mut self) {
        let a = self.rng.random_range(0..self.nodes.len());
        let b = (a + self.rng.random_range(1..self.nodes.len())) % self.nodes.len();
        let busy = self.sessions.iter().filter(|session| session.involves(a) && session.involves(b)).count();
        if busy > 1 || ![a, b].iter().all(|&node| self.nodes[node].is_up()) {
            return;
        }
        self.begin(a, b);
    }

    fn begin(&mut self, a: usize, b: usize) {
        self.tell(|| format!("{a} and {b} begin a session"));
        self.count("sessions");
        let sides = [a, b].map(|node| self.side(node));
        let equal = sides[0].pin.rows == sides[1].pin.rows;
        let mut todo: Vec<RowKey> = if equal { Vec::new() } else { all_rows().cloned().collect() };
        for index in (1..todo.len()).rev() {
            todo.swap(index, self.rng.random_range(0..=index));
        }
        if equal {
            self.count("equal roots");
        }
        self.sessions.push(Session { sides, todo, equal });
    }

    fn side(&mut self, number: usize) -> Side {
        if !self.plan.has(Flaw::NoSettle) {
            self.settle(number);
        }
        let node = &mut self.nodes[number];
        let disk = node.store.disk();
        let vector = disk.settled.vectors.get(&space()).cloned().unwrap_or_default();
        let pin = Pin { rows: disk.rows.clone(), vector, id: node.replica.open_pin(), noted: BTreeSet::new() };
        Side { node: number, on: true, pin, got: BTreeMap::new(), shown: None }
    }

    /// Runs a session from beginning to end.
    pub(super) fn whole_session(&mut self, a: usize, b: usize) -> Result<(), At> {
        self.begin(a, b);
        let last = self.sessions.len() - 1;
        while self.sessions.len() > last {
            self.step_of(last)?;
        }
        Ok(())
    }

    pub(super) fn step_session(&mut self) -> Result<(), At> {
        if self.sessions.is_empty() {
            return Ok(());
        }
        let index = self.rng.random_range(0..self.sessions.len());
        self.step_of(index)
    }

    fn step_of(&mut self, index: usize) -> Result<(), At> {
        if self.sessions[index].todo.is_empty() {
            let on: Vec<usize> = (0..2).filter(|&side| self.sessions[index].sides[side].on).collect();
            let side = on[self.rng.random_range(0..on.len())];
            return self.adopt(index, side);
        }
        if self.sessions[index].sides.iter().all(|side| side.on) {
            self.exchange(index);
        } else {
            self.end(index);
        }
        Ok(())
    }

    /// The next few rows go both ways.
    fn exchange(&mut self, index: usize) {
        let by_message = self.plan.has(Flaw::PerMessageFirst) || self.plan.has(Flaw::PerMessageLast);
        let session = &mut self.sessions[index];
        let presents = by_message.then(|| [0, 1].map(|side| present(&self.nodes[session.sides[side].node])));
        for _ in 0..3 {
            let Some(key) = session.todo.pop() else { break };
            let mut rows = [0, 1].map(|side| match &presents {
                Some(presents) => presents[side].0.get(&key).cloned(),
                None => session.sides[side].pin.rows.get(&key).cloned(),
            });
            if rows[0] == rows[1] {
                continue;
            }
            let covered = [0, 1].map(|side| covers(&session.sides[1 - side].pin.vector, rows[side].as_ref()));
            let both_hold = rows.iter().all(Option::is_some);
            let silent = both_hold
                && (self.plan.has(Flaw::NeedNotSend)
                    || self.plan.has(Flaw::NeedNotSendOneSided) && !(covered[0] && covered[1]));
            for side in 0..2 {
                let row = rows[side].take();
                if !(silent && covered[side]) {
                    session.sides[1 - side].got.insert(key.clone(), row);
                }
            }
        }
        if let Some(presents) = presents {
            for (side, (_, vector)) in presents.into_iter().enumerate() {
                let shown = &mut session.sides[1 - side].shown;
                let first = shown.take().map_or_else(|| vector.clone(), |(first, _)| first);
                *shown = Some((first, vector));
            }
        }
    }

    /// One side makes its own what the session brought.
    fn adopt(&mut self, index: usize, side: usize) -> Result<(), At> {
        let session = &self.sessions[index];
        let (mine, theirs) = (&session.sides[side], &session.sides[1 - side]);
        let number = mine.node;
        let extra = self.changed_since(session, side);
        let vector = match &mine.shown {
            Some((first, _)) if self.plan.has(Flaw::PerMessageFirst) => first.clone(),
            Some((_, last)) => last.clone(),
            None => theirs.pin.vector.clone(),
        };
        let got = mine.got.clone();
        let mut rows = extra;
        rows.extend(got.clone());
        let adoption = Adoption { space: space(), vector, rows: rows.into_iter().collect() };
        let from = node_id(theirs.node);
        self.tell(|| format!("{number} adopts {adoption:?}"));
        self.count("adoptions");
        if self.plan.has(Flaw::NamesNothing) {
            self.note_by_hand(number);
        }
        let sealed = self.input(number, Input::Adopt { from, adoption }, &[])?;
        if self.plan.has(Flaw::NamesNothing) {
            self.pin_anew(number);
        }
        if self.plan.has(Flaw::RecordStageOnly) {
            for record in sealed {
                if let Ok(Payload::Adoption(mut adoption)) = wire::decode_payload(&record.payload) {
                    adoption.rows.retain(|(key, _)| got.contains_key(key));
                    self.nodes[number].forge(record.commit, &wire::encode_payload(&Payload::Adoption(adoption)));
                }
            }
        }
        self.lose(index, side, true);
        Ok(())
    }

    /// The rows changed at one side since its pin, as they were pinned.
    fn changed_since(&self, session: &Session, side: usize) -> BTreeMap<RowKey, Option<Row>> {
        let naive = self.plan.has(Flaw::StageOnly)
            || self.plan.has(Flaw::PerMessageFirst)
            || self.plan.has(Flaw::PerMessageLast)
            || self.plan.has(Flaw::EqualRootsNaive) && session.equal;
        let (mine, theirs) = (&session.sides[side], &session.sides[1 - side]);
        let space = space();
        let touched = self.nodes[mine.node].replica.touched_since(mine.pin.id, &space);
        let touched = touched.into_iter().flatten().chain(&mine.pin.noted).filter(|_| !naive);
        let fresh = touched.filter(|&key| !mine.got.contains_key(key));
        let silent = self.plan.has(Flaw::NeedNotSend) || self.plan.has(Flaw::NeedNotSendOneSided);
        let equal = fresh.filter(|&key| !silent || mine.pin.rows.get(key) == theirs.pin.rows.get(key));
        equal.map(|key| (key.clone(), mine.pin.rows.get(key).cloned())).collect()
    }

    /// Copies what the pins at a node have noted so far.
    fn note_by_hand(&mut self, number: usize) {
        let space = space();
        for side in self.sessions.iter_mut().flat_map(|session| &mut session.sides) {
            if side.on && side.node == number {
                let touched = self.nodes[number].replica.touched_since(side.pin.id, &space);
                side.pin.noted.extend(touched.into_iter().flatten().cloned());
            }
        }
    }

    /// Opens the pins at a node anew, so that they note only what changes from now on.
    fn pin_anew(&mut self, number: usize) {
        for side in self.sessions.iter_mut().flat_map(|session| &mut session.sides) {
            if side.on && side.node == number {
                self.nodes[number].replica.close_pin(side.pin.id);
                side.pin.id = self.nodes[number].replica.open_pin();
            }
        }
    }

    pub(super) fn abort_session(&mut self) {
        if !self.sessions.is_empty() {
            let index = self.rng.random_range(0..self.sessions.len());
            let side = usize::from(!self.sessions[index].sides[0].on || self.rng.random_bool(0.5));
            let side = if self.sessions[index].sides[side].on { side } else { 0 };
            self.lose(index, side, true);
        }
    }

    /// A node's sessions end at its side; the other may go on if it has everything.
    pub(super) fn lose_sessions_of(&mut self, number: usize) {
        for index in (0..self.sessions.len()).rev() {
            for side in 0..2 {
                let lost = self.sessions.get(index).map(|session| &session.sides[side]);
                if lost.is_some_and(|lost| lost.on && lost.node == number) {
                    self.lose(index, side, false);
                    break;
                }
            }
        }
    }

    fn lose(&mut self, index: usize, side: usize, alive: bool) {
        let lost = &mut self.sessions[index].sides[side];
        lost.on = false;
        if alive {
            self.nodes[lost.node].replica.close_pin(lost.pin.id);
        }
        if self.sessions[index].is_over() {
            self.sessions.remove(index);
        }
    }

    fn end(&mut self, index: usize) {
        let session = self.sessions.remove(index);
        for side in session.sides.into_iter().filter(|side| side.on) {
            self.nodes[side.node].replica.close_pin(side.pin.id);
        }
    }

    /// Ends every session.
    pub(super) fn end_sessions(&mut self) {
        while !self.sessions.is_empty() {
            self.end(0);
        }
    }
}

fn present(node: &Node) -> (BTreeMap<RowKey, Row>, Vector) {
    (node.store.content(&space()), node.vector())
}

fn covers(vector: &Vector, row: Option<&Row>) -> bool {
    row.is_none_or(|row| row.dots().into_iter().all(|dot| vector.covers(dot)))
}
