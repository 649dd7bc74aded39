//! Sessions by the protocol's own machines: one on each side, and what they say to each other on its way.

use std::collections::VecDeque;
use std::time::Duration;

use everett_mesh_proto::repair::{Limits, Message, Outcome, Output, Session};
use everett_mesh_proto::replica::Input;
use everett_mesh_proto::testing::MemoryContent;
use everett_mesh_proto::time::Instant;
use everett_mesh_proto::wire;
use rand::RngExt;
use rand_pcg::Pcg64;

use super::check::Fault;
use super::node::{node_id, placer, space};
use super::sessions::{Side, Snapshot};
use super::world::{At, World};

/// The machine of one side, with its snapshot and what is on its way to it.
#[derive(Debug)]
struct Talker {
    pin: MemoryContent,
    machine: Option<Session>,
    inbox: VecDeque<bytes::Bytes>,
    outcome: Option<Outcome>,
}

/// Both sides; the first opens.
#[derive(Debug)]
pub(super) struct Machines {
    talkers: [Talker; 2],
    limits: Limits,
}

impl Machines {
    /// A session between two snapshots, in which the first side has the first word.
    pub(super) fn new(rng: &mut Pcg64, snapshots: Snapshots) -> Self {
        let limits = Limits {
            turn_bytes: rng.random_range(1..400),
            turns_in_flight: rng.random_range(1..5),
            turn_entries: rng.random_range(1..4),
            // From a descent over first glances that are too small to ones that hold everything.
            glance_sums: [0, 3, 5, 16, 32][rng.random_range(0..5)],
            stretch_sums: rng.random_range(1..64),
            stage_bytes: 1 << 20,
            duration: Duration::from_mins(30),
            silence: Duration::from_secs(30),
        };
        let talkers = snapshots.map(|(rows, vector)| {
            let pin = MemoryContent::settled(&placer(), &space(), &rows, vector);
            Talker { pin, machine: None, inbox: VecDeque::new(), outcome: None }
        });
        let mut machines = Self { talkers, limits };
        let Ok(first) = Session::initiate(Instant::ZERO, limits, placer(), space(), &machines.talkers[0].pin);
        machines.talkers[0].machine = Some(first);
        machines
    }

    /// Takes what the machine of `side` wants done; its messages go to the other's inbox.
    fn drain(&mut self, side: usize) -> Result<(), Fault> {
        let [first, second] = &mut self.talkers;
        let (mine, theirs) = if side == 0 { (first, second) } else { (second, first) };
        while let Some(output) = mine.machine.as_mut().and_then(Session::poll_output) {
            match output {
                Output::Send(message) => theirs.inbox.push_back(wire::encode_datagram(&message)),
                Output::Done(outcome) if outcome.diverged.is_empty() => mine.outcome = Some(*outcome),
                Output::Done(_) => return Err(Fault::Bytes),
                Output::Failed(failure) => return Err(Fault::Session(failure)),
            }
        }
        Ok(())
    }

    /// The machine of `side` hears the next message.
    fn hear(&mut self, side: usize) -> Result<(), Fault> {
        let Talker { pin, machine, inbox, .. } = &mut self.talkers[side];
        let Some(bytes) = inbox.pop_front() else { return Ok(()) };
        let message: Message = wire::decode_datagram(&bytes).map_err(|_| Fault::Broke)?;
        match (machine, message) {
            (Some(machine), message) => {
                let Ok(()) = machine.handle_input(Instant::ZERO, pin, message);
                while machine.is_working() {
                    let Ok(()) = machine.work(pin);
                }
            }
            (silent @ None, Message::Open(open)) => {
                let Ok(answering) = Session::respond(Instant::ZERO, self.limits, placer(), open, pin);
                *silent = Some(answering);
            }
            (None, Message::Answer(_) | Message::Turn(_) | Message::Closed(_)) => return Err(Fault::Broke),
        }
        self.drain(side)
    }

    fn can_act(&self, side: usize) -> bool {
        !self.talkers[side].inbox.is_empty() || self.talkers[side].outcome.is_some()
    }
}

/// One for each side.
type Snapshots = [Snapshot; 2];

impl World {
    /// One side hears a message, or adopts if it has heard all.
    pub(super) fn step_by_machine(&mut self, sides: &mut [Side; 2], machines: &mut Machines) -> Result<(), At> {
        machines.drain(0).map_err(|fault| (sides[0].node, fault))?;
        let able: Vec<usize> = (0..2).filter(|&side| sides[side].on && machines.can_act(side)).collect();
        if able.is_empty() {
            // The other side is gone and never answers.
            sides.iter_mut().for_each(|side| self.leave(side));
            return Ok(());
        }
        let side = able[self.rng.random_range(0..able.len())];
        let number = sides[side].node;
        let Some(outcome) = machines.talkers[side].outcome.take() else {
            self.count("messages");
            return machines.hear(side).map_err(|fault| (number, fault));
        };
        let space = space();
        let touched = self.nodes[number].replica.touched_since(sides[side].pin, &space);
        let Ok(adoption) = outcome.complete(touched.into_iter().flatten(), &machines.talkers[side].pin);
        let from = node_id(sides[1 - side].node);
        self.tell(|| format!("{number} adopts {adoption:?}"));
        self.count("adoptions");
        self.input(number, [Input::Adopt { from, adoption }], &[])?;
        self.leave(&mut sides[side]);
        Ok(())
    }
}
