//! Two halves of a mesh that parted and meet again.
//!
//! Each half holds the other to be gone, so news does not cross by itself: nobody's neighbours are on the other side. The
//! first contact compares views; each side then tells its own members what they are accused of, and they refute it. A
//! bridge compares again while those refutations come in, and so carries them over. One at a time per node, to one
//! member; apart from `compare.rs`, which waits for quiet where this must not.

use std::time::Duration;

use super::Membership;
use super::record::State;
use super::timers::Timer;
use crate::id::NodeId;

/// From one crossing to the next: the accused must have heard and their answers come back.
const PAUSES: [Duration; 4] =
    [Duration::from_millis(500), Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2)];
/// With fewer members lost, one comparison is enough.
const LOST_MIN: usize = 2;

/// Where the bridge of this node leads.
#[derive(Debug)]
pub(super) struct Bridge {
    to: NodeId,
    crossings: usize,
}

impl Membership {
    /// A member held gone has answered: compares with it, and again if more are lost than this one.
    pub(super) fn meet(&mut self, id: NodeId) {
        self.compare_with(id);
        let lost = self.roster.iter().filter(|(_, member)| member.standing.state == State::Unreachable);
        if self.tend.bridge.is_none() && lost.take(LOST_MIN).count() == LOST_MIN {
            self.tend.bridge = Some(Bridge { to: id, crossings: 0 });
            self.timers.set(Timer::Bridge, PAUSES[0]);
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
