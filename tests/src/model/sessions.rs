//! Repair sessions in steps that everything else can come between.
//!
//! Both sides settle and pin. What differs is exchanged, by the protocol's own machine or by hand (where rules can be
//! broken); then each side adopts on its own, at a time of its own. Either side can be lost on the way.

use std::collections::BTreeMap;

use everett_mesh_proto::replica::PinId;
use everett_mesh_proto::rows::{Row, RowKey};
use everett_mesh_proto::vector::Vector;
use rand::RngExt;

use super::by_hand::Hand;
use super::by_machine::Machines;
use super::node::space;
use super::plan::{Flaw, Ingredient};
use super::world::{At, World};

/// The rows and the vector of one settled commit.
pub(super) type Snapshot = (BTreeMap<RowKey, Row>, Vector);

/// One side of a session.
#[derive(Debug)]
pub(super) struct Side {
    pub(super) node: usize,
    /// Whether it still takes part.
    pub(super) on: bool,
    /// What notes the changes since its snapshot.
    pub(super) pin: PinId,
}

/// How a session is held.
#[derive(Debug)]
enum Talk {
    Hand(Box<Hand>),
    Machines(Box<Machines>),
}

/// One session.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) sides: [Side; 2],
    talk: Talk,
}

impl Session {
    fn involves(&self, node: usize) -> bool {
        self.sides.iter().any(|side| side.on && side.node == node)
    }

    /// Both sides, and the exchange if it is one by hand.
    pub(super) fn parts(&mut self) -> (&mut [Side; 2], Option<&mut Hand>) {
        let hand = match &mut self.talk {
            Talk::Hand(hand) => Some(hand.as_mut()),
            Talk::Machines(_) => None,
        };
        (&mut self.sides, hand)
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
        let snapshots = [a, b].map(|node| self.snapshot(node));
        let sides = [a, b].map(|node| Side { node, on: true, pin: self.nodes[node].replica.open_pin() });
        if snapshots[0].0 == snapshots[1].0 {
            self.count("equal roots");
        }
        let talk = if self.plan.with(Ingredient::Wired) {
            Talk::Machines(Box::new(Machines::new(&mut self.rng, snapshots)))
        } else {
            Talk::Hand(Box::new(Hand::new(&mut self.rng, snapshots)))
        };
        self.sessions.push(Session { sides, talk });
    }

    fn snapshot(&mut self, number: usize) -> Snapshot {
        if !self.plan.has(Flaw::NoSettle) {
            self.settle(number);
        }
        let disk = self.nodes[number].store.disk();
        (disk.rows.clone(), disk.settled.vectors.get(&space()).cloned().unwrap_or_default())
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
        let mut session = self.sessions.remove(index);
        let Session { sides, talk } = &mut session;
        match talk {
            Talk::Hand(hand) => self.step_by_hand(sides, hand)?,
            Talk::Machines(machines) => self.step_by_machine(sides, machines)?,
        }
        if session.sides.iter().any(|side| side.on) {
            self.sessions.insert(index, session);
        }
        Ok(())
    }

    pub(super) fn abort_session(&mut self) {
        if !self.sessions.is_empty() {
            let index = self.rng.random_range(0..self.sessions.len());
            let on: Vec<usize> = (0..2).filter(|&side| self.sessions[index].sides[side].on).collect();
            let side = on[self.rng.random_range(0..on.len())];
            let mut session = self.sessions.remove(index);
            self.leave(&mut session.sides[side]);
            if session.sides.iter().any(|side| side.on) {
                self.sessions.insert(index, session);
            }
        }
    }

    /// A side ends its part; the other may go on if it has everything.
    pub(super) fn leave(&mut self, side: &mut Side) {
        if side.on {
            side.on = false;
            self.nodes[side.node].replica.close_pin(side.pin);
        }
    }

    /// A process took its pins with it.
    pub(super) fn lose_sessions_of(&mut self, number: usize) {
        for session in &mut self.sessions {
            for side in session.sides.iter_mut().filter(|side| side.node == number) {
                side.on = false;
            }
        }
        self.sessions.retain(|session| session.sides.iter().any(|side| side.on));
    }

    /// Ends every session.
    pub(super) fn end_sessions(&mut self) {
        for mut session in std::mem::take(&mut self.sessions) {
            session.sides.iter_mut().for_each(|side| self.leave(side));
        }
    }
}
