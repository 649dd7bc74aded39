//! What membership counted since the start, and how it stands: figures for those who watch it.

use everett_mesh_proto::membership::{Event, Membership};

/// Figures of membership.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tally {
    /// How often this life refuted that it is gone.
    pub incarnation: u32,
    /// The hash of all that is held about members: equal on nodes that hold the same.
    pub view: u64,
    /// Nobody answers this node.
    pub isolated: bool,
    /// Lives that came.
    pub came: u64,
    /// Verdicts: found silent by several together.
    pub found_unreachable: u64,
    /// Found silent, and back.
    pub returned: u64,
    /// Datagrams sent.
    pub datagrams_sent: u64,
    /// Datagrams received that were membership's.
    pub datagrams_received: u64,
}

impl Tally {
    /// Counts an event.
    pub(super) fn count(&mut self, event: &Event) {
        match event {
            Event::Up { .. } => self.came += 1,
            Event::Unreachable { .. } => self.found_unreachable += 1,
            Event::Returned { .. } => self.returned += 1,
            Event::Joined { .. }
            | Event::Draining { .. }
            | Event::Dead { .. }
            | Event::Left { .. }
            | Event::Forgotten { .. }
            | Event::SiteUnreachable { .. }
            | Event::Degraded { .. }
            | Event::SelfIsolated
            | Event::IsolationEnded
            | Event::EpochBehind { .. }
            | Event::Fenced { .. }
            | Event::LeaveDone
            | Event::Probed { .. } => {}
        }
    }

    /// The figures now.
    pub(super) fn of(self, machine: &Membership) -> Self {
        let incarnation = machine.me().incarnation;
        Self { incarnation, view: machine.view(), isolated: machine.is_isolated(), ..self }
    }
}

#[cfg(test)]
mod tests {
    use everett_mesh_proto::id::NodeId;
    use everett_mesh_proto::membership::Life;

    use super::*;

    #[test]
    fn what_came_and_went_is_counted_apart() {
        let life = Life { id: NodeId([1; 16]), boot_epoch: 1, nonce: 1 };
        let mut tally = Tally::default();
        for event in [Event::Up { life }, Event::Unreachable { life }, Event::Returned { life }, Event::Up { life }] {
            tally.count(&event);
        }
        assert_eq!((tally.came, tally.found_unreachable, tally.returned), (2, 1, 1));
    }
}
