//! The way out: datagrams, the wish for a link, which other path to try, and the dice.

use std::collections::BTreeSet;
use std::time::Duration;

use rand::RngExt;

use super::Membership;
use super::event::{Event, Output};
use super::message::{Datagram, StreamMessage};
use crate::id::NodeId;

impl Membership {
    pub(super) fn timeout(&self, id: NodeId) -> Duration {
        self.links.timeout(id, self.roster.site(id), &self.config)
    }

    pub(super) fn send(&mut self, to: NodeId, message: Datagram) {
        self.wish_link(to);
        self.outputs.push_back(if message.packet_bytes() <= self.datagram_bytes_max(to) {
            Output::Datagram { to, message }
        } else {
            Output::Stream { to, message: StreamMessage::Said { message } }
        });
    }

    /// What a datagram to `to` may weigh.
    pub(super) fn datagram_bytes_max(&self, to: NodeId) -> usize {
        self.links.limit(to).unwrap_or(self.config.datagram_bytes_unknown)
    }

    pub(super) fn wish_link(&mut self, node: NodeId) {
        if let Some(member) = self.roster.get(node)
            && node != self.me.id()
            && self.links.wants_dial(node, self.timers.now())
        {
            let addrs = member.card.addrs.clone();
            self.outputs.push_back(Output::Dial { node, addrs });
        }
    }

    pub(super) fn send_stream(&mut self, to: NodeId, message: StreamMessage) {
        self.wish_link(to);
        self.outputs.push_back(Output::Stream { to, message });
    }

    pub(super) fn tell(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    /// Members to try another path through: in turn one of a third site, one of the target's or this node's own.
    pub(super) fn relays(&mut self, target: NodeId, count: usize) -> Vec<NodeId> {
        let me = self.me.id();
        let mut known = self.rings.subjects(me);
        known.extend(self.rings.observers(me));
        known.extend(self.rings.neighbours(me));
        known.remove(&target);
        known.retain(|&id| !self.watch.doubts(id));
        let known = self.roster.steady(known);
        let mut known = self.shuffled(known);
        let sites = [self.roster.site(me), self.roster.site(target)];
        let mut relays = Vec::new();
        while relays.len() < count && !known.is_empty() {
            let third = relays.len() % 2 == 0;
            let fits = |id: &NodeId| sites.contains(&self.roster.site(*id)) != third;
            let at = known.iter().position(fits).unwrap_or(0);
            relays.push(known.swap_remove(at));
        }
        relays
    }

    /// A random part of `whole`.
    pub(super) fn within(&mut self, whole: Duration) -> Duration {
        let micros = u64::try_from(whole.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(self.rng.random_range(0..=micros))
    }

    /// In random order.
    pub(super) fn shuffled(&mut self, ids: BTreeSet<NodeId>) -> Vec<NodeId> {
        let mut ids: Vec<_> = ids.into_iter().collect();
        for at in (1..ids.len()).rev() {
            ids.swap(at, self.rng.random_range(0..=at));
        }
        ids
    }
}
