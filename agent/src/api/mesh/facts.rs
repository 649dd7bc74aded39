//! What the mesh commands tell, as names and values in one order: `MESH.INFO`, `MESH.PEERS` and `INFO mesh` show the same.

use std::fmt::{self, Display};

use everett_mesh_proto::membership::MemberState;

use super::super::call::Call;
use super::super::host::Phase;
use super::super::resp::Reply;
use crate::peers::{Cause, PeerReport, Peers, RepairCounts, Repairs};

/// One value of a report.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in super::super) enum Fact {
    /// A word or a name.
    Text(String),
    /// A figure.
    Number(i64),
    /// Not known.
    Unknown,
}

impl Fact {
    fn count(value: u64) -> Self {
        Self::Number(i64::try_from(value).unwrap_or(i64::MAX))
    }

    fn or_unknown(value: Option<u64>) -> Self {
        value.map_or(Self::Unknown, Self::count)
    }

    /// Writes it in its shape.
    pub(super) fn write(&self, reply: &mut Reply<'_>) {
        match self {
            Self::Text(text) => reply.bulk(text.as_bytes()),
            Self::Number(number) => reply.int(*number),
            Self::Unknown => reply.null(),
        }
    }
}

impl Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Number(number) => write!(f, "{number}"),
            Self::Unknown => f.write_str("-"),
        }
    }
}

/// What this agent tells of itself.
pub(in super::super) fn facts(call: &Call<'_>) -> Vec<(&'static str, Fact)> {
    let (host, about) = (&call.host, &call.host.about);
    let uptime = call.now.mono.saturating_since(about.started.mono).as_millis();
    let gate = host.data.replica.gate();
    let (peers, counts) = (&host.peers, host.peers.counts);
    let linked = peers.push.peers().count();
    let number = |value: usize| Fact::count(value as u64);
    let mut facts = vec![
        ("node", Fact::Text(about.node.clone())),
        ("site", Fact::Text(about.site.clone())),
        ("cluster", Fact::Text(about.cluster.clone())),
        ("addr", Fact::Text(about.address.clone())),
        ("state", Fact::Text(own_state(call).to_owned())),
        ("replica", Fact::Text(host.data.replica.id().to_string())),
        ("boot_epoch", Fact::count(about.boot_epoch)),
        ("uptime_ms", Fact::count(u64::try_from(uptime).unwrap_or(u64::MAX))),
        ("commit", Fact::count(host.data.replica.commit().0)),
        ("durable_commit", Fact::count(peers.durable().upto().0)),
        ("flushed_commit", Fact::count(host.data.rows.base().watermark().0)),
        ("members", number(peers.roster().len())),
        ("peers_linked", number(linked)),
        ("gate_groups", number(gate.groups)),
        ("gate_bytes", number(gate.bytes)),
        ("rows_bytes", number(host.data.rows.bytes())),
        ("log_bytes", Fact::count(host.stats.log_bytes)),
        ("groups_sent", Fact::count(counts.groups_sent)),
        ("groups_received", Fact::count(counts.groups_received)),
        ("skewed", Fact::count(counts.skewed)),
        ("divergences", Fact::count(counts.divergences)),
        ("damaged", Fact::count(counts.damaged)),
        ("forks", Fact::count(counts.forks)),
        ("leases", number(host.data.leases_known())),
        ("leases_withdrawn", Fact::count(host.stats.leases_withdrawn)),
    ];
    facts.extend(repairs(&host.peers.repairs));
    facts.extend(lives(&host.peers));
    facts.extend(membership(&host.peers));
    facts
}

/// What is known of lives, all namespaces together: entries of vectors, entries of tables of closed lives.
fn lives(peers: &Peers) -> [(&'static str, Fact); 3] {
    let open = peers.vectors().values().map(|vector| vector.open().count()).sum::<usize>();
    let closed = peers.vectors().values().map(|vector| vector.closed().len()).sum::<usize>();
    [
        ("lives_open", Fact::count(open as u64)),
        ("lives_closed", Fact::count(closed as u64)),
        ("lives_reopened", Fact::count(peers.counts.lives_reopened)),
    ]
}

/// What repair has cost and brought, and how far it is.
fn repairs(counts: &RepairCounts) -> Vec<(&'static str, Fact)> {
    let all = &counts.all;
    let under_way = counts.under_way.unwrap_or_default();
    let mut facts = vec![
        ("repairs", Fact::count(all.adopted)),
        ("repairs_of_vectors", Fact::count(all.of_vectors)),
        ("repairs_of_divergence", Fact::count(all.of_divergence)),
        ("repaired_rows", Fact::count(all.rows())),
        ("session_turns", Fact::count(all.turns)),
        ("repair_rows_staged", Fact::count(under_way.0)),
        ("repair_rows_at_peer", Fact::count(under_way.1)),
    ];
    facts.extend(sessions(all));
    facts
}

/// What sessions have cost, and the rows that they repaired by cause.
fn sessions(repairs: &Repairs) -> impl Iterator<Item = (&'static str, Fact)> {
    let cost = [
        ("repair_sessions", repairs.sessions),
        ("repair_sessions_failed", repairs.failed),
        ("repair_sent_bytes", repairs.sent_bytes),
        ("repair_received_bytes", repairs.received_bytes),
        ("repair_messages", repairs.messages),
    ];
    let rows = Cause::ALL.map(|cause| (cause.figure(), repairs.rows_by(cause)));
    cost.into_iter().chain(rows).map(|(name, figure)| (name, Fact::count(figure)))
}

/// What membership tells of itself.
fn membership(peers: &Peers) -> [(&'static str, Fact); 15] {
    let tally = peers.tally();
    let members = |states: &[MemberState]| Fact::count(peers.members_that_are(states) as u64);
    let degraded = peers.roster().iter().filter(|listed| listed.degraded).count();
    [
        ("members_alive", members(&[MemberState::Alive, MemberState::Probation, MemberState::Draining])),
        ("members_unreachable", members(&[MemberState::Unreachable])),
        ("members_dead", members(&[MemberState::Dead])),
        ("members_left", members(&[MemberState::Left])),
        ("members_degraded", Fact::count(degraded as u64)),
        ("isolated", Fact::Number(tally.isolated.into())),
        ("incarnation", Fact::Number(tally.incarnation.into())),
        ("view", Fact::Text(format!("{:016x}", tally.view))),
        ("came", Fact::count(tally.came)),
        ("found_unreachable", Fact::count(tally.found_unreachable)),
        ("returned", Fact::count(tally.returned)),
        ("member_events", Fact::count(peers.changes.count)),
        ("last_member_event", peers.changes.last.clone().map_or(Fact::Unknown, Fact::Text)),
        ("probe_datagrams_sent", Fact::count(tally.datagrams_sent)),
        ("probe_datagrams_received", Fact::count(tally.datagrams_received)),
    ]
}

fn own_state(call: &Call<'_>) -> &'static str {
    if call.host.peers.fenced {
        return "fenced";
    }
    match call.host.phase {
        Phase::Loading => "loading",
        Phase::Serving => "alive",
        Phase::Draining | Phase::Leaving => "draining",
    }
}

/// What this agent tells of a peer.
pub(in super::super) fn figures(peer: &PeerReport) -> Vec<(&'static str, Fact)> {
    let us = |time: Option<std::time::Duration>| {
        Fact::or_unknown(time.map(|time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX)))
    };
    let lag_ms = peer.lag.map(|lag| u64::try_from(lag.as_millis()).unwrap_or(u64::MAX));
    let mut figures = vec![
        ("node", Fact::Text(peer.node.clone())),
        ("site", Fact::Text(peer.site.clone())),
        ("state", peer.state.map_or(Fact::Unknown, |state| Fact::Text(state_name(state).to_owned()))),
        ("addr", peer.address.clone().map_or(Fact::Unknown, Fact::Text)),
        ("rtt_us", us(peer.rtt)),
        ("lag_ops", Fact::or_unknown(peer.lag_ops)),
        ("lag_ms", Fact::or_unknown(lag_ms)),
        ("root_equal", peer.root_equal.map_or(Fact::Unknown, |equal| Fact::Number(equal.into()))),
        ("last_equal_ms", Fact::or_unknown(peer.last_equal_ms)),
        ("offset_us", peer.offset_ms.map_or(Fact::Unknown, |ms| Fact::Number(ms.saturating_mul(1_000)))),
        ("sent_bytes", Fact::count(peer.bytes[0])),
        ("received_bytes", Fact::count(peer.bytes[1])),
        ("repaired_rows", Fact::count(peer.repairs.rows())),
    ];
    figures.extend(sessions(&peer.repairs));
    figures
}

pub(super) fn state_name(state: MemberState) -> &'static str {
    match state {
        MemberState::Alive => "alive",
        MemberState::Probation => "probation",
        MemberState::Draining => "draining",
        MemberState::Unreachable => "unreachable",
        MemberState::Dead => "dead",
        MemberState::Left => "left",
    }
}
