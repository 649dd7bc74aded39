//! Probing a member because somebody asked.
//!
//! Another observer has a case, or another view holds a member to be gone that this one holds alive. Five pings and three
//! relays decide; the answer goes to all who asked. A view that differs is adopted only if the member stays silent here
//! too, so a healed partition does not bury its living; the pings carry the accusation, so the living refute it.

use std::collections::BTreeMap;

use super::Membership;
use super::favour::Favour;
use super::message::Datagram;
use super::record::{Fact, Standing};
use super::timers::Timer;
use super::watch::Why;
use crate::id::NodeId;

const PINGS: u32 = 5;
const RELAYS: usize = 3;
/// More would only compete for the same paths; who is turned away asks again.
const INQUESTS_MAX: usize = 128;

#[derive(Debug, Default)]
pub(super) struct Inquest {
    askers: BTreeMap<NodeId, u32>,
    accused_as: Option<Standing>,
    pings: u32,
}

impl Membership {
    /// Another observer wants to know about `target`.
    pub(super) fn on_inquire(&mut self, from: NodeId, target: NodeId, ballot: u32) {
        if let Some(fact) = self.accusation(from) {
            // It may be the asker who hears nobody: let it answer for itself first.
            return self.send(from, Datagram::Gossip { facts: vec![fact] });
        }
        let Some(held) = self.roster.get(target) else { return };
        if target == self.me.id() {
            return;
        }
        if !held.standing.is_alive() {
            let facts = vec![held.fact(false)];
            return self.send(from, Datagram::Gossip { facts });
        }
        // Who observes a member may always ask about it; views differ for a moment, so others may too, now and then.
        if !self.rings.observers(target).contains(&from) && !self.grants(from, Favour::Inquest) {
            return;
        }
        if let Some(inquest) = self.inquest(target) {
            inquest.askers.insert(from, ballot);
        }
    }

    /// Another view holds a member to be unreachable that this one holds alive. It is told at once, so that it can refute;
    /// who waits for an inquest is verified when views are compared again.
    pub(super) fn verify(&mut self, accused_as: Standing) {
        let target = accused_as.life.id;
        match self.inquest(target) {
            Some(inquest) => inquest.accused_as = Some(accused_as),
            None => self.send(target, Datagram::Gossip { facts: vec![Fact { standing: accused_as, card: None }] }),
        }
    }

    fn inquest(&mut self, target: NodeId) -> Option<&mut Inquest> {
        let running = self.court.inquests.contains_key(&target);
        if !running && self.court.inquests.len() >= INQUESTS_MAX {
            return None;
        }
        if !running {
            self.timers.set(Timer::Inquest(target), std::time::Duration::ZERO);
        }
        Some(self.court.inquests.entry(target).or_default())
    }

    /// The next ping, or the end.
    pub(super) fn step_inquest(&mut self, target: NodeId) {
        let wait = self.timeout(target);
        let Some(inquest) = self.court.inquests.get_mut(&target) else { return };
        if inquest.pings == PINGS {
            return self.conclude_inquest(target, false);
        }
        inquest.pings += 1;
        let (pings, accused_as) = (inquest.pings, inquest.accused_as);
        if let Some(standing) = accused_as {
            let facts = vec![Fact { standing, card: None }];
            self.send(target, Datagram::Gossip { facts });
        }
        self.ping(target, Why::Side);
        if pings == 2 {
            self.ping_via(target, RELAYS);
        }
        let pause = if pings == PINGS { wait } else { wait * 2 / 5 };
        self.timers.set(Timer::Inquest(target), pause);
    }

    /// The member answered, or the time is up.
    pub(super) fn conclude_inquest(&mut self, target: NodeId, alive: bool) {
        let Some(inquest) = self.court.inquests.remove(&target) else { return };
        self.timers.cancel(Timer::Inquest(target));
        for (asker, ballot) in inquest.askers {
            self.send(asker, Datagram::Finding { target, ballot, alive });
        }
        if let Some(standing) = inquest.accused_as.filter(|_| !alive) {
            self.apply_verdict(standing);
        }
    }
}
