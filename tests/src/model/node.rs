//! One node: a real replica over a simulated store and a simulated log, and what a crash leaves of them.
//!
//! What the replica seals waits in `pending` until a sync appends it to the [`Log`]; only then do pushes leave and only
//! then can catch-up serve it. An [`Image`] is a disk: a crash, a return and a disk put back all start from one.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use everett_mesh_proto::id::{NodeId, ReplicaId, Space};
use everett_mesh_proto::log::{Commit, Held, Log, Medium, Record};
use everett_mesh_proto::replica::{Config, Input, Output, Outputs, Payload, Replica, Signal};
use everett_mesh_proto::rows::Placer;
use everett_mesh_proto::time::{Instant, Now};
use everett_mesh_proto::vector::Vector;
use everett_mesh_proto::wire;

use super::plan::{Flaw, Plan};
use super::store::{Disk, Store};

/// The only namespace.
pub(super) fn space() -> Space {
    Space::numbered(0)
}

/// The records that replay would read.
#[derive(Clone, Debug, Default)]
pub(super) struct Tape(Vec<Record>);

impl Medium for Tape {
    type Error = Infallible;

    fn append(&mut self, records: &[Record]) -> Result<(), Infallible> {
        self.0.extend_from_slice(records);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

/// The part of the log that serves catch-up: durable groups by author and first seq, and below what it cannot serve.
#[derive(Clone, Debug, Default)]
pub(super) struct Shelf {
    groups: BTreeMap<(ReplicaId, u64), Bytes>,
    floors: BTreeMap<ReplicaId, u64>,
    /// The vector that its records add up to.
    reached: Vector,
}

impl Shelf {
    fn take_in(&mut self, payload: &Bytes) {
        match wire::decode_payload(payload).expect("a sealed payload decodes") {
            Payload::Group(group) => {
                self.reached.raise(group.last());
                self.groups.insert((group.author, group.first), payload.clone());
            }
            Payload::Adoption(adoption) => {
                let advanced: Vec<_> = adoption.vector.since(&self.reached).collect();
                for dot in advanced {
                    self.raise(dot.replica, dot.seq);
                    self.reached.raise(dot);
                }
            }
            Payload::Clock { .. } => {}
        }
    }

    /// Forgets the groups of `author` up to `floor`.
    pub(super) fn raise(&mut self, author: ReplicaId, floor: u64) {
        let old = self.floors.entry(author).or_default();
        *old = floor.max(*old);
        let floor = *old;
        self.groups.retain(|&(of, first), _| of != author || first > floor);
    }

    /// The authors it holds groups of.
    pub(super) fn authors(&self) -> Vec<ReplicaId> {
        let mut authors: Vec<_> = self.groups.keys().map(|&(author, _)| author).collect();
        authors.dedup();
        authors
    }

    /// The group that follows `seq` of `author`.
    pub(super) fn after(&self, author: ReplicaId, seq: u64) -> Option<Bytes> {
        let below = self.floors.get(&author).is_some_and(|&floor| seq < floor);
        if below { None } else { self.groups.get(&(author, seq + 1)).cloned() }
    }
}

/// A disk.
#[derive(Clone, Debug, Default)]
pub(super) struct Image {
    disk: Disk,
    records: Vec<Record>,
    shelf: Shelf,
    life: Option<ReplicaId>,
}

/// One life of one node.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) replica: Replica,
    pub(super) store: Store,
    pub(super) shelf: Shelf,
    pub(super) started_ms: u64,
    pub(super) skew_ms: i64,
    /// Its disk while it is down.
    pub(super) away: Option<Image>,
    log: Log<Tape>,
    pending: VecDeque<(Record, Held<Outputs>)>,
    plan: Plan,
}

/// What a start is told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Start {
    pub(super) id: ReplicaId,
    pub(super) started_ms: u64,
    pub(super) skew_ms: i64,
    pub(super) gate_bytes_max: usize,
}

/// The handle of the node with this number.
pub(super) fn node_id(number: usize) -> NodeId {
    NodeId([u8::try_from(number).expect("few nodes"); 16])
}

/// Where keys lie, the same for all.
pub(super) fn placer() -> Placer {
    Placer::new(&[7; 32])
}

impl Node {
    /// Opens a disk and replays its log.
    pub(super) fn boot(image: Image, start: Start, plan: Plan) -> Self {
        let Image { mut disk, records, shelf, life } = image;
        if plan.has(Flaw::TableLost) {
            disk.settled.vectors.values_mut().for_each(|vector| *vector = vector.named());
        }
        let id = life.filter(|_| plan.has(Flaw::SameLife)).unwrap_or(start.id);
        let config =
            Config { id, placer: placer(), max_skew: Duration::from_millis(500), gate_bytes_max: start.gate_bytes_max };
        let mut replica = Replica::resume(config, disk.settled.clone());
        let settled = disk.settled.commit;
        let mut last = settled;
        let mut store = Store::open(disk, plan);
        for record in records.iter().filter(|record| record.commit > settled) {
            last = record.commit;
            let payload = wire::decode_payload(&record.payload).expect("a logged payload decodes");
            let Ok(()) = replica.replay(&mut store, record.commit, payload);
        }
        Self {
            replica,
            store,
            shelf,
            started_ms: start.started_ms,
            skew_ms: start.skew_ms,
            away: None,
            log: Log::resume(Tape(records), last),
            pending: VecDeque::new(),
            plan,
        }
    }

    /// Whether it runs.
    pub(super) fn is_up(&self) -> bool {
        self.away.is_none()
    }

    /// Its clocks when the world's shows `ms`.
    pub(super) fn now(&self, ms: u64) -> Now {
        Now {
            mono: Instant::from_start(Duration::from_millis(ms - self.started_ms)),
            wall_ms: (1_700_000_000_000 + ms).saturating_add_signed(self.skew_ms),
        }
    }

    /// What it has applied.
    pub(super) fn vector(&self) -> Vector {
        self.replica.vector(&space())
    }

    /// Takes inputs; returns what it sealed after the last of them.
    pub(super) fn input(&mut self, ms: u64, inputs: impl IntoIterator<Item = Input>) -> Vec<Record> {
        for input in inputs {
            let Ok(()) = self.replica.handle_input(self.now(ms), &mut self.store, input);
        }
        self.drain()
    }

    /// Does what is due; returns what it sealed.
    pub(super) fn timeout(&mut self, ms: u64) -> Vec<Record> {
        let Ok(()) = self.replica.handle_timeout(self.now(ms), &mut self.store);
        self.drain()
    }

    /// What it wants to ask or tell.
    pub(super) fn signals(&mut self) -> Vec<Signal> {
        std::iter::from_fn(|| self.replica.poll_signal()).collect()
    }

    /// Makes everything sealed durable; returns the pushes that may leave now.
    pub(super) fn sync(&mut self) -> Vec<Bytes> {
        self.append(self.pending.len());
        let mut pushes = Vec::new();
        let durable = self.log.durable();
        for (_, held) in self.pending.drain(..) {
            for output in held.release(durable).expect("all of the log was just made durable") {
                match output {
                    Output::Push { payload, .. } => pushes.push(payload),
                    Output::Applied { .. } | Output::Closed { .. } => {}
                }
            }
        }
        pushes
    }

    /// Makes the first `count` sealed records durable and says nothing: what a crash right after a sync leaves.
    pub(super) fn append(&mut self, count: usize) {
        let records: Vec<Record> = self.pending.iter().take(count).map(|(record, _)| record.clone()).collect();
        let Ok(_) = self.log.commit(&records);
        for record in &records {
            self.shelf.take_in(&record.payload);
        }
    }

    /// How many records are sealed and not durable.
    pub(super) fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Begins a flush, or goes on with the one that runs; returns the pushes that a sync set free.
    pub(super) fn flush_step(&mut self, rows: usize) -> Vec<Bytes> {
        let Some(to) = self.store.flushing() else {
            self.store.freeze(self.replica.settled());
            return Vec::new();
        };
        let early = self.log.durable().upto() < to && !self.plan.has(Flaw::FlushNotDurable);
        let pushes = if early { self.sync() } else { Vec::new() };
        if self.store.flush_chunk(rows) {
            self.log.medium_mut().0.retain(|record| record.commit > to);
        }
        pushes
    }

    /// Flushes until file, watermark and present are one.
    pub(super) fn settle(&mut self) -> Vec<Bytes> {
        let mut pushes = self.sync();
        while self.store.flushing().is_some() {
            pushes.extend(self.flush_step(1_000));
        }
        self.store.freeze(self.replica.settled());
        while self.store.flushing().is_some() {
            pushes.extend(self.flush_step(1_000));
        }
        pushes
    }

    /// The disk as a crash now would leave it.
    pub(super) fn image(&self) -> Image {
        Image {
            disk: self.store.disk().clone(),
            records: self.log.medium().0.clone(),
            shelf: self.shelf.clone(),
            life: Some(self.replica.id()),
        }
    }

    /// The last commit, durable or not.
    pub(super) fn commit(&self) -> Commit {
        self.replica.commit()
    }

    fn drain(&mut self) -> Vec<Record> {
        let mut sealed = Vec::new();
        while let Some((record, held)) = self.replica.seal() {
            sealed.push(record.clone());
            self.pending.push_back((record, held));
        }
        sealed
    }

    /// Replaces the payload of a sealed record before it is logged.
    pub(super) fn forge(&mut self, commit: Commit, payload: &Bytes) {
        for (record, _) in self.pending.iter_mut().filter(|(record, _)| record.commit == commit) {
            record.payload = payload.clone();
        }
    }
}
