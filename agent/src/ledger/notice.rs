//! What other threads tell the ledger.

use std::time::Duration;

use everett_mesh_proto::log::Durable;
use everett_mesh_proto::push;
use everett_mesh_proto::replica::Input;

use super::{Ledger, LedgerError};
use crate::metrics::Path;

/// One thing another thread tells the ledger.
#[derive(Debug)]
pub enum Notice {
    /// The log: everything up to here is on stable storage; the append took this long.
    Durable {
        /// How far.
        upto: Durable,
        /// How long it took.
        took: Duration,
    },
    /// The mesh or a repair session: an input for the replica.
    Data(Input),
    /// The mesh or the log's reader: an input for what is known of peers.
    Push(push::Input),
    /// Anybody: a latency that was measured.
    Measured(Path, Duration),
    /// The agent leaves: finish what is in flight, then end.
    Drain,
}

impl Ledger {
    /// Takes every notice that is waiting.
    pub(super) fn take_notices(&mut self) -> Result<(), LedgerError> {
        self.inbox.open();
        // No more than there can be at once, so that senders cannot keep clients from being served.
        for _ in 0..self.settings.inbox_max {
            let Some(notice) = self.inbox.next() else { return Ok(()) };
            match notice {
                Notice::Durable { upto, took } => self.settle(upto, took),
                Notice::Data(input) => {
                    let data = &mut self.host.data;
                    data.replica.handle_input(self.now, &mut data.rows, input)?;
                }
                Notice::Push(input) => {
                    self.host.push.handle_input(self.now.mono, input);
                    self.answer_waiters();
                }
                Notice::Measured(path, took) => self.host.metrics.record(path, took),
                Notice::Drain => self.begin_drain(),
            }
        }
        Ok(())
    }

    fn settle(&mut self, upto: Durable, took: Duration) {
        self.durable = self.durable.max(upto.upto());
        self.host.metrics.record(Path::Commit, took);
        self.links.mark_holding_dirty();
    }
}
