//! One session, either side of it.

use std::collections::VecDeque;
use std::ops::ControlFlow;

use bytes::Bytes;

use super::compare::{self, Found};
use super::stage::Stage;
use super::{Answer, Cost, Failure, Limits, Message, Open, Outcome, Output, Pin, Sight, Turn, Want};
use crate::id::Space;
use crate::rows::{Placer, RowKey};
use crate::summary::{Element, Hash, LEAF_MAX, Path, root};
use crate::time::{Deadline, Instant};
use crate::vector::Vector;
use crate::wire::decode_row;

/// Places waiting to be sent beyond which no further comparing is done in a turn.
const QUEUE_MAX: usize = 1 << 16;

/// A place whose rows are to be sent.
type Sending = Want;

/// What this side still has to do.
#[derive(Debug, Default)]
struct Work {
    show: Vec<Path>,
    against: Vec<(Path, Vec<Element>)>,
    send: VecDeque<Sending>,
    want: VecDeque<Want>,
}

impl Work {
    fn is_empty(&self) -> bool {
        self.show.is_empty() && self.against.is_empty() && self.send.is_empty() && self.want.is_empty()
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// The initiator awaits the answer.
    Opening,
    /// Turns are taken; whether the own last turn said nothing.
    Turning { quiet: bool },
    /// Over, one way or the other.
    Over,
}

/// A session on pinned snapshots. Pass the same pin to every call.
#[derive(Debug)]
pub struct Session {
    limits: Limits,
    placer: Placer,
    space: Space,
    mine: Vector,
    my_root: Hash,
    theirs: Vector,
    phase: Phase,
    work: Work,
    stage: Stage,
    cost: Cost,
    times: Times,
    outputs: VecDeque<Output>,
}

#[derive(Clone, Copy, Debug)]
struct Times {
    began: Instant,
    heard: Instant,
}

impl Session {
    /// Opens a session as the initiator.
    pub fn initiate<P: Pin>(
        now: Instant,
        limits: Limits,
        placer: Placer,
        space: Space,
        pin: &P,
    ) -> Result<Self, P::Error> {
        let mut session = Self::new(now, limits, placer, space, pin)?;
        let open = Open { space: session.space.clone(), vector: session.mine.clone(), root: session.my_root };
        session.outputs.push_back(Output::Send(Message::Open(open)));
        Ok(session)
    }

    /// Takes part in a session that the peer opened.
    pub fn respond<P: Pin>(
        now: Instant,
        limits: Limits,
        placer: Placer,
        open: Open,
        pin: &P,
    ) -> Result<Self, P::Error> {
        let mut session = Self::new(now, limits, placer, open.space, pin)?;
        session.theirs = open.vector;
        let answer = Answer { vector: session.mine.clone(), root: session.my_root };
        session.outputs.push_back(Output::Send(Message::Answer(answer)));
        session.phase = Phase::Turning { quiet: false };
        if open.root == session.my_root {
            session.finish();
        }
        Ok(session)
    }

    fn new<P: Pin>(now: Instant, limits: Limits, placer: Placer, space: Space, pin: &P) -> Result<Self, P::Error> {
        Ok(Self {
            limits,
            placer,
            mine: pin.vector(&space)?,
            my_root: root(pin, &space)?,
            space,
            theirs: Vector::new(),
            phase: Phase::Opening,
            work: Work::default(),
            stage: Stage::default(),
            cost: Cost::default(),
            times: Times { began: now, heard: now },
            outputs: VecDeque::new(),
        })
    }

    /// Takes a message of the peer.
    pub fn handle_input<P: Pin>(&mut self, now: Instant, pin: &P, message: Message) -> Result<(), P::Error> {
        self.times.heard = now;
        match (self.phase, message) {
            (Phase::Opening, Message::Answer(Answer { vector, root })) => {
                self.theirs = vector;
                self.phase = Phase::Turning { quiet: false };
                if root == self.my_root {
                    self.finish();
                    return Ok(());
                }
                self.work.show.push(Path::ROOT);
                self.take_turn(pin)
            }
            (Phase::Turning { quiet }, Message::Turn(turn)) => {
                let silent = turn.is_silent();
                self.cost.turns += 1;
                if let Err(failure) = self.take_in(pin, turn)? {
                    self.fail(failure);
                    return Ok(());
                }
                if silent && quiet && self.work.is_empty() {
                    self.finish();
                    return Ok(());
                }
                self.take_turn(pin)?;
                if silent && self.phase == (Phase::Turning { quiet: true }) {
                    self.finish();
                }
                Ok(())
            }
            (Phase::Over, _) => Ok(()),
            (Phase::Opening | Phase::Turning { .. }, _) => {
                self.fail(Failure::Broke);
                Ok(())
            }
        }
    }

    /// Ends the session if its time is over.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.phase != Phase::Over && self.poll_timeout().is_some_and(|deadline| deadline.at <= now) {
            self.fail(Failure::TimedOut);
        }
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub fn poll_timeout(&self) -> Option<Deadline<&'static str>> {
        let silence = Deadline { at: self.times.heard + self.limits.silence, why: "the peer is silent" };
        let duration = Deadline { at: self.times.began + self.limits.duration, why: "the session is long" };
        (self.phase != Phase::Over).then(|| silence.min(duration))
    }

    /// The namespace it is about.
    pub fn space(&self) -> &Space {
        &self.space
    }

    fn fail(&mut self, failure: Failure) {
        self.phase = Phase::Over;
        self.outputs.push_back(Output::Failed(failure));
    }

    fn finish(&mut self) {
        self.phase = Phase::Over;
        let stage = std::mem::take(&mut self.stage);
        let diverged = if self.mine == self.theirs { stage.named() } else { Vec::new() };
        let vector = std::mem::take(&mut self.theirs);
        let outcome =
            Outcome { space: self.space.clone(), vector, stage: stage.into_rows(), diverged, cost: self.cost };
        self.outputs.push_back(Output::Done(Box::new(outcome)));
    }

    /// Takes in what the peer said in a turn.
    fn take_in<P: Pin>(&mut self, pin: &P, turn: Turn) -> Result<Result<(), Failure>, P::Error> {
        if turn.sights.len() > 2 * self.limits.turn_entries {
            return Ok(Err(Failure::Broke));
        }
        for (key, bytes) in turn.rows {
            self.cost.rows_received += 1;
            if let Err(failure) = self.stage.put(&self.space, key, &bytes, self.limits.stage_bytes) {
                return Ok(Err(failure));
            }
        }
        for place in turn.told {
            self.stage.absences(pin, &self.space, &self.theirs, place)?;
        }
        for Want { place, both } in turn.wanted {
            self.work.send.push_back(Want { place, both });
            if !both {
                // Only this side holds rows there.
                self.stage.absences(pin, &self.space, &self.theirs, place)?;
            }
        }
        for (path, sight) in turn.sights {
            let found = match sight {
                Sight::Inner(children) => compare::with_children(pin, &self.space, path, &children)?,
                Sight::Elements(elements) => {
                    let honest = elements.len() as u64 <= LEAF_MAX
                        && elements.is_sorted_by(|a, b| a.place < b.place)
                        && elements.iter().all(|element| path.contains(element.place));
                    if !honest {
                        return Ok(Err(Failure::Broke));
                    }
                    compare::with_elements(pin, &self.placer, &self.space, (path, &elements))?
                }
            };
            self.note(pin, found)?;
        }
        Ok(Ok(()))
    }

    fn note<P: Pin>(&mut self, pin: &P, found: Found) -> Result<(), P::Error> {
        self.work.show.extend(found.show);
        self.work.against.extend(found.against);
        for place in found.mine {
            self.work.send.push_back(Want { place, both: false });
            self.stage.absences(pin, &self.space, &self.theirs, place)?;
        }
        for place in found.both {
            self.work.send.push_back(Want { place, both: true });
            self.work.want.push_back(Want { place, both: true });
        }
        self.work.want.extend(found.theirs.into_iter().map(|place| Want { place, both: false }));
        Ok(())
    }

    /// Says what there is to say, up to the limits of a turn.
    fn take_turn<P: Pin>(&mut self, pin: &P) -> Result<(), P::Error> {
        while self.work.send.len() + self.work.want.len() < QUEUE_MAX {
            let Some((path, theirs)) = self.work.against.pop() else { break };
            let found = compare::with_elements(pin, &self.placer, &self.space, (path, &theirs))?;
            self.note(pin, found)?;
        }
        let mut turn = Turn::default();
        while turn.sights.len() < self.limits.turn_entries {
            let Some(path) = self.work.show.pop() else { break };
            turn.sights.push((path, compare::sight(pin, &self.placer, &self.space, path)?));
        }
        let mut bytes = 0;
        while bytes < self.limits.turn_bytes {
            let Some(sending) = self.work.send.pop_front() else { break };
            bytes += self.send_place(pin, sending, &mut turn)?;
        }
        let wants = self.work.want.len().min(self.limits.turn_entries * 16);
        turn.wanted.extend(self.work.want.drain(..wants));
        self.cost.turns += 1;
        self.cost.rows_sent += turn.rows.len() as u64;
        turn.more = !self.work.is_empty();
        self.phase = Phase::Turning { quiet: turn.is_silent() };
        self.outputs.push_back(Output::Send(Message::Turn(turn)));
        Ok(())
    }

    /// Adds the rows at a place to a turn; returns what they weigh. Where only this side holds rows, one whose dots the
    /// peer's vector all covers was removed there, and is not sent.
    fn send_place<P: Pin>(&self, pin: &P, sending: Sending, turn: &mut Turn) -> Result<usize, P::Error> {
        let mut rows: Vec<(RowKey, Bytes)> = Vec::new();
        pin.rows(&self.space, Path::of_place(sending.place), &mut |key, row| {
            rows.push((key.clone(), row.clone()));
            ControlFlow::Continue(())
        })?;
        if sending.both {
            turn.told.push(sending.place);
        } else {
            let was_removed = |(key, bytes): &(RowKey, Bytes)| {
                decode_row(key.kind(), bytes).is_ok_and(|row| row.dots().into_iter().all(|dot| self.theirs.covers(dot)))
            };
            rows.retain(|row| !was_removed(row));
        }
        let weight = rows.iter().map(|(key, row)| key.as_bytes().len() + row.len() + 16).sum::<usize>() + 16;
        turn.rows.extend(rows);
        Ok(weight)
    }
}
