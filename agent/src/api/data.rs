//! The keys, as commands see them: the replica that decides what writes mean, and the rows it decides about.
//!
//! Apart so that commands reach both through a few words (see, change, walk) and never through the row format.

use std::ops::{ControlFlow, Deref, DerefMut};

use bytes::Bytes;
use everett_mesh_proto::crdt::is_visible;
use everett_mesh_proto::id::Space;
use everett_mesh_proto::lease;
use everett_mesh_proto::log::Commit;
use everett_mesh_proto::replica::{Counted, Edit, Replica, View};
use everett_mesh_proto::rows::{Cut, Found, Kind, Position, Row, RowKey, Rows};
use everett_mesh_proto::summary::{Content, Path};
use everett_mesh_proto::time::Now;

use super::connection::NUMBERED_SPACES;
use super::notify::Watched;
use crate::store::{Memtable, StoreError};

mod ahead;
mod leases;
mod views;

pub use leases::Leases;

use ahead::Ahead;
use views::Views;

/// Memory for what clients saw of keys lately.
const VIEWS_BYTES_MAX: usize = 64 << 20;

/// More keys than this are not looked at to be counted while everybody waits.
const COUNTED_MAX: u64 = 10_000;

/// The number by which this agent's own rooms reach the hidden namespace of leases: no client can select it.
pub const LEASES: u8 = NUMBERED_SPACES;

/// The rows of the store, and what clients saw of keys lately. Whoever changes a row does it here, so no view outlives
/// what it was made of. All else is the memtable's.
#[derive(Debug)]
pub struct KeyRows {
    memtable: Memtable,
    views: Views,
    spaces: Vec<Space>,
    /// How many keys each namespace stores, as far as somebody wanted to know.
    tallies: Vec<Tally>,
    /// What peers change, while somebody wants to be told.
    watched: Option<Watched>,
    /// The leases there are, once somebody wanted to know.
    leases: Option<Leases>,
    /// What is about to be wanted.
    ahead: Ahead,
}

impl Deref for KeyRows {
    type Target = Memtable;

    fn deref(&self) -> &Memtable {
        &self.memtable
    }
}

impl DerefMut for KeyRows {
    fn deref_mut(&mut self) -> &mut Memtable {
        &mut self.memtable
    }
}

impl Rows for KeyRows {
    type Error = StoreError;

    fn row(&self, key: &RowKey) -> Result<Found<'_>, StoreError> {
        self.memtable.row(key)
    }

    fn pair(&self, scalar: &RowKey) -> Result<[Found<'_>; 2], StoreError> {
        self.memtable.pair(scalar)
    }

    fn range(
        &self,
        space: &Space,
        place: u64,
        visit: &mut dyn FnMut(&RowKey, &Row) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.memtable.range(space, place, visit)
    }

    fn put(&mut self, key: RowKey, row: Row, at: Position) {
        // A namespace without a number has no views: clients reach only the numbered ones.
        let number = self.spaces.iter().position(|space| key.is_in(space)).and_then(|number| u8::try_from(number).ok());
        if let Some(number) = number {
            self.views.remove(number, &key.key_bytes());
            self.count_change(number, &key, &row);
            if number == LEASES {
                self.note_lease(&key, &row);
            } else {
                self.watch_change(number, &key, &row, at);
            }
        }
        self.memtable.put(key, row, at);
    }

    fn cut(&mut self, cut: Cut, at: Position) {
        self.views.clear();
        self.tallies.fill(Tally::default());
        self.leases = None;
        if let Some(watched) = &mut self.watched {
            watched.note_cut(at);
        }
        self.memtable.cut(cut, at);
    }
}

impl KeyRows {
    /// How many keys a namespace stores, those included that have expired and nobody has written to since. Counted piece
    /// by piece, one at each call; what is not counted yet is estimated, since keys lie evenly over all places.
    fn stored(&mut self, number: u8) -> Result<u64, StoreError> {
        let slot = usize::from(number);
        let mut tally = self.tallies[slot];
        if let Some(from) = tally.upto {
            let (mut looked_at, mut last) = (0, from);
            tally.upto = None;
            self.memtable.range(&self.spaces[slot], from, &mut |row_key, _| {
                let place = row_key.place();
                if looked_at >= COUNTED_MAX && place != last {
                    tally.upto = Some(place);
                    return ControlFlow::Break(());
                }
                (looked_at, last) = (looked_at + 1, place);
                tally.count += u64::from(row_key.kind() == Kind::Scalar);
                ControlFlow::Continue(())
            })?;
            self.tallies[slot] = tally;
        }
        Ok(tally.estimate())
    }

    /// Notes from now on which keys change.
    pub fn watch(&mut self) {
        self.watched = Some(Watched::default());
    }

    /// What was noted, if anybody watched; nobody does from now on.
    pub fn take_watched(&mut self) -> Option<Watched> {
        self.watched.take()
    }

    fn watch_change(&mut self, number: u8, key: &RowKey, row: &Row, at: Position) {
        let Some(watched) = &mut self.watched else { return };
        let before = self.memtable.row(key).ok().and_then(|found| found.row);
        let is_same = before.map_or(row.is_empty(), |before| *before == *row);
        if !is_same {
            watched.note((number, key.key()), key.kind(), at);
        }
    }

    fn note_lease(&mut self, key: &RowKey, row: &Row) {
        if let Some(leases) = self.leases.as_mut().filter(|_| row.kind() == Kind::Scalar) {
            leases.note(&key.key_bytes(), !row.is_empty());
        }
    }

    fn count_change(&mut self, number: u8, key: &RowKey, row: &Row) {
        let tally = &mut self.tallies[usize::from(number)];
        if row.kind() != Kind::Scalar || !tally.covers(key) {
            return;
        }
        match self.memtable.row(key) {
            Ok(found) => {
                tally.count = (tally.count + u64::from(!row.is_empty())).saturating_sub(found.row.is_some().into());
            }
            // Whoever changes a row has just read it; should it not be readable now, everything is counted anew.
            Err(_) => *tally = Tally::default(),
        }
    }
}

/// A count of a namespace's stored keys, perhaps not finished.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Tally {
    count: u64,
    /// Places below this are counted; all of them if none.
    upto: Option<u64>,
}

impl Default for Tally {
    fn default() -> Self {
        Self { count: 0, upto: Some(0) }
    }
}

impl Tally {
    fn covers(self, key: &RowKey) -> bool {
        self.upto.is_none_or(|upto| key.place() < upto)
    }

    fn estimate(self) -> u64 {
        match self.upto {
            None | Some(0) => self.count,
            Some(upto) => {
                let whole = (u128::from(self.count) << 64) / u128::from(upto);
                u64::try_from(whole).unwrap_or(u64::MAX)
            }
        }
    }
}

/// Replica and rows together.
#[derive(Debug)]
pub struct Data {
    /// What writes mean.
    pub replica: Replica,
    /// Where they end up.
    pub rows: KeyRows,
}

impl Data {
    /// The keys of `replica` in the rows of a store.
    pub fn new(replica: Replica, memtable: Memtable) -> Self {
        let spaces: Vec<Space> = (0..NUMBERED_SPACES).map(Space::numbered).chain([lease::space()]).collect();
        let tallies = vec![Tally::default(); spaces.len()];
        let (views, ahead) = (Views::new(VIEWS_BYTES_MAX), Ahead::default());
        let rows = KeyRows { memtable, views, spaces, tallies, watched: None, leases: None, ahead };
        Self { replica, rows }
    }

    /// The namespace of that number.
    pub fn space(&self, number: u8) -> &Space {
        &self.rows.spaces[usize::from(number)]
    }

    /// A command that names this key is about to be executed.
    pub fn expect(&mut self, space: u8, key: &[u8]) {
        let KeyRows { memtable, views, ahead, .. } = &mut self.rows;
        ahead.expect(views.hash(space, key), memtable.place(key));
    }

    /// Looks at all the keys that are expected, all at once, so that none of them has to be waited for on its own.
    pub fn look_ahead(&mut self) {
        let KeyRows { memtable, views, ahead, .. } = &mut self.rows;
        ahead.look(views, memtable);
    }

    /// What can be seen of a key.
    pub fn view(&mut self, now: Now, space: u8, key: &[u8]) -> Result<View, StoreError> {
        if let Some(view) = self.rows.views.get(space, key, self.replica.now_ms(now)) {
            return Ok(view.clone());
        }
        let view = self.replica.view(now, &self.rows, self.space(space), key)?;
        self.rows.views.insert(space, key, view.clone());
        Ok(view)
    }

    /// Makes the changes in one commit; returns it, or nothing if nothing changed.
    pub fn edit(&mut self, now: Now, space: u8, edits: Vec<Edit>) -> Result<Option<Commit>, StoreError> {
        let Self { replica, rows } = self;
        let space = rows.spaces[usize::from(space)].clone();
        replica.edit(now, rows, &space, edits)
    }

    /// Adds to a key's number in one commit; says what it came to and what a reply reflects that tells of it.
    pub fn add(&mut self, now: Now, space: u8, key: &[u8], by: i64) -> Result<(Counted, Commit), StoreError> {
        let Self { replica, rows } = self;
        let space = rows.spaces[usize::from(space)].clone();
        replica.count(now, rows, &space, (Bytes::copy_from_slice(key), by))
    }

    /// About how many keys a namespace has: those that the last flush found, expired ones included. O(1).
    pub fn keys_flushed(&self, space: u8) -> Result<u64, StoreError> {
        let root = self.rows.base().node(self.space(space), Path::ROOT)?;
        Ok(root.map_or(0, |node| node.count))
    }

    /// How many keys a namespace has: the visible ones if there are few, else about how many are stored.
    pub fn count(&mut self, now: Now, space: u8) -> Result<u64, StoreError> {
        let mut visible = 0;
        self.walk(now, space, 0, &mut |_, _| {
            visible += 1;
            if visible < COUNTED_MAX { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        if visible < COUNTED_MAX { Ok(visible) } else { self.rows.stored(space) }
    }

    /// Visits the visible keys of a namespace from `place` on, in order of their places.
    pub fn walk(
        &self,
        now: Now,
        space: u8,
        place: u64,
        visit: &mut dyn FnMut(u64, &RowKey) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let now_ms = self.replica.now_ms(now);
        let mut register: Option<(RowKey, Option<u64>)> = None;
        self.rows.range(self.space(space), place, &mut |row_key, row| match row {
            // A key's register comes before its value.
            Row::Expiry(deadlines) => {
                register = Some((row_key.clone(), deadlines.deadline_ms()));
                ControlFlow::Continue(())
            }
            Row::Scalar(scalar) => {
                let of_this_key = register.take().filter(|(key, _)| is_same_key(key, row_key));
                let register_ms = of_this_key.and_then(|(_, deadline_ms)| deadline_ms);
                let visible = scalar.value(|deadline_ms| is_visible(now_ms, register_ms, deadline_ms)).is_some();
                if visible { visit(row_key.place(), row_key) } else { ControlFlow::Continue(()) }
            }
        })
    }
}

fn is_same_key(one: &RowKey, other: &RowKey) -> bool {
    one.place() == other.place() && one.key() == other.key()
}
