//! The real log over a disk whose power fails anywhere: inside an append, a sync, a roll, a recycling, a start. What was
//! synced comes back, in order and unchanged; what was not comes back as a prefix or not at all; nothing is taken for
//! damage. A process that is killed loses nothing that it had appended.

use std::collections::BTreeMap;

use bytes::Bytes;
use everett_agent::store::{LogDir, LogIdentity, LogReader, LogSettings, Recyclable, StoreId};
use everett_mesh_proto::clock::Stamp;
use everett_mesh_proto::crdt::NEVER_MS;
use everett_mesh_proto::id::{ReplicaId, Space};
use everett_mesh_proto::log::{Commit, Log, Record};
use everett_mesh_proto::replica::{Effect, Group, Observed, Op, Payload};
use everett_mesh_proto::wire::encode_payload;
use everett_tests::disk::SimDisk;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

const STORE: StoreId = StoreId([7; 16]);
const AUTHOR: ReplicaId = ReplicaId([9; 16]);

struct World {
    disk: SimDisk,
    random: Pcg64,
    settings: LogSettings,
    /// What was handed to the log, by commit; a commit that was lost is written over.
    written: BTreeMap<u64, Bytes>,
    /// Synced up to here.
    durable: u64,
    /// Appended up to here, synced or not.
    appended: u64,
    /// The part of appends that are synced at once.
    synced: f64,
    /// Recycling was allowed up to here.
    flushed: u64,
    starts: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Pcg64::seed_from_u64(seed);
        let settings = LogSettings { segment_bytes: 16 << 10, spares_max: random.random_range(0..3) };
        let disk = SimDisk::new(seed);
        // Some agents sync at once, some seldom.
        let synced = [1.0, 0.3, 0.05][random.random_range(0..3)];
        let written = BTreeMap::new();
        Self { disk, random, settings, written, durable: 0, appended: 0, synced, flushed: 0, starts: 0 }
    }

    fn identity(&mut self) -> LogIdentity {
        self.starts += 1;
        LogIdentity { store: STORE, salt_seed: self.starts }
    }

    /// A value of random length and content, so that no two lives write the same bytes.
    fn record(&mut self, commit: u64) -> Record {
        let length = match self.random.random_range(0..40) {
            0 => self.random.random_range(5_000..40_000),
            1..=10 => self.random.random_range(300..2_000),
            // Often the same, so that what a torn group left behind may stand where the next life's records end.
            _ => 40,
        };
        let value: Vec<u8> = (0..length).map(|_| self.random.random()).collect();
        let effect = Effect::Set { seen: Observed::default(), value: value.into(), deadline_ms: NEVER_MS };
        let ops = vec![Op::Key { key: Bytes::from_static(b"k"), effect }];
        let (space, stamp, deps) = (Space::numbered(0), Stamp::at_ms(self.starts), Vec::new());
        let payload = encode_payload(&Payload::Group(Group { space, author: AUTHOR, first: commit, stamp, deps, ops }));
        self.written.insert(commit, payload.clone());
        Record { commit: Commit(commit), payload }
    }

    /// One life: starts, writes, recycles, until the power fails in some step. False if it ended before it could.
    fn live(&mut self) -> bool {
        // Short lives find what a start leaves behind, longer ones what rolling and recycling do.
        let steps_max = if self.random.random_bool(0.5) { 9 } else { 60 };
        let steps = self.random.random_range(1..steps_max);
        self.disk.fail_after(steps);
        let identity = self.identity();
        let opened = if self.durable == 0 && self.flushed == 0 && self.written.is_empty() {
            LogDir::create(self.disk.clone(), self.settings, identity, 1)
        } else {
            LogDir::open(self.disk.clone(), self.settings, identity)
        };
        let Ok(log) = opened else { return false };
        let last = log.next_commit() - 1;
        let mut log = Log::resume(log, Commit(last));
        loop {
            if self.random.random_range(0..6) == 0 {
                self.flushed = self.random.random_range(self.flushed..=self.durable);
                let allowed = Recyclable { flushed: self.flushed, acknowledged: u64::MAX, bytes_max: 0 };
                if log.medium_mut().recycle(allowed).is_err() {
                    return true;
                }
            }
            if let Some(request) = log.medium_mut().wanted_spare().filter(|_| self.random.random_bool(0.3)) {
                let Ok(spare) = request.fulfil(&self.disk) else { return true };
                log.medium_mut().adopt_spare(spare);
            }
            let first = log.appended().0 + 1;
            self.written.split_off(&first);
            let count = self.random.random_range(1..8_u64).saturating_sub(3).max(1);
            let group: Vec<Record> = (first..first + count).map(|commit| self.record(commit)).collect();
            if log.append(&group).is_err() {
                return true;
            }
            self.appended = log.appended().0;
            if self.random.random_bool(self.synced) {
                match log.sync() {
                    Ok(durable) => self.durable = durable.expect("something was appended").upto().0,
                    Err(_) => return true,
                }
            }
        }
    }

    /// After the power is back, or the process, everything durable can be read.
    fn check(&mut self, what: &str) {
        let lost_power = self.random.random_bool(0.7);
        if lost_power {
            self.disk.restart();
        } else {
            self.disk.restart_process();
        }
        let identity = self.identity();
        let log = match LogDir::open(self.disk.clone(), self.settings, identity) {
            Ok(log) => log,
            Err(error) => {
                assert!(self.durable == 0, "{what}: {error}");
                self.written.clear();
                self.appended = 0;
                return;
            }
        };
        let (first, last) = (log.first_commit(), log.next_commit() - 1);
        assert!(first <= self.flushed + 1, "{what}: commit {first} is the oldest, {} was flushed", self.flushed);
        assert!(last >= self.durable, "{what}: {} was durable, {last} came back", self.durable);
        let held = lost_power || last >= self.appended;
        assert!(held, "{what}: {} was in the kernel's hands, {last} came back", self.appended);
        let mut reader = LogReader::new(self.disk.clone(), STORE, first, last);
        let mut commits = first..=last;
        while let Some((commit, payload)) = reader.advance().unwrap_or_else(|error| panic!("{what}: {error}")) {
            assert_eq!(Some(commit), commits.next(), "{what}");
            assert_eq!(Some(payload), self.written.get(&commit).map(Bytes::as_ref), "{what}: commit {commit}");
        }
        assert_eq!(commits.next(), None, "{what}");
        assert!(log.index().holds(&Space::numbered(0), AUTHOR, first, last), "{what}");
        // What came back is durable now: this start has read it and written behind it.
        self.durable = last;
        self.appended = last;
    }
}

#[test]
fn what_was_durable_comes_back_whenever_the_power_fails() {
    let mut lives = 0;
    for seed in 0..1_500 {
        let mut world = World::new(seed);
        for life in 0..8 {
            lives += u32::from(world.live());
            world.check(&format!("seed {seed}, life {life}"));
        }
    }
    assert!(lives > 4_000, "only {lives} lives got as far as to write");
}
