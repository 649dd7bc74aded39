//! Tables of closed lives in a session: one hash stands for both sides' if they are equal; else each says its own, once.
//!
//! What a peer has applied must be known exactly before anything is compared, for a row that is absent there was removed or
//! never came, and the vector decides. A guess from the open entries would not do.

use super::super::{Failure, Message, Open, Output, Pin};
use super::Session;
use crate::vector::{Brief, Closed, Vector};

impl Session {
    /// Whether the peer's table is the same as the one here.
    pub(super) fn has_table_of(&self, theirs: &Brief) -> bool {
        theirs.closed == self.vectors.mine.closed().hash()
    }

    /// The peer's vector, whole; `None` if its table is neither the one here nor the one that it said.
    pub(super) fn whole(&self, theirs: Brief) -> Option<Vector> {
        let said = self.vectors.their_closed.as_ref();
        theirs.with(said.unwrap_or(self.vectors.mine.closed()))
    }

    /// The responder knows another table than the peer's: it says its own, and the peer is to say its own, too.
    pub(super) fn ask_for_table(&mut self, open: Open) {
        self.opening = Some(Box::new(open));
        self.say_table();
    }

    /// The peer says its table.
    pub(super) fn take_table<P: Pin>(&mut self, pin: &P, closed: Closed) -> Result<Result<(), Failure>, P::Error> {
        if self.vectors.their_closed.replace(closed).is_some() {
            return Ok(Err(Failure::Broke));
        }
        match self.opening.take() {
            Some(open) => self.answer(pin, *open)?,
            None => self.say_table(),
        }
        Ok(Ok(()))
    }

    fn say_table(&mut self) {
        let closed = self.vectors.mine.closed().clone();
        self.outputs.push_back(Output::Send(Message::Closed(closed)));
    }
}
