//! Summaries: what is pushed of the settled state, and what follows from a peer's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use everett_mesh_proto::id::{NodeId, Space};
use everett_mesh_proto::push;
use everett_mesh_proto::repair::{Beacons, Relation, SpaceSummary, Summary, compare};
use everett_mesh_proto::summary::{Hash, root};
use everett_mesh_proto::time::Instant;
use everett_mesh_proto::vector::{Brief, Vector};
use everett_mesh_proto::wire::{OpsFrame, decode_datagram, encode_datagram, encode_frame};

use crate::ledger::{Door, Notice};
use crate::net::{Command, Lane, Net};
use crate::peers::{Cause, Question};
use crate::store::{Snapshot, StoreError};

/// How many peers a summary is pushed to at a time; the next ones get the next.
const PEERS_PER_PUSH: usize = 8;

/// What is to be repaired with whom, and how the two stand.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) peer: NodeId,
    pub(super) space: Space,
    pub(super) relation: Relation,
    /// Why rows would be missing.
    pub(super) cause: Cause,
    /// Whom to tell what was found, if somebody asked.
    pub(super) asked: Option<Question>,
}

pub(super) struct Summaries {
    me: NodeId,
    net: Net,
    ledger: Door<Notice>,
    linked: BTreeSet<NodeId>,
    /// Whom the last push ended with.
    last: Option<NodeId>,
    mine: BTreeMap<Space, (Hash, Vector)>,
    theirs: BTreeMap<NodeId, Summary>,
    pub(super) beacons: Beacons,
}

impl Summaries {
    pub(super) fn new(now: Instant, net: Net, ledger: Door<Notice>) -> Self {
        let me = net.me().id;
        let (seed, _) = me.0.split_first_chunk::<8>().expect("16 bytes begin with 8");
        Self {
            me,
            beacons: Beacons::new(now, u64::from_be_bytes(*seed)),
            net,
            ledger,
            linked: BTreeSet::new(),
            last: None,
            mine: BTreeMap::new(),
            theirs: BTreeMap::new(),
        }
    }

    pub(super) fn up(&mut self, now: Instant, peer: NodeId) {
        self.linked.insert(peer);
        self.beacons.hurry(now);
    }

    pub(super) fn down(&mut self, peer: NodeId) {
        self.linked.remove(&peer);
        self.theirs.remove(&peer);
    }

    /// A flush has finished: this is what is here now. Peers' summaries are compared again.
    pub(super) fn settled(&mut self, now: Instant, snapshot: &Arc<Snapshot>) -> Result<Vec<Wanted>, StoreError> {
        let mut mine = BTreeMap::new();
        for (space, vector) in snapshot.vectors() {
            mine.insert(space.clone(), (root(&**snapshot, space)?, vector.clone()));
        }
        if mine != self.mine {
            self.mine = mine;
            self.beacons.hurry(now);
        }
        let peers: Vec<NodeId> = self.theirs.keys().copied().collect();
        Ok(peers.into_iter().flat_map(|peer| self.relate(peer)).collect())
    }

    /// A peer has pushed a summary.
    pub(super) fn heard(&mut self, peer: NodeId, bytes: &[u8]) -> Vec<Wanted> {
        let Ok(summary) = decode_datagram::<Summary>(bytes) else {
            tracing::warn!(%peer, "a peer pushed bytes that are no summary");
            self.net.tell(Command::Disconnect { peer });
            return Vec::new();
        };
        for SpaceSummary { space, vector, .. } in &summary {
            // A summary describes a finished flush: what its vector covers is on the peer's disk.
            let acked = push::Input::Acked { peer, space: space.clone(), vector: vector.named.clone() };
            // If the ledger has ended, nobody pushes.
            let _ = self.ledger.send(Notice::Push(acked));
        }
        // Who pushes is linked, whether or not the word of it has come.
        self.linked.insert(peer);
        self.theirs.insert(peer, summary);
        self.relate(peer)
    }

    /// Pushes the own summary if that is due.
    pub(super) fn push(&mut self, now: Instant) {
        if !self.beacons.is_due(now) || self.linked.is_empty() {
            return;
        }
        let summary: Summary = self
            .mine
            .iter()
            .map(|(space, (root, vector))| SpaceSummary { space: space.clone(), root: *root, vector: vector.into() })
            .collect();
        let message = OpsFrame::Summary(encode_datagram(&summary));
        let Ok(frame) = encode_frame(&message) else {
            tracing::error!(spaces = summary.len(), "the summary does not fit a frame");
            return;
        };
        let after = self.last.and_then(|last| self.linked.range(last..).nth(1)).copied();
        let start = after.or_else(|| self.linked.first().copied());
        let Some(start) = start else { return };
        let round = self.linked.range(start..).chain(self.linked.range(..start)).copied();
        let chosen: Vec<NodeId> = round.take(PEERS_PER_PUSH).collect();
        self.last = chosen.last().copied();
        for peer in chosen {
            self.net.tell(Command::Send { peer, lane: Lane::Ops, frame: frame.clone() });
        }
    }

    /// Compares a peer's last summary with the settled state.
    fn relate(&mut self, peer: NodeId) -> Vec<Wanted> {
        let Some(theirs) = self.theirs.get(&peer) else { return Vec::new() };
        let nothing = (Hash::default(), Vector::new());
        let mut equal = self.mine.keys().all(|space| theirs.iter().any(|their| their.space == *space));
        let mut wanted = Vec::new();
        for SpaceSummary { space, root, vector } in theirs {
            let mine = self.mine.get(space).unwrap_or(&nothing);
            let brief = Brief::from(&mine.1);
            let relation = compare((mine.0, &brief), (*root, vector));
            equal &= relation == Relation::Equal;
            let repair = match relation {
                // What is apart, the log brings, or says that it cannot.
                Relation::Equal | Relation::Apart => false,
                // What is closed there lies in the past of what is open there; where that is the same, so is this, or else the
                // two tables must be joined.
                Relation::SameContent => !mine.1.includes(&vector.named) || vector.named == brief.named,
                // One of the two is enough to find out.
                Relation::Diverged => self.me < peer,
            };
            if repair {
                wanted.push(Wanted { peer, space: space.clone(), relation, cause: Cause::LateOp, asked: None });
            }
        }
        // If the ledger has ended, nobody asks.
        let _ = self.ledger.send(Notice::Compared { peer, equal });
        wanted
    }
}
