//! The event graph: what a node must show, from the set of events that it has applied and nothing else.
//!
//! An event is a client's group of edits with the vector that its author held. A group *adds* elements (a value, an
//! increment, a deadline) and *removes* elements that its author had seen, by the rules of each type:
//!
//! * SET, DEL and FLUSHDB remove every element seen, with the deadlines seen unless the SET keeps them;
//! * INCR and EXPIRE remove what they found hidden, and the deadlines too if nothing was left to see;
//! * EXPIRE removes the deadlines seen and adds one;
//! * a lease that is given up removes, of the parts it bound, what its withdrawer had seen, and the deadlines with the last.
//!
//! An element survives in a set of events if one of them added it and none removed it. Everything shown follows from the
//! survivors and the time. Rows, resets, entries and positions do not occur here; the one thing taken from the ops is the
//! dot and stamp of what an edit added, because these decide between concurrent values.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::rc::Rc;

use bytes::Bytes;
use everett_mesh_proto::clock::Stamp;
use everett_mesh_proto::crdt::NEVER_MS;
use everett_mesh_proto::id::{Dot, ReplicaId};
use everett_mesh_proto::replica::{Edit, Effect, Expiry, Group, Op};
use everett_mesh_proto::vector::Vector;

use super::check::Fault;

/// What an edit added to a key.
#[derive(Clone, Debug)]
struct Element {
    key: Bytes,
    dot: Dot,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    /// SET.
    Value { stamp: Stamp, bytes: Bytes, deadline_ms: u64 },
    /// INCR; `run` is the dot of the first increment of the author's run that this one goes on with.
    Increment { run: Dot, by: i128, deadline_ms: u64 },
    /// EXPIRE.
    Deadline(u64),
}

/// The index of an element.
type Id = usize;

/// The survivors of a set of events, by key.
pub type Survivors = BTreeMap<Bytes, BTreeSet<Id>>;

/// One group of one author.
#[derive(Clone, Debug)]
struct Event {
    last: u64,
    observed: Vector,
    adds: Range<Id>,
    removes: BTreeSet<Id>,
}

/// All events of a schedule, visible anywhere or not.
#[derive(Debug)]
pub struct Oracle {
    causal: bool,
    events: BTreeMap<ReplicaId, Vec<Event>>,
    elements: Vec<Element>,
    survivors: HashMap<Vector, Rc<Survivors>>,
}

/// The increments of one run that still count; they are visible or hidden together, by the deadline of the last.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tally {
    /// The first increment of the run.
    pub run: Dot,
    /// What those that count add up to.
    pub sum: i128,
    /// The deadline of the last.
    pub deadline_ms: u64,
    last: u64,
    ids: Vec<Id>,
}

/// One surviving value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Value {
    /// The SET.
    pub dot: Dot,
    /// Its time.
    pub stamp: Stamp,
    /// What was set.
    pub bytes: Bytes,
    /// Its own deadline.
    pub deadline_ms: u64,
    id: Id,
}

/// Everything that is to be known of a key.
#[derive(Clone, Debug, Default)]
pub struct Look {
    /// The surviving values, by dot.
    pub values: Vec<Value>,
    /// The surviving increments, by run.
    pub tallies: Vec<Tally>,
    /// The surviving deadlines, by dot.
    pub deadlines: Vec<(Dot, u64)>,
    deadline_ids: Vec<Id>,
}

impl Look {
    /// The deadline that EXPIREs leave in force.
    pub fn register_ms(&self) -> Option<u64> {
        self.deadlines.iter().map(|&(_, ms)| ms).max()
    }

    /// Whether an element with this deadline of its own is visible: the register's lies ahead, or if there is none its own.
    pub fn sees(&self, now_ms: u64, own_ms: u64) -> bool {
        self.register_ms().unwrap_or(own_ms) > now_ms
    }

    /// The visible values, the winner first.
    pub fn siblings(&self, now_ms: u64) -> Vec<&Value> {
        let mut seen: Vec<&Value> = self.values.iter().filter(|value| self.sees(now_ms, value.deadline_ms)).collect();
        seen.sort_by_key(|value| std::cmp::Reverse((value.stamp, value.dot)));
        seen
    }

    /// What GET answers.
    pub fn value(&self, now_ms: u64) -> Option<Bytes> {
        let mut counted = self.tallies.iter().filter(|tally| self.sees(now_ms, tally.deadline_ms)).peekable();
        let counts = counted.peek().is_some();
        let sum: i128 = counted.map(|tally| tally.sum).sum();
        match self.siblings(now_ms).first() {
            None => counts.then(|| sum.to_string().into()),
            Some(winner) => match integer(&winner.bytes) {
                Some(base) if counts => Some((base + sum).to_string().into()),
                Some(_) | None => Some(winner.bytes.clone()),
            },
        }
    }

    /// The deadline that a new element inherits: the register's, else the latest of what is visible.
    pub fn deadline_ms(&self, now_ms: u64) -> u64 {
        let values = self.values.iter().map(|value| value.deadline_ms);
        let tallies = self.tallies.iter().map(|tally| tally.deadline_ms);
        let latest = values.chain(tallies).filter(|&own_ms| self.sees(now_ms, own_ms)).max();
        self.register_ms().or(latest).unwrap_or(NEVER_MS)
    }

    fn elements(&self) -> impl Iterator<Item = (Id, u64)> {
        let values = self.values.iter().map(|value| (value.id, value.deadline_ms));
        values.chain(self.tallies.iter().flat_map(|tally| tally.ids.iter().map(|&id| (id, tally.deadline_ms))))
    }
}

/// The integer that these bytes are the canonical form of.
fn integer(bytes: &[u8]) -> Option<i128> {
    let text = std::str::from_utf8(bytes).ok()?;
    let number: i64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number.into())
}

impl Oracle {
    /// An event graph without events; `causal` if it is to refuse sets of events that lack their past.
    pub fn new(causal: bool) -> Self {
        Self { causal, events: BTreeMap::new(), elements: Vec::new(), survivors: HashMap::new() }
    }

    /// The survivors of what `vector` covers, if it covers a set of events that may be visible together: each with its
    /// past, and groups whole.
    pub fn survivors(&mut self, vector: &Vector) -> Result<Rc<Survivors>, Fault> {
        if let Some(known) = self.survivors.get(vector) {
            return Ok(Rc::clone(known));
        }
        let mut removed: BTreeSet<Id> = BTreeSet::new();
        let mut added: Vec<Range<Id>> = Vec::new();
        for dot in vector.dots() {
            let events = self.events.get(&dot.replica).ok_or(Fault::Unknown)?;
            let visible = events.partition_point(|event| event.last <= dot.seq);
            let last = visible.checked_sub(1).map(|index| &events[index]).ok_or(Fault::Torn)?;
            if last.last != dot.seq {
                return Err(if visible == events.len() { Fault::Unknown } else { Fault::Torn });
            }
            if self.causal && !vector.includes(&last.observed) {
                return Err(Fault::Acausal);
            }
            for event in &events[..visible] {
                removed.extend(&event.removes);
                added.push(event.adds.clone());
            }
        }
        let mut survivors = Survivors::new();
        for id in added.into_iter().flatten().filter(|id| !removed.contains(id)) {
            survivors.entry(self.elements[id].key.clone()).or_default().insert(id);
        }
        let survivors = Rc::new(survivors);
        self.survivors.insert(vector.clone(), Rc::clone(&survivors));
        Ok(survivors)
    }

    /// What is to be known of `key` among `survivors`.
    pub fn look(&self, survivors: &Survivors, key: &[u8]) -> Look {
        let mut look = Look::default();
        let mut tallies: BTreeMap<Dot, Tally> = BTreeMap::new();
        for &id in survivors.get(key).into_iter().flatten() {
            let Element { dot, what, .. } = &self.elements[id];
            match what {
                What::Value { stamp, bytes, deadline_ms } => {
                    let value = Value { dot: *dot, stamp: *stamp, bytes: bytes.clone(), deadline_ms: *deadline_ms, id };
                    look.values.push(value);
                }
                &What::Increment { run, by, deadline_ms } => {
                    let new = Tally { run, sum: 0, deadline_ms, last: 0, ids: Vec::new() };
                    let tally = tallies.entry(run).or_insert(new);
                    tally.sum += by;
                    tally.ids.push(id);
                    if dot.seq > tally.last {
                        (tally.last, tally.deadline_ms) = (dot.seq, deadline_ms);
                    }
                }
                What::Deadline(ms) => {
                    look.deadlines.push((*dot, *ms));
                    look.deadline_ids.push(id);
                }
            }
        }
        look.values.sort_by_key(|value| value.dot);
        look.deadlines.sort_unstable();
        look.tallies = tallies.into_values().collect();
        look
    }

    /// Takes down what the author of `group` did, at `now_ms`, having seen what `observed` covers.
    pub fn tell(&mut self, group: &Group, observed: Vector, edits: &[Edit], now_ms: u64) -> Result<(), Fault> {
        let survivors = (*self.survivors(&observed)?).clone();
        let from = self.elements.len();
        let mut telling = Telling {
            oracle: self,
            survivors,
            removes: BTreeSet::new(),
            additions: additions(group),
            author: group.author,
            now_ms,
        };
        edits.iter().try_for_each(|edit| telling.edit(edit))?;
        if !telling.additions.is_empty() {
            return Err(Fault::Author);
        }
        let removes = telling.removes;
        let event = Event { last: group.last().seq, observed, adds: from..self.elements.len(), removes };
        self.events.entry(group.author).or_default().push(event);
        Ok(())
    }
}

/// An op that adds an element, as far as the event graph takes notice of it.
struct Addition {
    key: Bytes,
    dot: Dot,
    stamp: Stamp,
    kind: Added,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Added {
    Value,
    Increment,
    Deadline,
}

/// The ops of a group that add something, last first.
fn additions(group: &Group) -> Vec<Addition> {
    let added = group.ops.iter().enumerate().filter_map(|(index, op)| {
        let Op::Key { key, effect } = op else { return None };
        let kind = match effect {
            Effect::Set { .. } => Added::Value,
            Effect::Raise { .. } => Added::Increment,
            Effect::Expire { .. } => Added::Deadline,
            Effect::Reset { .. } | Effect::Drop { .. } | Effect::Unexpire { .. } => return None,
        };
        Some(Addition { key: key.clone(), dot: group.dot(index), stamp: group.stamp_of(index), kind })
    });
    let mut added: Vec<_> = added.collect();
    added.reverse();
    added
}

/// A group that is being taken down.
struct Telling<'a> {
    oracle: &'a mut Oracle,
    survivors: Survivors,
    removes: BTreeSet<Id>,
    additions: Vec<Addition>,
    author: ReplicaId,
    now_ms: u64,
}

impl Telling<'_> {
    fn edit(&mut self, edit: &Edit) -> Result<(), Fault> {
        match edit {
            Edit::Set { key, value, expiry } => return self.set(key, value, *expiry),
            Edit::Delete { key } => self.take(key, |_| true),
            Edit::Withdraw { key, parts } => self.take(key, |part| parts.contains(&part)),
            Edit::Add { key, by } => return self.add(key, *by),
            Edit::Expire { key, deadline_ms } => {
                let look = self.look(key);
                if look.value(self.now_ms).is_some() {
                    self.clear_hidden(key, &look);
                    self.remove(key, look.deadline_ids.iter().copied());
                    let (dot, _) = self.next(key, Added::Deadline)?;
                    self.insert(key, dot, What::Deadline(*deadline_ms));
                }
            }
            Edit::Flush => self.removes.extend(std::mem::take(&mut self.survivors).into_values().flatten()),
        }
        Ok(())
    }

    fn set(&mut self, key: &Bytes, value: &Bytes, expiry: Expiry) -> Result<(), Fault> {
        let look = self.look(key);
        let keeps = expiry == Expiry::Keep && look.value(self.now_ms).is_some();
        self.remove(key, look.elements().map(|(id, _)| id));
        if !keeps {
            self.remove(key, look.deadline_ids.iter().copied());
        }
        let deadline_ms = match expiry {
            Expiry::At(deadline_ms) => {
                let (dot, _) = self.next(key, Added::Deadline)?;
                self.insert(key, dot, What::Deadline(deadline_ms));
                deadline_ms
            }
            Expiry::Keep if keeps => look.deadline_ms(self.now_ms),
            Expiry::Keep | Expiry::Clear => NEVER_MS,
        };
        let (dot, stamp) = self.next(key, Added::Value)?;
        self.insert(key, dot, What::Value { stamp, bytes: value.clone(), deadline_ms });
        Ok(())
    }

    /// Removes the values and runs that are `wanted`, whatever is hidden, and the deadlines if nothing is left to see.
    fn take(&mut self, key: &Bytes, wanted: impl Fn(Dot) -> bool) {
        self.clear_hidden(key, &self.look(key));
        let look = self.look(key);
        let values = look.values.iter().filter(|value| wanted(value.dot)).map(|value| value.id);
        let runs = look.tallies.iter().filter(|tally| wanted(tally.run));
        self.remove(key, values.chain(runs.flat_map(|tally| tally.ids.iter().copied())));
        self.clear_hidden(key, &self.look(key));
    }

    fn add(&mut self, key: &Bytes, by: i64) -> Result<(), Fault> {
        let look = self.look(key);
        let exists = look.value(self.now_ms).is_some();
        if by == 0 {
            return if exists { Ok(()) } else { self.set(key, &Bytes::from_static(b"0"), Expiry::Clear) };
        }
        self.clear_hidden(key, &look);
        let deadline_ms = if exists { look.deadline_ms(self.now_ms) } else { NEVER_MS };
        let mine = |tally: &&Tally| tally.run.replica == self.author && look.sees(self.now_ms, tally.deadline_ms);
        let run = look.tallies.iter().find(mine).map(|tally| tally.run);
        let (dot, _) = self.next(key, Added::Increment)?;
        self.insert(key, dot, What::Increment { run: run.unwrap_or(dot), by: by.into(), deadline_ms });
        Ok(())
    }

    /// What was hidden never comes back: a write takes it away first, and the deadlines if nothing is left to see.
    fn clear_hidden(&mut self, key: &Bytes, look: &Look) {
        let now_ms = self.now_ms;
        self.remove(key, look.elements().filter(|&(_, own_ms)| !look.sees(now_ms, own_ms)).map(|(id, _)| id));
        if look.value(now_ms).is_none() {
            self.remove(key, look.deadline_ids.iter().copied());
        }
    }

    fn look(&self, key: &[u8]) -> Look {
        self.oracle.look(&self.survivors, key)
    }

    fn remove(&mut self, key: &Bytes, ids: impl Iterator<Item = Id>) {
        let survivors = self.survivors.entry(key.clone()).or_default();
        for id in ids {
            survivors.remove(&id);
            self.removes.insert(id);
        }
    }

    fn insert(&mut self, key: &Bytes, dot: Dot, what: What) {
        let id = self.oracle.elements.len();
        self.oracle.elements.push(Element { key: key.clone(), dot, what });
        self.survivors.entry(key.clone()).or_default().insert(id);
    }

    /// The dot and stamp of the op that carries the next addition, which must be the one expected.
    fn next(&mut self, key: &Bytes, kind: Added) -> Result<(Dot, Stamp), Fault> {
        let next = self.additions.pop().filter(|next| next.key == key && next.kind == kind);
        next.map(|next| (next.dot, next.stamp)).ok_or(Fault::Author)
    }
}
