//! The glances of a session: what is made of the peer's, and what is shown in return.
//!
//! The side that can read a difference names the cells where it lies; each side then sends its rows there. Who named the
//! last of them sends the hash of the rest, and the other compares it with its own: only if these are equal were all
//! differences found. If not, or if what is named cannot be, or if a sketch decodes to nothing that helps, either side
//! begins anew with a descent, which needs no luck; at most once.

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;

use super::super::cells::Cells;
use super::super::glance::{GLANCE_SUMS, LISTED_MAX, SUMS_MAX, Sorted};
use super::super::look::{Glance, Look, Named};
use super::super::{Failure, Pin};
use super::decoding::Decoding;
use super::{Progress, Sending, Session, Told};
use crate::summary::Path;

/// The most cells that one side may name at a time.
const NAMED_MAX: usize = 1 << 20;

/// What this side showed last, and thus what the peer may say to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Shown {
    /// Nothing that a glance could answer.
    #[default]
    Nothing,
    /// A first glance: whether it was a full one.
    Glance { full: bool },
    /// Sketches or ids, which the peer compares with its own.
    Ids,
    /// Sketches of the halves of what did not decode.
    Halves,
}

/// What the glances of a session came to so far.
#[derive(Debug, Default)]
pub(super) struct Looks {
    /// What this side showed last.
    pub(super) shown: Shown,
    /// In how many cells the peer may find a difference.
    pub(super) may_name: usize,
    /// The last cell, vacant here, that the peer sent rows of without naming it.
    unnamed: Option<u32>,
    /// Whether anything was found by a glance.
    pub(super) found: bool,
    /// To be said in the next turn.
    pub(super) say: Vec<Look>,
    /// All cells that differ, as far as they are known.
    pub(super) differ: BTreeSet<u32>,
    /// Cells whose rows the peer is to send, in the order in which it tells them.
    pub(super) owed: VecDeque<u32>,
    /// What was decoded of the sketches in the message that is being taken in.
    pub(super) decoded: Option<Decoding>,
    /// Whether one side has told the other what all the rest hashes to.
    pub(super) proved: bool,
    /// Whether a descent from the root is under way.
    pub(super) descends: bool,
}

/// A row in a cell that was not named.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Unnamed {
    /// Nothing lies there: the peer holds rows there alone.
    Alone,
    /// Something does, so what the peer read was not the difference.
    False,
    /// The peer was shown nothing that it could find this by.
    Unasked,
}

/// What a look came to.
type Taken<E> = Result<Result<(), Failure>, E>;

impl Session {
    /// Takes in what the peer said at a glance.
    pub(super) fn take_looks<P: Pin>(&mut self, pin: &P, looks: Vec<Look>) -> Taken<P::Error> {
        for look in looks {
            let shown = self.progress.looks.shown;
            let taken = match (look, shown) {
                (Look::Anew, _) if !self.progress.looks.descends => {
                    self.progress = Progress::descending();
                    Ok(())
                }
                (Look::Glance(glance), Shown::Glance { full: false }) => self.answer_glance(pin, &glance)?,
                (Look::Buckets(buckets), Shown::Glance { full: true }) if buckets.which.is_none() => {
                    self.take_decoded(pin, false)?
                }
                (Look::Buckets(buckets), Shown::Ids) if buckets.which.is_some() => self.take_decoded(pin, true)?,
                (Look::List(cells, digests), Shown::Glance { .. }) => self.compare_list(pin, &cells, &digests)?,
                (Look::Cells(named), Shown::Glance { .. } | Shown::Ids | Shown::Halves) => self.heed(pin, &named)?,
                (Look::Rest(rest), Shown::Glance { .. } | Shown::Ids | Shown::Halves) => {
                    self.progress.looks.shown = Shown::Nothing;
                    self.progress.looks.proved = true;
                    if self.side(pin).rest(&self.progress.looks.differ)? != rest {
                        self.descend();
                    }
                    Ok(())
                }
                (
                    Look::Anew | Look::Glance(_) | Look::Buckets(_) | Look::List(..) | Look::Cells(_) | Look::Rest(_),
                    _,
                ) => Err(Failure::Broke),
            };
            if taken.is_err() || self.has_begun_anew() {
                return Ok(taken);
            }
        }
        Ok(Ok(()))
    }

    /// The peer's first glance has come: what differs is named, or what finds it is shown.
    pub(super) fn answer_glance<P: Pin>(&mut self, pin: &P, theirs: &Glance) -> Taken<P::Error> {
        let Some(sketch) = theirs.sketch() else { return Ok(Err(Failure::Broke)) };
        if sketch.sums().is_empty() {
            self.descend();
            return Ok(Ok(()));
        }
        let mut difference = self.side(pin).sketch(Path::ROOT, sketch.sums().len())?;
        difference.merge(&sketch);
        if let Some(ids) = difference.decode() {
            self.name(pin, &ids, true)?;
            return Ok(Ok(()));
        }
        let look = match theirs.estimator() {
            Some(estimator) => {
                let estimate = self.side(pin).estimator()?.difference(&estimator);
                self.side(pin).show_for(estimate)?
            }
            None if self.side(pin).count()? <= GLANCE_SUMS as u64 => self.side(pin).show_for(1 << 30)?,
            None => Some(Look::Glance(self.side(pin).glance(GLANCE_SUMS)?)),
        };
        match look {
            Some(look) => self.show_look(look),
            None => self.descend(),
        }
        Ok(Ok(()))
    }

    /// Takes what was decoded of the peer's sketches. Of buckets that hold too many, the halves are shown.
    fn take_decoded<P: Pin>(&mut self, pin: &P, are_halves: bool) -> Taken<P::Error> {
        let Some(decoded) = self.progress.looks.decoded.take() else { return Ok(Err(Failure::Broke)) };
        let (halves, sums) = decoded.halves();
        if !halves.is_empty() && (are_halves || sums > SUMS_MAX) {
            self.descend();
            return Ok(Ok(()));
        }
        self.name(pin, &decoded.ids, halves.is_empty())?;
        if !halves.is_empty() && !self.progress.looks.descends {
            let (bits, capacity) = decoded.shape();
            let buckets = self.side(pin).buckets(bits + 1, Some(halves), capacity)?;
            self.show_look(Look::Buckets(buckets));
        }
        Ok(Ok(()))
    }

    /// Compares a list of all the peer's ids with the own.
    fn compare_list<P: Pin>(&mut self, pin: &P, cells: &Cells, digests: &Bytes) -> Taken<P::Error> {
        let most = usize::try_from(LISTED_MAX).expect("a small number");
        let (digests, rest) = digests.as_chunks::<4>();
        let Some(cells) = cells.decode(most).filter(|cells| cells.len() == digests.len() && rest.is_empty()) else {
            return Ok(Err(Failure::Broke));
        };
        let id = |(&cell, digest): (&u32, &[u8; 4])| u64::from(cell) << 32 | u64::from(u32::from_be_bytes(*digest));
        let theirs: BTreeSet<u64> = cells.iter().zip(digests).map(id).collect();
        let mine: BTreeSet<u64> = self.side(pin).ids(Path::ROOT)?.into_iter().collect();
        let ids: Vec<u64> = theirs.symmetric_difference(&mine).copied().collect();
        self.name(pin, &ids, true)?;
        Ok(Ok(()))
    }

    /// Names the cells in which these ids, which only one of the sides holds, lie; all of them, or all but some buckets'.
    fn name<P: Pin>(&mut self, pin: &P, ids: &[u64], all: bool) -> Result<(), P::Error> {
        let sorted = self.side(pin).sort(ids)?;
        let named = sorted.all().collect::<Vec<_>>();
        if named.iter().any(|cell| self.progress.looks.differ.contains(cell)) {
            self.descend();
            return Ok(());
        }
        self.progress.looks.differ.extend(named);
        self.progress.looks.found = true;
        // Nothing differs at a glance, and yet the roots do.
        if all && self.progress.looks.differ.is_empty() {
            self.descend();
            return Ok(());
        }
        self.progress.looks.shown = Shown::Nothing;
        self.progress.looks.owed.extend(sorted.with_both(&sorted.yours));
        self.progress.work.send.extend(sending(&sorted, &sorted.mine, Told::No));
        for &cell in &sorted.mine {
            self.progress.stage.absences(pin, &self.space, &self.vectors.theirs, Path::of_cell(cell))?;
        }
        if sorted.len() > sorted.mine.len() {
            self.progress.looks.say.push(Look::Cells(sorted.encode()));
        }
        if all {
            let rest = self.side(pin).rest(&self.progress.looks.differ)?;
            self.progress.looks.proved = true;
            self.progress.looks.say.push(Look::Rest(rest));
        }
        Ok(())
    }

    /// The peer names cells that differ.
    fn heed<P: Pin>(&mut self, pin: &P, named: &Named) -> Taken<P::Error> {
        let looks = &self.progress.looks;
        let Some(sorted) = Sorted::decode(named, looks.may_name.min(NAMED_MAX)) else { return Ok(Err(Failure::Broke)) };
        if sorted.all().any(|cell| looks.differ.contains(&cell)) {
            return Ok(Err(Failure::Broke));
        }
        self.progress.looks.may_name -= sorted.len();
        self.progress.looks.found = true;
        // What the peer says that this side alone holds must be so: a sketch may have been decoded to anything.
        let mut false_claim = false;
        for &cell in &sorted.yours {
            false_claim |= self.side(pin).is_vacant(cell)?;
        }
        if false_claim {
            self.descend();
            return Ok(Ok(()));
        }
        self.progress.looks.differ.extend(sorted.all());
        self.progress.looks.owed.extend(&sorted.both);
        self.progress.work.send.extend(sending(&sorted, &sorted.yours, Told::Cell));
        for &cell in &sorted.yours {
            self.progress.stage.absences(pin, &self.space, &self.vectors.theirs, Path::of_cell(cell))?;
        }
        Ok(Ok(()))
    }

    /// What to think of a row in `cell`, which the peer did not name. If it was shown something, it may hold rows alone there.
    pub(super) fn judge_unnamed<P: Pin>(&mut self, pin: &P, cell: u32) -> Result<Unnamed, P::Error> {
        let looks = &self.progress.looks;
        if looks.unnamed == Some(cell) {
            return Ok(Unnamed::Alone);
        }
        let Some(left) = looks.may_name.checked_sub(1).filter(|_| !looks.descends) else {
            return Ok(Unnamed::Unasked);
        };
        // A sketch may have been decoded to anything.
        if !self.side(pin).is_vacant(cell)? {
            return Ok(Unnamed::False);
        }
        let looks = &mut self.progress.looks;
        (looks.may_name, looks.unnamed, looks.found) = (left, Some(cell), true);
        Ok(Unnamed::Alone)
    }

    /// Forgets what was found, and shows the root.
    pub(super) fn descend(&mut self) {
        if !self.progress.looks.descends {
            self.progress = Progress::descending();
            self.progress.looks.say.push(Look::Anew);
            self.progress.work.show.push(Path::ROOT);
        }
    }

    /// Whether this side has found in this turn that nothing of before counts, the rest of the peer's included.
    pub(super) fn has_begun_anew(&self) -> bool {
        self.progress.looks.say.first() == Some(&Look::Anew)
    }

    /// Shows something for the peer to decode or compare.
    pub(super) fn show_look(&mut self, look: Look) {
        let looks = &mut self.progress.looks;
        (looks.shown, looks.may_name) = match &look {
            Look::Glance(_) => (Shown::Glance { full: true }, GLANCE_SUMS),
            Look::Buckets(buckets) if buckets.which.is_some() => (Shown::Halves, buckets.sums.len() / 8),
            Look::Buckets(buckets) => (Shown::Ids, buckets.sums.len() / 8),
            Look::List(..) => (Shown::Ids, NAMED_MAX),
            Look::Anew | Look::Cells(_) | Look::Rest(_) => (looks.shown, looks.may_name),
        };
        looks.say.push(look);
    }
}

/// Where rows are to be sent from: `cells`, which only this side holds, and those that both do.
fn sending(sorted: &Sorted, cells: &[u32], told: Told) -> Vec<Sending> {
    let both: BTreeSet<u32> = sorted.both.iter().copied().collect();
    let send = |cell| {
        let both = both.contains(&cell);
        Sending { path: Path::of_cell(cell), both, told: if both { Told::Cell } else { told }, after: None }
    };
    sorted.with_both(cells).into_iter().map(send).collect()
}
