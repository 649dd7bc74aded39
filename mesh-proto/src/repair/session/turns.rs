//! Turns: what is taken in of the peer's, and what is said in the own.

use std::ops::ControlFlow;

use bytes::Bytes;

use super::super::compare::{Found, is_sound};
use super::super::{Failure, Message, Output, Pin, Sight, Turn, Want};
use super::{Sending, Session};
use crate::rows::RowKey;
use crate::summary::Path;
use crate::wire::decode_row;

/// Places waiting to be sent beyond which no further comparing is done in a turn.
const QUEUE_MAX: usize = 1 << 16;

/// How many times as many places as paths a turn may name: they are that much shorter.
const PLACES_PER_PATH: usize = 16;

impl Session {
    /// Takes in what the peer said in a turn.
    pub(super) fn take_in<P: Pin>(&mut self, pin: &P, turn: Turn) -> Result<Result<(), Failure>, P::Error> {
        self.cost.rows_received += turn.rows.len() as u64;
        for (key, bytes) in turn.rows {
            let put = self.leave.send(key.place());
            let put = put.and_then(|()| self.stage.put((&self.space, &self.placer), key, &bytes));
            if let Err(failure) = put {
                return Ok(Err(failure));
            }
        }
        for place in turn.told {
            if let Err(failure) = self.leave.tell(place) {
                return Ok(Err(failure));
            }
            self.stage.absences(pin, &self.space, &self.vectors.theirs, place)?;
        }
        for want in turn.wanted {
            if let Err(failure) = self.leave.want(want.place) {
                return Ok(Err(failure));
            }
            self.work.send.push_back(Sending { place: want.place, both: want.both, told: true });
            if !want.both {
                // Only this side holds rows there.
                self.stage.absences(pin, &self.space, &self.vectors.theirs, want.place)?;
            }
        }
        for (path, sight) in turn.sights {
            if self.leave.show(path).is_err() || !is_sound(path, &sight) {
                return Ok(Err(Failure::Broke));
            }
            self.compare(pin, path, sight)?;
        }
        let fits = self.stage.bytes() <= self.limits.stage_bytes;
        Ok(if fits { Ok(()) } else { Err(Failure::TooLarge) })
    }

    /// Compares what the peer holds at a path with what is held here.
    pub(super) fn compare<P: Pin>(&mut self, pin: &P, path: Path, theirs: Sight) -> Result<(), P::Error> {
        let found = match theirs {
            Sight::Inner(children) => self.side(pin).with_children(path, &children)?,
            Sight::Elements(elements) => self.side(pin).with_elements(path, &elements)?,
        };
        self.note(pin, found)
    }

    /// What is held here at a path, to be said to the peer.
    pub(super) fn show<P: Pin>(&mut self, pin: &P, path: Path) -> Result<Sight, P::Error> {
        let sight = self.side(pin).sight(path)?;
        self.leave.shown(path, &sight);
        Ok(sight)
    }

    /// Says what there is to say, up to the limits of a turn.
    pub(super) fn take_turn<P: Pin>(&mut self, pin: &P) -> Result<(), P::Error> {
        while self.work.send.len() + self.work.want.len() < QUEUE_MAX {
            let Some((path, theirs)) = self.work.against.pop() else { break };
            let found = self.side(pin).with_elements(path, &theirs)?;
            self.note(pin, found)?;
        }
        let mut turn = Turn::default();
        while turn.sights.len() < self.limits.turn_entries {
            let Some(path) = self.work.show.pop() else { break };
            turn.sights.push((path, self.show(pin, path)?));
        }
        let mut bytes = 0;
        while bytes < self.limits.turn_bytes {
            let Some(sending) = self.work.send.pop_front() else { break };
            bytes += self.send_place(pin, sending, &mut turn)?;
        }
        let room = (self.limits.turn_entries * PLACES_PER_PATH).saturating_sub(self.leave.unanswered());
        for want in self.work.want.drain(..room.min(self.work.want.len())) {
            self.leave.asked(want.place);
            turn.wanted.push(want);
        }
        self.cost.turns += 1;
        self.cost.rows_sent += turn.rows.len() as u64;
        turn.more = !self.work.is_empty();
        self.phase = super::Phase::Turning { quiet: turn.is_silent() };
        self.outputs.push_back(Output::Send(Message::Turn(turn)));
        Ok(())
    }

    fn note<P: Pin>(&mut self, pin: &P, found: Found) -> Result<(), P::Error> {
        self.work.show.extend(found.show);
        self.work.against.extend(found.against);
        for place in found.mine {
            self.work.send.push_back(Sending { place, both: false, told: false });
            self.stage.absences(pin, &self.space, &self.vectors.theirs, place)?;
        }
        for place in found.both {
            self.work.send.push_back(Sending { place, both: true, told: true });
            self.work.want.push_back(Want { place, both: true });
        }
        self.work.want.extend(found.theirs.into_iter().map(|place| Want { place, both: false }));
        Ok(())
    }

    /// Adds the rows at a place to a turn; returns what they weigh. Where only this side holds rows, one whose dots the
    /// peer's vector all covers was removed there, and is not sent. Under equal vectors nothing differs honestly, so both
    /// sides must see the rows to name them.
    fn send_place<P: Pin>(&self, pin: &P, sending: Sending, turn: &mut Turn) -> Result<usize, P::Error> {
        let mut rows: Vec<(RowKey, Bytes)> = Vec::new();
        pin.rows(&self.space, Path::of_place(sending.place), &mut |key, row| {
            rows.push((key.clone(), row.clone()));
            ControlFlow::Continue(())
        })?;
        if !sending.both && self.vectors.mine != self.vectors.theirs {
            let theirs = &self.vectors.theirs;
            let was_removed = |(key, bytes): &(RowKey, Bytes)| {
                decode_row(key.kind(), bytes).is_ok_and(|row| row.dots().into_iter().all(|dot| theirs.covers(dot)))
            };
            rows.retain(|row| !was_removed(row));
        }
        if sending.told {
            turn.told.push(sending.place);
        }
        let weight = rows.iter().map(|(key, row)| key.as_bytes().len() + row.len() + 16).sum::<usize>() + 16;
        turn.rows.extend(rows);
        Ok(weight)
    }
}
