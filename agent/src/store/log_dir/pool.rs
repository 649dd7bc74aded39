//! Files made ready for use, and the step that puts one into use.
//!
//! Zero-writing 64 MiB takes longer than a commit may, so the log thread asks for a spare ahead and another thread makes it;
//! only when there is none in time does the log make its own. Names tell what a file is: `new-` is unfinished, `spare-` is
//! ready, sixteen hexadecimal digits are in use.

use xxhash_rust::xxh3::xxh3_64;

use super::{Live, LogSettings};
use crate::store::disk::{Disk, DiskFile};
use crate::store::error::{LogAction, LogError};
use crate::store::segment::{HEADER_BYTES, Header, LogIdentity, TRAILER_BYTES, live_name, size};

/// Zeros are written in pieces of this length.
const PIECE_BYTES: u64 = 1 << 20;

/// A file to be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub struct SpareRequest {
    number: u64,
    length: u64,
}

/// A file that was made.
#[derive(Debug)]
#[must_use]
pub struct Spare {
    name: String,
}

impl SpareRequest {
    /// Makes the file in the log's directory.
    pub fn fulfil<D: Disk>(self, disk: &D) -> Result<Spare, LogError> {
        let unfinished = format!("new-{:08}.seg", self.number);
        let file = disk.create(&unfinished).map_err(LogError::io(LogAction::Create, &unfinished))?;
        let zeros = vec![0; size(PIECE_BYTES.min(self.length))];
        let mut offset = 0;
        while offset < self.length {
            let piece = size((self.length - offset).min(PIECE_BYTES));
            file.write_at(&zeros[..piece], offset).map_err(LogError::io(LogAction::Write, &unfinished))?;
            offset += piece as u64;
        }
        file.sync().map_err(LogError::io(LogAction::Sync, &unfinished))?;
        let name = spare_name(self.number);
        disk.rename(&unfinished, &name).map_err(LogError::io(LogAction::Rename, &unfinished))?;
        disk.sync().map_err(LogError::io(LogAction::SyncFolder, &name))?;
        Ok(Spare { name })
    }
}

/// The number of a spare, if `name` is one.
pub(super) fn parse_spare_name(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("spare-")?.strip_suffix(".seg")?;
    digits.parse().ok()
}

/// Whether `name` is a spare that was not finished.
pub(super) fn is_unfinished(name: &str) -> bool {
    name.strip_prefix("new-").is_some_and(|rest| rest.strip_suffix(".seg").is_some())
}

fn spare_name(number: u64) -> String {
    format!("spare-{number:08}.seg")
}

/// The directory, what is ready in it, and what a new segment is stamped with.
#[derive(Debug)]
pub(super) struct Pool<D> {
    pub(super) disk: D,
    pub(super) settings: LogSettings,
    identity: LogIdentity,
    spares: Vec<String>,
    spare_number: u64,
    salts_drawn: u64,
}

impl<D: Disk> Pool<D> {
    /// A pool that holds the numbered `spares`.
    pub(super) fn new(disk: D, settings: LogSettings, identity: LogIdentity, spares: Vec<(u64, String)>) -> Self {
        Self {
            disk,
            settings,
            identity,
            spare_number: spares.iter().map(|spare| spare.0).max().unwrap_or(0),
            spares: spares.into_iter().map(|spare| spare.1).collect(),
            salts_drawn: 0,
        }
    }

    /// Takes a spare, or makes a file, with room for `bytes`; renames it into use once its header is durable.
    pub(super) fn activate(&mut self, first_commit: u64, bytes: u64) -> Result<Live<D::File>, LogError> {
        let needed = (HEADER_BYTES + bytes + TRAILER_BYTES).next_multiple_of(HEADER_BYTES);
        let length = needed.max(self.settings.segment_bytes);
        let is_usual = length == self.settings.segment_bytes;
        let ready = if is_usual { self.spares.pop() } else { None };
        let spare = match ready {
            Some(name) => name,
            None => self.request(length).fulfil(&self.disk)?.name,
        };
        let header = Header { store: self.identity.store, salt: self.draw_salt(), first_commit, length };
        let file = self.disk.open(&spare).map_err(LogError::io(LogAction::Open, &spare))?;
        let mut live = Live::fresh(spare, file, header);
        live.write(&header.encode(), 0)?;
        live.sync()?;
        let name = live_name(first_commit);
        self.disk.rename(&live.name, &name).map_err(LogError::io(LogAction::Rename, &live.name))?;
        self.sync_names()?;
        live.name = name;
        Ok(live)
    }

    /// Takes a segment out of use: a spare if one of its length is wanted, else removed. Durable with [`Self::sync_names`].
    pub(super) fn retire(&mut self, first_commit: u64, length: u64) -> Result<(), LogError> {
        let name = live_name(first_commit);
        let is_full = self.spares.len() >= self.settings.spares_max;
        if is_full || length != self.settings.segment_bytes {
            return self.disk.remove(&name).map_err(LogError::io(LogAction::Remove, &name));
        }
        let spare = spare_name(self.next_number());
        self.disk.rename(&name, &spare).map_err(LogError::io(LogAction::Rename, &name))?;
        self.spares.push(spare);
        Ok(())
    }

    /// A spare to be made, if none is ready.
    pub(super) fn wanted(&mut self) -> Option<SpareRequest> {
        let wanted = self.spares.is_empty() && self.settings.spares_max > 0;
        wanted.then(|| self.request(self.settings.segment_bytes))
    }

    /// Takes a spare that was made.
    pub(super) fn adopt(&mut self, spare: Spare) {
        self.spares.push(spare.name);
    }

    /// Makes renames and removals durable.
    pub(super) fn sync_names(&self) -> Result<(), LogError> {
        self.disk.sync().map_err(LogError::io(LogAction::SyncFolder, "log"))
    }

    fn request(&mut self, length: u64) -> SpareRequest {
        SpareRequest { number: self.next_number(), length }
    }

    fn next_number(&mut self) -> u64 {
        self.spare_number += 1;
        self.spare_number
    }

    fn draw_salt(&mut self) -> u64 {
        let mut seed = [0; 32];
        seed[..16].copy_from_slice(&self.identity.store.0);
        seed[16..24].copy_from_slice(&self.identity.salt_seed.to_le_bytes());
        seed[24..].copy_from_slice(&self.salts_drawn.to_le_bytes());
        self.salts_drawn += 1;
        // Zero is what a file that was never written holds.
        xxh3_64(&seed).max(1)
    }
}
