//! What is known of one linked peer: what it has, what it holds durably, how far it was read to.

use std::collections::{BTreeMap, BTreeSet};

use super::{Reading, Vectors, Whose};
use crate::id::{Dot, NodeId, ReplicaId, Space};
use crate::log::Commit;
use crate::vector::Vector;

/// Whether a peer takes part in broadcasts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mode {
    /// It is read to from the log.
    Behind {
        /// The reading whose answer is awaited; `None` while the peer takes what was sent.
        ticket: Option<u64>,
        /// Own groups up to this commit were sent.
        upto: Commit,
    },
    /// It gets every own group at once.
    Live,
}

/// A reading that the peer asked for.
#[derive(Clone, Debug)]
struct Answer {
    /// The reading whose answer is awaited; `None` while the peer takes what was sent.
    ticket: Option<u64>,
    after: Commit,
    /// What was durable when the peer asked: it gets everything later as it comes.
    until: Commit,
}

/// One linked peer.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    life: ReplicaId,
    mode: Mode,
    known: Vectors,
    durable: Vectors,
    /// What `known` was a period ago.
    known_before: Vectors,
    answer: Option<Answer>,
    /// Acknowledgements may have been lost with what was queued.
    acks_lost: bool,
}

impl Peer {
    pub(super) fn new(life: ReplicaId, has: Vectors) -> Self {
        let mode = Mode::Behind { ticket: None, upto: Commit(0) };
        Self {
            life,
            mode,
            known: has,
            durable: Vectors::new(),
            known_before: Vectors::new(),
            answer: None,
            acks_lost: true,
        }
    }

    pub(super) fn is_live(&self) -> bool {
        self.mode == Mode::Live
    }

    pub(super) fn go_live(&mut self) {
        self.mode = Mode::Live;
    }

    /// Awaits the reading `ticket`, from where the last one ended; a live peer was sent an unknown part of what came
    /// since it went live, so it is read to from what it is known to have.
    pub(super) fn fall_behind(&mut self, ticket: u64) {
        let upto = match self.mode {
            Mode::Behind { upto, .. } => upto,
            Mode::Live => Commit(0),
        };
        self.mode = Mode::Behind { ticket: Some(ticket), upto };
    }

    /// What was queued for it is dropped, and nobody knows how much: it is read to from what it is known to have.
    pub(super) fn lost_what_was_queued(&mut self) {
        self.mode = Mode::Behind { ticket: None, upto: Commit(0) };
        self.answer = None;
        self.acks_lost = true;
    }

    pub(super) fn lacks_acks(&self) -> bool {
        self.acks_lost
    }

    pub(super) fn has_acks(&mut self) {
        self.acks_lost = false;
    }

    /// Whether it is behind and no reading for it is under way.
    pub(super) fn awaits_room(&self) -> bool {
        matches!(self.mode, Mode::Behind { ticket: None, .. })
    }

    /// The reading `ticket` came as far as `commit`; false if it is not the one awaited.
    pub(super) fn read_upto(&mut self, answered: u64, commit: Commit) -> bool {
        match &mut self.mode {
            Mode::Behind { ticket, upto } if *ticket == Some(answered) => {
                *ticket = None;
                *upto = commit.max(*upto);
                true
            }
            Mode::Behind { .. } | Mode::Live => false,
        }
    }

    pub(super) fn reading(&self, peer: NodeId, ticket: u64, whose: Whose) -> Reading {
        let after = match (whose, &self.answer, self.mode) {
            (Whose::All, Some(answer), _) => answer.after,
            (Whose::Own, _, Mode::Behind { upto, .. }) => upto,
            (Whose::All, None, _) | (Whose::Own, _, Mode::Live) => Commit(0),
        };
        Reading { peer, ticket, after, has: self.known.clone(), whose }
    }

    pub(super) fn acked(&mut self, space: &Space, vector: &Vector) {
        self.durable.entry(space.clone()).or_default().join(vector);
        self.has(space, vector);
    }

    pub(super) fn has(&mut self, space: &Space, vector: &Vector) {
        self.known.entry(space.clone()).or_default().join(vector);
    }

    /// The peer says exactly what it has: it may be less than it was thought to have.
    pub(super) fn asked(&mut self, space: Space, vector: Vector) {
        self.known.insert(space, vector);
    }

    /// Starts an answer; false if one is under way, which the peer's next question will find ended.
    pub(super) fn begin_answer(&mut self, ticket: u64, until: Commit) -> bool {
        if self.answer.is_some() {
            return false;
        }
        self.answer = Some(Answer { ticket: Some(ticket), after: Commit(0), until });
        true
    }

    pub(super) fn is_answer(&self, ticket: u64) -> bool {
        self.answer.as_ref().is_some_and(|answer| answer.ticket == Some(ticket))
    }

    /// The answer came as far as `upto`; false if that was all.
    pub(super) fn answered_upto(&mut self, upto: Commit) -> bool {
        self.answer = self.answer.take().filter(|answer| upto < answer.until);
        if let Some(answer) = &mut self.answer {
            answer.ticket = None;
            answer.after = upto;
        }
        self.answer.is_some()
    }

    /// Goes on with an answer that waits for the peer to take what was sent; false if there is none.
    pub(super) fn continue_answer(&mut self, ticket: u64) -> bool {
        let Some(answer) = self.answer.as_mut().filter(|answer| answer.ticket.is_none()) else { return false };
        answer.ticket = Some(ticket);
        true
    }

    pub(super) fn durable_in(&self, space: &Space) -> Option<&Vector> {
        self.durable.get(space)
    }

    pub(super) fn known_in(&self, space: &Space) -> Option<&Vector> {
        self.known.get(space)
    }

    /// The last of the `applied` that this peer wrote, by namespace: it waits to hear that they are durable.
    pub(super) fn acks_due(&self, applied: &[(Space, Dot)]) -> BTreeMap<Space, u64> {
        let mut due = BTreeMap::<Space, u64>::new();
        for (space, dot) in applied.iter().filter(|(_, dot)| dot.replica == self.life) {
            let last = due.entry(space.clone()).or_default();
            *last = dot.seq.max(*last);
        }
        due
    }

    /// Whether the peer has something that `mine` lacks.
    pub(super) fn is_ahead_of(&self, mine: &Vectors) -> bool {
        let nothing = Vector::new();
        self.known.iter().any(|(space, vector)| !mine.get(space).unwrap_or(&nothing).includes(vector))
    }

    /// The namespaces in which the peer was ahead of `mine` a period ago and still is. What it has of the life `own` is
    /// nothing that anybody could send.
    pub(super) fn still_ahead_of(&mut self, mine: &Vectors, own: ReplicaId) -> BTreeSet<Space> {
        let nothing = Vector::new();
        let ahead = |(space, vector): &(&Space, &Vector)| {
            let mine = mine.get(*space).unwrap_or(&nothing);
            vector.since(mine).any(|dot| dot.replica != own)
        };
        let ahead = self.known_before.iter().filter(ahead).map(|(space, _)| space.clone()).collect();
        self.known_before.clone_from(&self.known);
        ahead
    }
}
