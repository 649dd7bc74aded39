//! A peer gets exactly what it lacks, in order, in pieces, or is told that the log does not reach.

use everett_mesh_proto::clock::Stamp;
use everett_mesh_proto::crdt::NEVER_MS;
use everett_mesh_proto::id::Dot;
use everett_mesh_proto::log::{Log, Record};
use everett_mesh_proto::replica::{Adoption, Effect, Group, Observed, Op, Payload};
use everett_mesh_proto::vector::Vector;
use everett_mesh_proto::wire::encode_payload;
use tempfile::TempDir;

use super::*;
use crate::store::log_dir::{LogDir, LogSettings, Recyclable};
use crate::store::segment::LogIdentity;

const STORE: StoreId = StoreId([1; 16]);
const PEER: NodeId = NodeId([9; 16]);

struct World {
    dir: TempDir,
    log: Log<LogDir<Folder>>,
    vectors: Vectors,
    own: ReplicaId,
    other: ReplicaId,
}

impl World {
    fn new() -> Self {
        Self::with_segments_of(64 << 10)
    }

    fn with_segments_of(segment_bytes: u64) -> Self {
        let dir = TempDir::new().unwrap();
        let settings = LogSettings { segment_bytes, spares_max: 0 };
        let identity = LogIdentity { store: STORE, salt_seed: 1 };
        let log = LogDir::create(Folder::open(dir.path()).unwrap(), settings, identity, 1).unwrap();
        let (own, other) = (ReplicaId::new(1, "me", 1), ReplicaId::new(1, "you", 2));
        Self { dir, log: Log::resume(log, Commit(0)), vectors: Vectors::new(), own, other }
    }

    fn log(&mut self, payloads: &[Payload]) {
        let first = self.log.durable().upto().next().0;
        let record = |(commit, payload)| Record { commit: Commit(commit), payload: encode_payload(payload) };
        let records: Vec<Record> = (first..).zip(payloads).map(record).collect();
        self.log.commit(&records).unwrap();
    }

    fn write(&mut self, space: u8, author: ReplicaId, count: u64, bytes: usize) {
        let space = Space::numbered(space);
        let mut payloads = Vec::new();
        for _ in 0..count {
            let vector = self.vectors.entry(space.clone()).or_default();
            let first = vector.seq(author) + 1;
            vector.raise(Dot { replica: author, seq: first });
            let (seen, value) = (Observed::default(), Bytes::from(vec![b'v'; bytes]));
            let ops = vec![Op::Key { key: "k".into(), effect: Effect::Set { seen, value, deadline_ms: NEVER_MS } }];
            let (stamp, deps) = (Stamp::at_ms(1), Vec::new());
            payloads.push(Payload::Group(Group { space: space.clone(), author, first, stamp, deps, ops }));
        }
        self.log(&payloads);
    }

    /// Reads until nothing is left; what came, the namespaces below, and the number of pieces.
    fn read_all(&self, has: &Vectors, whose: Whose) -> (Vec<Span>, Vec<Space>, usize) {
        let folder = Folder::open(self.dir.path()).unwrap();
        let mut courier = Courier::new(folder, STORE, "me".to_owned());
        let index = self.log.medium().index();
        let known = Known { index: &index, durable: self.log.durable(), vectors: &self.vectors };
        let (mut spans, mut pieces, mut after) = (Vec::new(), 0, Commit(0));
        loop {
            let reading = Reading { peer: PEER, ticket: 1, after, has: has.clone(), whose };
            let piece = courier.read(&reading, &known).unwrap();
            pieces += 1;
            spans.extend(piece.groups.iter().map(|payload| decode_span(payload).unwrap().unwrap()));
            after = piece.upto;
            if after == self.log.durable().upto() {
                return (spans, piece.below, pieces);
            }
        }
    }
}

fn has(seqs: &[(u8, ReplicaId, u64)]) -> Vectors {
    let mut has = Vectors::new();
    for &(space, replica, seq) in seqs {
        has.entry(Space::numbered(space)).or_default().raise(Dot { replica, seq });
    }
    has
}

fn seqs(spans: &[Span], author: ReplicaId) -> Vec<u64> {
    spans.iter().filter(|span| span.author == author).map(|span| span.first).collect()
}

#[test]
fn a_peer_gets_what_it_lacks_in_order_and_in_pieces() {
    let mut world = World::new();
    for _ in 0..10 {
        world.write(0, world.own, 100, 1_000);
        world.write(0, world.other, 10, 1_000);
    }
    let has = has(&[(0, world.own, 200), (0, world.other, 95)]);
    let (spans, below, pieces) = world.read_all(&has, Whose::All);
    assert_eq!(below, []);
    assert_eq!(seqs(&spans, world.own), (201..=1000).collect::<Vec<_>>());
    assert_eq!(seqs(&spans, world.other), (96..=100).collect::<Vec<_>>());
    assert!(pieces > 2, "{pieces} pieces");
    let (spans, _, _) = world.read_all(&has, Whose::Own);
    assert_eq!((seqs(&spans, world.own).len(), seqs(&spans, world.other).len()), (800, 0));
}

#[test]
fn reading_begins_at_the_last_mark_before_what_a_peer_lacks() {
    let mut world = World::with_segments_of(16 << 20);
    world.write(0, world.other, 1, 10);
    world.write(0, world.own, 3_000, 2_000);
    world.write(0, world.other, 1, 10);
    world.write(0, world.own, 1_000, 2_000);
    let index = world.log.medium().index();
    let segment = &index.segments()[0];
    assert!(segment.marks().len() > 5, "{} marks", segment.marks().len());
    let courier = Courier::new(Folder::open(world.dir.path()).unwrap(), STORE, "me".to_owned());
    let durable = world.log.durable().upto();
    let sought = |author, first| {
        let span = Span { space: Space::numbered(0), author, first, last: first };
        courier.mark_before(segment, &span, durable).unwrap()
    };
    // The first commit is of the other author, and another one of its comes after 3,000.
    for (seq, commit) in [(1, 2), (2, 3), (1_234, 1_235), (3_000, 3_001), (3_001, 3_003), (4_000, 4_002)] {
        assert_eq!(sought(world.own, seq), segment.start_for(commit), "seq {seq}");
    }
    assert_eq!(sought(world.other, 1).commit, 1);
    assert!(sought(world.other, 2).commit <= 3_002, "never after it, though the author is rarely met");
    let has = has(&[(0, world.own, 3_998), (0, world.other, 2)]);
    let (spans, ..) = world.read_all(&has, Whose::All);
    assert_eq!(seqs(&spans, world.own), [3_999, 4_000]);
}

#[test]
fn a_peer_that_has_everything_gets_nothing() {
    let mut world = World::new();
    world.write(0, world.own, 10, 10);
    let has = has(&[(0, world.own, 10)]);
    assert_eq!(world.read_all(&has, Whose::All), (vec![], vec![], 1));
}

#[test]
fn what_was_recycled_or_came_as_rows_is_below_the_log() {
    let mut world = World::new();
    world.write(0, world.own, 200, 1_000);
    world.write(1, world.own, 20, 10);
    let last = world.log.durable().upto().0;
    let allowed = Recyclable { flushed: last, acknowledged: last, bytes_max: 0 };
    world.log.medium_mut().recycle(allowed).unwrap();
    let (spans, below, _) = world.read_all(&Vectors::new(), Whose::All);
    assert_eq!(below, [Space::numbered(0)]);
    assert_eq!(spans.len(), 20, "the other namespace is served");
    let has = has(&[(0, world.own, 199)]);
    let (spans, below, _) = world.read_all(&has, Whose::All);
    assert_eq!((spans.len(), below.len()), (21, 0));
    // Someone else's ops came as rows.
    let vector: Vector = [Dot { replica: world.other, seq: 5 }].into_iter().collect();
    let adoption = Adoption { space: Space::numbered(1), vector: vector.clone(), rows: vec![] };
    world.log(&[Payload::Adoption(adoption)]);
    world.vectors.entry(Space::numbered(1)).or_default().join(&vector);
    let (_, below, _) = world.read_all(&has, Whose::All);
    assert_eq!(below, [Space::numbered(1)]);
    let (_, below, _) = world.read_all(&has, Whose::Own);
    assert_eq!(below, []);
}

#[test]
fn a_reading_goes_on_where_the_last_piece_ended() {
    let mut world = World::new();
    world.write(0, world.own, 5, 10);
    let folder = Folder::open(world.dir.path()).unwrap();
    let mut courier = Courier::new(folder, STORE, "me".to_owned());
    let mut after = Commit(0);
    for round in 1..=3 {
        let index = world.log.medium().index();
        let known = Known { index: &index, durable: world.log.durable(), vectors: &world.vectors };
        let reading = Reading { peer: PEER, ticket: 1, after, has: Vectors::new(), whose: Whose::Own };
        let piece = courier.read(&reading, &known).unwrap();
        assert_eq!((piece.groups.len(), piece.upto), (5, Commit(5 * round)));
        after = piece.upto;
        world.write(0, world.own, 5, 10);
    }
}
