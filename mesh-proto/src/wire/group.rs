//! Encoding a group from where it lies: nothing is copied but into the payload.
//!
//! Apart from `payload.rs`, which has the stored form that is read: what is written here is that form, field for field
//! and variant for variant, over borrowed parts. The ids come before the ops that name them, so a first pass numbers the
//! replicas and a second one writes. Golden tests and the way back hold the two forms together.

use bytes::Bytes;
use serde::{Serialize, Serializer};

use super::Writer;
use super::payload::Short;
use crate::clock::Stamp;
use crate::crdt::{DeadlineMs, NEVER_MS, Seen};
use crate::id::{Dot, ReplicaId, Space};
use crate::replica::{Effect, Group, Observed, Op};

/// Which variant of a stored payload a group is.
const GROUP: u8 = 0;

/// Tables up to this length are searched from the front.
const SHORT_TABLE_LEN: usize = 16;

/// Appends `group` as a payload's variant and body.
pub(super) fn encode_group(mut writer: Writer, group: &Group) -> Bytes {
    writer.0.push(GROUP);
    let table = Table::of(group);
    writer.value(&GroupRef {
        space: &group.space,
        ids: &table.ids,
        first: group.first,
        stamp: group.stamp,
        deps: Dots(&table, &group.deps),
        ops: Ops(&table, &group.ops),
    })
}

#[derive(Serialize)]
struct GroupRef<'a> {
    space: &'a Space,
    ids: &'a [ReplicaId],
    first: u64,
    stamp: Stamp,
    deps: Dots<'a>,
    ops: Ops<'a>,
}

#[derive(Serialize)]
enum OpRef<'a> {
    Set { key: &'a Bytes, siblings: Dots<'a>, entries: SeenList<'a>, value: &'a Bytes, deadline_ms: Option<DeadlineMs> },
    Reset { key: &'a Bytes, siblings: Dots<'a>, entries: SeenList<'a> },
    Raise { key: &'a Bytes, generation: u64, up: u128, down: u128, deadline_ms: Option<DeadlineMs> },
    Drop { key: &'a Bytes, presence: Short },
    Expire { key: &'a Bytes, removed: Dots<'a>, deadline_ms: Option<DeadlineMs> },
    Unexpire { key: &'a Bytes, removed: Dots<'a> },
    Cut { context: Vec<Short>, resets: Vec<(&'a Bytes, SeenList<'a>)> },
    Close { last: Short },
}

#[derive(Serialize)]
struct SeenRef {
    presence: Short,
    seq: u64,
    up: u128,
    down: u128,
}

/// The replica ids of one payload, numbered as they come up.
struct Table {
    ids: Vec<ReplicaId>,
    /// The numbers by id, once there are many.
    sorted: Vec<(ReplicaId, u32)>,
}

impl Table {
    fn of(group: &Group) -> Self {
        let mut table = Self { ids: vec![group.author], sorted: Vec::new() };
        group.deps.iter().for_each(|dot| table.enter(dot.replica));
        for op in &group.ops {
            match op {
                Op::Key { effect, .. } => table.enter_effect(effect),
                Op::Cut { context, resets } => {
                    context.dots().for_each(|dot| table.enter(dot.replica));
                    resets.iter().for_each(|(_, seen)| table.enter_seen(seen));
                }
                Op::Close { last } => table.enter(last.replica),
            }
        }
        table
    }

    fn enter_effect(&mut self, effect: &Effect) {
        match effect {
            Effect::Set { seen: Observed { siblings, entries }, .. }
            | Effect::Reset { seen: Observed { siblings, entries } } => {
                siblings.iter().for_each(|dot| self.enter(dot.replica));
                self.enter_seen(entries);
            }
            Effect::Raise { .. } => {}
            Effect::Drop { presence } => self.enter(presence.replica),
            Effect::Expire { removed, .. } | Effect::Unexpire { removed } => {
                removed.iter().for_each(|dot| self.enter(dot.replica));
            }
        }
    }

    fn enter_seen(&mut self, seen: &[Seen]) {
        seen.iter().for_each(|seen| self.enter(seen.presence.replica));
    }

    fn enter(&mut self, id: ReplicaId) {
        if self.find(id).is_some() {
            return;
        }
        self.ids.push(id);
        let numbered = |(number, id): (usize, &ReplicaId)| (*id, short(number));
        if self.ids.len() == SHORT_TABLE_LEN + 1 {
            self.sorted = self.ids.iter().enumerate().map(numbered).collect();
            self.sorted.sort_unstable();
        } else if self.ids.len() > SHORT_TABLE_LEN {
            let at = self.sorted.partition_point(|entry| entry.0 < id);
            self.sorted.insert(at, (id, short(self.ids.len() - 1)));
        }
    }

    fn find(&self, id: ReplicaId) -> Option<u32> {
        if self.ids.len() <= SHORT_TABLE_LEN {
            return self.ids.iter().position(|entry| *entry == id).map(short);
        }
        let at = self.sorted.binary_search_by_key(&id, |entry| entry.0).ok()?;
        Some(self.sorted[at].1)
    }

    fn dot(&self, dot: Dot) -> Short {
        (self.find(dot.replica).expect("the first pass entered every replica"), dot.seq)
    }

    fn effect<'a>(&'a self, key: &'a Bytes, effect: &'a Effect) -> OpRef<'a> {
        match effect {
            Effect::Set { seen, value, deadline_ms } => OpRef::Set {
                key,
                siblings: Dots(self, &seen.siblings),
                entries: SeenList(self, &seen.entries),
                value,
                deadline_ms: finite(*deadline_ms),
            },
            Effect::Reset { seen } => {
                OpRef::Reset { key, siblings: Dots(self, &seen.siblings), entries: SeenList(self, &seen.entries) }
            }
            &Effect::Raise { generation, up, down, deadline_ms } => {
                OpRef::Raise { key, generation, up, down, deadline_ms: finite(deadline_ms) }
            }
            Effect::Drop { presence } => OpRef::Drop { key, presence: self.dot(*presence) },
            Effect::Expire { removed, deadline_ms } => {
                OpRef::Expire { key, removed: Dots(self, removed), deadline_ms: finite(*deadline_ms) }
            }
            Effect::Unexpire { removed } => OpRef::Unexpire { key, removed: Dots(self, removed) },
        }
    }

    fn op<'a>(&'a self, op: &'a Op) -> OpRef<'a> {
        match op {
            Op::Key { key, effect } => self.effect(key, effect),
            Op::Cut { context, resets } => OpRef::Cut {
                context: context.dots().map(|dot| self.dot(dot)).collect(),
                resets: resets.iter().map(|(key, seen)| (key, SeenList(self, seen))).collect(),
            },
            Op::Close { last } => OpRef::Close { last: self.dot(*last) },
        }
    }
}

struct Dots<'a>(&'a Table, &'a [Dot]);

impl Serialize for Dots<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.1.iter().map(|dot| self.0.dot(*dot)))
    }
}

struct SeenList<'a>(&'a Table, &'a [Seen]);

impl Serialize for SeenList<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.1.iter().map(|seen| SeenRef {
            presence: self.0.dot(seen.presence),
            seq: seen.seq.wrapping_sub(seen.presence.seq),
            up: seen.up,
            down: seen.down,
        }))
    }
}

struct Ops<'a>(&'a Table, &'a [Op]);

impl Serialize for Ops<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.1.iter().map(|op| self.0.op(op)))
    }
}

fn short(number: usize) -> u32 {
    u32::try_from(number).expect("a payload names fewer than 2^32 replicas")
}

fn finite(deadline_ms: DeadlineMs) -> Option<DeadlineMs> {
    (deadline_ms != NEVER_MS).then_some(deadline_ms)
}
