//! What this agent knows of its peers: what each has of the data, how its link keeps up, what membership says of it.
//!
//! The ledger owns it, changes it as peers speak, and reads it for `WAIT`, `INFO` and `MESH.PEERS`. It sends nothing.

mod links;
mod question;
mod repairs;

use std::collections::BTreeSet;
use std::sync::Arc;

use everett_mesh_proto::id::{Dot, NodeId, ReplicaId, Space};
use everett_mesh_proto::log::{Commit, Durable};
use everett_mesh_proto::membership::MemberState;
use everett_mesh_proto::push::{self, Push, Vectors};
use everett_mesh_proto::replica::{Alarm, Output, Outputs, Replica};
use everett_mesh_proto::time::Now;
use everett_mesh_proto::vector::Vector;

use crate::mesh::{Listed, Tally};
use crate::metrics::{Metrics, PeerPath};
use crate::store::Damage;

pub use links::{PeerLink, PeerLinks, PeerReport};
pub use question::{ANSWER_PATIENCE, Found, Question, Questions, Range};
pub use repairs::{Adopted, Cause, RepairCounts, Repairs, Talked};

/// What was counted since the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Groups of ours sent, once per peer.
    pub groups_sent: u64,
    /// Groups received, duplicates included.
    pub groups_received: u64,
    /// Stamps found too far ahead.
    pub skewed: u64,
    /// Rows found with equal dots and different bytes, and other divergence.
    pub divergences: u64,
    /// Leaves of the tree whose rows are not as they were written.
    pub damaged: u64,
    /// Peers that held more of our living id than we do.
    pub forks: u64,
    /// Times that more came of a closed life.
    pub lives_reopened: u64,
    /// Times that a peer broke the protocol of data.
    pub broken: u64,
}

/// Changes of who is here, as they were told.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Changes {
    /// How many there were.
    pub count: u64,
    /// The last of them.
    pub last: Option<String>,
}

impl Changes {
    /// Another one.
    pub fn note(&mut self, line: String) {
        self.count += 1;
        self.last = Some(line);
    }
}

/// Everything known of the peers.
#[derive(Debug)]
pub struct Peers {
    /// What each linked peer has.
    pub push: Push,
    /// The links.
    pub links: PeerLinks,
    /// Who wants to know how a peer differs.
    pub questions: Questions,
    /// Counters for reports.
    pub counts: Counts,
    /// What repair has cost and brought.
    pub repairs: RepairCounts,
    /// Whether a later life of this node has silenced this one.
    pub fenced: bool,
    /// How often a seed was dialed in vain.
    pub seeds_unreached: u64,
    /// How who is here changed.
    pub changes: Changes,
    roster: Arc<Vec<Listed>>,
    tally: Tally,
    durable: Durable,
    vectors: Vectors,
}

impl Peers {
    /// A start, with what the log held.
    pub fn new(durable: Durable, vectors: Vectors) -> Self {
        Self {
            push: Push::new(durable.upto()),
            links: PeerLinks::default(),
            questions: Questions::default(),
            counts: Counts::default(),
            repairs: RepairCounts::default(),
            fenced: false,
            seeds_unreached: 0,
            changes: Changes::default(),
            roster: Arc::default(),
            tally: Tally::default(),
            durable,
            vectors,
        }
    }

    /// Membership says who is here.
    pub fn listed(&mut self, roster: Arc<Vec<Listed>>, tally: Tally) {
        self.roster = roster;
        self.tally = tally;
    }

    /// The figures of membership, as it said last.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// How many members are in one of these states, this node included.
    pub fn members_that_are(&self, states: &[MemberState]) -> usize {
        self.roster.iter().filter(|listed| states.contains(&listed.state)).count()
    }

    /// Who is here, as membership said last.
    pub fn roster(&self) -> &Arc<Vec<Listed>> {
        &self.roster
    }

    /// How far everything here is durable.
    pub fn durable(&self) -> Durable {
        self.durable
    }

    /// What is durable here.
    pub fn vectors(&self) -> &Vectors {
        &self.vectors
    }

    /// Commits have become durable, and what they had to say may be said.
    pub fn committed(&mut self, now: Now, upto: Durable, said: Vec<(Commit, Outputs)>) {
        let mut pushes = Vec::with_capacity(said.len());
        let mut applied: Vec<(Space, Dot)> = Vec::new();
        let mut closed: Vec<(Space, Dot, Dot)> = Vec::new();
        for (commit, outputs) in said {
            for output in outputs {
                match output {
                    Output::Push { payload } => pushes.push((commit, payload)),
                    Output::Applied { space, dot } => note(&mut applied, space, dot),
                    Output::Closed { space, last, by } => closed.push((space, last, by)),
                }
            }
        }
        for (space, dot) in &applied {
            self.vectors.entry(space.clone()).or_default().raise(*dot);
        }
        for (space, last, by) in closed {
            self.vectors.entry(space).or_default().close(last, by);
        }
        self.durable = self.durable.max(upto);
        self.push.handle_input(now.mono, push::Input::Durable { upto: upto.upto(), pushes, applied });
    }

    /// A peer holds own writes durably.
    pub fn acked(&mut self, now: Now, acked: Acked, metrics: &mut Metrics) {
        let Acked { peer, space, dot } = acked;
        self.links.acked(now.mono, (peer, &space, dot.seq), |name, took| {
            metrics.record_peer(PeerPath::DurableAt, name, took);
        });
        let vector = [dot].into_iter().collect();
        self.push.handle_input(now.mono, push::Input::Acked { peer, space, vector });
    }

    /// A member's name, if membership lists it.
    pub fn name_of(&self, node: NodeId) -> Option<String> {
        self.roster.iter().find(|listed| listed.node == node).map(|listed| listed.name.clone())
    }

    /// What every member that has not left holds durably: what the log need not keep for anybody. Of a member that is not
    /// linked nothing is known.
    pub fn acknowledged(&self) -> Vectors {
        let others = || self.roster.iter().filter(|listed| !listed.own && listed.state != MemberState::Left);
        let at_all = |space: &Space, dot: Dot| {
            let at =
                |listed: &Listed| self.push.durable_at(listed.node, space).map_or(0, |there| there.seq(dot.replica));
            Dot { seq: others().map(at).min().unwrap_or(u64::MAX).min(dot.seq), ..dot }
        };
        let spaces = self.vectors.iter();
        spaces.map(|(space, vector)| (space.clone(), vector.dots().map(|dot| at_all(space, dot)).collect())).collect()
    }

    /// Those of this node's earlier lives that can be closed, by namespace. Who is dead or has left is not waited for: what
    /// such a member holds beyond the rest opens the life again when it returns.
    pub fn closable(&self, node: &str, own: ReplicaId) -> Vec<(Space, Vec<Dot>)> {
        let is_gone = |state: MemberState| matches!(state, MemberState::Dead | MemberState::Left);
        let others = self.roster.iter().filter(|listed| !listed.own && !is_gone(listed.state));
        let members: Vec<NodeId> = others.map(|listed| listed.node).collect();
        self.push.closable(&self.vectors, (node, own), &members)
    }

    /// Counts an alarm and tells the operator.
    pub fn alarm(&mut self, alarm: &Alarm) {
        match alarm {
            Alarm::Skew { author, ahead } => {
                self.counts.skewed += 1;
                if self.counts.skewed.is_power_of_two() {
                    tracing::warn!(%author, ?ahead, times = self.counts.skewed, "stamps lie ahead of this host's clock");
                }
            }
            Alarm::Fork { from, dot } => {
                self.counts.forks += 1;
                let peer = self.links.name(*from);
                tracing::error!(peer, ?dot, "a peer holds writes of this life that it never made");
            }
            Alarm::Reopened { space, dot } => {
                self.counts.lives_reopened += 1;
                tracing::warn!(%space, ?dot, "writes of a life that was closed: a disk was put back that held more than anybody");
            }
            Alarm::Divergence { space, key } => {
                self.counts.divergences += 1;
                tracing::error!(%space, key = %key.escape_ascii(), "divergence: equal dots, different bytes");
            }
        }
    }

    /// Rows on this disk are not what a leaf of the tree was made of.
    pub fn damaged(&mut self, damage: &Damage) {
        self.counts.damaged += 1;
        for key in &damage.keys {
            let key = key.escape_ascii();
            tracing::error!(space = %damage.space, %key, "damage: this row, or a neighbour of it, is not as it was written");
        }
    }

    /// What is known of each peer, for reports.
    pub fn report(&self, now: Now, replica: &Replica) -> Vec<PeerReport> {
        let known = |peer| (self.lag_ops(peer, replica), self.repairs.with(peer));
        self.links.report(now, &self.roster, known)
    }

    /// Members that say that they are about to leave.
    pub fn leaving(&self) -> BTreeSet<NodeId> {
        let leaving = self.roster.iter().filter(|listed| listed.state == MemberState::Draining);
        leaving.map(|listed| listed.node).collect()
    }

    /// Whether every linked peer that answers has what this agent wrote.
    pub fn hold_all_of(&self, replica: &Replica) -> bool {
        let is_gone = |peer: NodeId| {
            let listed = self.roster.iter().find(|listed| listed.node == peer);
            listed.is_some_and(|listed| !listed.state.answers())
        };
        self.push.peers().all(|(peer, _)| is_gone(peer) || self.lag_ops(peer, replica) == 0)
    }

    /// Own writes that are durable here and not yet known to be at `peer`.
    fn lag_ops(&self, peer: NodeId, replica: &Replica) -> u64 {
        let own = replica.id();
        let lag = |(space, vector): (&Space, &Vector)| {
            let there = self.push.known_at(peer, space).map_or(0, |known| known.seq(own));
            vector.seq(own).saturating_sub(there)
        };
        self.vectors.iter().map(lag).sum()
    }
}

/// Notes a dot, in place of an earlier one of the same author: what counts is how far each author came.
fn note(applied: &mut Vec<(Space, Dot)>, space: Space, dot: Dot) {
    match applied.last_mut() {
        Some((last_space, last)) if last.replica == dot.replica && *last_space == space => {
            last.seq = last.seq.max(dot.seq);
        }
        Some(_) | None => applied.push((space, dot)),
    }
}

/// A peer's word that it holds own writes durably.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Acked {
    /// Who.
    pub peer: NodeId,
    /// The namespace.
    pub space: Space,
    /// The last of them.
    pub dot: Dot,
}
