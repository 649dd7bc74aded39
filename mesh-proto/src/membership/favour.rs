//! What another may ask of this node, and how often.
//!
//! A member with a valid certificate may be broken or hostile. What it says of itself is its business; what it makes this
//! node do for it is not: pings to others, tables, comparisons, news to pass on to everybody. Each kind has an allowance
//! per member, far above what an honest one needs in the worst of times, and what exceeds it is dropped: a datagram may be
//! lost, and what news lacks a comparison finds. Kept as the time at which the allowance will be whole again (the virtual
//! scheduling of ITU-T I.371, annex A): one instant per member and kind, however much is asked.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::id::NodeId;
use crate::time::Instant;

/// Something asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Favour {
    /// Ping somebody for me.
    Relay,
    /// Probe somebody whom I, as this node sees it, do not observe.
    Inquest,
    /// Tell me everything.
    Table,
    /// Compare a whole view.
    Compare,
    /// Hear what is held of you: a refutation, or a later epoch, may be due.
    OfYou,
    /// Take this change.
    Change,
    /// Pass on what changed of me, whoever says so.
    Rumour,
}

impl Favour {
    /// How many at once, and how long until one more.
    fn allowance(self) -> (u32, Duration) {
        match self {
            Self::Relay => (128, Duration::from_millis(20)),
            Self::Inquest => (32, Duration::from_millis(250)),
            Self::Table => (8, Duration::from_secs(1)),
            Self::Compare => (24, Duration::from_millis(200)),
            Self::OfYou => (64, Duration::from_millis(250)),
            Self::Change => (8_192, Duration::from_millis(2)),
            Self::Rumour => (32, Duration::from_secs(2)),
        }
    }
}

/// Who has had how much.
#[derive(Debug, Default)]
pub(super) struct Favours {
    whole_at: BTreeMap<(NodeId, Favour), Instant>,
}

impl Favours {
    /// Does `from` this favour, if it has not had its share.
    pub(super) fn grant(&mut self, now: Instant, from: NodeId, favour: Favour) -> bool {
        let (count, pause) = favour.allowance();
        let whole_at = self.whole_at.entry((from, favour)).or_default();
        let next = (*whole_at).max(now) + pause;
        let granted = next.saturating_since(now) <= pause * count;
        if granted {
            *whole_at = next;
        }
        granted
    }

    /// Forgets who asks for nothing any more.
    pub(super) fn tidy(&mut self, now: Instant) {
        self.whole_at.retain(|_, whole_at| *whole_at > now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: NodeId = NodeId([1; 16]);
    const B: NodeId = NodeId([2; 16]);

    fn at(ms: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(ms)
    }

    #[test]
    fn who_asks_for_more_than_its_share_waits_and_nobody_else_does() {
        let mut favours = Favours::default();
        let mut granted = |ms, from| favours.grant(at(ms), from, Favour::Table);
        assert_eq!((0..100).filter(|_| granted(0, A)).count(), 8);
        assert!(granted(0, B));
        assert!(!granted(900, A));
        assert!(granted(1_000, A) && !granted(1_000, A));
    }

    #[test]
    fn nothing_is_kept_of_those_who_ask_for_nothing() {
        let mut favours = Favours::default();
        assert!(favours.grant(at(0), A, Favour::Relay));
        favours.tidy(at(10));
        assert_eq!(favours.whole_at.len(), 1);
        favours.tidy(at(20));
        assert!(favours.whole_at.is_empty());
    }
}
