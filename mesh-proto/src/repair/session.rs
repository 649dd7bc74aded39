//! One session, either side of it: how it begins, whose turn it is, and how it ends.

mod decoding;
mod looks;
mod tables;
mod times;
mod turns;

use std::collections::VecDeque;

use super::compare::Side;
use super::glance::GLANCE_SUMS;
use super::leave::Leave;
use super::stage::Stage;
use super::{Answer, Cost, Failure, Limits, Listed, Message, Open, Outcome, Output, Pin, Sight, Turn, Want};
use crate::id::Space;
use crate::rows::{Placer, RowKey};
use crate::summary::{Hash, Path, root};
use crate::time::{Deadline, Instant};
use crate::vector::{Brief, Closed, Vector};

use decoding::Decoding;
use looks::{Looks, Shown};
use times::Times;

/// The most turns of both sides together: many times what the limits let an honest session need.
const TURNS_MAX: u64 = 1 << 16;

/// How many times as long as later the first answer may take: the other side opens its pin, for which it waits for a flush.
const OPENING_PATIENCE: u32 = 4;

/// Whose rows are to be sent.
#[derive(Clone, Debug)]
struct Sending {
    path: Path,
    /// Whether the peer holds rows there too.
    both: bool,
    /// How the peer is to know when it has all of them.
    told: Told,
    /// The last row that was sent of it.
    after: Option<RowKey>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Told {
    /// It need not know.
    No,
    /// By its place.
    Place,
    /// As the next of the cells that it awaits.
    Cell,
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
        self.is_only_rows() && self.send.is_empty()
    }

    /// Whether nothing is left that the peer has to answer.
    fn is_only_rows(&self) -> bool {
        self.show.is_empty() && self.against.is_empty() && self.want.is_empty()
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// The initiator awaits the answer.
    Opening,
    /// Turns are taken; whether the own last turn had more to come.
    Turning { more: bool },
    /// Over, one way or the other.
    Over,
}

/// The vectors of the two pins, and what else the peer said of its own.
#[derive(Debug, Default)]
struct Vectors {
    mine: Vector,
    theirs: Vector,
    /// The peer's table of closed lives, where it is another one.
    their_closed: Option<Closed>,
    /// How many places are taken there, as the peer says.
    their_count: u64,
}

/// What was said and found so far.
#[derive(Debug, Default)]
struct Progress {
    work: Work,
    leave: Leave,
    looks: Looks,
    stage: Stage,
}

impl Progress {
    /// At the beginning of a descent.
    fn descending() -> Self {
        let mut progress = Self::default();
        progress.looks.descends = true;
        // Each side may show the root once.
        progress.leave.begin();
        progress
    }
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
    progress: Progress,
    /// The peer's first word, which waits for its table of closed lives.
    opening: Option<Box<Open>>,
    /// A message that waits until its sketches are decoded.
    reading: Option<Box<(Message, Decoding)>>,
    cost: Cost,
    times: Times,
    outputs: VecDeque<Output>,
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
        let (root, vector) = (session.my_root, Brief::from(&session.vectors.mine));
        let count = session.side(pin).count()?;
        let sums = if count == 0 { 0 } else { limits.glance_sums };
        let glance = session.side(pin).glance(sums)?;
        let open = Open { space: session.space.clone(), vector, root, count, glance };
        // An empty side has shown all that it holds.
        if count == 0 {
            session.progress.leave.shown(Path::ROOT, &Sight::Elements(Vec::new()));
        }
        session.progress.leave.begin();
        session.progress.looks.shown = Shown::Glance { full: sums >= GLANCE_SUMS };
        session.progress.looks.may_name = sums.min(GLANCE_SUMS);
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
        let mut session = Self::new(now, limits, placer, open.space.clone(), pin)?;
        if session.has_table_of(&open.vector) {
            session.answer(pin, open)?;
        } else {
            session.ask_for_table(open);
        }
        Ok(session)
    }

    /// Answers the peer's first word.
    fn answer<P: Pin>(&mut self, pin: &P, open: Open) -> Result<(), P::Error> {
        let Open { vector, root, count, glance, .. } = open;
        let Some(theirs) = self.whole(vector) else {
            self.fail(Failure::Broke);
            return Ok(());
        };
        self.vectors.theirs = theirs;
        self.vectors.their_count = count;
        let own_count = self.side(pin).count()?;
        let vector = Brief::from(&self.vectors.mine);
        if root == self.my_root {
            let answer = Answer { vector, is_equal: true, count: own_count, turn: Turn::default() };
            self.outputs.push_back(Output::Send(Message::Answer(answer)));
            self.finish();
            return Ok(());
        }
        let first = if count == 0 {
            self.compare(pin, Path::ROOT, Sight::Elements(Vec::new()))?;
            Ok(())
        } else if self.vectors.mine == self.vectors.theirs || own_count == 0 {
            self.progress = Progress::descending();
            self.progress.work.show.push(Path::ROOT);
            Ok(())
        } else {
            self.answer_glance(pin, &glance)?
        };
        match first {
            Ok(()) => {
                let turn = self.turn(pin)?;
                let all = !turn.asks();
                let answer = Answer { vector, is_equal: false, count: own_count, turn };
                self.outputs.push_back(Output::Send(Message::Answer(answer)));
                if all {
                    self.finish();
                }
            }
            Err(failure) => self.fail(failure),
        }
        Ok(())
    }

    fn new<P: Pin>(now: Instant, limits: Limits, placer: Placer, space: Space, pin: &P) -> Result<Self, P::Error> {
        Ok(Self {
            limits,
            placer,
            vectors: Vectors { mine: pin.vector(&space)?, ..Vectors::default() },
            my_root: root(pin, &space)?,
            space,
            phase: Phase::Opening,
            progress: Progress::default(),
            opening: None,
            reading: None,
            cost: Cost::default(),
            times: Times::begin(now),
            outputs: VecDeque::new(),
        })
    }

    /// Takes a message of the peer. If there is much to decode in it, that is only begun: see [`work`](Self::work).
    pub fn handle_input<P: Pin>(&mut self, now: Instant, pin: &P, message: Message) -> Result<(), P::Error> {
        self.times.hear(now, self.limits.turns_in_flight);
        if self.is_working() {
            // The peer awaits an answer, and has no word before that.
            self.fail(Failure::Broke);
            return Ok(());
        }
        match self.to_decode(&message) {
            Some(decoding) => {
                self.reading = Some(Box::new((message, decoding)));
                self.work(pin)
            }
            None => self.take(pin, message),
        }
    }

    /// Whether a message waits to be decoded further: call [`work`](Self::work) until it does not, in between whatever else
    /// there is to do.
    pub fn is_working(&self) -> bool {
        self.reading.is_some() && self.phase != Phase::Over
    }

    /// Decodes a stretch more of the message that came last, and takes it in when that is done.
    pub fn work<P: Pin>(&mut self, pin: &P) -> Result<(), P::Error> {
        let Some(mut reading) = self.reading.take().filter(|_| self.phase != Phase::Over) else { return Ok(()) };
        let (message, decoding) = &mut *reading;
        decoding.advance(&self.side(pin), self.limits.stretch_sums)?;
        if decoding.is_done() {
            self.progress.looks.decoded = Some(std::mem::take(decoding));
            let message = std::mem::replace(message, Message::Turn(Turn::default()));
            return self.take(pin, message);
        }
        self.reading = Some(reading);
        Ok(())
    }

    fn take<P: Pin>(&mut self, pin: &P, message: Message) -> Result<(), P::Error> {
        let taken = match (self.phase, message) {
            (Phase::Opening, Message::Closed(closed)) => self.take_table(pin, closed)?,
            (Phase::Opening, Message::Answer(answer)) if self.opening.is_none() => self.begin(pin, answer)?,
            (Phase::Turning { .. }, Message::Turn(turn)) => self.take_turn(pin, turn)?,
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
        let patience = if self.phase == Phase::Opening { OPENING_PATIENCE } else { 1 };
        (self.phase != Phase::Over).then(|| self.times.end(&self.limits, patience))
    }

    /// How many bytes of the peer's rows it holds.
    pub fn stage_bytes(&self) -> usize {
        self.progress.stage.bytes()
    }

    /// How many rows of the peer it holds, absences included, and how many places the peer says that it has taken.
    pub fn progress(&self) -> (u64, u64) {
        (self.progress.stage.len() as u64, self.vectors.their_count)
    }

    /// The namespace it is about.
    pub fn space(&self) -> &Space {
        &self.space
    }

    /// The answer has come: compares the roots, and takes the first turn.
    fn begin<P: Pin>(&mut self, pin: &P, answer: Answer) -> Result<Result<(), Failure>, P::Error> {
        let Answer { vector, is_equal, count, turn } = answer;
        let Some(theirs) = self.whole(vector) else { return Ok(Err(Failure::Broke)) };
        self.vectors.theirs = theirs;
        self.vectors.their_count = count;
        self.phase = Phase::Turning { more: false };
        if is_equal {
            self.finish();
            return Ok(Ok(()));
        }
        // To nobody but an empty side is nothing said of a difference.
        if !turn.asks() && self.my_root != Hash::default() {
            return Ok(Err(Failure::Broke));
        }
        self.take_turn(pin, turn)
    }

    /// Takes a turn of the peer, and answers with one, or ends: when neither side has anything left. A peer that has nothing
    /// left to say owes nothing either: a stage with a hole in it must not be adopted.
    fn take_turn<P: Pin>(&mut self, pin: &P, turn: Turn) -> Result<Result<(), Failure>, P::Error> {
        let (asks, more, follows) = (turn.asks(), turn.more, turn.follows);
        // A turn that asks for something awaits an answer.
        if follows && !(more && turn.has_only_rows()) {
            return Ok(Err(Failure::Broke));
        }
        self.cost.turns += 1;
        // The rest of what the peer says in a row belongs to what was found to be false.
        if !self.has_begun_anew()
            && let broke @ Err(_) = self.take_in(pin, turn)?
        {
            return Ok(broke);
        }
        if follows && self.cost.turns < TURNS_MAX {
            return Ok(Ok(()));
        }
        let owes = self.progress.leave.unanswered() > 0 || !self.progress.looks.owed.is_empty();
        let unproved = self.progress.looks.found && !self.progress.looks.proved;
        if !asks && (owes || unproved) {
            return Ok(Err(Failure::Broke));
        }
        if self.cost.turns >= TURNS_MAX {
            return Ok(Err(Failure::TimedOut));
        }
        if !asks && self.phase == (Phase::Turning { more: false }) && !self.has_begun_anew() {
            self.finish();
            return Ok(Ok(()));
        }
        let mine = self.turns(pin)?;
        let done = !more && mine.last().is_some_and(|turn| !turn.asks());
        if done && (owes || unproved) {
            return Ok(Err(Failure::Broke));
        }
        self.outputs.extend(mine.into_iter().map(|turn| Output::Send(Message::Turn(turn))));
        if done {
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
        let Progress { mut stage, .. } = std::mem::take(&mut self.progress);
        let Vectors { mine, theirs, .. } = std::mem::take(&mut self.vectors);
        let diverged = stage.diverged(mine == theirs);
        let outcome =
            Outcome { space: self.space.clone(), vector: theirs, stage: stage.into_rows(), diverged, cost: self.cost };
        self.outputs.push_back(Output::Done(Box::new(outcome)));
    }

    fn side<'a, P: Pin>(&'a self, pin: &'a P) -> Side<'a, P> {
        Side { pin, placer: &self.placer, space: &self.space }
    }
}
