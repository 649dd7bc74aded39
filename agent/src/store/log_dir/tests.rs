//! The log over real files: what a crash leaves is read back exactly, and damage is refused.

use std::cell::Cell;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use bytes::Bytes;
use everett_mesh_proto::clock::Stamp;
use everett_mesh_proto::crdt::NEVER_MS;
use everett_mesh_proto::id::{ReplicaId, Space};
use everett_mesh_proto::log::Commit;
use everett_mesh_proto::replica::{Effect, Group, Observed, Op, Payload};
use everett_mesh_proto::wire::encode_payload;
use tempfile::TempDir;

use super::*;
use crate::store::disk::Folder;
use crate::store::log_reader::LogReader;
use crate::store::segment::FRAME_BYTES;
use crate::store::segment::{LogIdentity, StoreId};

const AUTHOR: ReplicaId = ReplicaId([7; 16]);
const STORE: StoreId = StoreId([9; 16]);
const SMALL: LogSettings = LogSettings { segment_bytes: 64 << 10, spares_max: 2 };

/// A record of one SET whose seq is the record's commit.
fn op(commit: u64, length: usize, fill: u8) -> Record {
    let seen = Observed::default();
    let effect = Effect::Set { seen, value: Bytes::from(vec![fill; length]), deadline_ms: NEVER_MS };
    let ops = vec![Op::Key { key: Bytes::from_static(b"key"), effect }];
    let space = Space::numbered(0);
    let group = Group { space, author: AUTHOR, first: commit, stamp: Stamp::at_ms(1), deps: Vec::new(), ops };
    Record { commit: Commit(commit), payload: encode_payload(&Payload::Group(group)) }
}

fn identity(salt_seed: u64) -> LogIdentity {
    LogIdentity { store: STORE, salt_seed }
}

fn create(path: &Path) -> LogDir<Folder> {
    LogDir::create(Folder::open(path).unwrap(), SMALL, identity(1), 1).unwrap()
}

fn reopen(path: &Path, salt_seed: u64) -> Result<LogDir<Folder>, LogError> {
    LogDir::open(Folder::open(path).unwrap(), SMALL, identity(salt_seed))
}

/// All records from `from` to the end, as `(commit, payload)`.
fn read_all(path: &Path, from: u64, durable: u64) -> Result<Vec<Record>, LogError> {
    let mut reader = LogReader::new(Folder::open(path).unwrap(), STORE, from, durable);
    let mut read = Vec::new();
    while let Some((commit, payload)) = reader.advance()? {
        let payload = Bytes::copy_from_slice(payload);
        read.push(Record { commit: Commit(commit), payload });
    }
    Ok(read)
}

fn append_and_sync<D: Disk>(log: &mut LogDir<D>, records: &[Record]) -> Result<(), LogError> {
    log.append(records)?;
    log.sync()
}

fn segment_path(path: &Path, first_commit: u64) -> PathBuf {
    path.join(crate::store::segment::live_name(first_commit))
}

fn ops(range: std::ops::RangeInclusive<u64>, length: usize) -> Vec<Record> {
    range.map(|commit| op(commit, length, 0xaa)).collect()
}

#[test]
fn groups_read_back_in_order_across_segments_and_restarts() {
    let dir = TempDir::new().unwrap();
    let mut log = create(dir.path());
    let mut written = Vec::new();
    for round in 0..4 {
        for group in 0..60 {
            let first = log.next_commit();
            let group = ops(first..=first + group % 5, 300);
            append_and_sync(&mut log, &group).unwrap();
            written.extend(group);
        }
        let last = log.next_commit() - 1;
        assert_eq!(read_all(dir.path(), 1, last).unwrap(), written);
        assert_eq!(read_all(dir.path(), 50, last).unwrap(), written[49..]);
        let before = log.index();
        drop(log);
        log = reopen(dir.path(), round).unwrap();
        assert_eq!(log.next_commit(), last + 1);
        assert_eq!(log.index().segments(), before.segments());
        assert!(log.index().holds(&Space::numbered(0), AUTHOR, 1, last));
    }
    assert!(log.index().segments().len() > 3, "the test must roll");
}

#[test]
fn a_mark_of_the_index_starts_a_reader_near_the_op() {
    let dir = TempDir::new().unwrap();
    let mut log = create(dir.path());
    append_and_sync(&mut log, &ops(1..=400, 300)).unwrap();
    let index = log.index();
    let segment = index.find(&Space::numbered(0), AUTHOR, 350).unwrap();
    let mark = segment.start_for(segment.first_commit());
    assert!(mark.commit > 1 && mark.commit <= 350);
    let mut reader = LogReader::new(Folder::open(dir.path()).unwrap(), STORE, 1, 400);
    reader.start_at(mark).unwrap();
    let (commit, _) = reader.advance().unwrap().unwrap();
    assert_eq!(commit, mark.commit);
}

#[test]
fn a_reader_goes_on_when_more_becomes_durable() {
    let dir = TempDir::new().unwrap();
    let mut log = create(dir.path());
    let mut reader = LogReader::new(Folder::open(dir.path()).unwrap(), STORE, 1, 0);
    for commit in 1..=300 {
        assert_eq!(reader.advance().unwrap(), None);
        append_and_sync(&mut log, &ops(commit..=commit, 1000)).unwrap();
        reader.extend(commit);
        let (read, payload) = reader.advance().unwrap().unwrap();
        assert_eq!((read, payload), (commit, &*op(commit, 1000, 0xaa).payload));
    }
}

#[test]
fn a_torn_last_group_replays_to_the_whole_records_before_the_tear() {
    let dir = TempDir::new().unwrap();
    let mut log = create(dir.path());
    append_and_sync(&mut log, &ops(1..=3, 20)).unwrap();
    let group_start = size(log.live.end);
    append_and_sync(&mut log, &ops(4..=5, 20)).unwrap();
    let group_end = size(log.live.end);
    drop(log);
    let whole = fs::read(segment_path(dir.path(), 1)).unwrap();
    let record = (group_end - group_start) / 2;
    // The padding after the payload is no part of the record.
    let padding = record - (FRAME_BYTES + op(4, 20, 0xaa).payload.len());
    for cut in group_start..group_end {
        let mut torn = whole.clone();
        // What a recycled file held before.
        torn[cut..group_end].fill(0x55);
        fs::write(segment_path(dir.path(), 1), &torn).unwrap();
        let mut log = reopen(dir.path(), cut as u64).unwrap();
        let survivors = if cut + padding >= group_end {
            5
        } else if cut + padding >= group_start + record {
            4
        } else {
            3
        };
        assert_eq!(log.next_commit(), survivors + 1, "cut at {cut}");
        let next = op(survivors + 1, 33, 0xbb);
        append_and_sync(&mut log, std::slice::from_ref(&next)).unwrap();
        drop(log);
        let log = reopen(dir.path(), 0).unwrap();
        assert_eq!(log.next_commit(), survivors + 2);
        let read = read_all(dir.path(), 1, survivors + 1).unwrap();
        assert_eq!(read[..size(survivors)], ops(1..=survivors, 20));
        assert_eq!(read.last(), Some(&next));
    }
}

#[test]
fn what_a_torn_group_left_behind_never_continues_a_later_one() {
    let dir = TempDir::new().unwrap();
    let mut log = create(dir.path());
    append_and_sync(&mut log, &ops(1..=1, 20)).unwrap();
    let group_start = size(log.live.end);
    append_and_sync(&mut log, &ops(2..=4, 20)).unwrap();
    drop(log);
    // The first record of the group did not reach the disk, the others did.
    let path = segment_path(dir.path(), 1);
    let mut torn = fs::read(&path).unwrap();
    torn[group_start + FRAME_BYTES] ^= 1;
    fs::write(&path, &torn).unwrap();
    let mut log = reopen(dir.path(), 2).unwrap();
    assert_eq!(log.next_commit(), 2);
    append_and_sync(&mut log, &[op(2, 20, 0xcc)]).unwrap();
    drop(log);
    assert_eq!(reopen(dir.path(), 3).unwrap().next_commit(), 3);
}

#[test]
fn damage_before_a_later_group_is_refused_and_changes_nothing() {
    let dir = TempDir::new().unwrap();
    let mut log = create(dir.path());
    append_and_sync(&mut log, &ops(1..=2, 20)).unwrap();
    let second = size(log.live.end);
    append_and_sync(&mut log, &ops(3..=3, 20)).unwrap();
    let end = size(log.live.end);
    append_and_sync(&mut log, &ops(4..=5, 20)).unwrap();
    drop(log);
    let path = segment_path(dir.path(), 1);
    let whole = fs::read(&path).unwrap();
    for at in second..end - 4 {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x10;
        fs::write(&path, &damaged).unwrap();
        let error = reopen(dir.path(), 2).unwrap_err();
        let expected = (second as u64, 3);
        assert!(
            matches!(error, LogError::Corrupt { offset, commit, .. } if (offset, commit) == expected),
            "byte {at}: {error}"
        );
        assert_eq!(fs::read(&path).unwrap(), damaged);
    }
}

#[test]
fn damage_in_a_sealed_segment_is_found_by_the_reader() {
    let dir = TempDir::new().unwrap();
    let mut log = create(dir.path());
    append_and_sync(&mut log, &ops(1..=400, 300)).unwrap();
    let path = segment_path(dir.path(), 1);
    let mut damaged = fs::read(&path).unwrap();
    damaged[size(HEADER_BYTES) + 50] ^= 1;
    fs::write(&path, &damaged).unwrap();
    let error = read_all(dir.path(), 1, 400).unwrap_err();
    assert!(matches!(error, LogError::Corrupt { commit: 1, .. }), "{error}");
}

#[test]
fn a_sealed_segment_whose_footer_is_lost_is_scanned() {
    let dir = TempDir::new().unwrap();
    let mut log = create(dir.path());
    append_and_sync(&mut log, &ops(1..=400, 300)).unwrap();
    let before = log.index();
    drop(log);
    let path = segment_path(dir.path(), 1);
    let mut bytes = fs::read(&path).unwrap();
    let end = bytes.len();
    bytes[end - size(TRAILER_BYTES)..].fill(0);
    fs::write(&path, &bytes).unwrap();
    assert_eq!(reopen(dir.path(), 2).unwrap().index().segments(), before.segments());
}

#[test]
fn a_log_sealed_but_not_rolled_goes_on_in_a_new_segment() {
    let dir = TempDir::new().unwrap();
    let mut log = create(dir.path());
    append_and_sync(&mut log, &ops(1..=3, 20)).unwrap();
    log.live.seal().unwrap();
    drop(log);
    let mut log = reopen(dir.path(), 2).unwrap();
    append_and_sync(&mut log, &ops(4..=4, 20)).unwrap();
    assert_eq!(log.index().segments().len(), 2);
    drop(log);
    reopen(dir.path(), 3).unwrap();
    assert_eq!(read_all(dir.path(), 1, 4).unwrap(), ops(1..=4, 20));
}

#[test]
fn a_record_longer_than_a_segment_gets_one_of_its_own() {
    let dir = TempDir::new().unwrap();
    let mut log = create(dir.path());
    let giant = |commit| op(commit, 200_000, 0xdd);
    // Also as the very first record, and with records of the usual length around it.
    let written = [giant(1), op(2, 20, 1), giant(3), giant(4), op(5, 20, 1)];
    for record in &written {
        append_and_sync(&mut log, std::slice::from_ref(record)).unwrap();
    }
    drop(log);
    let mut log = reopen(dir.path(), 2).unwrap();
    assert_eq!(read_all(dir.path(), 1, 5).unwrap(), written);
    let all = Recyclable { flushed: 5, acknowledged: 5, bytes_max: 0 };
    log.recycle(all).unwrap();
    assert_eq!(log.index().segments().len(), 1, "the live segment stays");
    assert_eq!(read_all(dir.path(), 5, 5).unwrap(), written[4..]);
}

#[test]
fn recycling_keeps_what_is_not_flushed_or_not_acknowledged() {
    let dir = TempDir::new().unwrap();
    let mut log = create(dir.path());
    append_and_sync(&mut log, &ops(1..=1000, 300)).unwrap();
    let firsts: Vec<u64> = log.index().segments().iter().map(|s| s.first_commit()).collect();
    let recycle = |log: &mut LogDir<Folder>, flushed, acknowledged, bytes_max| {
        let allowed = Recyclable { flushed, acknowledged, bytes_max };
        log.recycle(allowed).unwrap();
        log.first_commit()
    };
    assert_eq!(recycle(&mut log, firsts[1] - 2, 1000, u64::MAX), 1, "one commit of it is not flushed");
    assert_eq!(recycle(&mut log, 1000, firsts[1] - 2, u64::MAX), 1, "one commit of it is not acknowledged");
    assert_eq!(recycle(&mut log, 1000, firsts[1] - 1, u64::MAX), firsts[1]);
    assert_eq!(recycle(&mut log, firsts[2] - 1, 0, 0), firsts[2], "the budget overrules members, not the watermark");
    assert!(matches!(read_all(dir.path(), 1, 1000).unwrap_err(), LogError::Recycled { commit: 1 }));
    assert_eq!(read_all(dir.path(), firsts[2], 1000).unwrap().len() as u64, 1001 - firsts[2]);
}

#[test]
fn a_recycled_file_never_shows_its_former_content() {
    let dir = TempDir::new().unwrap();
    let mut log = create(dir.path());
    let mut oldest = LogReader::new(Folder::open(dir.path()).unwrap(), STORE, 1, u64::MAX);
    append_and_sync(&mut log, &ops(1..=2, 500)).unwrap();
    oldest.advance().unwrap();
    for round in 0..20 {
        let first = log.next_commit();
        append_and_sync(&mut log, &ops(first..=first + 150, 500)).unwrap();
        let last = log.next_commit() - 1;
        let allowed = Recyclable { flushed: last, acknowledged: last, bytes_max: u64::MAX };
        log.recycle(allowed).unwrap();
        let held = log.first_commit();
        drop(log);
        log = reopen(dir.path(), round).unwrap();
        assert_eq!((log.first_commit(), log.next_commit()), (held, last + 1));
        assert_eq!(read_all(dir.path(), held, last).unwrap(), ops(held..=last, 500));
    }
    let files = fs::read_dir(dir.path()).unwrap().count();
    assert!(files <= 4, "{files} files: segments are reused, not made");
    let error = loop {
        match oldest.advance() {
            Ok(read) => assert!(read.is_some(), "the old reader cannot reach the end"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, LogError::Recycled { .. }), "{error}");
}

#[test]
fn a_spare_made_elsewhere_is_used() {
    let dir = TempDir::new().unwrap();
    let mut log = create(dir.path());
    let request = log.wanted_spare().unwrap();
    let spare = request.fulfil(&Folder::open(dir.path()).unwrap()).unwrap();
    log.adopt_spare(spare);
    assert_eq!(log.wanted_spare(), None);
    append_and_sync(&mut log, &ops(1..=200, 400)).unwrap();
    assert!(log.wanted_spare().is_some());
}

#[test]
fn directories_that_do_not_fit_together_are_refused() {
    let dir = TempDir::new().unwrap();
    assert!(matches!(reopen(dir.path(), 1), Err(LogError::Missing)));
    drop(create(dir.path()));
    // No record yet: an interrupted first start may be repeated.
    let mut log = create(dir.path());
    append_and_sync(&mut log, &ops(1..=600, 300)).unwrap();
    let firsts: Vec<u64> = log.index().segments().iter().map(|s| s.first_commit()).collect();
    drop(log);
    let again = LogDir::create(Folder::open(dir.path()).unwrap(), SMALL, identity(1), 1);
    assert!(matches!(again, Err(LogError::Exists)));
    let other = LogIdentity { store: StoreId([1; 16]), salt_seed: 1 };
    let foreign = LogDir::open(Folder::open(dir.path()).unwrap(), SMALL, other);
    assert!(matches!(foreign, Err(LogError::Foreign { .. })));
    fs::remove_file(segment_path(dir.path(), firsts[1])).unwrap();
    let gap = reopen(dir.path(), 1).unwrap_err();
    assert!(matches!(gap, LogError::Gap { expected, .. } if expected == firsts[1]), "{gap}");
    fs::write(segment_path(dir.path(), firsts[2]), b"short").unwrap();
    assert!(matches!(reopen(dir.path(), 1), Err(LogError::Gap { .. } | LogError::Header { .. })));
}

/// A real directory whose files fail to sync once told so.
struct Failing {
    folder: Folder,
    fails: Rc<Cell<bool>>,
}

#[derive(Debug)]
struct FailingFile {
    file: File,
    fails: Rc<Cell<bool>>,
}

impl Failing {
    fn wrap(&self, file: File) -> FailingFile {
        let fails = Rc::clone(&self.fails);
        FailingFile { file, fails }
    }
}

impl Disk for Failing {
    type File = FailingFile;

    fn reopen(&self) -> io::Result<Self> {
        Ok(Self { folder: self.folder.reopen()?, fails: Rc::clone(&self.fails) })
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.folder.list()
    }

    fn create(&self, name: &str) -> io::Result<FailingFile> {
        Ok(self.wrap(self.folder.create(name)?))
    }

    fn open(&self, name: &str) -> io::Result<FailingFile> {
        Ok(self.wrap(self.folder.open(name)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.folder.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.folder.remove(name)
    }

    fn sync(&self) -> io::Result<()> {
        self.folder.sync()
    }
}

impl DiskFile for FailingFile {
    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_at(bytes, offset)
    }

    fn set_length(&self, bytes: u64) -> io::Result<()> {
        self.file.set_length(bytes)
    }

    fn claim(&self) -> io::Result<bool> {
        self.file.claim()
    }

    fn give_up_cached(&self) {
        self.file.give_up_cached();
    }

    fn sync(&self) -> io::Result<()> {
        if self.fails.get() {
            return Err(io::Error::other("the disk is gone"));
        }
        self.file.sync()
    }
}

#[test]
fn after_a_failed_sync_nothing_is_ever_written_again() {
    let dir = TempDir::new().unwrap();
    let fails = Rc::new(Cell::new(false));
    let disk = Failing { folder: Folder::open(dir.path()).unwrap(), fails: Rc::clone(&fails) };
    let mut log = LogDir::create(disk, SMALL, identity(1), 1).unwrap();
    append_and_sync(&mut log, &ops(1..=1, 20)).unwrap();
    fails.set(true);
    let error = append_and_sync(&mut log, &ops(2..=2, 20)).unwrap_err();
    assert!(matches!(error, LogError::Io { action: LogAction::Sync, .. }), "{error}");
    fails.set(false);
    let before = fs::read(segment_path(dir.path(), 1)).unwrap();
    assert!(matches!(append_and_sync(&mut log, &ops(2..=2, 20)), Err(LogError::Failed)));
    assert_eq!(fs::read(segment_path(dir.path(), 1)).unwrap(), before);
}
