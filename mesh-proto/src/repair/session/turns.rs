//! Turns: what is taken in of the peer's, and what is said in the own.

use std::ops::ControlFlow;

use bytes::Bytes;

use super::super::compare::{Found, is_sound};
use super::super::kept::kept;
use super::super::{Failure, Pin, Sight, Turn, Want};
use super::looks::Unnamed;
use super::{Progress, Sending, Session, Told};
use crate::rows::RowKey;
use crate::summary::{Path, cell_of};
use crate::wire::decode_row;

/// Places waiting to be sent beyond which no further comparing is done in a turn.
const QUEUE_MAX: usize = 1 << 16;

/// How many times as many places as paths a turn may name: they are that much shorter.
const PLACES_PER_PATH: usize = 16;

impl Session {
    /// Takes in what the peer said in a turn.
    pub(super) fn take_in<P: Pin>(&mut self, pin: &P, turn: Turn) -> Result<Result<(), Failure>, P::Error> {
        self.cost.rows_received += turn.rows.len() as u64;
        self.cost.rows_kept += turn.kept.len() as u64;
        if let broke @ Err(_) = self.take_looks(pin, turn.looks)? {
            return Ok(broke);
        }
        if self.has_begun_anew() {
            return Ok(Ok(()));
        }
        for (key, bytes) in turn.rows {
            match self.judge(pin, key.place())? {
                Unnamed::Alone => {}
                Unnamed::False => {
                    self.descend();
                    return Ok(Ok(()));
                }
                Unnamed::Unasked => return Ok(Err(Failure::Broke)),
            }
            if let Err(failure) = self.progress.stage.put((&self.space, &self.placer), key, &bytes) {
                return Ok(Err(failure));
            }
        }
        for kept in turn.kept {
            if !self.is_expected(kept.key.place()) {
                return Ok(Err(Failure::Broke));
            }
            let (own, of) = ((pin, &self.vectors.mine), (&self.space, &self.placer));
            if let broke @ Err(_) = self.progress.stage.keep(own, of, &kept)? {
                return Ok(broke);
            }
        }
        for _ in 0..turn.cells_told {
            let Some(cell) = self.progress.looks.owed.pop_front() else { return Ok(Err(Failure::Broke)) };
            self.progress.stage.absences(pin, &self.space, &self.vectors.theirs, Path::of_cell(cell))?;
        }
        for place in turn.told {
            if let Err(failure) = self.progress.leave.tell(place) {
                return Ok(Err(failure));
            }
            self.progress.stage.absences(pin, &self.space, &self.vectors.theirs, Path::of_place(place))?;
        }
        for want in turn.wanted {
            if let Err(failure) = self.progress.leave.want(want.place) {
                return Ok(Err(failure));
            }
            let path = Path::of_place(want.place);
            self.progress.work.send.push_back(Sending { path, both: want.both, told: Told::Place, after: None });
            if !want.both {
                // Only this side holds rows there.
                self.progress.stage.absences(pin, &self.space, &self.vectors.theirs, path)?;
            }
        }
        if !turn.sights.is_empty() {
            // A descent has begun: nothing was found at a glance.
            self.progress.looks.may_name = 0;
        }
        for (path, sight) in turn.sights {
            if self.progress.leave.show(path).is_err() || !is_sound(path, &sight) {
                return Ok(Err(Failure::Broke));
            }
            self.compare(pin, path, sight)?;
        }
        let fits = self.progress.stage.bytes() <= self.limits.stage_bytes;
        Ok(if fits { Ok(()) } else { Err(Failure::TooLarge) })
    }

    /// Whether something is to come of a place.
    fn is_expected(&self, place: u64) -> bool {
        self.progress.looks.differ.contains(&cell_of(place)) || self.progress.leave.send(place).is_ok()
    }

    /// What to think of a row at a place.
    fn judge<P: Pin>(&mut self, pin: &P, place: u64) -> Result<Unnamed, P::Error> {
        if self.is_expected(place) { Ok(Unnamed::Alone) } else { self.judge_unnamed(pin, cell_of(place)) }
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
        self.progress.leave.shown(path, &sight);
        Ok(sight)
    }

    /// Says what there is to say in turns that need no word of the peer between them: one, or several where nothing but rows
    /// is left to send.
    pub(super) fn turns<P: Pin>(&mut self, pin: &P) -> Result<Vec<Turn>, P::Error> {
        let mut turns = vec![self.turn(pin)?];
        for _ in 1..self.times.in_flight {
            let Some(last) = turns.last_mut().filter(|last| last.more && last.has_only_rows()) else { break };
            if !self.progress.work.is_only_rows() {
                break;
            }
            last.follows = true;
            turns.push(self.turn(pin)?);
        }
        Ok(turns)
    }

    /// Says what there is to say, up to the limits of a turn.
    pub(super) fn turn<P: Pin>(&mut self, pin: &P) -> Result<Turn, P::Error> {
        while self.progress.work.send.len() + self.progress.work.want.len() < QUEUE_MAX {
            let Some((path, theirs)) = self.progress.work.against.pop() else { break };
            let found = self.side(pin).with_elements(path, &theirs)?;
            self.note(pin, found)?;
        }
        let mut turn = Turn { looks: std::mem::take(&mut self.progress.looks.say), ..Turn::default() };
        while turn.sights.len() < self.limits.turn_entries {
            let Some(path) = self.progress.work.show.pop() else { break };
            turn.sights.push((path, self.show(pin, path)?));
        }
        let mut bytes = 0;
        while bytes < self.limits.turn_bytes {
            let Some(sending) = self.progress.work.send.pop_front() else { break };
            bytes += self.send(pin, sending, &mut turn, self.limits.turn_bytes.saturating_sub(bytes))?;
        }
        let room = (self.limits.turn_entries * PLACES_PER_PATH).saturating_sub(self.progress.leave.unanswered());
        let wanted = room.min(self.progress.work.want.len());
        for want in self.progress.work.want.drain(..wanted) {
            self.progress.leave.asked(want.place);
            turn.wanted.push(want);
        }
        self.cost.turns += 1;
        self.cost.rows_sent += turn.rows.len() as u64;
        turn.more = !self.progress.work.is_empty();
        self.phase = super::Phase::Turning { more: turn.more };
        Ok(turn)
    }

    fn note<P: Pin>(&mut self, pin: &P, found: Found) -> Result<(), P::Error> {
        let Progress { work, stage, .. } = &mut self.progress;
        work.show.extend(found.show);
        work.against.extend(found.against);
        for place in found.mine {
            let path = Path::of_place(place);
            work.send.push_back(Sending { path, both: false, told: Told::No, after: None });
            stage.absences(pin, &self.space, &self.vectors.theirs, path)?;
        }
        for place in found.both {
            let path = Path::of_place(place);
            work.send.push_back(Sending { path, both: true, told: Told::Place, after: None });
            work.want.push_back(Want { place, both: true });
        }
        work.want.extend(found.theirs.into_iter().map(|place| Want { place, both: false }));
        Ok(())
    }

    /// Adds rows to a turn until they weigh `room`, and says that they are all if they are; returns what they weigh.
    fn send<P: Pin>(&mut self, pin: &P, sending: Sending, turn: &mut Turn, room: usize) -> Result<usize, P::Error> {
        let Sending { path, both, told, after } = sending;
        let (mut weight, mut last) = (16, after.clone());
        let mut cut = false;
        pin.rows(&self.space, path, &mut |key, row| {
            if after.as_ref().is_some_and(|after| key <= after) {
                return ControlFlow::Continue(());
            }
            if weight >= room && last != after {
                cut = true;
                return ControlFlow::Break(());
            }
            last = Some(key.clone());
            weight += self.say_row(turn, (key, row), both);
            ControlFlow::Continue(())
        })?;
        if cut {
            self.progress.work.send.push_front(Sending { path, both, told, after: last });
            // The turn is closed.
            return Ok(weight.max(room));
        }
        match told {
            Told::No => {}
            Told::Place => turn.told.push(path.first()),
            Told::Cell => turn.cells_told += 1,
        }
        Ok(weight)
    }

    /// Adds to a turn what there is to say of a row; returns what that weighs. A row whose writes the peer has all applied
    /// was removed there, if only this side holds rows; else its parts say which of the peer's were removed here. Under
    /// equal vectors nothing differs honestly, so both sides must see the rows to name them.
    fn say_row(&self, turn: &mut Turn, (key, bytes): (&RowKey, &Bytes), both: bool) -> usize {
        let theirs = &self.vectors.theirs;
        let kept = match decode_row(key.kind(), bytes) {
            Ok(row) if self.vectors.mine != *theirs => kept(&self.placer, key, &row, theirs),
            Ok(_) | Err(_) => None,
        };
        match kept {
            Some(kept) if both => {
                let weight = key.as_bytes().len() + 24 * kept.parts.len() + 24;
                turn.kept.push(kept);
                weight
            }
            Some(_) => 0,
            None => {
                turn.rows.push((key.clone(), bytes.clone()));
                key.as_bytes().len() + bytes.len() + 16
            }
        }
    }
}
