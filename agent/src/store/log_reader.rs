//! Reads the log in commit order: replay at start, catch-up while others append.
//!
//! Apart from the writer: a reader has handles of its own, may live on another thread, and is told how far it may read.
//! A segment may be recycled under it; the salt and header tell that from damage.
//!
//! Invariants: it returns only records at or below the durable commit it was given, each exactly once and in order, and
//! holds at most one record or window in memory.

use std::io::ErrorKind;

use super::disk::Disk;
use super::error::{LogAction, LogError};
use super::log_dir::read_header;
use super::log_index::Mark;
use super::segment::{HEADER_BYTES, Header, StoreId, live_name, parse_live_name};
use super::segment_cursor::{Cursor, Step};

/// A place in the log of one store.
#[derive(Debug)]
pub struct LogReader<D: Disk> {
    disk: D,
    store: StoreId,
    next: u64,
    durable: u64,
    segment: Option<Open<D::File>>,
}

#[derive(Debug)]
struct Open<F> {
    name: String,
    header: Header,
    cursor: Cursor<F>,
}

impl<D: Disk> LogReader<D> {
    /// A reader of the records `from..=durable`.
    pub fn new(disk: D, store: StoreId, from: u64, durable: u64) -> Self {
        Self { disk, store, next: from, durable, segment: None }
    }

    /// Starts at `mark`, which an index gave, without reading what lies before it in its segment.
    pub fn start_at(&mut self, mark: Mark) -> Result<(), LogError> {
        self.next = mark.commit;
        self.segment = Some(self.open_segment(mark.segment, mark.offset)?);
        Ok(())
    }

    /// Lets the reader go on to a later durable commit.
    pub fn extend(&mut self, durable: u64) {
        self.durable = self.durable.max(durable);
        if let Some(segment) = &mut self.segment {
            segment.cursor.refresh();
        }
    }

    /// The commit that [`Self::advance`] will read.
    pub fn next_commit(&self) -> u64 {
        self.next
    }

    /// The next record's commit and payload; `None` at the durable end.
    pub fn advance(&mut self) -> Result<Option<(u64, &[u8])>, LogError> {
        if self.next > self.durable {
            return Ok(None);
        }
        let commit = self.next;
        let mut segment = match self.segment.take() {
            Some(segment) => segment,
            None => self.open_before(commit)?,
        };
        if !segment.read(commit)? {
            segment = self.following(&segment, commit)?;
            if !segment.read(commit)? {
                return Err(segment.verdict(commit));
            }
        }
        self.next += 1;
        let segment = self.segment.insert(segment);
        Ok(Some((commit, segment.cursor.payload())))
    }

    /// Opens the segment that should hold `commit` and skips what lies before it.
    fn open_before(&self, commit: u64) -> Result<Open<D::File>, LogError> {
        let names = self.disk.list().map_err(LogError::io(LogAction::List, "log"))?;
        let first_commit = names
            .iter()
            .filter_map(|name| parse_live_name(name))
            .filter(|first| *first <= commit)
            .max()
            .ok_or(LogError::Recycled { commit })?;
        let mut segment = self.open_segment(first_commit, HEADER_BYTES)?;
        for earlier in first_commit..commit {
            if !segment.read(earlier)? {
                return Err(segment.verdict(earlier));
            }
        }
        Ok(segment)
    }

    /// The segment that begins with `commit`, after `ended`.
    fn following(&self, ended: &Open<D::File>, commit: u64) -> Result<Open<D::File>, LogError> {
        match self.open_segment(commit, HEADER_BYTES) {
            // The oldest go first: if the segment before is gone, so is this one.
            Err(LogError::Recycled { .. }) if !self.exists(&ended.name) => Err(LogError::Recycled { commit }),
            Err(LogError::Recycled { .. }) => Err(ended.verdict(commit)),
            other => other,
        }
    }

    fn exists(&self, name: &str) -> bool {
        !matches!(self.disk.open(name), Err(error) if error.kind() == ErrorKind::NotFound)
    }

    /// Opens the segment that begins with `commit`, at `offset`.
    fn open_segment(&self, commit: u64, offset: u64) -> Result<Open<D::File>, LogError> {
        let name = live_name(commit);
        let file = match self.disk.open(&name) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(LogError::Recycled { commit });
            }
            Err(error) => return Err(LogError::io(LogAction::Open, &name)(error)),
        };
        let header = read_header(&file, &name)?;
        if header.store != self.store {
            return Err(LogError::Foreign { file: name });
        }
        let cursor = Cursor::new(file, &header, offset);
        Ok(Open { name, header, cursor })
    }
}

impl<F: super::disk::DiskFile> Open<F> {
    fn read(&mut self, commit: u64) -> Result<bool, LogError> {
        let step = self.cursor.step(commit);
        Ok(step.map_err(LogError::io(LogAction::Read, &self.name))? == Step::Record)
    }

    /// Why a durable commit cannot be read here.
    fn verdict(&self, commit: u64) -> LogError {
        match read_header(self.cursor.file(), &self.name) {
            Ok(now) if now == self.header => {
                LogError::Corrupt { file: self.name.clone(), offset: self.cursor.offset(), commit }
            }
            // The file was put to another use while it was being read.
            _ => LogError::Recycled { commit },
        }
    }
}
