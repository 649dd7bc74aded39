//! Everett's sessions over two real stores, every message through its frame.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use everett_agent::store::{ChunkLimit, Facts, FlushJob, Memtable, Progress, RowsFile, Snapshot, StoreId};
use everett_mesh_proto::clock::Stamp;
use everett_mesh_proto::crdt::{NEVER_MS, Scalar, Sibling};
use everett_mesh_proto::id::{ClusterId, Dot, ReplicaId, Space};
use everett_mesh_proto::log::{Commit, Log};
use everett_mesh_proto::repair::{Answer, Limits, Message, Outcome, Output, Session, Turn};
use everett_mesh_proto::replica::Settled;
use everett_mesh_proto::rows::{Kind, Placer, Position, Row, RowKey, Rows};
use everett_mesh_proto::testing::Nowhere;
use everett_mesh_proto::time::Instant;
use everett_mesh_proto::vector::{Brief, Vector};
use everett_mesh_proto::wire::encode_frame;
use rand::SeedableRng;
use rand::seq::index::sample;
use rand_pcg::Pcg64;
use tempfile::TempDir;

use super::cost::Cost;
use super::sets::{Difference, Key};

/// Bytes of a value.
const VALUE_BYTES: usize = 16;

/// How much of its file a store keeps in memory.
const CACHE_BYTES: usize = 256 << 20;

/// Both sides' stores over the same keys, and an empty one.
pub(crate) struct Stores {
    _folder: TempDir,
    keys: Arc<Vec<Key>>,
    sides: [RowsFile; 2],
    empty: RowsFile,
    commit: u64,
}

fn placer() -> Placer {
    Placer::new(&[7; 32])
}

fn space() -> Space {
    Space::numbered(0)
}

/// Who wrote a version.
fn author(version: u8) -> ReplicaId {
    ReplicaId([version + 1; 16])
}

fn row(key: usize, version: u8) -> Row {
    let mut scalar = Scalar::default();
    scalar.insert(Sibling {
        dot: Dot { replica: author(version), seq: key as u64 + 1 },
        stamp: Stamp::default(),
        bytes: Bytes::from(vec![version; VALUE_BYTES]),
        deadline_ms: NEVER_MS,
    });
    Row::Scalar(scalar)
}

impl Stores {
    /// Two stores that hold all keys.
    pub(crate) fn new(keys: Arc<Vec<Key>>) -> Self {
        let folder = TempDir::new().expect("a folder can be made");
        let paths = ["left", "right", "empty"].map(|name| folder.path().join(name));
        let left = created(&paths[0]);
        let changes = (0..keys.len()).map(|key| (key, Some(0)));
        flush(&left, &keys, changes, &settled(1, &[(0, keys.len())]));
        drop(left);
        fs::copy(&paths[0], &paths[1]).expect("a store can be copied");
        let [left, right] = [&paths[0], &paths[1]].map(|path| opened(path));
        Self { keys, sides: [left, right], empty: created(&paths[2]), commit: 1, _folder: folder }
    }

    /// Makes the stores differ, if `back` is not set, or equal again.
    pub(crate) fn change(&mut self, differences: &[Difference], back: bool) {
        self.commit += 1;
        for side in [0, 1] {
            let changes = differences.iter().filter(|difference| difference.versions[side] != Some(0));
            let seen: Vec<u8> = changes.clone().filter_map(|difference| difference.versions[side]).collect();
            let authors = std::iter::once(0).chain(seen).collect::<std::collections::BTreeSet<u8>>();
            let seqs: Vec<_> = authors.into_iter().map(|version| (version, self.keys.len())).collect();
            let settled = settled(self.commit, if back { &seqs[..1] } else { &seqs });
            let version = |difference: &Difference| if back { Some(0) } else { difference.versions[side] };
            flush(&self.sides[side], &self.keys, changes.map(|change| (change.key, version(change))), &settled);
        }
    }

    /// How long a flush of overwritten rows takes, with the tree kept and without; the stores are of no use afterwards.
    pub(crate) fn upkeep(&mut self, rows: usize, seed: u64) -> [Duration; 2] {
        let mut rng = Pcg64::seed_from_u64(seed);
        let chosen = sample(&mut rng, self.keys.len(), rows).into_vec();
        self.commit += 1;
        let settled = settled(self.commit, &[(0, self.keys.len()), (9, self.keys.len())]);
        let version = 9 + u8::try_from(seed % 100).expect("below 100");
        let without = self.sides[1].clone().without_tree();
        [&self.sides[0], &without].map(|file| {
            let changes = chosen.iter().map(|&key| (key, Some(version)));
            let job = frozen(file, &self.keys, changes, &settled);
            let began = std::time::Instant::now();
            let _flushed = job.run(ChunkLimit::default()).expect("a store can be written");
            began.elapsed()
        })
    }

    /// A session between the two, or between an empty initiator and the other.
    pub(crate) fn reconcile(&self, is_empty: bool) -> (Cost, [Outcome; 2]) {
        let left = if is_empty { &self.empty } else { &self.sides[0] };
        let pins = [left, &self.sides[1]].map(|file| file.snapshot().expect("a store can be read"));
        converse(&pins)
    }
}

fn created(path: &Path) -> RowsFile {
    let file = opened(path);
    let facts = Facts {
        store: StoreId([1; 16]),
        cluster: ClusterId([1; 16]),
        place_fingerprint: [1; 16],
        boot_epoch: 1,
        progress: Progress::settled(Commit(0)),
        mark_ms: 0,
        stopped_cleanly: true,
    };
    file.write_facts(&facts).expect("a store can be written");
    file
}

fn opened(path: &Path) -> RowsFile {
    RowsFile::open(path, CACHE_BYTES, placer()).expect("a store can be opened")
}

fn settled(commit: u64, authors: &[(u8, usize)]) -> Settled {
    let dots = authors.iter().map(|&(version, seq)| Dot { replica: author(version), seq: seq as u64 });
    let vector: Vector = dots.collect();
    Settled { commit: Commit(commit), vectors: BTreeMap::from([(space(), vector)]), mark_ms: 0 }
}

fn flush(file: &RowsFile, keys: &[Key], changes: impl Iterator<Item = (usize, Option<u8>)>, settled: &Settled) {
    let job = frozen(file, keys, changes, settled);
    let _flushed = job.run(ChunkLimit::default()).expect("a store can be written");
}

fn frozen(
    file: &RowsFile,
    keys: &[Key],
    changes: impl Iterator<Item = (usize, Option<u8>)>,
    settled: &Settled,
) -> Box<FlushJob> {
    let mut rows = Memtable::new(file.clone(), 0).expect("a store can be read");
    for (index, version) in changes {
        let key = RowKey::new(&space(), placer().place(&keys[index]), &keys[index], Kind::Scalar);
        let row = version.map_or_else(|| Row::empty(Kind::Scalar), |version| row(index, version));
        rows.put(key, row, Position::end_of(settled.commit));
    }
    let durable = Log::resume(Nowhere, settled.commit).durable();
    let held = rows.freeze(settled.clone()).expect("no flush is under way");
    held.release(durable).expect("the commit is durable")
}

/// What of a message is not values: neither rows, nor what stands for them, nor vectors; and whether that is all of it.
fn bare(message: &Message) -> (Message, bool) {
    let mut bare = message.clone();
    let only_rows = match &mut bare {
        Message::Open(open) => {
            open.vector = Brief::default();
            false
        }
        Message::Answer(Answer { vector, turn, .. }) => {
            *vector = Brief::default();
            strip(turn);
            false
        }
        Message::Closed(_) => false,
        Message::Turn(turn) => {
            let has_rows = !turn.rows.is_empty() || !turn.kept.is_empty();
            strip(turn);
            has_rows && turn.looks.is_empty() && turn.sights.is_empty() && turn.wanted.is_empty()
        }
    };
    (bare, only_rows)
}

fn strip(turn: &mut Turn) {
    turn.rows.clear();
    turn.kept.clear();
}

fn converse(pins: &[Snapshot; 2]) -> (Cost, [Outcome; 2]) {
    let (mut cost, mut outcomes) = (Cost::default(), [None, None]);
    let now = Instant::ZERO;
    let initiator =
        Session::initiate(now, Limits::default(), placer(), space(), &pins[0]).expect("a store can be read");
    let mut sides = [Some(initiator), None];
    let mut turn = 0;
    while outcomes.iter().any(Option::is_none) {
        let mut said = Vec::new();
        while let Some(output) = sides[turn].as_mut().and_then(Session::poll_output) {
            match output {
                Output::Send(message) => said.push(message),
                Output::Done(outcome) => outcomes[turn] = Some(*outcome),
                Output::Failed(failure) => panic!("an honest session failed: {failure}"),
            }
        }
        turn = 1 - turn;
        for message in said {
            let framed = |message: &Message| encode_frame(message).expect("a message fits a frame").as_bytes().len();
            let (bare, only_rows) = bare(&message);
            cost.whole_bytes += framed(&message);
            cost.bytes += framed(&bare);
            cost.messages += usize::from(!only_rows);
            match (&mut sides[turn], message) {
                (Some(session), message) => {
                    session.handle_input(now, &pins[turn], message).expect("a store can be read");
                    while session.is_working() {
                        session.work(&pins[turn]).expect("a store can be read");
                    }
                }
                (silent, Message::Open(open)) => {
                    let session = Session::respond(now, Limits::default(), placer(), open, &pins[turn]);
                    *silent = Some(session.expect("a store can be read"));
                }
                (None, Message::Answer(_) | Message::Turn(_) | Message::Closed(_)) => panic!("the first word is OPEN"),
            }
        }
    }
    (cost, outcomes.map(|outcome| outcome.expect("both sides have ended")))
}
