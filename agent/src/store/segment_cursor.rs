//! Walks the records of one segment, a bounded window of the file at a time.
//!
//! Apart because recovery, replay and catch-up read the same bytes with different verdicts: a cursor says *bad*, the caller
//! says whether that is the end, a recycled file or damage.
//!
//! Invariants: at most one record, or one window, is in memory; a record's length is capped by the bytes left in the file.

use std::io;
use std::ops::Range;

use super::disk::DiskFile;
use super::segment::{FRAME_BYTES, Frame, HEADER_BYTES, Header, size};

const WINDOW_BYTES: u64 = 256 << 10;
/// A step of the search for later groups; more than a frame.
const SEARCH_BYTES: u64 = 1 << 20;

/// A place in a segment.
#[derive(Debug)]
pub(super) struct Cursor<F> {
    file: F,
    salt: u64,
    limit: u64,
    offset: u64,
    window: Vec<u8>,
    window_offset: u64,
    payload: Range<usize>,
}

/// What stands at a cursor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// The record that was expected; [`Cursor::payload`] has its payload.
    Record,
    /// The footer of a segment that ends before the expected commit.
    Footer,
    /// Neither.
    Bad,
}

impl<F: DiskFile> Cursor<F> {
    /// A cursor at `offset` of the segment in `file`.
    pub(super) fn new(file: F, header: &Header, offset: u64) -> Self {
        Self {
            file,
            salt: header.salt,
            limit: header.length,
            offset: offset.max(HEADER_BYTES),
            window: Vec::new(),
            window_offset: 0,
            payload: 0..0,
        }
    }

    /// Where the next record begins.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// The file.
    pub(super) fn file(&self) -> &F {
        &self.file
    }

    /// The file, when done with the cursor.
    pub(super) fn into_file(self) -> F {
        self.file
    }

    /// Forgets what was read ahead; more may have been written since.
    pub(super) fn refresh(&mut self) {
        self.window.clear();
        self.payload = 0..0;
    }

    /// The payload of the record or footer that was read last.
    pub(super) fn payload(&self) -> &[u8] {
        &self.window[self.payload.clone()]
    }

    /// Reads the record of `commit` and moves past it, or stays.
    pub(super) fn step(&mut self, commit: u64) -> io::Result<Step> {
        let Some(frame) = self.whole_frame()? else {
            return Ok(Step::Bad);
        };
        if frame.is_footer() {
            let is_next = frame.commit.checked_add(1) == Some(commit);
            return Ok(if is_next { Step::Footer } else { Step::Bad });
        }
        if frame.commit != commit {
            return Ok(Step::Bad);
        }
        self.offset += frame.padded_bytes();
        Ok(Step::Record)
    }

    /// The last commit of the segment whose footer stands here, if one does.
    pub(super) fn footer(&mut self) -> io::Result<Option<u64>> {
        let frame = self.whole_frame()?;
        Ok(frame.filter(Frame::is_footer).map(|frame| frame.commit))
    }

    /// The frame at the cursor if its record is whole; its payload is remembered.
    fn whole_frame(&mut self) -> io::Result<Option<Frame>> {
        self.payload = 0..0;
        let left = self.limit.saturating_sub(self.offset);
        if left < FRAME_BYTES as u64 {
            return Ok(None);
        }
        let start = self.fill(FRAME_BYTES)?;
        let Some(frame) = Frame::decode(&self.window[start..], self.salt, left) else {
            return Ok(None);
        };
        let start = self.fill(FRAME_BYTES + frame.length)?;
        let end = start + FRAME_BYTES + frame.length;
        if !frame.matches(&self.window[start..end]) {
            return Ok(None);
        }
        self.payload = start + FRAME_BYTES..end;
        Ok(Some(frame))
    }

    /// Makes the window cover `length` bytes from the cursor, which lie in the file, and says where in it they begin.
    fn fill(&mut self, length: usize) -> io::Result<usize> {
        let wanted_end = self.offset + length as u64;
        let window_end = self.window_offset + self.window.len() as u64;
        if self.offset < self.window_offset || wanted_end > window_end {
            let bytes = WINDOW_BYTES.max(length as u64).min(self.limit - self.offset);
            self.window.resize(size(bytes), 0);
            self.window_offset = self.offset;
            if let Err(error) = self.file.read_at(&mut self.window, self.offset) {
                self.window.clear();
                return Err(error);
            }
        }
        Ok(size(self.offset - self.window_offset))
    }

    /// Whether a whole record past the cursor proves that `commit` had been durable, so that its absence is damage.
    pub(super) fn later_group_exists(&self, commit: u64) -> io::Result<bool> {
        let mut chunk = Vec::new();
        let mut offset = self.offset;
        while self.limit.saturating_sub(offset) >= FRAME_BYTES as u64 {
            let bytes = size(SEARCH_BYTES.min(self.limit - offset));
            chunk.resize(bytes, 0);
            self.file.read_at(&mut chunk, offset)?;
            let mut at = 0;
            while at + FRAME_BYTES <= chunk.len() {
                let left = self.limit - offset - at as u64;
                if let Some(frame) = Frame::decode(&chunk[at..], self.salt, left)
                    && frame.proves_durable(commit)
                    && self.is_whole(offset + at as u64, &frame)?
                {
                    return Ok(true);
                }
                at += 8;
            }
            offset += at as u64;
        }
        Ok(false)
    }

    fn is_whole(&self, offset: u64, frame: &Frame) -> io::Result<bool> {
        let mut record = vec![0; FRAME_BYTES + frame.length];
        self.file.read_at(&mut record, offset)?;
        Ok(frame.matches(&record))
    }
}
