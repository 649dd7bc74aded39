//! Decoding the peer's sketches, a stretch at a time.
//!
//! Decoding is the one thing in a session that costs much more to do than to ask for: some ten microseconds for each id that
//! differs, and a message may hold sums for a hundred thousand. So the message waits, and whoever drives the session decides
//! what comes between two stretches.

use super::super::Message;
use super::super::compare::Side;
use super::super::glance::{SUMS_MAX, bucket_numbers};
use super::super::look::{Buckets, Look, words};
use super::super::{Answer, Pin};
use super::looks::Shown;
use super::{Phase, Session};
use crate::summary::{CAPACITY_MAX, Sketch};

/// Sketches of the peer, and what came out of them so far.
#[derive(Debug, Default)]
pub(super) struct Decoding {
    /// How many leading bits a bucket has.
    bits: u8,
    capacity: usize,
    /// The peer's sums of one bucket after the other.
    sums: Vec<u64>,
    numbers: Vec<u32>,
    /// How many of the buckets are done.
    done: usize,
    /// Ids that only one of the sides holds.
    pub(super) ids: Vec<u64>,
    /// Buckets that differ in more ids than their sketches hold.
    pub(super) full: Vec<u32>,
}

impl Decoding {
    /// `None` if this is not what an honest side sends.
    fn new(buckets: &Buckets) -> Option<Self> {
        let (bits, capacity) = (buckets.bits, usize::from(buckets.capacity));
        if capacity == 0 || capacity > CAPACITY_MAX || bits > 24 || buckets.sums.len() > 8 * SUMS_MAX {
            return None;
        }
        let which = buckets.which.as_deref();
        let ordered = which.is_none_or(|which| {
            which.is_sorted_by(|a, b| a < b) && which.last().is_none_or(|&last| u64::from(last) < 1 << bits)
        });
        let count = which.map_or(1 << bits, <[u32]>::len);
        if !ordered || buckets.sums.len() != 8 * capacity * count {
            return None;
        }
        let sums = words(&buckets.sums)?;
        let numbers = bucket_numbers(bits, which);
        Some(Self { bits, capacity, sums, numbers, ..Self::default() })
    }

    pub(super) fn is_done(&self) -> bool {
        self.done == self.numbers.len()
    }

    /// Decodes buckets of at most so many sums together, but one in any case.
    pub(super) fn advance<P: Pin>(&mut self, side: &Side<'_, P>, stretch_sums: usize) -> Result<(), P::Error> {
        let stretch = (stretch_sums / self.capacity.max(1)).max(1);
        let sums = self.sums.chunks_exact(self.capacity.max(1)).zip(&self.numbers);
        for (sums, &bucket) in sums.skip(self.done).take(stretch) {
            let mut difference = side.bucket(self.bits, bucket, self.capacity)?;
            difference.merge(&Sketch::from_sums(sums.to_vec()).expect("a capacity that was checked"));
            match difference.decode() {
                Some(found) => self.ids.extend(found),
                None => self.full.push(bucket),
            }
            self.done += 1;
        }
        Ok(())
    }

    /// Each bucket that was full, in halves, and how many sums those take together.
    pub(super) fn halves(&self) -> (Vec<u32>, usize) {
        let halves: Vec<u32> = self.full.iter().flat_map(|bucket| [bucket * 2, bucket * 2 + 1]).collect();
        let sums = halves.len() * self.capacity;
        (halves, sums)
    }

    pub(super) fn shape(&self) -> (u8, usize) {
        (self.bits, self.capacity)
    }
}

impl Session {
    /// What has to be decoded before a message can be taken in: sketches, where the peer may send some now.
    pub(super) fn to_decode(&self, message: &Message) -> Option<Decoding> {
        let looks = match (message, self.phase) {
            (Message::Answer(Answer { turn, .. }), Phase::Opening) | (Message::Turn(turn), Phase::Turning { .. }) => {
                &turn.looks
            }
            (Message::Open(_) | Message::Answer(_) | Message::Turn(_) | Message::Closed(_), _) => return None,
        };
        let shown = self.progress.looks.shown;
        looks.iter().find_map(|look| match (look, shown) {
            (Look::Buckets(buckets), Shown::Glance { full: true } | Shown::Ids) => Decoding::new(buckets),
            (Look::Anew | Look::Glance(_) | Look::Buckets(_) | Look::List(..) | Look::Cells(_) | Look::Rest(_), _) => {
                None
            }
        })
    }
}
