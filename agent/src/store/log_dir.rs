//! The log's writer: appends groups to the live segment, rolls, seals, recycles.
//!
//! Apart from the thread that drives it, so that it runs over a simulated disk. A group is what is written between two
//! syncs, in one write or in many; a record of the next group is written only after that sync, so a bad record followed by
//! a whole one of a later group is damage, and only the last group may be torn. Files are zero-written ahead and reused: an
//! append allocates no block and changes no length, which halves the cost of the sync.
//!
//! Invariants: a file is renamed into use only when its new header is durable, and leaves use by a rename that is durable
//! before the file is written again; a footer is written only behind records that are durable, and so is the first record
//! of another file; what is not synced is bounded in bytes, so that a start knows how far a torn group may reach; commits
//! are dense; after an error nothing is ever written again.
//!
//! It does not decide what may be recycled: the caller says how far rows are flushed and members have acknowledged.

mod open;
mod pool;

use std::collections::VecDeque;
use std::sync::Arc;

use everett_mesh_proto::log::{Medium, Record};
use everett_mesh_proto::wire::peek_span;

use super::disk::{Disk, DiskFile};
use super::error::{LogAction, LogError};
use super::log_index::{LogIndex, SegmentSummary};
use super::segment::{
    HEADER_BYTES, Header, TRAILER_BYTES, encode_footer, encode_record, encode_trailer, record_bytes, size,
};

pub(super) use open::{read_header, read_through};
pub use pool::{Spare, SpareRequest};

use pool::Pool;

/// A group holds no more than this unless it is a single record. Recovery clears as much past a torn end.
pub const GROUP_BYTES_MAX: u64 = 4 << 20;
/// One write takes no more than this unless a single record is longer: it is assembled in memory.
const WRITE_BYTES_MAX: u64 = 1 << 20;
/// The write buffer keeps at most this much capacity between groups.
const BUFFER_KEEP_BYTES: usize = 2 << 20;

/// Sizes of the log.
#[derive(Clone, Copy, Debug)]
pub struct LogSettings {
    /// The length of a segment. A longer record gets a longer segment of its own.
    pub segment_bytes: u64,
    /// Segments kept ready for reuse; each costs `segment_bytes` of disk.
    pub spares_max: usize,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { segment_bytes: 64 << 20, spares_max: 2 }
    }
}

/// What may leave the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Recyclable {
    /// Commits up to here are in `rows.redb`, and no live pin needs the log past a lower one. Never exceeded.
    pub flushed: u64,
    /// Commits up to here are acknowledged by every member that counts.
    pub acknowledged: u64,
    /// Above this many bytes, what is flushed goes even if it is not acknowledged.
    pub bytes_max: u64,
}

/// The log of one store, open for appending.
#[derive(Debug)]
pub struct LogDir<D: Disk> {
    pool: Pool<D>,
    sealed: VecDeque<Sealed>,
    live: Live<D::File>,
    group: Group,
    buffer: Vec<u8>,
    failed: bool,
}

/// What was written since the last sync.
#[derive(Clone, Copy, Debug, Default)]
struct Group {
    /// Its records: the position of the next one.
    records: u32,
    bytes: u64,
}

#[derive(Debug)]
struct Sealed {
    summary: Arc<SegmentSummary>,
    length: u64,
}

#[derive(Debug)]
struct Live<F> {
    name: String,
    file: F,
    header: Header,
    /// Where the next record goes.
    end: u64,
    /// Nothing more may be written here: the footer stands.
    is_sealed: bool,
    summary: SegmentSummary,
}

impl<D: Disk> LogDir<D> {
    /// The commit that the next record must have.
    pub fn next_commit(&self) -> u64 {
        self.live.summary.next_commit()
    }

    /// The oldest commit held, or to be held next if there is none.
    pub fn first_commit(&self) -> u64 {
        let oldest = self.sealed.front().map(|segment| &*segment.summary);
        oldest.unwrap_or(&self.live.summary).first_commit()
    }

    /// Bytes of all segments in use.
    pub fn bytes(&self) -> u64 {
        let sealed: u64 = self.sealed.iter().map(|segment| segment.length).sum();
        sealed + self.live.header.length
    }

    /// What the log holds now.
    pub fn index(&self) -> LogIndex {
        let sealed = self.sealed.iter().map(|segment| segment.summary.clone());
        let live = Arc::new(self.live.summary.clone());
        LogIndex::new(sealed.chain([live]).collect())
    }

    /// Changes whenever a segment is sealed or recycled: then [`Self::index`] is worth taking again.
    pub fn oldest_and_live(&self) -> (u64, u64) {
        (self.first_commit(), self.live.header.first_commit)
    }

    /// Lets go of what may leave, oldest first, and returns how many segments went.
    pub fn recycle(&mut self, allowed: Recyclable) -> Result<usize, LogError> {
        self.guarded(|log| {
            let mut gone = 0;
            while let Some(oldest) = log.sealed.front() {
                let last_commit = oldest.summary.next_commit() - 1;
                let over_budget = log.bytes() > allowed.bytes_max;
                if last_commit > allowed.flushed || (last_commit > allowed.acknowledged && !over_budget) {
                    break;
                }
                let (first_commit, length) = (oldest.summary.first_commit(), oldest.length);
                log.sealed.pop_front();
                log.pool.retire(first_commit, length)?;
                gone += 1;
            }
            if gone > 0 {
                log.pool.sync_names()?;
            }
            Ok(gone)
        })
    }

    /// A spare to be made by another thread, if none is ready. Hand the result to [`Self::adopt_spare`]; until then every
    /// call asks for another.
    pub fn wanted_spare(&mut self) -> Option<SpareRequest> {
        self.pool.wanted()
    }

    /// Takes a spare that was made.
    pub fn adopt_spare(&mut self, spare: Spare) {
        self.pool.adopt(spare);
    }

    fn guarded<T>(&mut self, act: impl FnOnce(&mut Self) -> Result<T, LogError>) -> Result<T, LogError> {
        if self.failed {
            return Err(LogError::Failed);
        }
        let done = act(self);
        self.failed = done.is_err();
        done
    }

    fn append_one_write(&mut self, records: &[Record], bytes: u64) -> Result<(), LogError> {
        if self.group.bytes + bytes > self.group_bytes_max() || !self.live.has_room(bytes) {
            self.end_group()?;
        }
        if !self.live.has_room(bytes) {
            self.roll(bytes)?;
        }
        let live = &mut self.live;
        self.buffer.clear();
        for (position, record) in (self.group.records..).zip(records) {
            let commit = record.commit.0;
            assert_eq!(commit, live.summary.next_commit(), "commit numbers are dense");
            let span = peek_span(&record.payload).map_err(|_| LogError::Payload { commit })?;
            live.summary.note(live.end + self.buffer.len() as u64, span.as_ref());
            encode_record(&mut self.buffer, live.header.salt, commit, position, &record.payload);
        }
        live.write(&self.buffer, live.end)?;
        live.end += self.buffer.len() as u64;
        self.group.records += u32::try_from(records.len()).expect("a group is bounded in bytes");
        self.group.bytes += self.buffer.len() as u64;
        self.buffer.clear();
        self.buffer.shrink_to(BUFFER_KEEP_BYTES);
        Ok(())
    }

    /// Small segments, as tests use them, are not outgrown by a group of small records.
    fn group_bytes_max(&self) -> u64 {
        GROUP_BYTES_MAX.min(self.pool.settings.segment_bytes / 4)
    }

    /// Makes what was written durable; what is written next belongs to another group.
    fn end_group(&mut self) -> Result<(), LogError> {
        if self.group.records > 0 {
            self.live.sync()?;
            self.group = Group::default();
        }
        Ok(())
    }

    /// Seals the live segment and makes the next one, with room for `bytes`, live.
    fn roll(&mut self, bytes: u64) -> Result<(), LogError> {
        let first_commit = self.live.summary.next_commit();
        let is_empty = first_commit == self.live.header.first_commit;
        if !is_empty {
            self.live.seal()?;
        }
        let next = self.pool.activate(first_commit, bytes)?;
        let full = std::mem::replace(&mut self.live, next);
        // An empty segment, too short for a long record, was replaced under its own name.
        if !is_empty {
            self.sealed.push_back(Sealed { summary: Arc::new(full.summary), length: full.header.length });
        }
        Ok(())
    }
}

impl<D: Disk> Medium for LogDir<D> {
    type Error = LogError;

    /// Commits must continue the log's. After an error the log is closed for good.
    fn append(&mut self, records: &[Record]) -> Result<(), LogError> {
        self.guarded(|log| {
            let mut rest = records;
            while !rest.is_empty() {
                let (count, bytes) = prefix_within(rest, WRITE_BYTES_MAX.min(log.group_bytes_max()))?;
                let (now, later) = rest.split_at(count);
                log.append_one_write(now, bytes)?;
                rest = later;
            }
            Ok(())
        })
    }

    /// Ends the group: what is appended from now on is written after everything before is on stable storage.
    fn sync(&mut self) -> Result<(), LogError> {
        self.guarded(Self::end_group)
    }
}

impl<F: DiskFile> Live<F> {
    fn fresh(name: String, file: F, header: Header) -> Self {
        Self {
            name,
            file,
            header,
            end: HEADER_BYTES,
            is_sealed: false,
            summary: SegmentSummary::empty(header.first_commit),
        }
    }

    fn has_room(&self, bytes: u64) -> bool {
        let footer = record_bytes(size(self.summary.footer_bytes()));
        // A long record may fill a segment of its own so that no footer fits; it is scanned instead.
        let is_empty = self.end == HEADER_BYTES;
        let tail = if is_empty { TRAILER_BYTES } else { footer + TRAILER_BYTES };
        !self.is_sealed && self.end + bytes + tail <= self.header.length
    }

    /// Writes the footer, if there is room for one.
    fn seal(&mut self) -> Result<(), LogError> {
        let payload = self.summary.encode_footer();
        let fits = self.end + record_bytes(payload.len()) + TRAILER_BYTES <= self.header.length;
        if self.is_sealed || !fits {
            return Ok(());
        }
        let mut footer = Vec::new();
        let salt = self.header.salt;
        encode_footer(&mut footer, salt, self.summary.next_commit() - 1, &payload);
        self.write(&footer, self.end)?;
        let trailer = encode_trailer(salt, self.end);
        self.write(&trailer, self.header.length - TRAILER_BYTES)?;
        self.sync()?;
        self.is_sealed = true;
        Ok(())
    }

    fn write(&self, bytes: &[u8], offset: u64) -> Result<(), LogError> {
        self.file.write_at(bytes, offset).map_err(LogError::io(LogAction::Write, &self.name))
    }

    fn sync(&self) -> Result<(), LogError> {
        self.file.sync().map_err(LogError::io(LogAction::Sync, &self.name))
    }
}

/// How many records, at least one, fit `bytes_max`, and the bytes they take.
fn prefix_within(records: &[Record], bytes_max: u64) -> Result<(usize, u64), LogError> {
    let mut bytes = 0;
    for (index, record) in records.iter().enumerate() {
        let length = record.payload.len();
        if u32::try_from(length).is_err() {
            return Err(LogError::TooLong { length_bytes: length as u64 });
        }
        let with_this = bytes + record_bytes(length);
        if index > 0 && with_this > bytes_max {
            return Ok((index, bytes));
        }
        bytes = with_this;
    }
    Ok((records.len(), bytes))
}

#[cfg(test)]
mod tests;
