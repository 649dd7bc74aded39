//! Two halves of a mesh that parted and meet again.
//!
//! Each half holds the other to be gone, so news does not cross by itself: nobody's neighbours are on the other side. The
//! first contact compares views; each side then tells its own members what they are accused of, and they refute it. A
//! bridge compares again while those refutations come in, and so carries them over. One at a time per node, to one
//! member; apart from `compare.rs`, which waits for quiet where this must not.

use std::time::Duration;

use super::Membership;
use super::timers::Timer;
use crate::id::NodeId;
use crate::time::Instant;

/// From one crossing to the next: the accused must have heard and their answers come back.
const PAUSES: [Duration; 4] =
    [Duration::from_millis(500), Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2)];
/// Members lost within this time were lost together.
const TOGETHER: Duration = Duration::from_mins(1);

/// Where the bridge of this node leads.
#[derive(Debug)]
pub(super) struct Bridge {
    to: NodeId,
    crossings: usize,
}

impl Membership {
    /// A member held gone since `lost` is back, and `first_hand` if it said so itself. If others were lost with it, the
    /// mesh had parted: so much news at once leaves gaps that only a comparison finds.
    pub(super) fn meet(&mut self, id: NodeId, lost: Instant, first_hand: bool) {
        let distance = |since: Instant| since.saturating_since(lost).max(lost.saturating_since(since));
        if !self.roster.lost().any(|(_, member)| distance(member.since) <= TOGETHER) {
            return;
        }
        self.begin_follow_ups();
        if first_hand && self.tend.bridge.is_none() {
            self.tend.bridge = Some(Bridge { to: id, crossings: 0 });
            self.timers.set(Timer::Bridge, PAUSES[0]);
            self.compare_with(id);
        }
    }

    /// The next crossing, or the end.
    pub(super) fn cross_bridge(&mut self) {
        let Some(bridge) = &mut self.tend.bridge else { return };
        bridge.crossings += 1;
        let (to, next) = (bridge.to, PAUSES.get(bridge.crossings));
        match next {
            Some(&pause) => self.timers.set(Timer::Bridge, pause),
            None => self.tend.bridge = None,
        }
        self.send_standings(to);
    }

    /// A view equal to this one: nothing is left to carry over.
    pub(super) fn leave_bridge(&mut self, to: NodeId) {
        if self.tend.bridge.as_ref().is_some_and(|bridge| bridge.to == to) {
            self.tend.bridge = None;
            self.timers.cancel(Timer::Bridge);
        }
    }
}
