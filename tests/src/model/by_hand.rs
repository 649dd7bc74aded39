//! Sessions by hand, row by row: the rules of adoption in their plainest form, each of which can be broken.
//!
//! Rows that differ are exchanged in random order. What is adopted: what came, and for every row changed here since the pin
//! the own pinned row, which was equal and so stands for the peer's.

use std::collections::{BTreeMap, BTreeSet};

use everett_mesh_proto::replica::{Adoption, Input, Payload};
use everett_mesh_proto::rows::{Row, RowKey};
use everett_mesh_proto::vector::Vector;
use everett_mesh_proto::wire;
use rand::RngExt;
use rand_pcg::Pcg64;

use super::edits::all_rows;
use super::node::{Node, node_id, space};
use super::plan::Flaw;
use super::sessions::{Side, Snapshot};
use super::world::{At, World};

/// What one side holds and has heard.
#[derive(Debug)]
struct Half {
    rows: BTreeMap<RowKey, Row>,
    vector: Vector,
    /// Changes noted before the pin was last opened anew.
    noted: BTreeSet<RowKey>,
    /// What came: the peer's rows and absences.
    got: BTreeMap<RowKey, Option<Row>>,
    /// The peer's vector as its first and its last message showed it.
    shown: Option<(Vector, Vector)>,
}

/// An exchange by hand.
#[derive(Debug)]
pub(super) struct Hand {
    halves: [Half; 2],
    todo: Vec<RowKey>,
    equal: bool,
}

impl Hand {
    /// An exchange between two snapshots.
    pub(super) fn new(rng: &mut Pcg64, snapshots: [Snapshot; 2]) -> Self {
        let equal = snapshots[0].0 == snapshots[1].0;
        let mut todo: Vec<RowKey> = if equal { Vec::new() } else { all_rows().cloned().collect() };
        for index in (1..todo.len()).rev() {
            todo.swap(index, rng.random_range(0..=index));
        }
        let halves = snapshots.map(|(rows, vector)| Half {
            rows,
            vector,
            noted: BTreeSet::new(),
            got: BTreeMap::new(),
            shown: None,
        });
        Self { halves, todo, equal }
    }

    /// Each side shows the present of its messages, not its pin.
    fn show(&mut self, presents: [Snapshot; 2]) {
        for (side, (_, vector)) in presents.into_iter().enumerate() {
            let shown = &mut self.halves[1 - side].shown;
            let first = shown.take().map_or_else(|| vector.clone(), |(first, _)| first);
            *shown = Some((first, vector));
        }
    }

    /// Whether a row of these both is to be passed over in silence by the side that has no news.
    fn is_silent(flaw: Option<Flaw>, rows: &[Option<Row>; 2], covered: [bool; 2]) -> bool {
        let both_hold = rows.iter().all(Option::is_some);
        let one_sided = flaw == Some(Flaw::NeedNotSendOneSided) && covered != [true, true];
        both_hold && (flaw == Some(Flaw::NeedNotSend) || one_sided)
    }

    /// The vector that `side` adopts.
    fn vector(&self, side: usize, flaw: Option<Flaw>) -> Vector {
        match &self.halves[side].shown {
            Some((first, _)) if flaw == Some(Flaw::PerMessageFirst) => first.clone(),
            Some((_, last)) => last.clone(),
            None if flaw == Some(Flaw::TablesTaken) => {
                let (mine, theirs) = (&self.halves[side].vector, &self.halves[1 - side].vector);
                Vector::assemble(theirs.named(), mine.closed().clone())
            }
            None => self.halves[1 - side].vector.clone(),
        }
    }

    /// The rows changed at `side` since its pin, as they were pinned.
    fn changed<'a>(
        &'a self,
        side: usize,
        flaw: Option<Flaw>,
        touched: impl Iterator<Item = &'a RowKey>,
    ) -> BTreeMap<RowKey, Option<Row>> {
        let by_message = flaw == Some(Flaw::PerMessageFirst) || flaw == Some(Flaw::PerMessageLast);
        let naive = flaw == Some(Flaw::EqualRootsNaive) && self.equal;
        if by_message || naive || flaw == Some(Flaw::StageOnly) {
            return BTreeMap::new();
        }
        let silent = flaw == Some(Flaw::NeedNotSend) || flaw == Some(Flaw::NeedNotSendOneSided);
        let (mine, theirs) = (&self.halves[side], &self.halves[1 - side]);
        let fresh = touched.chain(&mine.noted).filter(|&key| !mine.got.contains_key(key));
        let equal = fresh.filter(|&key| !silent || mine.rows.get(key) == theirs.rows.get(key));
        equal.map(|key| (key.clone(), mine.rows.get(key).cloned())).collect()
    }
}

impl World {
    /// A few rows go both ways, or a side that has everything adopts.
    pub(super) fn step_by_hand(&mut self, sides: &mut [Side; 2], hand: &mut Hand) -> Result<(), At> {
        if hand.todo.is_empty() {
            let on: Vec<usize> = (0..2).filter(|&side| sides[side].on).collect();
            let side = on[self.rng.random_range(0..on.len())];
            return self.adopt_by_hand(sides, hand, side);
        }
        if sides.iter().all(|side| side.on) {
            self.exchange(sides, hand);
        } else {
            sides.iter_mut().for_each(|side| self.leave(side));
        }
        Ok(())
    }

    fn exchange(&mut self, sides: &[Side; 2], hand: &mut Hand) {
        let by_message = self.plan.has(Flaw::PerMessageFirst) || self.plan.has(Flaw::PerMessageLast);
        let presents = by_message.then(|| [0, 1].map(|side| present(&self.nodes[sides[side].node])));
        for _ in 0..3 {
            let Some(key) = hand.todo.pop() else { break };
            let mut rows = [0, 1].map(|side| match &presents {
                Some(presents) => presents[side].0.get(&key).cloned(),
                None => hand.halves[side].rows.get(&key).cloned(),
            });
            if rows[0] == rows[1] {
                continue;
            }
            let covered = [0, 1].map(|side| covers(&hand.halves[1 - side].vector, rows[side].as_ref()));
            let silent = Hand::is_silent(self.plan.flaw, &rows, covered);
            for side in 0..2 {
                let row = rows[side].take();
                if !(silent && covered[side]) {
                    hand.halves[1 - side].got.insert(key.clone(), row);
                }
            }
        }
        if let Some(presents) = presents {
            hand.show(presents);
        }
    }

    fn adopt_by_hand(&mut self, sides: &mut [Side; 2], hand: &mut Hand, side: usize) -> Result<(), At> {
        let (number, space) = (sides[side].node, space());
        let touched = self.nodes[number].replica.touched_since(sides[side].pin, &space);
        let mut rows = hand.changed(side, self.plan.flaw, touched.into_iter().flatten());
        let got = std::mem::take(&mut hand.halves[side].got);
        rows.extend(got.clone());
        let vector = hand.vector(side, self.plan.flaw);
        let adoption = Adoption { space, vector, rows: rows.into_iter().collect() };
        let from = node_id(sides[1 - side].node);
        self.tell(|| format!("{number} adopts {adoption:?}"));
        self.count("adoptions");
        if self.plan.has(Flaw::NamesNothing) {
            self.note_by_hand(number);
        }
        let sealed = self.input(number, [Input::Adopt { from, adoption }], &[])?;
        if self.plan.has(Flaw::NamesNothing) {
            self.pin_anew(number);
        }
        if self.plan.has(Flaw::RecordStageOnly) {
            for record in sealed {
                if let Ok(Payload::Adoption(mut adoption)) = wire::decode_payload(&record.payload) {
                    adoption.rows.retain(|(key, _)| got.contains_key(key));
                    let payload = wire::encode_payload(&Payload::Adoption(adoption));
                    self.nodes[number].forge(record.commit, &payload);
                }
            }
        }
        self.leave(&mut sides[side]);
        Ok(())
    }

    /// Copies what the pins at a node have noted so far.
    fn note_by_hand(&mut self, number: usize) {
        let space = space();
        self.each_half(number, |node, side, half| {
            let touched = node.replica.touched_since(side.pin, &space);
            half.noted.extend(touched.into_iter().flatten().cloned());
        });
    }

    /// Opens the pins at a node anew, so that they note only what changes from now on.
    fn pin_anew(&mut self, number: usize) {
        self.each_half(number, |node, side, _| {
            node.replica.close_pin(side.pin);
            side.pin = node.replica.open_pin();
        });
    }

    fn each_half(&mut self, number: usize, visit: impl Fn(&mut Node, &mut Side, &mut Half)) {
        for session in &mut self.sessions {
            for index in 0..2 {
                let (sides, hand) = session.parts();
                if let Some(hand) = hand.filter(|_| sides[index].on && sides[index].node == number) {
                    visit(&mut self.nodes[number], &mut sides[index], &mut hand.halves[index]);
                }
            }
        }
    }
}

fn present(node: &Node) -> Snapshot {
    (node.store.content(&space()), node.vector())
}

fn covers(vector: &Vector, row: Option<&Row>) -> bool {
    row.is_none_or(|row| row.dots().into_iter().all(|dot| vector.covers(dot)))
}
