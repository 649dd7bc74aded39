//! Closes this node's earlier lives, so that vectors do not grow with its starts.
//!
//! A look now and then, while the loop turns, is enough: a life that stays open costs an entry.

use std::time::Duration;

use everett_mesh_proto::replica::Input;

use super::{Ledger, LedgerError};
use crate::api::host::Phase;

/// How often earlier lives are looked at, and how long after the start for the first time: by then the roster is known.
const PERIOD: Duration = Duration::from_secs(10);

impl Ledger {
    /// Closes the earlier lives of this node that everybody who is here holds alike.
    pub(super) fn consider_closing(&mut self) -> Result<(), LedgerError> {
        let now = self.now;
        if now.mono < self.mesh.close_at {
            return Ok(());
        }
        self.mesh.close_at = now.mono + PERIOD;
        let young = now.mono.saturating_since(self.host.about.started.mono) < PERIOD;
        if young || self.host.phase != Phase::Serving || self.host.peers.fenced {
            return Ok(());
        }
        let data = &mut self.host.data;
        for (space, lives) in self.host.peers.closable(&self.host.about.node, data.replica.id()) {
            tracing::info!(%space, lives = lives.len(), "closing earlier lives of this node");
            data.replica.handle_input(now, &mut data.rows, Input::Close { space, lives })?;
        }
        Ok(())
    }
}
