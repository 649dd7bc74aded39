//! What must hold of membership after every single step, whatever the network does.
//!
//! Four promises: only the subject raises its incarnation; who left comes back only in a later epoch; equal view hashes
//! mean equal views; and once the trouble is over, all that run hold one view within a few seconds. A step is compared
//! with the one before, so that it costs what it changed, not what the machine holds.

use std::cmp::Ordering;
use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, HashMap};
use std::hash::{Hash, Hasher};
use std::time::Duration;

use everett_mesh_proto::id::NodeId;
use everett_mesh_proto::membership::{Config, Life, Membership, Standing, State};
use everett_mesh_proto::time::Instant;

/// Views remembered for comparison; hashes recur only while they are fresh.
const VIEWS_MAX: usize = 65_536;

/// Watches all machines of a world and panics at the first broken promise.
#[derive(Debug)]
pub struct Checks {
    /// How long after the last trouble all must hold one view.
    patience: Duration,
    troubled: Instant,
    /// The incarnation that each life gives itself.
    own: HashMap<Life, u32>,
    held: BTreeMap<usize, Held>,
    /// How many hold each view.
    holders: BTreeMap<u64, usize>,
    contents: HashMap<u64, u128>,
    views: HashMap<u128, u64>,
}

/// What a node held after its last step.
#[derive(Debug, Default)]
struct Held {
    view: u64,
    /// By id.
    standings: Vec<Standing>,
    /// Of all standings: another hash of the view than the machine's.
    sum: u128,
    /// The epochs that ended in a leave.
    left: BTreeMap<NodeId, u64>,
}

/// What is looked at of a machine.
#[derive(Debug)]
struct Look {
    life: Life,
    incarnation: u32,
    view: u64,
    standings: Vec<Standing>,
}

impl Checks {
    /// Checks that give a world so long to become one again.
    pub fn new(patience: Duration) -> Self {
        Self {
            patience,
            troubled: Instant::ZERO,
            own: HashMap::new(),
            held: BTreeMap::new(),
            holders: BTreeMap::new(),
            contents: HashMap::new(),
            views: HashMap::new(),
        }
    }

    /// How long machines with these knobs may need until all hold one view: a death to be found, and to come around.
    pub fn patience_with(config: &Config) -> Duration {
        Duration::from_secs(6) + config.probe_period * 4
    }

    /// Checks the machine of `node` after it took a step.
    pub fn after_step(&mut self, node: usize, machine: &Membership) {
        if self.held.get(&node).is_some_and(|held| held.view == machine.view()) {
            return;
        }
        let me = machine.me();
        let standings = machine.standings().collect();
        self.look(node, Look { life: me.life, incarnation: me.incarnation, view: machine.view(), standings });
    }

    fn look(&mut self, node: usize, look: Look) {
        self.own.insert(look.life, look.incarnation);
        let mut held = self.release(node);
        for (old, new) in changes(&held.standings, &look.standings) {
            held.sum = held.sum.wrapping_sub(old.map_or(0, weigh));
            if let Some(new) = new {
                held.sum = held.sum.wrapping_add(weigh(new));
                self.one_writer(new);
                left_stays_left(&mut held.left, new);
            }
        }
        held.view = look.view;
        held.standings = look.standings;
        self.equal_hashes_are_equal_views(held.view, held.sum);
        *self.holders.entry(held.view).or_default() += 1;
        self.held.insert(node, held);
    }

    fn one_writer(&self, standing: Standing) {
        let own = self.own.get(&standing.life).expect("only lives that spoke are known");
        assert!(standing.incarnation <= *own, "only the subject raises its incarnation: {standing:?} against {own}");
    }

    fn equal_hashes_are_equal_views(&mut self, view: u64, sum: u128) {
        if self.contents.len() >= VIEWS_MAX {
            self.contents.clear();
            self.views.clear();
        }
        assert_eq!(*self.contents.entry(view).or_insert(sum), sum, "equal view hashes mean equal views");
        assert_eq!(*self.views.entry(sum).or_insert(view), view, "equal views have equal hashes");
    }

    /// The world did something to its nodes that they may need time for.
    pub fn disturbed(&mut self, now: Instant) {
        self.troubled = self.troubled.max(now);
    }

    /// Time passes; `calm` if the network is whole and every process takes its steps.
    pub fn pass(&mut self, now: Instant, calm: bool) {
        if !calm {
            return self.disturbed(now);
        }
        let age = now.saturating_since(self.troubled);
        let one = self.holders.len() <= 1 || age <= self.patience;
        assert!(one, "all that live hold one view {age:?} after the last trouble: {:?}", self.holders);
    }

    /// A process of this node begins, or ended: what it saw no longer binds it.
    pub fn restarted(&mut self, node: usize) {
        self.release(node);
    }

    fn release(&mut self, node: usize) -> Held {
        let held = self.held.remove(&node).unwrap_or_default();
        if let Some(holders) = self.holders.get_mut(&held.view) {
            *holders -= 1;
            if *holders == 0 {
                self.holders.remove(&held.view);
            }
        }
        held
    }
}

fn left_stays_left(left: &mut BTreeMap<NodeId, u64>, standing: Standing) {
    let Life { id, boot_epoch, .. } = standing.life;
    if standing.state == State::Left {
        left.insert(id, boot_epoch);
    } else if let Some(&epoch) = left.get(&id) {
        assert!(boot_epoch > epoch, "who left comes back only in a later epoch: {standing:?}");
    }
}

/// What differs between two lists in the order of ids.
fn changes(old: &[Standing], new: &[Standing]) -> Vec<(Option<Standing>, Option<Standing>)> {
    let (mut old, mut new) = (old.iter().copied().peekable(), new.iter().copied().peekable());
    let mut changes = Vec::new();
    loop {
        let order = match (old.peek(), new.peek()) {
            (Some(old), Some(new)) => old.life.id.cmp(&new.life.id),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return changes,
        };
        let pair = match order {
            Ordering::Less => (old.next(), None),
            Ordering::Equal => (old.next(), new.next()),
            Ordering::Greater => (None, new.next()),
        };
        if pair.0 != pair.1 {
            changes.push(pair);
        }
    }
}

fn weigh(standing: Standing) -> u128 {
    let half = |salt: u64| {
        let mut hasher = DefaultHasher::new();
        (salt, standing).hash(&mut hasher);
        u128::from(hasher.finish())
    };
    half(1) << 64 | half(2)
}

#[cfg(test)]
mod tests;
