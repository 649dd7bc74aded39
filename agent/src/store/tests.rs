//! The whole store under a real replica, beside a replica over plain memory: whatever is flushed, interrupted, killed and
//! replayed, both hold the same rows.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use everett_mesh_proto::id::{ClusterId, ReplicaId, Space};
use everett_mesh_proto::log::{Durable, Held};
use everett_mesh_proto::replica::{Config, Edit, Expiry, Input, Replica, Settled};
use everett_mesh_proto::rows::{Placer, Row, RowKey, Rows};
use everett_mesh_proto::summary::root;
use everett_mesh_proto::testing::{MemoryContent, MemoryRows};
use everett_mesh_proto::time::Now;
use everett_mesh_proto::vector::Vector;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use tempfile::TempDir;

use super::*;

const SPACES: u8 = 2;
const TINY: ChunkLimit = ChunkLimit { rows: 3, rows_scanned: 5, bytes: 1 << 20 };

fn config(path: &Path) -> StoreConfig {
    StoreConfig {
        path: path.to_owned(),
        cluster: ClusterId([1; 16]),
        place_fingerprint: [2; 16],
        placer: Placer::new(&[5; 32]),
        log: LogSettings { segment_bytes: 64 << 10, spares_max: 1 },
        cache_bytes: 1 << 20,
        new_id: StoreId([3; 16]),
        salt_seed: 4,
    }
}

fn replica_config(life: u64) -> Config {
    Config {
        id: ReplicaId::new(life, "node", 0),
        placer: Placer::new(&[5; 32]),
        max_skew: Duration::from_millis(500),
        gate_bytes_max: 1 << 20,
    }
}

fn content<R: Rows>(rows: &R, space: &Space) -> BTreeMap<RowKey, Row>
where
    R::Error: std::fmt::Debug,
{
    let mut content = BTreeMap::new();
    rows.range(space, 0, &mut |key, row| {
        content.insert(key.clone(), row.clone());
        ControlFlow::Continue(())
    })
    .unwrap();
    content
}

/// What must come back of a replica; a namespace in which nothing was ever written need not.
fn state(replica: &mut Replica) -> Settled {
    let mut settled = replica.settled();
    settled.vectors.retain(|_, vector| !vector.is_empty());
    settled
}

/// The stored trees are those of the stored rows.
fn check_trees(snapshot: &Snapshot) {
    for space in (0..SPACES).map(Space::numbered) {
        let rows = snapshot.rows_from(b"").unwrap().map(Result::unwrap);
        let rows = rows.filter(|(key, ..)| key.is_in(&space)).map(|(key, row, _)| (key, row)).collect();
        let fresh = MemoryContent::settled(&Placer::new(&[5; 32]), &space, &rows, Vector::new());
        assert_eq!(root(snapshot, &space).unwrap(), root(&fresh, &space).unwrap());
    }
}

/// A store with its replica, and the same replica over memory.
struct World {
    dir: TempDir,
    store: Store,
    replica: Replica,
    twin: Replica,
    twin_rows: MemoryRows,
    random: Pcg64,
    job: Option<Box<FlushJob>>,
    life: u64,
    now: Now,
}

impl World {
    fn new(seed: u64) -> Self {
        let dir = TempDir::new().unwrap();
        let store = Store::open(&config(dir.path())).unwrap();
        let twin = Replica::resume(replica_config(1), store.settled.clone());
        Self {
            replica: Replica::resume(replica_config(1), store.settled.clone()),
            dir,
            store,
            twin,
            twin_rows: MemoryRows::default(),
            random: Pcg64::seed_from_u64(seed),
            job: None,
            life: 1,
            now: Now::default(),
        }
    }

    fn edit(&mut self) {
        self.now.wall_ms += self.random.random_range(0..100);
        let edits: Vec<Edit> = (0..self.random.random_range(1..4)).map(|_| self.random_edit()).collect();
        let space = Space::numbered(self.random.random_range(0..SPACES));
        let input = Input::Local { space, edits };
        let Ok(()) = self.twin.handle_input(self.now, &mut self.twin_rows, input.clone());
        self.replica.handle_input(self.now, &mut self.store.memtable, input).unwrap();
        while self.twin.seal().is_some() {}
        self.commit();
    }

    fn random_edit(&mut self) -> Edit {
        let key = Bytes::from(format!("key{}", self.random.random_range(0..12)));
        let value = Bytes::from(vec![b'v'; self.random.random_range(0..300)]);
        match self.random.random_range(0..20) {
            0 => Edit::Flush,
            1..=4 => Edit::Delete { key },
            5..=8 => Edit::Add { key, by: self.random.random_range(-3..4) },
            9..=11 => Edit::Expire { key, deadline_ms: self.now.wall_ms + self.random.random_range(1..500) },
            _ => Edit::Set { key, value, expiry: Expiry::Keep },
        }
    }

    /// Makes everything sealed durable.
    fn commit(&mut self) -> Durable {
        let sealed: Vec<_> = std::iter::from_fn(|| self.replica.seal()).collect();
        let records: Vec<_> = sealed.iter().map(|(record, _)| record.clone()).collect();
        self.store.log.commit(&records).unwrap();
        self.store.log.durable()
    }

    /// Begins a flush, or takes one step of it.
    fn flush_some(&mut self) {
        let Some(job) = self.job.take() else {
            let held: Option<Held<Box<FlushJob>>> = self.store.memtable.freeze(self.replica.settled());
            let durable = self.commit();
            self.job = held.map(|held| held.release(durable).unwrap());
            return;
        };
        match job.step(TINY).unwrap() {
            FlushStep::More(job) => self.job = Some(job),
            FlushStep::Done(flushed) => {
                check_trees(flushed.snapshot());
                drop(self.store.memtable.settle(flushed));
            }
        }
    }

    fn recycle(&mut self) {
        let flushed = self.store.memtable.base().watermark().0;
        let allowed = Recyclable { flushed, acknowledged: u64::MAX, bytes_max: u64::MAX };
        self.store.log.medium_mut().recycle(allowed).unwrap();
    }

    /// The process dies; the next life replays.
    fn kill(self) -> Self {
        let Self { dir, store, mut replica, mut twin, twin_rows, random, job, life, now } = self;
        drop((store, job));
        let life = life + 1;
        let mut store = Store::open(&config(dir.path())).unwrap();
        let twin = Replica::resume(replica_config(life), twin.settled());
        let mut replayed = Replica::resume(replica_config(life), store.settled.clone());
        store.replay(&mut replayed).unwrap();
        assert_eq!(state(&mut replayed), state(&mut replica), "vectors, commit and clock come back");
        Self { dir, store, replica: replayed, twin, twin_rows, random, job: None, life, now }
    }

    fn check(&self, what: &str) {
        for space in (0..SPACES).map(Space::numbered) {
            let expected = self.twin_rows.content(&space);
            assert_eq!(content(&self.store.memtable, &space), expected, "{what}");
            for key in expected.keys() {
                let found = self.store.memtable.row(key).unwrap();
                assert_eq!(found.row.as_deref(), expected.get(key), "{what}");
            }
        }
    }
}

#[test]
fn a_store_that_is_flushed_interrupted_killed_and_replayed_equals_memory() {
    let mut interrupted = 0;
    for seed in 0..24 {
        let mut world = World::new(seed);
        for step in 0..100 {
            match world.random.random_range(0..20) {
                0 => {
                    interrupted += u32::from(world.job.is_some());
                    world = world.kill();
                }
                1 => world.recycle(),
                2..=9 => world.flush_some(),
                _ => world.edit(),
            }
            world.check(&format!("seed {seed}, step {step}"));
        }
    }
    assert!(interrupted > 20, "the schedule must interrupt flushes, not only {interrupted}");
}

#[test]
fn a_finished_flush_leaves_everything_in_the_file() {
    let mut world = World::new(7);
    for _ in 0..200 {
        world.edit();
    }
    world.flush_some();
    while world.job.is_some() {
        world.flush_some();
    }
    assert_eq!(world.store.memtable.bytes(), 0);
    assert_eq!(world.store.memtable.base().watermark(), world.replica.commit());
    world.check("flushed");
    let World { store, dir, mut replica, .. } = world;
    drop(store);
    let store = Store::open(&config(dir.path())).unwrap();
    assert_eq!(store.settled, state(&mut replica));
    assert_eq!(store.boot_epoch, 2);
}

#[test]
fn every_interruption_of_one_flush_replays_to_the_same_rows() {
    for stop_after in 0..12 {
        let mut world = World::new(11);
        for round in 0..3 {
            for _ in 0..15 {
                world.edit();
            }
            for _ in 0..stop_after + round {
                world.flush_some();
            }
            world = world.kill();
            world.check(&format!("stopped after {stop_after} steps, round {round}"));
        }
    }
}

#[test]
fn the_tree_that_is_drawn_beside_a_large_flush_is_that_of_its_rows() {
    let mut world = World::new(13);
    let set = |number: u32, value: &'static str| {
        let (key, value) = (format!("key{number}").into(), Bytes::from_static(value.as_bytes()));
        Edit::Set { key, value, expiry: Expiry::Clear }
    };
    let delete = |number: u32| Edit::Delete { key: format!("key{number}").into() };
    let first: Vec<Edit> = (0..3_000).map(|number| set(number, "first")).collect();
    let some: Vec<Edit> = (0..1_500).map(|n| if n % 3 == 0 { delete(n) } else { set(2 * n, "second") }).collect();
    let anew: Vec<Edit> = [Edit::Flush].into_iter().chain((0..1_200).map(|number| set(number, "third"))).collect();
    for edits in [first, some, anew] {
        for edits in edits.chunks(100) {
            let input = Input::Local { space: Space::numbered(0), edits: edits.to_vec() };
            world.replica.handle_input(world.now, &mut world.store.memtable, input).unwrap();
            world.commit();
        }
        let held = world.store.memtable.freeze(world.replica.settled()).unwrap();
        let durable = world.commit();
        let flushed = held.release(durable).unwrap().run(ChunkLimit::default()).unwrap();
        check_trees(flushed.snapshot());
        drop(world.store.memtable.settle(flushed));
    }
}

#[test]
fn a_flush_waits_until_its_commit_is_durable() {
    let mut world = World::new(3);
    world.edit();
    let input = Input::Local { space: Space::numbered(0), edits: vec![Edit::Add { key: "n".into(), by: 1 }] };
    world.replica.handle_input(world.now, &mut world.store.memtable, input).unwrap();
    let held = world.store.memtable.freeze(world.replica.settled()).unwrap();
    let held = held.release(world.store.log.durable()).expect_err("the last commit is not durable");
    let durable = world.commit();
    assert!(held.release(durable).is_ok());
    assert!(world.store.memtable.freeze(world.replica.settled()).is_none(), "one flush at a time");
}

#[test]
fn memory_in_use_follows_the_rows() {
    let mut world = World::new(5);
    assert_eq!(world.store.memtable.active_bytes(), 0);
    let mut set = |bytes: usize| {
        let edits = vec![Edit::Set { key: "k".into(), value: vec![0; bytes].into(), expiry: Expiry::Clear }];
        let input = Input::Local { space: Space::numbered(0), edits };
        world.replica.handle_input(world.now, &mut world.store.memtable, input).unwrap();
        world.store.memtable.active_bytes()
    };
    let small = set(10);
    let large = set(10_010);
    assert!((10_000..10_200).contains(&(large - small)), "{small} {large}");
    assert_eq!(set(10), small);
}

#[test]
fn parts_that_do_not_fit_together_are_refused() {
    let mut world = World::new(9);
    for _ in 0..800 {
        world.edit();
    }
    world.flush_some();
    while world.job.is_some() {
        world.flush_some();
    }
    let World { store, dir, .. } = world;
    drop(store);
    let path = dir.path();
    let open = |change: &dyn Fn(&mut StoreConfig)| {
        let mut config = config(path);
        change(&mut config);
        Store::open(&config).unwrap_err()
    };
    let cluster = open(&|config| config.cluster = ClusterId([9; 16]));
    assert!(matches!(cluster, StoreError::Cluster { .. }), "{cluster}");
    let place = open(&|config| config.place_fingerprint = [9; 16]);
    assert!(matches!(place, StoreError::PlaceKey), "{place}");
    // The log of an hour ago beside the rows of now.
    std::fs::rename(path.join("log"), path.join("moved")).unwrap();
    let missing = open(&|_| ());
    assert!(matches!(missing, StoreError::Log(LogError::Missing)), "{missing}");
    std::fs::remove_dir(path.join("log")).unwrap();
    std::fs::rename(path.join("moved"), path.join("log")).unwrap();
    let newest = std::fs::read_dir(path.join("log")).unwrap().map(|entry| entry.unwrap().path()).max_by_key(|path| {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        (!name.starts_with("spare"), name)
    });
    std::fs::remove_file(newest.unwrap()).unwrap();
    let old = open(&|_| ());
    assert!(matches!(old, StoreError::LogTooOld { .. }), "{old}");
    std::fs::remove_file(path.join("rows.redb")).unwrap();
    let rowless = open(&|_| ());
    assert!(matches!(rowless, StoreError::Log(LogError::Exists)), "{rowless}");
}
