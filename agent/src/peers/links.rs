//! What is known of each linked peer beside its data: who it is, how it keeps up, whether its content was equal.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use everett_mesh_proto::id::{NodeId, Space};
use everett_mesh_proto::membership::MemberState;
use everett_mesh_proto::time::{Instant, Now};
use everett_mesh_proto::wire::Hello;

use crate::identity::NodeIdentity;
use crate::mesh::Listed;
use crate::net::LinkMeter;

use super::repairs::Repairs;

/// Own groups whose acknowledgement is timed, per peer; more in flight go untimed.
const TIMED_MAX: usize = 4_096;

/// One linked peer.
#[derive(Debug)]
pub struct PeerLink {
    identity: NodeIdentity,
    meter: LinkMeter,
    /// The peer's clock minus ours when it said HELLO, its travel included.
    offset_ms: i64,
    /// The last own seq of each send, and when it was sent.
    in_flight: VecDeque<(Space, u64, Instant)>,
    equal: Option<bool>,
    last_equal: Option<Now>,
}

impl PeerLink {
    /// A link that has just come up.
    pub fn new(identity: NodeIdentity, hello: &Hello, meter: LinkMeter, now: Now) -> Self {
        let offset_ms = i64::try_from(i128::from(hello.wall_ms) - i128::from(now.wall_ms)).unwrap_or(0);
        Self { identity, meter, offset_ms, in_flight: VecDeque::new(), equal: None, last_equal: None }
    }
}

/// What a report shows of a member, linked or not.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeerReport {
    /// Its name.
    pub node: String,
    /// Its site.
    pub site: String,
    /// What membership holds of it; `None` if it does not know it yet.
    pub state: Option<MemberState>,
    /// Where it is.
    pub address: Option<String>,
    /// The round trip.
    pub rtt: Option<Duration>,
    /// Own writes that it has not acknowledged; `None` if it is not linked.
    pub lag_ops: Option<u64>,
    /// The age of the oldest of them.
    pub lag: Option<Duration>,
    /// Whether roots were equal when last compared.
    pub root_equal: Option<bool>,
    /// When roots were last equal, ms since the Unix epoch.
    pub last_equal_ms: Option<u64>,
    /// Its clock minus ours.
    pub offset_ms: Option<i64>,
    /// Bytes sent and received over the link.
    pub bytes: [u64; 2],
    /// What repair with it has cost and brought since the start.
    pub repairs: Repairs,
}

/// All linked peers.
#[derive(Debug, Default)]
pub struct PeerLinks(BTreeMap<NodeId, PeerLink>);

impl PeerLinks {
    /// A link is up.
    pub fn up(&mut self, link: PeerLink) {
        self.0.insert(link.identity.id, link);
    }

    /// A link is gone.
    pub fn down(&mut self, peer: NodeId) {
        self.0.remove(&peer);
    }

    /// The peer's name, for logs.
    pub fn name(&self, peer: NodeId) -> String {
        self.0.get(&peer).map_or_else(|| peer.to_string(), |link| link.identity.to_string())
    }

    /// Own groups up to this seq were sent to the peer.
    pub fn sent(&mut self, now: Instant, peer: NodeId, last: Option<(Space, u64)>) {
        if let (Some(link), Some((space, seq))) = (self.0.get_mut(&peer), last)
            && link.in_flight.len() < TIMED_MAX
        {
            link.in_flight.push_back((space, seq, now));
        }
    }

    /// The peer holds own writes up to `seq` durably: tells how long each send took until then.
    pub fn acked(
        &mut self,
        now: Instant,
        (peer, space, seq): (NodeId, &Space, u64),
        mut tell: impl FnMut(&str, Duration),
    ) {
        let Some(link) = self.0.get_mut(&peer) else { return };
        link.in_flight.retain(|(sent_space, sent_seq, at)| {
            let done = sent_space == space && *sent_seq <= seq;
            if done {
                tell(&link.identity.node, now.saturating_since(*at));
            }
            !done
        });
    }

    /// Summaries of the peer and of this agent were compared.
    pub fn compared(&mut self, now: Now, peer: NodeId, equal: bool) {
        if let Some(link) = self.0.get_mut(&peer) {
            link.equal = Some(equal);
            if equal {
                link.last_equal = Some(now);
            }
        }
    }

    /// Every member but this node, and every linked peer that membership does not list yet.
    pub fn report(
        &self,
        now: Now,
        roster: &Arc<Vec<Listed>>,
        known: impl Fn(NodeId) -> (u64, Repairs),
    ) -> Vec<PeerReport> {
        let unlisted = self.0.values().filter(|link| roster.iter().all(|listed| listed.node != link.identity.id));
        let unlisted = unlisted.map(|link| PeerReport {
            node: link.identity.node.to_string(),
            site: link.identity.site.to_string(),
            repairs: known(link.identity.id).1,
            ..PeerReport::unknown()
        });
        let listed = roster.iter().filter(|listed| !listed.own).map(|listed| {
            let report = PeerReport {
                node: listed.name.clone(),
                site: listed.site.clone(),
                state: Some(listed.state),
                address: listed.addresses.first().map(ToString::to_string),
                rtt: listed.rtt,
                ..PeerReport::unknown()
            };
            let (lag_ops, repairs) = known(listed.node);
            let report = PeerReport { repairs, ..report };
            match self.0.get(&listed.node) {
                Some(link) => link.fill(now, report, lag_ops),
                None => report,
            }
        });
        listed.chain(unlisted).collect()
    }
}

impl PeerLink {
    fn fill(&self, now: Now, report: PeerReport, lag_ops: u64) -> PeerReport {
        let figures = self.meter.read();
        let oldest = self.in_flight.front().map(|(_, _, at)| now.mono.saturating_since(*at));
        PeerReport {
            address: Some(figures.address.to_string()),
            rtt: report.rtt.or(Some(figures.rtt)),
            lag_ops: Some(lag_ops),
            lag: Some(if lag_ops == 0 { Duration::ZERO } else { oldest.unwrap_or_default() }),
            root_equal: self.equal,
            last_equal_ms: self.last_equal.map(|at| at.wall_ms),
            offset_ms: Some(self.offset_ms),
            bytes: [figures.sent_bytes, figures.received_bytes],
            ..report
        }
    }
}

impl PeerReport {
    fn unknown() -> Self {
        Self {
            node: String::new(),
            site: String::new(),
            state: None,
            address: None,
            rtt: None,
            lag_ops: None,
            lag: None,
            root_equal: None,
            last_equal_ms: None,
            offset_ms: None,
            bytes: [0; 2],
            repairs: Repairs::default(),
        }
    }
}
