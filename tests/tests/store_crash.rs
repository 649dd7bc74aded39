//! The whole store over a disk whose power fails anywhere: inside an append, a sync, a chunk of a flush, its end, a cut, a
//! fold, a recycling, a start. The real log and the real library under `rows.redb` lie on one simulated disk, under a real
//! replica, beside a replica over plain memory that says what must be there.
//!
//! After every crash the store opens, and holds the state after some commit, whole: none that was synced is missing, and
//! after a kill of the process alone none that was appended. The next life goes on from there.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Duration;

use bytes::Bytes;
use everett_agent::store::{
    ChunkLimit, FlushJob, FlushStep, LogSettings, Recyclable, RowsFile, Snapshot, Store, StoreConfig, StoreError,
    StoreId,
};
use everett_mesh_proto::id::{ClusterId, ReplicaId, Space};
use everett_mesh_proto::log::Commit;
use everett_mesh_proto::replica::{Config, Edit, Expiry, Input, Replica};
use everett_mesh_proto::rows::{Placer, Row, RowKey, Rows};
use everett_mesh_proto::summary::root;
use everett_mesh_proto::testing::{MemoryContent, MemoryRows};
use everett_mesh_proto::time::Now;
use everett_mesh_proto::vector::Vector;
use everett_tests::disk::SimDisk;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

const SPACES: u8 = 2;
const SECRET: [u8; 32] = [5; 32];
/// A flush of a few rows takes several transactions, and one that cuts does too.
const TINY: ChunkLimit = ChunkLimit { rows: 4, rows_scanned: 7, bytes: 1 << 20 };

type Content = BTreeMap<RowKey, Row>;
type Vectors = BTreeMap<Space, Vector>;

/// What was seen on the way, over all seeds.
#[derive(Default)]
struct Seen {
    lives: u32,
    /// Ends in the middle of a flush.
    interrupted: u32,
    /// Flushes that came to their end.
    flushed: u32,
    recycled: usize,
    /// Commits that were lost, as they may be.
    lost: u64,
}

/// The disk, what is known to be on it, and the schedule.
struct World {
    disk: SimDisk,
    random: Pcg64,
    now: Now,
    life: u64,
    /// The rows in memory and the vectors after each commit; a commit that was lost is written over.
    after: BTreeMap<u64, (MemoryRows, Vectors)>,
    /// Synced up to here.
    durable: u64,
    /// Appended up to here, synced or not.
    appended: u64,
}

/// One life: the store, its replica, and the same replica over memory.
struct Life {
    store: Store<SimDisk>,
    replica: Replica,
    twin: Replica,
    twin_rows: MemoryRows,
    job: Option<Box<FlushJob>>,
}

fn config(life: u64) -> StoreConfig {
    StoreConfig {
        path: "nowhere".into(),
        cluster: ClusterId([1; 16]),
        place_fingerprint: [2; 16],
        placer: Placer::new(&SECRET),
        log: LogSettings { segment_bytes: 24 << 10, spares_max: 1 },
        cache_bytes: 1 << 20,
        new_id: StoreId([3; 16]),
        salt_seed: life,
    }
}

fn replica_config(life: u64) -> Config {
    let (id, placer) = (ReplicaId::new(life, "node", 0), Placer::new(&SECRET));
    Config { id, placer, max_skew: Duration::from_millis(500), gate_bytes_max: 1 << 20 }
}

fn open(disk: &SimDisk, life: u64) -> Result<Store<SimDisk>, StoreError> {
    let file = RowsFile::open_in(disk, "rows.redb", 1 << 20, Placer::new(&SECRET))?;
    Store::over(&config(life), file, disk.clone())
}

fn content<R: Rows>(rows: &R, space: &Space) -> Result<Content, R::Error> {
    let mut content = BTreeMap::new();
    rows.range(space, 0, &mut |key, row| {
        content.insert(key.clone(), row.clone());
        ControlFlow::Continue(())
    })?;
    Ok(content)
}

fn spaces() -> impl Iterator<Item = Space> {
    (0..SPACES).map(Space::numbered)
}

/// A namespace in which nothing was ever written need not come back.
fn vectors(replica: &Replica) -> Vectors {
    replica.vectors().into_iter().filter(|(_, vector)| !vector.is_empty()).collect()
}

/// The stored trees are those of the stored rows.
fn check_trees(snapshot: &Snapshot, what: &str) {
    for space in spaces() {
        let rows = snapshot.rows_from(b"").expect("the rows can be read").map(|row| row.expect("a row can be read"));
        let rows = rows.filter(|(key, ..)| key.is_in(&space)).map(|(key, row, _)| (key, row)).collect();
        let fresh = MemoryContent::settled(&Placer::new(&SECRET), &space, &rows, Vector::new());
        let stored = root(snapshot, &space).expect("the tree can be read");
        assert_eq!(Ok(stored), root(&fresh, &space), "{what}: the tree of {space}");
    }
}

impl World {
    fn new(seed: u64) -> Self {
        let after = BTreeMap::from([(0, (MemoryRows::default(), Vectors::new()))]);
        let (disk, random) = (SimDisk::new(seed), Pcg64::seed_from_u64(seed));
        Self { disk, random, now: Now::default(), life: 0, after, durable: 0, appended: 0 }
    }

    /// Starts, works until the power fails in some step, and comes back.
    fn live(&mut self, seen: &mut Seen, what: &str) {
        // Short lives find what a start leaves behind, longer ones what flushing and recycling do.
        let steps_max = [40, 400, 2_500][self.random.random_range(0..3)];
        let steps = self.random.random_range(1..steps_max);
        self.disk.fail_after(steps);
        self.life += 1;
        let started = self.start(what);
        if let Ok(mut life) = started {
            seen.lives += 1;
            while self.step(&mut life, seen, what).is_ok() {}
            seen.interrupted += u32::from(life.job.is_some());
        }
        let lost_power = self.random.random_bool(0.7);
        if lost_power {
            self.disk.restart();
        } else {
            self.disk.restart_process();
        }
        self.check(lost_power, seen, what);
    }

    /// Opens the store and replays; everything that it finds must be as it was after some commit.
    fn start(&mut self, what: &str) -> Result<Life, StoreError> {
        let mut store = open(&self.disk, self.life)?;
        let mut replica = Replica::resume(replica_config(self.life), store.settled.clone());
        store.replay(&mut replica)?;
        let (_, (rows, expected)) =
            self.after.range(..=replica.commit().0).next_back().expect("there is a state before all commits");
        assert_eq!(&vectors(&replica), expected, "{what}: vectors at {:?}", replica.commit());
        for space in spaces() {
            let found = content(&store.memtable, &space)?;
            assert_eq!(found, rows.content(&space), "{what}: rows of {space} at {:?}", replica.commit());
        }
        let settled = replica.settled();
        let twin = Replica::resume(replica_config(self.life), settled);
        Ok(Life { store, replica, twin, twin_rows: rows.clone(), job: None })
    }

    fn step(&mut self, life: &mut Life, seen: &mut Seen, what: &str) -> Result<(), StoreError> {
        match self.random.random_range(0..24) {
            0 => {
                let flushed = life.store.memtable.base().watermark().0;
                let allowed = Recyclable { flushed, acknowledged: u64::MAX, bytes_max: u64::MAX };
                seen.recycled += life.store.log.medium_mut().recycle(allowed)?;
            }
            1 => {
                if let Some(request) = life.store.log.medium_mut().wanted_spare() {
                    let spare = request.fulfil(&self.disk)?;
                    life.store.log.medium_mut().adopt_spare(spare);
                }
            }
            2..=4 => self.sync(life)?,
            5..=14 => self.flush_some(life, seen, what)?,
            _ => self.edit(life)?,
        }
        Ok(())
    }

    fn edit(&mut self, life: &mut Life) -> Result<(), StoreError> {
        self.now.wall_ms += self.random.random_range(0..100);
        let edits: Vec<Edit> = (0..self.random.random_range(1..4)).map(|_| self.random_edit()).collect();
        let input = Input::Local { space: Space::numbered(self.random.random_range(0..SPACES)), edits };
        let Ok(()) = life.twin.handle_input(self.now, &mut life.twin_rows, input.clone());
        while life.twin.seal().is_some() {}
        life.replica.handle_input(self.now, &mut life.store.memtable, input)?;
        let records: Vec<_> = std::iter::from_fn(|| life.replica.seal()).map(|(record, _)| record).collect();
        // Before the append: what tears it may leave all of it.
        self.after.split_off(&(self.appended + 1));
        self.after.insert(life.twin.commit().0, (life.twin_rows.clone(), vectors(&life.twin)));
        life.store.log.append(&records)?;
        self.appended = life.store.log.appended().0;
        Ok(())
    }

    fn random_edit(&mut self) -> Edit {
        let key = Bytes::from(format!("key{}", self.random.random_range(0..30)));
        let value = Bytes::from(vec![b'v'; self.random.random_range(0..400)]);
        match self.random.random_range(0..30) {
            0 => Edit::Flush,
            1..=5 => Edit::Delete { key },
            6..=9 => Edit::Add { key, by: self.random.random_range(-3..4) },
            10..=12 => Edit::Expire { key, deadline_ms: self.now.wall_ms + self.random.random_range(1..500) },
            _ => Edit::Set { key, value, expiry: Expiry::Keep },
        }
    }

    fn sync(&mut self, life: &mut Life) -> Result<(), StoreError> {
        life.store.log.sync()?;
        self.durable = life.store.log.durable().upto().0;
        Ok(())
    }

    /// Begins a flush, or takes one step of it.
    fn flush_some(&mut self, life: &mut Life, seen: &mut Seen, what: &str) -> Result<(), StoreError> {
        let Some(job) = life.job.take() else {
            let held = life.store.memtable.freeze(life.replica.settled()).expect("no flush is under way");
            self.sync(life)?;
            let job = held.release(life.store.log.durable()).expect("everything was synced");
            life.job = Some(job);
            return Ok(());
        };
        match job.step(TINY) {
            Err(error) => {
                seen.interrupted += 1;
                return Err(error);
            }
            Ok(FlushStep::More(job)) => life.job = Some(job),
            Ok(FlushStep::Done(flushed)) => {
                seen.flushed += 1;
                check_trees(flushed.snapshot(), what);
                drop(life.store.memtable.settle(flushed));
            }
        }
        Ok(())
    }

    /// After the power is back, or the process, the store opens, and nothing is missing that must be there.
    fn check(&mut self, lost_power: bool, seen: &mut Seen, what: &str) {
        self.life += 1;
        let mut life = match self.start(what) {
            Ok(life) => life,
            Err(error) => panic!("{what}: {error:?}"),
        };
        let Commit(last) = life.replica.commit();
        assert!(last >= self.durable, "{what}: {} was synced, {last} came back", self.durable);
        let held = lost_power || last >= self.appended;
        assert!(held, "{what}: {} was in the kernel's hands, {last} came back", self.appended);
        seen.lost += self.appended.saturating_sub(last);
        (self.durable, self.appended) = (last, last);
        // Sometimes a flush comes to its end over what an interrupted one left.
        if self.random.random_bool(0.3) {
            let mut begun = false;
            while !begun || life.job.is_some() {
                begun = true;
                self.flush_some(&mut life, seen, what).unwrap_or_else(|error| panic!("{what}: {error:?}"));
            }
        }
    }
}

#[test]
fn what_was_synced_is_there_whole_whenever_the_power_fails() {
    let mut seen = Seen::default();
    for seed in 0..60 {
        let mut world = World::new(seed);
        for life in 0..6 {
            world.live(&mut seen, &format!("seed {seed}, life {life}"));
        }
    }
    let Seen { lives, interrupted, flushed, recycled, lost } = seen;
    assert!(lives > 150, "only {lives} lives got as far as to write");
    assert!(interrupted > 30, "only {interrupted} flushes were interrupted");
    assert!(flushed > 60, "only {flushed} flushes came to their end");
    assert!(recycled > 10, "only {recycled} segments were recycled");
    assert!(lost > 50, "only {lost} commits were lost that might be");
}
