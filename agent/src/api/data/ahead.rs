//! Keys that are about to be wanted: where they lie is looked at for all of them at once.
//!
//! Keys are spread over all memory by their hashes, and what a command costs is largely the wait for the places that it
//! touches, one after the other: index, row, view. The places of different keys do not depend on each other, so a
//! processor fetches those of many keys in hardly more time than those of one, if it comes by them in one go. Nothing
//! is decided by what is seen here.

use std::hint::black_box;

use super::views::Views;
use crate::store::Memtable;

/// What is expected.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    hashes: Vec<u64>,
    places: Vec<u64>,
}

impl Ahead {
    /// A key is about to be wanted whose view is found by this hash, and whose rows lie at this place.
    pub(super) fn expect(&mut self, hash: u64, place: u64) {
        self.hashes.push(hash);
        self.places.push(place);
    }

    /// Looks at everything expected, and expects nothing more.
    pub(super) fn look(&mut self, views: &Views, rows: &Memtable) {
        black_box(views.look_ahead(&self.hashes));
        rows.look_ahead(&mut self.places);
        self.hashes.clear();
        self.places.clear();
    }
}
