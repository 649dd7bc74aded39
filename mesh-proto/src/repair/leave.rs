//! Leave: what the peer may say next, given what it was shown and asked for.
//!
//! An honest peer shows a path only below (or at) one whose children it was shown, and each once; it wants, sends and tells
//! places only in paths that it was given the list of, or that it was asked for. Whoever holds to this cannot make this side
//! do more work than its own tree is large; whoever does not is found out at once.

use std::collections::{BTreeMap, BTreeSet};

use super::{Failure, Sight};
use crate::summary::Path;

/// The bit of a shown path that stands for itself; those below stand for its children.
const ITSELF: u8 = 16;

/// What was shown and asked so far.
#[derive(Debug, Default)]
pub(super) struct Leave {
    /// Paths shown by their children's hashes, and which of these (or the path itself) the peer has shown in turn.
    divided: BTreeMap<Path, u32>,
    /// Paths shown by their elements: first and last place.
    listed: BTreeMap<u64, u64>,
    /// Places that the peer may still want.
    wants: u64,
    /// Places that the peer may still tell of without being asked.
    tells: u64,
    /// Places asked for and not told of yet.
    asked: BTreeSet<u64>,
}

impl Leave {
    /// The peer may show the root.
    pub(super) fn begin(&mut self) {
        self.divided.entry(Path::ROOT).or_default();
    }

    /// `sight` was shown to the peer.
    pub(super) fn shown(&mut self, path: Path, sight: &Sight) {
        match sight {
            Sight::Inner(_) => drop(self.divided.entry(path).or_default()),
            Sight::Elements(elements) => {
                if self.listed.insert(path.first(), path.last()).is_none() {
                    self.wants += elements.len() as u64;
                    self.tells += elements.len() as u64;
                }
            }
        }
    }

    /// The peer was asked for the rows at `place`.
    pub(super) fn asked(&mut self, place: u64) {
        self.asked.insert(place);
    }

    /// How many places were asked for and not told of yet.
    pub(super) fn unanswered(&self) -> usize {
        self.asked.len()
    }

    /// The peer shows `path`.
    pub(super) fn show(&mut self, path: Path) -> Result<(), Failure> {
        let above = path.parent().into_iter().chain([(path, ITSELF)]);
        for (divided, bit) in above {
            if let Some(seen) = self.divided.get_mut(&divided)
                && *seen & 1 << bit == 0
            {
                *seen |= 1 << bit;
                return Ok(());
            }
        }
        Err(Failure::Broke)
    }

    /// The peer wants the rows at `place`.
    pub(super) fn want(&mut self, place: u64) -> Result<(), Failure> {
        let left = self.wants.checked_sub(1).filter(|_| self.is_listed(place));
        self.wants = left.ok_or(Failure::Broke)?;
        Ok(())
    }

    /// The peer sends a row at `place`.
    pub(super) fn send(&self, place: u64) -> Result<(), Failure> {
        if self.asked.contains(&place) || self.is_listed(place) { Ok(()) } else { Err(Failure::Broke) }
    }

    /// The peer has told all that it has to say of `place`.
    pub(super) fn tell(&mut self, place: u64) -> Result<(), Failure> {
        if !self.asked.remove(&place) {
            let left = self.tells.checked_sub(1).filter(|_| self.is_listed(place));
            self.tells = left.ok_or(Failure::Broke)?;
        }
        Ok(())
    }

    fn is_listed(&self, place: u64) -> bool {
        self.listed.range(..=place).next_back().is_some_and(|(_, &last)| place <= last)
    }
}
