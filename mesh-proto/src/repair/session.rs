//! One session, either side of it: how it begins, whose turn it is, and how it ends.

mod turns;

use std::collections::VecDeque;

use super::compare::{Side, is_sound};
use super::leave::Leave;
use super::stage::Stage;
use super::{Answer, Cost, Failure, Limits, Listed, Message, Open, Outcome, Output, Pin, Want};
use crate::id::Space;
use crate::rows::Placer;
use crate::summary::{Hash, Path, root};
use crate::time::{Deadline, Instant};
use crate::vector::Vector;

/// The most turns of both sides together: many times what the limits let an honest session need.
const TURNS_MAX: u64 = 1 << 16;

/// A place whose rows are to be sent.
#[derive(Clone, Copy, Debug)]
struct Sending {
    place: u64,
    /// Whether the peer holds rows there too.
    both: bool,
    /// Whether the peer is to know when it has all of them.
    told: bool,
}

/// What this side still has to do.
#[derive(Debug, Default)]
struct Work {
    show: Vec<Path>,
    against: Vec<(Path, Vec<Listed>)>,
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

/// The vectors of the two pins.
#[derive(Debug, Default)]
struct Vectors {
    mine: Vector,
    theirs: Vector,
}

/// A session on pinned snapshots. Pass the same pin to every call.
#[derive(Debug)]
pub struct Session {
    limits: Limits,
    placer: Placer,
    space: Space,
    my_root: Hash,
    vectors: Vectors,
    phase: Phase,
    work: Work,
    leave: Leave,
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
        let open = Open { space: session.space.clone(), vector: session.vectors.mine.clone(), root: session.my_root };
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
        session.vectors.theirs = open.vector;
        session.phase = Phase::Turning { quiet: false };
        let equal = open.root == session.my_root;
        let sight = if equal { None } else { Some(session.show(pin, Path::ROOT)?) };
        let answer = Answer { vector: session.vectors.mine.clone(), root: session.my_root, sight };
        session.outputs.push_back(Output::Send(Message::Answer(answer)));
        if equal {
            session.finish();
        }
        Ok(session)
    }

    fn new<P: Pin>(now: Instant, limits: Limits, placer: Placer, space: Space, pin: &P) -> Result<Self, P::Error> {
        Ok(Self {
            limits,
            placer,
            vectors: Vectors { mine: pin.vector(&space)?, theirs: Vector::new() },
            my_root: root(pin, &space)?,
            space,
            phase: Phase::Opening,
            work: Work::default(),
            leave: Leave::default(),
            stage: Stage::default(),
            cost: Cost::default(),
            times: Times { began: now, heard: now },
            outputs: VecDeque::new(),
        })
    }

    /// Takes a message of the peer.
    pub fn handle_input<P: Pin>(&mut self, now: Instant, pin: &P, message: Message) -> Result<(), P::Error> {
        self.times.heard = now;
        let taken = match (self.phase, message) {
            (Phase::Opening, Message::Answer(answer)) => self.begin(pin, answer)?,
            (Phase::Turning { quiet }, Message::Turn(turn)) => {
                let silent = turn.is_silent();
                self.cost.turns += 1;
                match self.take_in(pin, turn)? {
                    Ok(()) => self.reply(pin, silent, quiet)?,
                    broke @ Err(_) => broke,
                }
            }
            (Phase::Over, _) => Ok(()),
            (Phase::Opening | Phase::Turning { .. }, _) => Err(Failure::Broke),
        };
        if let Err(failure) = taken {
            self.fail(failure);
        }
        Ok(())
    }

    /// Ends the session if its time is over.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_some_and(|deadline| deadline.at <= now) {
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

    /// The answer has come: compares the roots, and what the peer holds there.
    fn begin<P: Pin>(&mut self, pin: &P, answer: Answer) -> Result<Result<(), Failure>, P::Error> {
        let Answer { vector, root, sight } = answer;
        self.vectors.theirs = vector;
        self.phase = Phase::Turning { quiet: false };
        if root == self.my_root {
            self.finish();
            return Ok(Ok(()));
        }
        let Some(sight) = sight.filter(|sight| is_sound(Path::ROOT, sight)) else { return Ok(Err(Failure::Broke)) };
        self.compare(pin, Path::ROOT, sight)?;
        self.take_turn(pin)?;
        Ok(Ok(()))
    }

    /// Answers a turn with a turn, or ends: when neither side has anything left. A peer that has nothing left to say owes
    /// nothing either: a stage with a hole in it must not be adopted.
    fn reply<P: Pin>(&mut self, pin: &P, silent: bool, quiet: bool) -> Result<Result<(), Failure>, P::Error> {
        if silent && self.leave.unanswered() > 0 {
            return Ok(Err(Failure::Broke));
        }
        if self.cost.turns >= TURNS_MAX {
            return Ok(Err(Failure::TimedOut));
        }
        if silent && quiet && self.work.is_empty() {
            self.finish();
            return Ok(Ok(()));
        }
        self.take_turn(pin)?;
        if silent && self.phase == (Phase::Turning { quiet: true }) {
            self.finish();
        }
        Ok(Ok(()))
    }

    fn fail(&mut self, failure: Failure) {
        self.phase = Phase::Over;
        self.outputs.push_back(Output::Failed(failure));
    }

    fn finish(&mut self) {
        self.phase = Phase::Over;
        let stage = std::mem::take(&mut self.stage);
        let Vectors { mine, theirs } = std::mem::take(&mut self.vectors);
        let diverged = if mine == theirs { stage.named() } else { Vec::new() };
        let outcome =
            Outcome { space: self.space.clone(), vector: theirs, stage: stage.into_rows(), diverged, cost: self.cost };
        self.outputs.push_back(Output::Done(Box::new(outcome)));
    }

    fn side<'a, P: Pin>(&'a self, pin: &'a P) -> Side<'a, P> {
        Side { pin, placer: &self.placer, space: &self.space }
    }
}
