//! What a protocol must be able to do to take the field.

use std::collections::HashMap;
use std::fmt::Debug;
use std::rc::Rc;
use std::time::Duration;

use everett_mesh_proto::id::{ClusterId, NodeId};
use everett_mesh_proto::time::Instant;

use crate::sim::checks::Checks;

/// Who is who, and where.
#[derive(Debug)]
pub struct Directory {
    ids: Vec<NodeId>,
    numbers: HashMap<NodeId, usize>,
    sites: Vec<usize>,
}

impl Directory {
    /// One node per entry, each in the site that its entry names.
    pub fn new(sites: Vec<usize>) -> Self {
        let cluster = ClusterId([7; 16]);
        let ids: Vec<_> = (0..sites.len()).map(|number| NodeId::derive(cluster, &format!("node-{number}"))).collect();
        let numbers = ids.iter().enumerate().map(|(number, &id)| (id, number)).collect();
        Self { ids, numbers, sites }
    }

    /// The id of a node.
    pub fn id(&self, node: usize) -> NodeId {
        self.ids[node]
    }

    /// The node with this id.
    pub fn number(&self, id: NodeId) -> usize {
        self.numbers[&id]
    }

    /// Where a node stands.
    pub fn site(&self, node: usize) -> usize {
        self.sites[node]
    }
}

/// One life of one node, about to begin.
#[derive(Debug, Clone)]
pub struct Birth {
    /// Whose.
    pub node: usize,
    /// Which of its lives, from one.
    pub life: u64,
    /// All the randomness it will have.
    pub seed: u64,
    /// Everybody.
    pub directory: Rc<Directory>,
}

/// What an observer came to hold of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// Here.
    Up,
    /// Found silent.
    Down,
    /// Took its leave.
    Left,
    /// Here, but hard to reach.
    Degraded,
}

/// What a peer wants done.
#[derive(Debug)]
pub enum Act<W> {
    /// Send a datagram.
    Datagram {
        /// To whom.
        to: usize,
        /// Its weight without IP and UDP.
        bytes: usize,
        /// What it says.
        word: W,
    },
    /// Send on a stream: late rather than lost.
    Stream {
        /// To whom.
        to: usize,
        /// Its weight without IP and UDP.
        bytes: usize,
        /// What it says.
        word: W,
    },
    /// Shake hands.
    Link {
        /// With whom.
        to: usize,
    },
    /// A change of view.
    Saw {
        /// Of whom.
        node: usize,
        /// What.
        sight: Sight,
    },
    /// The process ends.
    Exit,
}

/// One process of a membership protocol.
pub trait Peer: Debug + Sized {
    /// What one peer says to another.
    type Word: Debug;
    /// How all peers of a field are set.
    type Settings: Debug + Clone;

    /// A new process; it is to find the others through `seeds`.
    fn start(now: Instant, birth: &Birth, seeds: Vec<usize>, settings: &Self::Settings) -> Self;
    /// It learns at once who is here.
    fn know(&mut self, now: Instant, all: &[Birth]);
    /// Something was said to it.
    fn hear(&mut self, now: Instant, from: usize, word: Self::Word);
    /// A link stands.
    fn linked(&mut self, _now: Instant, _peer: usize, _rtt: Duration) {}
    /// Its deadline has come.
    fn wake(&mut self, now: Instant);
    /// When it wants to be woken.
    fn deadline(&self) -> Option<Instant>;
    /// It is to take its leave.
    fn leave(&mut self, now: Instant);
    /// What it wants done next.
    fn poll(&mut self, now: Instant) -> Option<Act<Self::Word>>;
    /// Looks whether the protocol keeps its promises; called after every step.
    fn check(&self, _node: usize, _checks: &mut Checks) {}
    /// How long after the last trouble all peers must hold one view, if `check` shows their views.
    fn agree_within(_settings: &Self::Settings) -> Duration {
        Duration::MAX
    }
}
