//! What the thread says, when, and what it says no more once the disk has failed.

use bytes::Bytes;
use crossbeam_channel::bounded;
use everett_mesh_proto::clock::Stamp;
use everett_mesh_proto::id::{ReplicaId, Space};
use everett_mesh_proto::replica::{Effect, Group, Observed, Op, Output, Payload};
use everett_mesh_proto::wire::encode_payload;
use tempfile::TempDir;

use super::*;
use crate::store::disk::{DiskFile, Folder};
use crate::store::log_dir::LogSettings;
use crate::store::segment::{LogIdentity, StoreId};

const IDENTITY: LogIdentity = LogIdentity { store: StoreId([1; 16]), salt_seed: 1 };
/// Longer than any test.
const NEVER: Duration = Duration::from_hours(1);
const SMALL: LogSettings = LogSettings { segment_bytes: 64 << 10, spares_max: 2 };

#[derive(Default)]
struct Heard {
    committed: Vec<Committed>,
    spares: Vec<SpareRequest>,
    failed: Vec<LogError>,
    drained: u32,
}

impl LogSink for Heard {
    fn committed(&mut self, committed: Committed) {
        self.committed.push(committed);
    }

    fn drained(&mut self) {
        self.drained += 1;
    }

    fn spare_wanted(&mut self, request: SpareRequest) -> bool {
        self.spares.push(request);
        // The first asker finds everybody busy.
        self.spares.len() > 1
    }

    fn failed(&mut self, error: LogError) {
        self.failed.push(error);
    }
}

fn sealed(commit: u64) -> Sealed {
    let commit = Commit(commit);
    let payload = encode_payload(&Payload::Clock { mark_ms: commit.0 });
    let push = Output::Push { payload: Bytes::copy_from_slice(&commit.0.to_le_bytes()) };
    (Record { commit, payload }, Held::new(commit, vec![push]))
}

fn urgent(commits: std::ops::RangeInclusive<u64>) -> Batch {
    Batch { sealed: commits.map(sealed).collect(), urgent: true }
}

fn lazy(commits: std::ops::RangeInclusive<u64>) -> Batch {
    Batch { urgent: false, ..urgent(commits) }
}

fn asked(requests: Vec<LogRequest>) -> Receiver<LogRequest> {
    let (sender, receiver) = bounded(64);
    for request in requests {
        sender.send(request).unwrap();
    }
    receiver
}

/// An inbox in which everything lies already, one message per range of commits.
fn inbox(turns: &[std::ops::RangeInclusive<u64>], requests: Vec<LogRequest>) -> LogInbox {
    let (sender, appends) = bounded(64);
    for turn in turns {
        sender.send(urgent(turn.clone())).unwrap();
    }
    LogInbox { appends, requests: asked(requests), interval: NEVER }
}

fn commits(heard: &Heard) -> Vec<u64> {
    heard.committed.iter().flat_map(|group| group.said.iter().map(|said| said.0.0)).collect()
}

#[test]
fn what_gathers_while_a_sync_runs_is_one_group() {
    let dir = TempDir::new().unwrap();
    let log = LogDir::create(Folder::open(dir.path()).unwrap(), SMALL, IDENTITY, 1).unwrap();
    let inbox = inbox(&[1..=3, 4..=4, 5..=10], Vec::new());
    let mut heard = Heard::default();
    let log = run(Log::resume(log, Commit(0)), &inbox, &mut heard).unwrap();
    assert_eq!(log.durable().upto(), Commit(10));
    assert_eq!(heard.committed.len(), 1);
    assert_eq!(heard.committed[0].durable.upto(), Commit(10));
    assert_eq!(commits(&heard), (1..=10).collect::<Vec<_>>());
}

#[test]
fn a_spare_is_asked_for_until_somebody_makes_it() {
    let dir = TempDir::new().unwrap();
    let log = LogDir::create(Folder::open(dir.path()).unwrap(), SMALL, IDENTITY, 1).unwrap();
    let turns: Vec<_> = (0..5).map(|turn| turn * 5_000 + 1..=turn * 5_000 + 5_000).collect();
    let mut heard = Heard::default();
    run(Log::resume(log, Commit(0)), &inbox(&turns, Vec::new()), &mut heard).unwrap();
    assert_eq!(heard.committed.len(), 5, "each turn is more than a group takes");
    assert_eq!(heard.spares.len(), 2, "refused once, then promised");
}

#[test]
fn the_index_and_recycling_are_served_between_groups() {
    let dir = TempDir::new().unwrap();
    let log = LogDir::create(Folder::open(dir.path()).unwrap(), SMALL, IDENTITY, 1).unwrap();
    let (reply, index) = bounded(1);
    let all = Recyclable { flushed: 1, acknowledged: 1, bytes_max: 0 };
    let (sender, appends) = bounded(64);
    let requests = asked(vec![LogRequest::Recycle(all), LogRequest::Index(reply)]);
    let inbox = LogInbox { requests, appends, interval: NEVER };
    let mut heard = Heard::default();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // The commit comes only after the requests were answered, so nothing else can have woken the thread.
            sender.send(urgent(1..=1)).unwrap();
            assert_eq!(index.recv().unwrap().segments().len(), 1);
            sender.send(urgent(2..=2)).unwrap();
            drop(sender);
        });
        run(Log::resume(log, Commit(0)), &inbox, &mut heard).unwrap();
    });
    assert_eq!(commits(&heard), [1, 2]);
}

/// Serves an inbox on a thread of its own while `act` speaks to it; what is committed reaches `act` as it happens.
fn beside(interval: Duration, act: impl FnOnce(Sender<Batch>, Sender<LogRequest>, &Receiver<u64>)) {
    struct Told(Sender<u64>);

    impl LogSink for Told {
        fn committed(&mut self, committed: Committed) {
            assert_eq!(committed.said.last().map(|said| said.0), Some(committed.durable.upto()));
            self.0.send(committed.durable.upto().0).unwrap();
        }

        fn drained(&mut self) {}

        fn spare_wanted(&mut self, _: SpareRequest) -> bool {
            true
        }

        fn failed(&mut self, error: LogError) {
            panic!("{error}");
        }
    }

    let dir = TempDir::new().unwrap();
    let path = dir.path().to_owned();
    let (appends, requests, told) = (bounded(64), bounded(0), bounded(64));
    let inbox = LogInbox { appends: appends.1, requests: requests.1, interval };
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let log = LogDir::create(Folder::open(&path).unwrap(), SMALL, IDENTITY, 1).unwrap();
            run(Log::resume(log, Commit(0)), &inbox, &mut Told(told.0)).unwrap();
        });
        act(appends.0, requests.0, &told.1);
    });
}

/// Waits until the log has appended `commit`.
fn wait_for_append(requests: &Sender<LogRequest>, commit: u64) {
    loop {
        let (reply, index) = bounded(1);
        requests.send(LogRequest::Index(reply)).unwrap();
        let index = index.recv().unwrap();
        if index.segments().last().is_some_and(|segment| segment.next_commit() > commit) {
            return;
        }
    }
}

#[test]
fn what_nobody_waits_for_is_appended_at_once_and_synced_when_somebody_does() {
    beside(NEVER, |appends, requests, told| {
        appends.send(lazy(1..=3)).unwrap();
        wait_for_append(&requests, 3);
        appends.send(lazy(4..=4)).unwrap();
        wait_for_append(&requests, 4);
        assert!(told.is_empty(), "no sync ran");
        appends.send(Batch { sealed: Vec::new(), urgent: true }).unwrap();
        assert_eq!(told.recv(), Ok(4), "one sync for all");
        appends.send(lazy(5..=5)).unwrap();
        appends.send(urgent(6..=6)).unwrap();
        assert!(matches!(told.recv(), Ok(6)), "who waits takes along who does not");
    });
}

#[test]
fn what_nobody_waits_for_is_synced_within_the_interval() {
    beside(Duration::from_millis(10), |appends, _requests, told| {
        for commit in 1..=3 {
            appends.send(lazy(commit..=commit)).unwrap();
            assert_eq!(told.recv_timeout(Duration::from_secs(20)), Ok(commit), "by the timer alone");
        }
    });
}

#[test]
fn much_is_synced_whoever_waits_and_the_rest_at_the_end() {
    beside(NEVER, |appends, _requests, told| {
        let mut large = lazy(1..=40);
        for (record, _) in &mut large.sealed {
            let ops =
                vec![Op::Key { key: vec![b'k'; 60_000].into(), effect: Effect::Reset { seen: Observed::default() } }];
            let (space, author) = (Space::numbered(0), ReplicaId([1; 16]));
            let group = Group { space, author, first: record.commit.0, stamp: Stamp::at_ms(1), deps: Vec::new(), ops };
            record.payload = encode_payload(&Payload::Group(group));
        }
        appends.send(large).unwrap();
        assert_eq!(told.recv_timeout(Duration::from_secs(20)), Ok(40));
        appends.send(lazy(41..=41)).unwrap();
        drop(appends);
        assert_eq!(told.recv_timeout(Duration::from_secs(20)), Ok(41), "nothing stays behind");
    });
}

#[test]
fn whoever_found_no_room_is_told_when_there_is_some() {
    for (sent, drained) in [(63, 0), (64, 1)] {
        let dir = TempDir::new().unwrap();
        let log = LogDir::create(Folder::open(dir.path()).unwrap(), SMALL, IDENTITY, 1).unwrap();
        let turns: Vec<_> = (1..=sent).map(|commit| commit..=commit).collect();
        let mut heard = Heard::default();
        run(Log::resume(log, Commit(0)), &inbox(&turns, Vec::new()), &mut heard).unwrap();
        assert_eq!(heard.drained, drained, "of {sent} in 64");
    }
}

/// A directory whose second file write fails to become durable.
struct Worn(Folder, std::rc::Rc<std::cell::Cell<bool>>);

#[derive(Debug)]
struct WornFile(std::fs::File, std::rc::Rc<std::cell::Cell<bool>>);

impl Disk for Worn {
    type File = WornFile;

    fn reopen(&self) -> std::io::Result<Self> {
        Ok(Self(self.0.reopen()?, self.1.clone()))
    }

    fn list(&self) -> std::io::Result<Vec<String>> {
        self.0.list()
    }

    fn create(&self, name: &str) -> std::io::Result<WornFile> {
        Ok(WornFile(self.0.create(name)?, self.1.clone()))
    }

    fn open(&self, name: &str) -> std::io::Result<WornFile> {
        Ok(WornFile(self.0.open(name)?, self.1.clone()))
    }

    fn rename(&self, from: &str, to: &str) -> std::io::Result<()> {
        self.0.rename(from, to)
    }

    fn remove(&self, name: &str) -> std::io::Result<()> {
        self.0.remove(name)
    }

    fn sync(&self) -> std::io::Result<()> {
        Disk::sync(&self.0)
    }
}

impl DiskFile for WornFile {
    fn length(&self) -> std::io::Result<u64> {
        self.0.length()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<()> {
        self.0.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> std::io::Result<()> {
        self.0.write_at(bytes, offset)
    }

    fn set_length(&self, bytes: u64) -> std::io::Result<()> {
        self.0.set_length(bytes)
    }

    fn claim(&self) -> std::io::Result<bool> {
        self.0.claim()
    }

    fn give_up_cached(&self) {
        self.0.give_up_cached();
    }

    fn sync(&self) -> std::io::Result<()> {
        if self.1.get() { Err(std::io::Error::other("worn out")) } else { DiskFile::sync(&self.0) }
    }
}

#[test]
fn after_a_failed_sync_nothing_is_said_and_the_failure_is_reported() {
    let dir = TempDir::new().unwrap();
    let worn = std::rc::Rc::new(std::cell::Cell::new(false));
    let disk = Worn(Folder::open(dir.path()).unwrap(), worn.clone());
    let log = LogDir::create(disk, SMALL, IDENTITY, 1).unwrap();
    worn.set(true);
    let inbox = inbox(&[1..=1, 2..=2], Vec::new());
    let mut heard = Heard::default();
    assert!(run(Log::resume(log, Commit(0)), &inbox, &mut heard).is_none(), "the thread ends by itself");
    assert!(heard.committed.is_empty());
    assert!(matches!(heard.failed.as_slice(), [LogError::Io { .. }]), "{:?}", heard.failed);
}
