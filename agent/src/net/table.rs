//! The links that stand, one per peer, and who gets what is broadcast.
//!
//! Owned by the hub and never shared. A peer whose queue overflows is *behind*: it costs nobody else anything and gets no
//! broadcast until the ledger, having brought it up to date, says so. A new link begins behind.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use everett_mesh_proto::id::NodeId;
use tokio::sync::{oneshot, watch};

use super::context::{Candidate, Context, LinkId};
use super::dial::Linked;
use super::lane::{LaneSender, Overrun, lane};
use super::link::{Closer, Link};
use super::messages::Lane;
use super::meter::LinkMeter;
use super::refusal::{Close, Refusal};
use super::settle::{Decider, Process, Standing, Verdict, decide};
use super::tls;

/// Bytes of membership's tables and records queued for one peer.
const MEMBERSHIP_LANE_BYTES_MAX: u64 = 1 << 20;

#[derive(Debug)]
struct Entry {
    id: LinkId,
    process: Process,
    ordinal: u64,
    closer: Closer,
    ops: LaneSender,
    membership: LaneSender,
    is_behind: bool,
    received_when_doubted: Option<u64>,
    last_word: oneshot::Receiver<()>,
}

impl Entry {
    fn received(&self) -> u64 {
        self.closer.connection().stats().udp_rx.datagrams
    }

    fn standing(&self) -> Standing {
        Standing {
            process: self.process,
            ordinal: self.ordinal,
            is_closed: self.closer.connection().close_reason().is_some(),
            received: self.received(),
            received_when_doubted: self.received_when_doubted,
        }
    }

    fn fall_behind(&mut self) {
        self.is_behind = true;
        self.ops.report_empty(true);
    }

    fn push_ops(&mut self, frame: Bytes) {
        if self.ops.push(frame) == Err(Overrun) {
            self.fall_behind();
        }
    }
}

/// All links.
#[derive(Debug)]
pub(super) struct Table {
    entries: BTreeMap<NodeId, Entry>,
    linked: watch::Sender<Linked>,
    links: u64,
    ordinal: u64,
}

impl Table {
    pub(super) fn new() -> Self {
        Self { entries: BTreeMap::new(), linked: watch::Sender::new(Linked::new()), links: 0, ordinal: 0 }
    }

    /// Follows who is linked.
    pub(super) fn linked(&self) -> watch::Receiver<Linked> {
        self.linked.subscribe()
    }

    /// Whether to go on with a greeting: there is no link to the peer yet or, once the peer has said which start of it is
    /// speaking, none of a start that would fence this one.
    pub(super) fn may_greet(&mut self, peer: NodeId, process: Option<Process>) -> Result<(), Close> {
        // Who decides by number will give one higher than any.
        let unbeatable = Decider::Peer { ordinal: u64::MAX };
        match process {
            Some(process) => self.judge(peer, process, unbeatable).map(drop),
            None if self.entries.get(&peer).is_some_and(|entry| !entry.standing().is_closed) => Err(Close::Duplicate),
            None => Ok(()),
        }
    }

    /// Decides on a greeted connection. If it becomes the link, returns its number and what is to be run.
    pub(super) fn settle(&mut self, context: &Context, candidate: Candidate) -> Result<(u64, Link), Close> {
        let peer = candidate.peer.id;
        let newcomer = Process::of(&candidate.hello);
        let decider = match candidate.granted {
            Some(ordinal) => Decider::Peer { ordinal },
            None => Decider::Us,
        };
        let loser_hears = self.judge(peer, newcomer, decider)?;
        if !self.entries.contains_key(&peer) && self.entries.len() >= context.limits.links_max {
            return Err(Close::Refused(Refusal::Crowded));
        }
        let predecessor = self.entries.remove(&peer).map(|loser| {
            loser.closer.close(loser_hears);
            loser.last_word
        });
        self.ordinal += 1;
        let ordinal = candidate.granted.unwrap_or(self.ordinal);
        let link = self.insert(context, candidate, ordinal, predecessor);
        Ok((ordinal, link))
    }

    /// What a standing link is closed with if the newcomer becomes the link, else what the newcomer is.
    fn judge(&mut self, peer: NodeId, newcomer: Process, decider: Decider) -> Result<Close, Close> {
        let standing = self.entries.get(&peer).map(Entry::standing);
        match decide(standing.as_ref(), newcomer, decider) {
            Verdict::Take => Ok(Close::Replaced),
            Verdict::TakeOver => Ok(Close::Refused(Refusal::Fenced)),
            Verdict::Duplicate => Err(Close::Duplicate),
            Verdict::Doubt => {
                if let Some(entry) = self.entries.get_mut(&peer) {
                    let received = entry.received();
                    entry.received_when_doubted.get_or_insert(received);
                }
                Err(Close::Duplicate)
            }
            Verdict::Fence => Err(Close::Refused(Refusal::Fenced)),
            Verdict::Unnumbered => Err(Close::Refused(Refusal::Malformed)),
        }
    }

    fn insert(
        &mut self,
        context: &Context,
        candidate: Candidate,
        ordinal: u64,
        predecessor: Option<oneshot::Receiver<()>>,
    ) -> Link {
        let (mut ops_sender, ops) = lane(context.limits.lane_bytes_max);
        let (membership_sender, membership) = lane(MEMBERSHIP_LANE_BYTES_MAX);
        let (spoken, last_word) = oneshot::channel();
        ops_sender.report_empty(true);
        self.links += 1;
        let id = LinkId(self.links);
        let process = Process::of(&candidate.hello);
        let peer = candidate.peer;
        let closer = Closer::new(candidate.connection.clone());
        let link = Link {
            id,
            peer: peer.clone(),
            hello: Arc::new(candidate.hello),
            closer: closer.clone(),
            meter: LinkMeter::new(candidate.connection, ops_sender.gauge().clone()),
            ops,
            membership,
            predecessor,
            last_word: Some(spoken),
        };
        let entry = Entry {
            id,
            process,
            ordinal,
            closer,
            ops: ops_sender,
            membership: membership_sender,
            is_behind: true,
            received_when_doubted: None,
            last_word,
        };
        self.entries.insert(peer.id, entry);
        self.linked.send_modify(|linked| {
            linked.insert(peer.id);
        });
        link
    }

    /// A link has said its last word.
    pub(super) fn ended(&mut self, peer: NodeId, link: LinkId) {
        if self.entries.get(&peer).is_some_and(|entry| entry.id == link) {
            self.entries.remove(&peer);
            self.linked.send_modify(|linked| {
                linked.remove(&peer);
            });
        }
    }

    /// Queues a frame for one peer. Membership's messages that do not fit are lost with those queued; membership syncs again.
    pub(super) fn send(&mut self, peer: NodeId, lane: Lane, frame: Bytes) {
        let Some(entry) = self.entries.get_mut(&peer) else {
            return;
        };
        match lane {
            Lane::Ops => entry.push_ops(frame),
            Lane::Membership => {
                if entry.membership.push(frame) == Err(Overrun) {
                    tracing::debug!(%peer, "membership messages dropped");
                }
            }
        }
    }

    /// Queues a frame for every peer that is not behind.
    pub(super) fn broadcast(&mut self, frame: &Bytes) {
        for entry in self.entries.values_mut().filter(|entry| !entry.is_behind) {
            entry.push_ops(frame.clone());
        }
    }

    /// The peer gets broadcasts from now on.
    pub(super) fn resume(&mut self, peer: NodeId) {
        if let Some(entry) = self.entries.get_mut(&peer) {
            entry.is_behind = false;
            entry.ops.report_empty(false);
        }
    }

    /// The ledger wants to know when the peer has taken what is queued for it now.
    pub(super) fn await_drained(&mut self, peer: NodeId) {
        if let Some(entry) = self.entries.get_mut(&peer) {
            entry.ops.report_once();
        }
    }

    /// Commands were lost on their way here, nobody knows which: every peer is behind, and said to be so again.
    pub(super) fn all_fall_behind(&mut self) {
        for entry in self.entries.values_mut() {
            entry.ops.cut();
            entry.fall_behind();
        }
    }

    /// The connection to a peer.
    pub(super) fn connection(&self, peer: NodeId) -> Option<&quinn::Connection> {
        self.entries.get(&peer).map(|entry| entry.closer.connection())
    }

    /// Closes the link to a peer.
    pub(super) fn close(&self, peer: NodeId, why: Close) {
        if let Some(entry) = self.entries.get(&peer) {
            entry.closer.close(why);
        }
    }

    /// Judges every peer's certificate again, closes the links of those that fail, and returns them.
    pub(super) fn recheck(&self, context: &Context) -> Vec<(NodeId, Refusal)> {
        let mut failed = Vec::new();
        for (peer, entry) in &self.entries {
            if let Err(cause) = tls::recheck(entry.closer.connection(), &context.mtls) {
                entry.closer.close(Close::Untrusted);
                failed.push((*peer, cause));
            }
        }
        failed
    }

    /// Lets go of all lanes: each link delivers what is queued and closes.
    pub(super) fn let_go(&mut self) {
        self.entries.clear();
    }
}
