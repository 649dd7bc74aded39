//! What `rows.redb` knows about itself, and how far it has been flushed.
//!
//! Apart because replay, reads and flushes all ask the same question: *which commit does this row reflect?* A flush goes
//! through the rows in place order, in chunks, so a file that was left in the middle of one holds rows of two commits (of
//! more, if the flush after a crash was interrupted too). [`Progress`] answers for any of them.
//!
//! Invariants: a `Pass`'s `to` never exceeds the commit that was durable when the flush began; vectors and tree describe
//! `from` until a pass has finished.

use everett_mesh_proto::id::ClusterId;
use everett_mesh_proto::log::Commit;
use everett_mesh_proto::rows::Position;

use super::segment::{StoreId, u32_at, u64_at};

/// The version of everything in `rows.redb`. The first knew no closed lives: who reads it finds none, and whoever knows
/// no other would take what closed lives wrote for never applied.
pub const ROWS_FORMAT_VERSION: u32 = 2;

/// The oldest version that is still read.
pub const ROWS_FORMAT_VERSION_MIN: u32 = 1;

/// How far the rows are flushed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Progress {
    from: Commit,
    /// Newest first; each cursor lies below those of the older passes that it has not overtaken.
    passes: Vec<Pass>,
}

/// A flush that has not finished.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Pass {
    to: Commit,
    /// Rows below reflect `to`.
    cursor: Vec<u8>,
}

impl Progress {
    /// A finished flush.
    pub fn settled(at: Commit) -> Self {
        Self { from: at, passes: Vec::new() }
    }

    /// The commit that vectors, tree and all rows reflect at least: the watermark.
    pub fn watermark(&self) -> Commit {
        self.from
    }

    /// The greatest commit that any row may reflect.
    pub fn newest(&self) -> Commit {
        self.passes.first().map_or(self.from, |pass| pass.to)
    }

    /// Whether a flush had begun and not finished.
    pub fn is_interrupted(&self) -> bool {
        !self.passes.is_empty()
    }

    /// What the row under `key`, present or absent, reflects.
    pub fn position(&self, key: &[u8]) -> Position {
        let pass = self.passes.iter().find(|pass| key < pass.cursor.as_slice());
        Position::end_of(pass.map_or(self.from, |pass| pass.to))
    }

    /// This progress after rows below `cursor` were flushed to `to`.
    pub fn advanced(&self, to: Commit, cursor: &[u8]) -> Self {
        let older = self.passes.iter().filter(|pass| pass.cursor.as_slice() > cursor).cloned();
        let passes = [Pass { to, cursor: cursor.to_vec() }].into_iter().chain(older).collect();
        Self { from: self.from, passes }
    }

    /// The stored bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.from.0.to_le_bytes().to_vec();
        for pass in &self.passes {
            let length = u32::try_from(pass.cursor.len()).expect("a row key is shorter than 4 GiB");
            out.extend_from_slice(&pass.to.0.to_le_bytes());
            out.extend_from_slice(&length.to_le_bytes());
            out.extend_from_slice(&pass.cursor);
        }
        out
    }

    /// Reads the stored bytes.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (from, mut rest) = bytes.split_first_chunk()?;
        let mut passes = Vec::new();
        while let Some((head, tail)) = rest.split_first_chunk::<12>() {
            let length = usize::try_from(u32_at(head, 8)).ok()?;
            let (cursor, tail) = tail.split_at_checked(length)?;
            passes.push(Pass { to: Commit(u64_at(head, 0)), cursor: cursor.to_vec() });
            rest = tail;
        }
        rest.is_empty().then_some(Self { from: Commit(u64::from_le_bytes(*from)), passes })
    }
}

/// Whose rows these are, and in what state they were left.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Facts {
    /// Shared with the log.
    pub store: StoreId,
    /// The cluster that the store belongs to.
    pub cluster: ClusterId,
    /// The fingerprint of the key that rows are placed under.
    pub place_fingerprint: [u8; 16],
    /// How often this store was opened.
    pub boot_epoch: u64,
    /// How far it is flushed.
    pub progress: Progress,
    /// The clock's high-water mark at the watermark.
    pub mark_ms: u64,
    /// Whether the last life ended by itself, everything flushed.
    pub stopped_cleanly: bool,
}

impl Facts {
    /// What a store knows of itself that nobody has opened yet.
    pub fn new(store: StoreId, cluster: ClusterId, place_fingerprint: [u8; 16]) -> Self {
        let (boot_epoch, progress, mark_ms, stopped_cleanly) = (0, Progress::default(), 0, true);
        Self { store, cluster, place_fingerprint, boot_epoch, progress, mark_ms, stopped_cleanly }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(commit: u64) -> Position {
        Position::end_of(Commit(commit))
    }

    #[test]
    fn a_row_reflects_the_newest_pass_that_has_gone_by() {
        let settled = Progress::settled(Commit(5));
        assert_eq!(settled.position(b"m"), at(5));
        let first = settled.advanced(Commit(9), b"p");
        assert_eq!((first.position(b"m"), first.position(b"p")), (at(9), at(5)));
        // A crash here; the next flush starts over and is at "c".
        let second = first.advanced(Commit(20), b"c");
        assert_eq!(second.position(b"a"), at(20));
        assert_eq!(second.position(b"m"), at(9));
        assert_eq!(second.position(b"z"), at(5));
        assert_eq!((second.watermark(), second.newest()), (Commit(5), Commit(20)));
        // It overtakes the first one.
        let third = second.advanced(Commit(20), b"q");
        assert_eq!((third.position(b"p"), third.position(b"q")), (at(20), at(5)));
        assert_eq!(third.passes.len(), 1);
    }

    #[test]
    fn a_pass_repeated_after_a_crash_keeps_what_the_first_had_done() {
        let first = Progress::settled(Commit(5)).advanced(Commit(9), b"p");
        let again = first.advanced(Commit(9), b"c");
        assert_eq!((again.position(b"m"), again.position(b"p")), (at(9), at(5)));
    }

    #[test]
    fn progress_reads_back_and_shorter_bytes_are_refused() {
        let progress = Progress::settled(Commit(5)).advanced(Commit(9), b"p").advanced(Commit(20), b"");
        let bytes = progress.encode();
        assert_eq!(Progress::decode(&bytes), Some(progress));
        assert_eq!(Progress::decode(&bytes[..bytes.len() - 1]), None);
        assert_eq!(Progress::decode(&[1, 2, 3]), None);
    }
}
