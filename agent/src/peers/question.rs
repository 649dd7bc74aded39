//! `MESH.VERIFY`: who asked how a peer differs, and what was found.
//!
//! A question is carried to the keeper, whose repair session finds the answer; the connection waits. An answer that nobody
//! waits for any more is dropped.

use std::time::Duration;

use bytes::Bytes;
use everett_mesh_proto::id::{NodeId, Space};

/// How long a connection waits for an answer at most: longer than a session may wait to begin.
pub const ANSWER_PATIENCE: Duration = Duration::from_mins(5);

/// Questions that may wait to be carried on: beyond them one is answered with nothing found out.
const ASKED_MAX: usize = 16;

/// One question.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Question(u64);

/// How two agents differed before the session that found out mended it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Found {
    /// Rows of which the peer had another state than this agent, or none.
    pub rows: u64,
    /// The ranges of places that they lie in: the first leaves of this agent's tree.
    pub ranges: Vec<Range>,
    /// The first of their keys.
    pub keys: Vec<Bytes>,
    /// Keys with equal dots and different bytes.
    pub diverged: Vec<Bytes>,
}

/// Places between which two agents differed: a leaf of the tree.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Range {
    /// The first place.
    pub first: u64,
    /// The last one.
    pub last: u64,
    /// How many rows differed there.
    pub rows: u64,
}

/// Questions on their way, and answers.
#[derive(Debug, Default)]
pub struct Questions {
    last: u64,
    asked: Vec<(Question, NodeId, Space)>,
    answers: Vec<(Question, Option<Found>)>,
}

impl Questions {
    /// Asks how `peer` differs in a namespace.
    pub fn ask(&mut self, peer: NodeId, space: Space) -> Question {
        self.last += 1;
        let question = Question(self.last);
        if self.asked.len() < ASKED_MAX {
            self.asked.push((question, peer, space));
        } else {
            self.answers.push((question, None));
        }
        question
    }

    /// What is to be carried to the keeper.
    pub fn take_asked(&mut self) -> Vec<(Question, NodeId, Space)> {
        std::mem::take(&mut self.asked)
    }

    /// An answer has come; none if the session came to nothing.
    pub fn answer(&mut self, question: Question, found: Option<Found>) {
        self.answers.push((question, found));
    }

    /// The answers that have come since the last call.
    pub fn take_answers(&mut self) -> Vec<(Question, Option<Found>)> {
        std::mem::take(&mut self.answers)
    }
}
