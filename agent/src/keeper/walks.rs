//! Verification in the background: when the store is walked through, and how fast.

use std::time::Duration;

use everett_mesh_proto::time::Instant;

use crate::ledger::{Door, Notice};
use crate::store::{RowsFile, StoreError, Verifier, Walked};

/// From the start, which has enough to do, to the first walk.
const FIRST: Duration = Duration::from_secs(1);

/// Between two pieces.
const PAUSE: Duration = Duration::from_millis(100);

/// Bytes of rows in a piece: with the pause, some 2.5 MB a second, a hundredth of a core.
const PIECE_BYTES: usize = 256 << 10;

/// Walks over all rows, one after the other.
pub(super) struct Walks {
    verifier: Verifier,
    ledger: Door<Notice>,
    at: Instant,
    /// From the end of a walk to the next one.
    rest: Duration,
}

impl Walks {
    pub(super) fn new(now: Instant, rest: Duration, (file, ledger): (RowsFile, Door<Notice>)) -> Self {
        Self { verifier: Verifier::new(file), ledger, at: now + FIRST, rest }
    }

    /// When the next piece is due.
    pub(super) fn poll_timeout(&self) -> Instant {
        self.at
    }

    /// Verifies the next piece, if it is due.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Result<(), StoreError> {
        if self.at > now {
            return Ok(());
        }
        let (damage, pause) = match self.verifier.step(PIECE_BYTES)? {
            Walked::On(damage) => (damage, PAUSE),
            Walked::Waiting => (Vec::new(), PAUSE),
            Walked::Through(damage, rows) => {
                tracing::info!(rows, "the store was read through and compared with its tree");
                (damage, self.rest)
            }
        };
        self.at = now + pause;
        for damage in damage {
            // If the ledger has ended, nobody is to be told.
            let _ = self.ledger.send(Notice::Damaged(damage));
        }
        Ok(())
    }
}
