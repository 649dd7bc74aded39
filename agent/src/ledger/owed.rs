//! What another thread must hear though its channel was full: it is said again in every turn until it is taken.
//!
//! Most of what the ledger tells others is repeated by itself and may be lost. Not so a link that came or went, an epoch
//! that membership asks for once, and the order to fall silent. Each is kept as what is true now, not as a list of what
//! happened, so it is bounded by the peers there are.

use std::collections::{BTreeMap, BTreeSet};

use everett_mesh_proto::id::NodeId;

use super::Ledger;
use crate::courier::Order;
use crate::keeper::Task;
use crate::net::Command;

/// What is still to be said.
#[derive(Debug, Default)]
pub(super) struct Owed {
    /// To the keeper: whose link came (or else went).
    links: BTreeMap<NodeId, bool>,
    /// To the keeper: the epoch that the mesh knows of this node.
    epoch: Option<u64>,
    /// To the courier: who needs no reading any more.
    gone: BTreeSet<NodeId>,
    /// To the net: say nothing more.
    silence: bool,
}

impl Owed {
    fn is_empty(&self) -> bool {
        self.links.is_empty() && self.epoch.is_none() && self.gone.is_empty() && !self.silence
    }
}

impl Ledger {
    /// A link is up.
    pub(super) fn owe_up(&mut self, peer: NodeId) {
        self.mesh.owed.links.insert(peer, true);
        self.mesh.owed.gone.remove(&peer);
        self.pay();
    }

    /// A link is gone.
    pub(super) fn owe_down(&mut self, peer: NodeId) {
        self.mesh.owed.links.insert(peer, false);
        self.mesh.owed.gone.insert(peer);
        self.pay();
    }

    /// Membership wants an epoch above `known`.
    pub(super) fn owe_epoch(&mut self, known: u64) {
        self.mesh.owed.epoch = self.mesh.owed.epoch.max(Some(known));
        self.pay();
    }

    /// Nothing more is to be said to peers.
    pub(super) fn owe_silence(&mut self) {
        self.mesh.owed.silence = true;
        self.pay();
    }

    /// Says what is owed, as far as it is taken.
    pub(super) fn pay(&mut self) {
        if self.mesh.owed.is_empty() {
            return;
        }
        let (owed, ports) = (&mut self.mesh.owed, &mut self.ports);
        owed.links.retain(|&peer, &mut is_up| {
            let task = if is_up { Task::Up(peer) } else { Task::Down(peer) };
            (ports.keeper)(task).is_some()
        });
        owed.epoch = owed.epoch.filter(|&known| (ports.keeper)(Task::RaiseEpoch { known }).is_some());
        owed.gone.retain(|&peer| ports.courier.try_send(Order::Forget(peer)).is_err_and(|error| error.is_full()));
        owed.silence = owed.silence && !(ports.net)(Command::Shutdown);
    }
}
