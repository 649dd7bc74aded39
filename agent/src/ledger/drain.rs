//! The end of the loop: what is in flight finishes, what was written is handed on, then membership takes leave.
//!
//! In this order, because each step needs the links that the next one gives up: peers hear that this node is about to
//! leave, clients take their replies, what the node holds on lease is given up if it leaves for good, every peer that
//! answers has what this node wrote, and only then the node is gone. A peer that does not keep up is waited for
//! half of the time that a drain may take; it gets the rest from the others, as after a death.

use std::time::Duration;

use everett_mesh_proto::log::Commit;
use everett_mesh_proto::time::Instant;

use super::{Ledger, LedgerError};
use crate::api::host::Phase;
use crate::mesh::Order;

/// What word that a node is about to leave needs to come around, before word that it has left replaces it.
const NOTICE: Duration = Duration::from_millis(250);

/// A drain under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Drain {
    /// Its end, whether or not everybody took their replies.
    until: Instant,
    /// Peers are told of it until then.
    told_until: Instant,
    /// Until when peers are waited for; none once membership was told to take leave.
    hand_on_until: Option<Instant>,
    /// What must be durable before an early end.
    last: Commit,
}

impl Drain {
    /// When something is to be done, whatever happens.
    pub(super) fn next(&self, now: Instant) -> Instant {
        match self.hand_on_until {
            Some(_) if now < self.told_until => self.told_until,
            Some(hand_on_until) => hand_on_until,
            None => self.until,
        }
    }
}

impl Ledger {
    /// Begins the end, once.
    pub(super) fn begin_drain(&mut self) -> Result<(), LedgerError> {
        if self.timers.drain.is_some() {
            return Ok(());
        }
        let for_good = self.host.phase == Phase::Leaving;
        if !for_good {
            self.host.phase = Phase::Draining;
        }
        self.listener = None;
        (self.ports.mesh)(Order::Drain);
        if for_good {
            self.give_up_own()?;
        }
        let (now, time) = (self.now.mono, self.settings.drain_max);
        let last = self.host.data.replica.commit();
        self.log.want(last);
        let somebody_is_told = self.host.peers.push.peers().next().is_some();
        let told_until = if somebody_is_told { now + NOTICE } else { now };
        self.timers.drain = Some(Drain { until: now + time, told_until, hand_on_until: Some(now + time / 2), last });
        Ok(())
    }

    /// Takes leave as soon as nobody needs this node any more.
    pub(super) fn step_drain(&mut self) {
        let Some(drain) = self.timers.drain else { return };
        let Some(hand_on_until) = drain.hand_on_until else { return };
        let finished = self.now.mono >= drain.told_until && self.is_durable_upto(drain.last) && self.is_answered();
        let is_handed_on = finished && self.host.peers.hold_all_of(&self.host.data.replica);
        if is_handed_on || self.now.mono >= hand_on_until {
            self.timers.drain = Some(Drain { hand_on_until: None, ..drain });
            (self.ports.mesh)(Order::Leave);
        }
    }

    /// Whether the loop may end.
    pub(super) fn is_drained(&self) -> bool {
        let Some(drain) = self.timers.drain else { return false };
        if self.host.data.rows.is_flushing() {
            return false;
        }
        let finished = || self.mesh.left && self.is_durable_upto(drain.last) && self.is_answered();
        self.now.mono >= drain.until || finished()
    }

    fn is_durable_upto(&self, last: Commit) -> bool {
        self.log.durable >= last && self.log.is_handed_over()
    }

    /// Whether everybody took their replies.
    fn is_answered(&self) -> bool {
        self.links.iter().all(|(_, link)| link.output.is_empty() && link.input.is_empty())
    }
}
