//! When an agent that has never held its cluster's data begins to answer for it.
//!
//! Until then it would answer "no such key" for keys that all its peers hold. It waits for the first peer it reaches, until
//! it has what that peer had; if it reaches nobody for a while, there may be nobody, and it serves.

use std::time::Duration;

use super::Ledger;
use crate::api::host::Phase;

/// How long an agent without data looks for a peer before it serves without one.
const SEARCH: Duration = Duration::from_secs(10);

impl Ledger {
    /// Ends the loading phase if there is nothing to load any more.
    pub(super) fn consider_serving(&mut self) {
        if self.host.phase != Phase::Loading {
            return;
        }
        let push = &self.host.peers.push;
        let mine = self.host.data.replica.vectors();
        let has_caught_up = push.peers().any(|(peer, _)| !push.is_ahead(peer, &mine));
        let nobody = push.peers().next().is_none();
        let searched = self.now.mono.saturating_since(self.host.about.started.mono) >= SEARCH;
        if has_caught_up || (nobody && searched) {
            self.host.phase = Phase::Serving;
            tracing::info!(alone = nobody, "serving data");
        }
    }
}
