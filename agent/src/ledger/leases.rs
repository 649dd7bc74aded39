//! Giving up the leases of nodes that are gone, and this node's own when it leaves for good.
//!
//! [`Warden`] says whose leases and when, each time the roster is told; here they are withdrawn, so many in one turn, the
//! rest with the next roster. What a lease bound goes first, in groups of the keys' namespaces; the lease itself goes once
//! a look finds nothing bound any more, so that another node goes on if this one dies in between.
//!
//! [`Warden`]: everett_mesh_proto::lease::Warden

use everett_mesh_proto::lease::{LeaseKey, Member};
use everett_mesh_proto::replica::Edit;

use super::{Ledger, LedgerError};
use crate::api::data::{Data, LEASES};
use crate::api::host::Phase;

/// Leases looked at in one turn: what a lease costs is a few reads and a write.
const LEASES_PER_TURN: usize = 512;

impl Ledger {
    /// Who is here was told: gives up what is due.
    pub(super) fn tend_leases(&mut self) -> Result<(), LedgerError> {
        let acts = self.host.phase == Phase::Serving && !self.host.peers.fenced;
        if !acts {
            return Ok(());
        }
        let roster = std::sync::Arc::clone(self.host.peers.roster());
        let members: Vec<_> = roster.iter().map(|listed| Member { name: &listed.name, state: listed.state }).collect();
        let leases = self.host.data.leases()?;
        let holders: Vec<String> = leases.holders().map(str::to_owned).collect();
        let due = self.mesh.warden.due(self.now.mono, &members, holders.iter().map(String::as_str));
        let mut given_up = Vec::new();
        for holder in due {
            given_up.extend(self.host.data.leases()?.of(holder).take(LEASES_PER_TURN).cloned());
        }
        given_up.truncate(LEASES_PER_TURN);
        let ended = self.give_up(&given_up)?;
        for holder in holders {
            let count = given_up.iter().filter(|lease| lease.holder == holder).count();
            if count > 0 {
                tracing::info!(holder, leases = count, ended, "gives up leases of a node that is gone");
            }
        }
        self.host.stats.leases_withdrawn += ended as u64;
        Ok(())
    }

    /// This node leaves for good: what it holds goes before it does.
    pub(super) fn give_up_own(&mut self) -> Result<(), LedgerError> {
        let own = self.host.about.node.clone();
        let held: Vec<LeaseKey> = self.host.data.leases()?.of(&own).cloned().collect();
        // Once for what is bound, once for the leases.
        self.give_up(&held)?;
        self.give_up(&held)?;
        Ok(())
    }

    /// Withdraws what these leases bind; ends those that bind nothing, and says how many.
    fn give_up(&mut self, leases: &[LeaseKey]) -> Result<usize, LedgerError> {
        let now = self.now;
        let mut spent: Vec<Edit> = Vec::new();
        self.watch_changes();
        for lease in leases {
            if !self.host.data.withdraw(now, lease)? {
                spent.push(Data::unbind(lease));
            }
        }
        self.tell_changes()?;
        let ended = spent.len();
        if ended > 0 {
            self.host.data.edit(now, LEASES, spent)?;
        }
        Ok(ended)
    }
}
