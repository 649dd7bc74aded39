//! The comparison after every step: each node that may have changed, against the event graph and against every other.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use everett_mesh_proto::crdt::{Entry, NEVER_MS, Register, Scalar};
use everett_mesh_proto::id::Dot;
use everett_mesh_proto::log::Commit;
use everett_mesh_proto::repair;
use everett_mesh_proto::replica::Alarm;
use everett_mesh_proto::rows::{Kind, Row, RowKey};
use everett_mesh_proto::vector::Vector;
use everett_mesh_proto::wire::encode_row;

use super::closings::Closings;
use super::edits::keys;
use super::node::{Node, placer, space};
use super::oracle::{Look, Oracle, Survivors};

/// What a node did that it must not do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fault {
    /// A client sees something else than the events say.
    View {
        /// The client's key.
        key: Bytes,
        /// What it sees and what it should.
        what: String,
    },
    /// A row holds something else than the events say.
    Rows {
        /// The client's key.
        key: Bytes,
        /// What it holds and what it should.
        what: String,
    },
    /// A view claims to reflect less than it does, so that a reply could leave before what it shows is durable.
    Early,
    /// Two nodes with equal vectors differ in a byte.
    Bytes,
    /// A dot is visible and something that its author had seen is not.
    Acausal,
    /// Half a group is visible.
    Torn,
    /// A node's table of closed lives is not what the closings that it has applied make it.
    Table,
    /// A node takes a peer to have applied what it has not.
    Claim,
    /// A dot is visible that nobody wrote.
    Unknown,
    /// The ops of a group are not what its edits mean.
    Author,
    /// A stamp was issued twice.
    Stamp,
    /// Expiry's present went back.
    Clock,
    /// A replica complained about honest peers.
    Alarm(Alarm),
    /// A replica took an honest peer's bytes for nonsense.
    Broke,
    /// A session between honest sides failed.
    Session(repair::Failure),
    /// Left alone, the nodes do not come together.
    Stuck,
    /// A dead counter entry of a living owner stays for ever.
    Leak,
}

/// A schedule that broke a promise.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// The schedule.
    pub seed: u64,
    /// After which step.
    pub step: usize,
    /// At which node.
    pub node: usize,
    /// What happened.
    pub fault: Fault,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {} step {} node {}: {:?}", self.seed, self.step, self.node, self.fault)
    }
}

/// What was last compared of a node.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Last {
    revision: u64,
    commit: Commit,
    now_ms: u64,
    survivors: Rc<Survivors>,
    /// By key, a commit that its value reflects: the first after the look that found it changed.
    least: BTreeMap<Bytes, Commit>,
}

/// What the comparison remembers.
#[derive(Debug)]
pub(super) struct Checks {
    deep: bool,
    pub(super) closings: Closings,
    lasts: BTreeMap<usize, Last>,
    /// The bytes that each vector stood for when first met.
    bytes: HashMap<Vector, Bytes>,
}

impl Checks {
    /// Checks of what clients see and, if `deep`, of the rows below.
    pub(super) fn new(deep: bool) -> Self {
        Self { deep, closings: Closings::default(), lasts: BTreeMap::new(), bytes: HashMap::new() }
    }

    /// Forgets a node's former life.
    pub(super) fn restarted(&mut self, number: usize) {
        self.lasts.remove(&number);
    }

    /// Compares one node with the event graph, and its bytes with those that its vector stood for before.
    pub(super) fn node(&mut self, oracle: &mut Oracle, (number, node): (usize, &Node), ms: u64) -> Result<(), Fault> {
        let (revision, commit, now_ms) = (node.store.revision(), node.commit(), node.replica.now_ms(node.now(ms)));
        let old = self.lasts.remove(&number);
        let moved = old.as_ref().is_none_or(|old| (old.revision, old.commit) != (revision, commit));
        let before_ms = old.as_ref().map_or(0, |old| old.now_ms);
        if before_ms > now_ms {
            return Err(Fault::Clock);
        }
        let vector = node.vector();
        if moved && !self.closings.are_in(&vector) {
            return Err(Fault::Table);
        }
        let survivors =
            if moved { oracle.survivors(&vector)? } else { Rc::clone(&old.as_ref().expect("unmoved").survivors) };
        let least = old.map_or_else(BTreeMap::new, |old| raised(old, &survivors));
        if moved || before_ms < now_ms {
            for (key, _) in keys() {
                let seen = (&oracle.look(&survivors, key), least.get(key).copied().unwrap_or_default());
                same_view(seen, key, node, ms)?;
            }
        }
        if moved && self.deep {
            self.rows(node, vector, |key| oracle.look(&survivors, key))?;
        }
        self.lasts.insert(number, Last { revision, commit, now_ms, survivors, least });
        Ok(())
    }

    fn rows(&mut self, node: &Node, vector: Vector, look: impl Fn(&Bytes) -> Look) -> Result<(), Fault> {
        let content = node.store.content(&space());
        for (key, places) in keys() {
            same_rows(&look(key), key, places.each_ref().map(|place| content.get(place)))?;
        }
        let bytes = encoded(&content);
        let known = self.bytes.entry(vector).or_insert_with(|| bytes.clone());
        if *known == bytes { Ok(()) } else { Err(Fault::Bytes) }
    }
}

/// The commits that keys reflect at least, now that these elements survive.
fn raised(old: Last, survivors: &Rc<Survivors>) -> BTreeMap<Bytes, Commit> {
    let mut least = old.least;
    if Rc::ptr_eq(&old.survivors, survivors) {
        return least;
    }
    for (key, _) in keys() {
        let of = |survivors: &Survivors| survivors.get(key).filter(|ids| !ids.is_empty()).cloned();
        if of(survivors) != of(&old.survivors) {
            least.insert(key.clone(), old.commit.next());
        }
    }
    least
}

fn encoded(content: &BTreeMap<RowKey, Row>) -> Bytes {
    let mut bytes = BytesMut::new();
    for (key, row) in content {
        bytes.extend_from_slice(key.as_bytes());
        bytes.extend_from_slice(&encode_row(row));
    }
    bytes.freeze()
}

fn same_rows(look: &Look, key: &Bytes, [expiry, scalar]: [Option<&Row>; 2]) -> Result<(), Fault> {
    let (no_register, no_scalar) = (Register::default(), Scalar::default());
    let register = if let Some(Row::Expiry(register)) = expiry { register } else { &no_register };
    let scalar = if let Some(Row::Scalar(scalar)) = scalar { scalar } else { &no_scalar };
    let values =
        scalar.siblings().iter().map(|sibling| (sibling.dot, sibling.stamp, &sibling.bytes, sibling.deadline_ms));
    let wanted = look.values.iter().map(|value| (value.dot, value.stamp, &value.bytes, value.deadline_ms));
    let live = scalar.entries().iter().filter(|entry| entry.is_live());
    let live = live.map(|entry: &Entry| (entry.presence(), entry.amount(), entry.raise.deadline_ms));
    let tallies = look.tallies.iter().map(|tally| (tally.run, tally.sum, tally.deadline_ms));
    let deadlines: Vec<Dot> = look.deadlines.iter().map(|&(dot, _)| dot).collect();
    let same = values.eq(wanted)
        && live.eq(tallies)
        && register.dots() == deadlines
        && register.deadline_ms() == look.register_ms();
    if same {
        return Ok(());
    }
    Err(Fault::Rows { key: key.clone(), what: format!("{register:?} {scalar:?} instead of {look:?}") })
}

fn same_view((look, least): (&Look, Commit), key: &Bytes, node: &Node, ms: u64) -> Result<(), Fault> {
    let now = node.now(ms);
    let now_ms = node.replica.now_ms(now);
    let Ok(view) = node.replica.view(now, &node.store, &space(), key);
    let value = view.value.map(|value| value.to_bytes());
    let wanted = look.value(now_ms);
    let deadline_ms = Some(look.deadline_ms(now_ms)).filter(|&ms| ms != NEVER_MS && wanted.is_some());
    if value != wanted || view.deadline_ms != deadline_ms {
        let what = format!("{value:?} until {:?} instead of {wanted:?} until {deadline_ms:?}", view.deadline_ms);
        return Err(Fault::View { key: key.clone(), what });
    }
    if view.at < least {
        return Err(Fault::Early);
    }
    let Ok(siblings) = node.replica.siblings(now, &node.store, &space(), key);
    let shown = siblings.iter().map(|sibling| (sibling.dot, &sibling.bytes));
    if !shown.eq(look.siblings(now_ms).into_iter().map(|value| (value.dot, &value.bytes))) {
        return Err(Fault::View { key: key.clone(), what: format!("siblings {siblings:?} instead of {look:?}") });
    }
    Ok(())
}

/// Whether a living life's counter entry lies dead in a node's rows.
pub(super) fn leaks(node: &Node, living: &[everett_mesh_proto::id::ReplicaId]) -> bool {
    let content = node.store.content(&space());
    content.iter().filter(|(key, _)| key.kind() == Kind::Scalar).any(|(_, row)| match row {
        Row::Scalar(scalar) => scalar.entries().iter().any(|entry| !entry.is_live() && living.contains(&entry.owner)),
        Row::Expiry(_) => false,
    })
}

/// The row keys of `key`, by kind.
pub(super) fn row_keys(key: &[u8]) -> [RowKey; 2] {
    Kind::ALL.map(|kind| RowKey::new(&space(), placer().place(key), key, kind))
}
