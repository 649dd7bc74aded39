//! Peers as partners in repair: how well sessions with each of them go, and how much of this agent's time each has left.
//!
//! A session is bounded, but a peer may open one after the other. So its time is bounded too, by a bucket: what the keeper
//! computes for a peer is taken out of it, and it fills at a quarter of the time that passes. A peer that has nothing left
//! opens no session, and what it sent to be decoded waits.

use std::collections::BTreeMap;
use std::time::Duration;

use everett_mesh_proto::id::NodeId;
use everett_mesh_proto::time::Instant;

/// The pause after a failed session with a peer; it doubles with each.
const PAUSE: Duration = Duration::from_secs(1);

/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_mins(1);

/// What a peer may have computed at a stretch: enough for both sides of a million rows.
const TIME_MAX: Duration = Duration::from_secs(30);

/// A peer's share of the time that passes: one in so many parts.
const TIME_SHARE: u32 = 4;

/// A peer's record as a partner.
#[derive(Clone, Copy, Default)]
struct Partner {
    failures: u32,
    not_before: Option<Instant>,
    /// What it has taken of its time, as of a moment.
    taken: Duration,
    at: Instant,
}

impl Partner {
    fn taken_at(&self, now: Instant) -> Duration {
        self.taken.saturating_sub(now.saturating_since(self.at) / TIME_SHARE)
    }
}

/// All partners.
#[derive(Default)]
pub(super) struct Partners(BTreeMap<NodeId, Partner>);

impl Partners {
    /// Whether the last sessions with the peer failed too recently.
    pub(super) fn is_paused(&self, now: Instant, peer: NodeId) -> bool {
        self.0.get(&peer).and_then(|partner| partner.not_before).is_some_and(|at| at > now)
    }

    /// Whether the peer has time left.
    pub(super) fn has_time(&self, now: Instant, peer: NodeId) -> bool {
        self.0.get(&peer).is_none_or(|partner| partner.taken_at(now) < TIME_MAX)
    }

    /// So much was computed for the peer.
    pub(super) fn took(&mut self, now: Instant, peer: NodeId, time: Duration) {
        let partner = self.0.entry(peer).or_default();
        (partner.taken, partner.at) = (partner.taken_at(now) + time, now);
    }

    /// A session ended well.
    pub(super) fn ended_well(&mut self, peer: NodeId) {
        if let Some(partner) = self.0.get_mut(&peer) {
            (partner.failures, partner.not_before) = (0, None);
        }
    }

    /// A session that this side opened came to nothing.
    pub(super) fn failed(&mut self, now: Instant, peer: NodeId) {
        let partner = self.0.entry(peer).or_default();
        let pause = PAUSE.saturating_mul(1 << partner.failures.min(6)).min(PAUSE_MAX);
        partner.failures = partner.failures.saturating_add(1);
        partner.not_before = Some(now + pause);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::from_start(Duration::from_secs(seconds))
    }

    #[test]
    fn a_peer_that_took_its_time_waits_until_a_share_of_it_is_back() {
        let (mut partners, peer) = (Partners::default(), NodeId([1; 16]));
        assert!(partners.has_time(at(1), peer));
        partners.took(at(1), peer, Duration::from_secs(29));
        assert!(partners.has_time(at(1), peer));
        partners.took(at(1), peer, Duration::from_secs(2));
        assert!(!partners.has_time(at(1), peer) && partners.has_time(at(1), NodeId([2; 16])));
        assert!(!partners.has_time(at(4), peer));
        assert!(partners.has_time(at(6), peer), "a second in four is its own");
        partners.ended_well(peer);
        partners.took(at(6), peer, Duration::from_secs(1));
        assert!(!partners.has_time(at(6), peer), "a session that ended well gives no time back");
    }

    #[test]
    fn pauses_double_up_to_a_minute_and_end_with_success() {
        let (mut partners, peer) = (Partners::default(), NodeId([1; 16]));
        for pause in [1, 2, 4, 8, 16, 32, 60, 60] {
            partners.failed(at(100), peer);
            assert!(partners.is_paused(at(100 + pause - 1), peer) && !partners.is_paused(at(100 + pause), peer));
        }
        partners.ended_well(peer);
        assert!(!partners.is_paused(at(100), peer));
    }
}
