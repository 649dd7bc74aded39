//! Opens a log: names, headers, footers, and the end of the last segment.
//!
//! Sealed segments are known by their footers and are not read here. The last one is scanned: it ends at the first record
//! that is not whole, and if anything past that proves the record had been durable, the log is damaged and nothing is
//! changed. Otherwise what the torn group may have left behind is overwritten with zeros before anything is appended, so
//! that it can never be read as a continuation of what comes next.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use everett_mesh_proto::wire::peek_span;

use super::pool::{Pool, is_unfinished, parse_spare_name};
use super::{GROUP_BYTES_MAX, Group, Live, LogDir, LogSettings, Sealed};
use crate::store::disk::{Disk, DiskFile};
use crate::store::error::{LogAction, LogError};
use crate::store::log_index::SegmentSummary;
use crate::store::segment::{
    BadHeader, FORMAT_VERSION, HEADER_BYTES, Header, LogIdentity, StoreId, TRAILER_BYTES, TRAILER_SIZE, decode_trailer,
    parse_live_name, size,
};
use crate::store::segment_cursor::{Cursor, Step};

/// The names found in a log's directory.
#[derive(Default)]
struct Names {
    /// First commit and name, ascending.
    live: Vec<(u64, String)>,
    spares: Vec<(u64, String)>,
}

impl<D: Disk> LogDir<D> {
    /// Starts a log whose first record will be `first_commit`. Segments of an interrupted earlier start, which hold no
    /// record, are replaced; any record is an error.
    pub fn create(disk: D, settings: LogSettings, identity: LogIdentity, first_commit: u64) -> Result<Self, LogError> {
        let names = tidy(&disk, settings)?;
        for (_, name) in &names.live {
            if segment_holds_anything(&disk, name)? {
                return Err(LogError::Exists);
            }
        }
        for (_, name) in names.live.iter().chain(&names.spares) {
            disk.remove(name).map_err(LogError::io(LogAction::Remove, name))?;
        }
        let mut pool = Pool::new(disk, settings, identity, Vec::new());
        let live = pool.activate(first_commit, 0)?;
        Ok(Self::assemble(pool, VecDeque::new(), live))
    }

    /// Opens the log of `identity`'s store and clears what a torn last group left behind.
    pub fn open(disk: D, settings: LogSettings, identity: LogIdentity) -> Result<Self, LogError> {
        let names = tidy(&disk, settings)?;
        let Some(((last_first, last_name), older)) = names.live.split_last() else {
            return Err(LogError::Missing);
        };
        let mut sealed = VecDeque::new();
        for (index, (first_commit, name)) in older.iter().enumerate() {
            let next_first = names.live[index + 1].0;
            let (file, header) = open_segment(&disk, identity.store, name, *first_commit)?;
            let (file, footer) = read_footer(file, &header, name)?;
            let summary = match footer {
                Some(summary) => summary,
                None => scan(file, &header, name)?.summary,
            };
            if summary.next_commit() != next_first {
                return Err(gap(summary.next_commit(), &names.live[index + 1]));
            }
            sealed.push_back(Sealed { summary: Arc::new(summary), length: header.length });
        }
        let (file, header) = open_segment(&disk, identity.store, last_name, *last_first)?;
        let live = scan(file, &header, last_name)?;
        live.clear_torn_tail()?;
        let pool = Pool::new(disk, settings, identity, names.spares);
        // A former process may have been killed between a write and its sync: what was read here is now made durable.
        live.sync()?;
        pool.sync_names()?;
        Ok(Self::assemble(pool, sealed, live))
    }

    fn assemble(pool: Pool<D>, sealed: VecDeque<Sealed>, live: Live<D::File>) -> Self {
        Self { pool, sealed, live, group: Group::default(), buffer: Vec::new(), failed: false }
    }
}

/// Reads every record of every segment, changing nothing; returns the first commit and the one past the last. `tell` hears
/// what part was read, in percent. Like any start it takes a torn end for what it is.
pub(in crate::store) fn read_through<D: Disk>(
    disk: &D,
    store: StoreId,
    tell: &mut dyn FnMut(u64),
) -> Result<Range<u64>, LogError> {
    let names = disk.list().map_err(LogError::io(LogAction::List, "log"))?;
    let mut live: Vec<_> = names.into_iter().filter_map(|name| Some((parse_live_name(&name)?, name))).collect();
    live.sort_unstable();
    let first = live.first().ok_or(LogError::Missing)?.0;
    let mut next = first;
    for (index, segment) in live.iter().enumerate() {
        if segment.0 != next {
            return Err(gap(next, segment));
        }
        tell(index as u64 * 100 / live.len() as u64);
        let (file, header) = open_segment(disk, store, &segment.1, segment.0)?;
        next = scan(file, &header, &segment.1)?.summary.next_commit();
    }
    Ok(first..next)
}

fn gap(expected: u64, found: &(u64, String)) -> LogError {
    LogError::Gap { expected, file: found.1.clone() }
}

/// Lists the directory, removes unfinished files and spares of another length, ignores what is not ours.
fn tidy<D: Disk>(disk: &D, settings: LogSettings) -> Result<Names, LogError> {
    let mut names = Names::default();
    for name in disk.list().map_err(LogError::io(LogAction::List, "log"))? {
        if let Some(first_commit) = parse_live_name(&name) {
            names.live.push((first_commit, name));
        } else if let Some(number) = parse_spare_name(&name) {
            let file = disk.open(&name).map_err(LogError::io(LogAction::Open, &name))?;
            let length = file.length().map_err(LogError::io(LogAction::Read, &name))?;
            if length == settings.segment_bytes && names.spares.len() < settings.spares_max {
                names.spares.push((number, name));
            } else {
                disk.remove(&name).map_err(LogError::io(LogAction::Remove, &name))?;
            }
        } else if is_unfinished(&name) {
            disk.remove(&name).map_err(LogError::io(LogAction::Remove, &name))?;
        }
    }
    names.live.sort_unstable();
    Ok(names)
}

fn segment_holds_anything<D: Disk>(disk: &D, name: &str) -> Result<bool, LogError> {
    let file = disk.open(name).map_err(LogError::io(LogAction::Open, name))?;
    let header = match read_header(&file, name) {
        Ok(header) => header,
        Err(LogError::Header { .. }) => return Ok(true),
        Err(error) => return Err(error),
    };
    let mut cursor = Cursor::new(file, &header, HEADER_BYTES);
    let step = cursor.step(header.first_commit).map_err(LogError::io(LogAction::Read, name))?;
    if step != Step::Bad {
        return Ok(true);
    }
    cursor.later_group_exists(header.first_commit).map_err(LogError::io(LogAction::Read, name))
}

pub(in crate::store) fn read_header<F: DiskFile>(file: &F, name: &str) -> Result<Header, LogError> {
    let length = file.length().map_err(LogError::io(LogAction::Read, name))?;
    let damaged = || LogError::Header { file: name.to_owned() };
    if length < HEADER_BYTES + TRAILER_BYTES {
        return Err(damaged());
    }
    let mut page = vec![0; size(HEADER_BYTES)];
    file.read_at(&mut page, 0).map_err(LogError::io(LogAction::Read, name))?;
    let header = Header::decode(&page).map_err(|bad| match bad {
        BadHeader::Damaged => damaged(),
        BadHeader::Version(found) => LogError::Version { file: name.to_owned(), found, known: FORMAT_VERSION },
    })?;
    if header.length != length {
        return Err(damaged());
    }
    Ok(header)
}

fn open_segment<D: Disk>(
    disk: &D,
    store: StoreId,
    name: &str,
    first_commit: u64,
) -> Result<(D::File, Header), LogError> {
    let file = disk.open(name).map_err(LogError::io(LogAction::Open, name))?;
    let header = read_header(&file, name)?;
    if header.store != store {
        return Err(LogError::Foreign { file: name.to_owned() });
    }
    if header.first_commit != first_commit {
        return Err(LogError::Header { file: name.to_owned() });
    }
    Ok((file, header))
}

/// The footer of a sealed segment; `None` if it has none, so that it must be scanned.
fn read_footer<F: DiskFile>(file: F, header: &Header, name: &str) -> Result<(F, Option<SegmentSummary>), LogError> {
    let mut trailer = [0; TRAILER_SIZE];
    file.read_at(&mut trailer, header.length - TRAILER_BYTES).map_err(LogError::io(LogAction::Read, name))?;
    let Some(offset) = decode_trailer(&trailer, header.salt) else {
        return Ok((file, None));
    };
    let mut cursor = Cursor::new(file, header, offset);
    let last_commit = cursor.footer().map_err(LogError::io(LogAction::Read, name))?;
    let summary = last_commit
        .and_then(|last| SegmentSummary::decode_footer(header.first_commit, last.checked_add(1)?, cursor.payload()));
    Ok((cursor.into_file(), summary))
}

/// Reads a segment to its end.
fn scan<F: DiskFile>(file: F, header: &Header, name: &str) -> Result<Live<F>, LogError> {
    let mut summary = SegmentSummary::empty(header.first_commit);
    let mut cursor = Cursor::new(file, header, HEADER_BYTES);
    let is_sealed = loop {
        let offset = cursor.offset();
        let commit = summary.next_commit();
        match cursor.step(commit).map_err(LogError::io(LogAction::Read, name))? {
            Step::Record => {
                let span = peek_span(cursor.payload()).map_err(|_| LogError::Payload { commit })?;
                summary.note(offset, span.as_ref());
            }
            Step::Footer => break true,
            Step::Bad => break false,
        }
    };
    let commit = summary.next_commit();
    let damaged = !is_sealed && cursor.later_group_exists(commit).map_err(LogError::io(LogAction::Read, name))?;
    if damaged {
        return Err(LogError::Corrupt { file: name.to_owned(), offset: cursor.offset(), commit });
    }
    Ok(Live {
        name: name.to_owned(),
        end: cursor.offset(),
        file: cursor.into_file(),
        header: *header,
        is_sealed,
        summary,
    })
}

impl<F: DiskFile> Live<F> {
    fn clear_torn_tail(&self) -> Result<(), LogError> {
        if self.is_sealed {
            return Ok(());
        }
        let bytes = (self.header.length - self.end).min(GROUP_BYTES_MAX);
        let read = LogError::io(LogAction::Read, &self.name);
        let mut tail = vec![0; size(bytes)];
        self.file.read_at(&mut tail, self.end).map_err(read)?;
        if tail.iter().all(|byte| *byte == 0) {
            return Ok(());
        }
        tail.fill(0);
        self.write(&tail, self.end)
    }
}
