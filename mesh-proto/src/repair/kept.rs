//! Rows that need not travel: the receiver has applied every write that they hold.
//!
//! Of such a row the receiver knows each part, or has removed it. All that it can learn is which of its own parts the sender
//! no longer holds. So the sender names the parts that it holds, and the receiver joins with its own row, down to these: the
//! join is the same, because of each part that both hold the receiver's state is the later one.

use super::message::Kept;
use crate::id::Dot;
use crate::rows::{Placer, Row, RowKey};
use crate::vector::Vector;
use crate::wire::encode_row;

/// What to send instead of a row; `None` if the receiver, whose vector this is, has not applied all of it.
pub(super) fn kept(placer: &Placer, key: &RowKey, row: &Row, theirs: &Vector) -> Option<Kept> {
    let known = row.dots().into_iter().chain(row.parts()).all(|dot| theirs.covers(dot));
    known.then(|| Kept { key: key.clone(), parts: row.parts(), marks: marks(placer, row) })
}

/// The receiver's row as far as the sender still holds it; `None` if nothing of it is left.
pub(super) fn restored(mine: Option<&Row>, kept: &Kept) -> Option<Row> {
    mine.map(|row| row.restricted(&kept.parts)).filter(|row| !row.is_empty())
}

/// Whether two agents hold the same dots, and other bytes.
pub(super) fn has_diverged(placer: &Placer, mine: Option<&Row>, kept: &Kept) -> bool {
    mine.is_some_and(|row| {
        let [dots, bytes] = marks(placer, row);
        dots == kept.marks[0] && bytes != kept.marks[1]
    })
}

fn marks(placer: &Placer, row: &Row) -> [[u8; 4]; 2] {
    let mut dots: Vec<Dot> = row.dots();
    dots.extend(row.parts());
    dots.sort_unstable();
    let mut hasher = placer.hasher();
    for dot in dots {
        hasher.update(&dot.replica.0);
        hasher.update(&dot.seq.to_be_bytes());
    }
    let mut content = placer.hasher();
    content.update(&encode_row(row));
    [hasher, content].map(|hasher| *hasher.finalize().as_bytes().first_chunk().expect("32 bytes begin with 4"))
}
