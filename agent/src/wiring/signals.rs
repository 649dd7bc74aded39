//! Signals: SIGTERM and SIGINT drain, SIGHUP reads the certificates and the log filter again.
//!
//! Invariant: they are taken over before clients find a socket, so whoever has had an answer may end the agent gently.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Sender;
use everett_certs::Mtls;
use tokio::signal::unix::{SignalKind, signal};

use super::Reread;
use crate::ledger::{Door, Notice};
use crate::net::{Command, Net};

/// Between two tries to tell a busy ledger.
const RETRY: Duration = Duration::from_millis(10);

/// Whom signals concern.
pub(super) struct Heeding {
    /// Drains.
    pub(super) door: Door<Notice>,
    /// Is read again.
    pub(super) mtls: Arc<Mtls>,
    /// Reads the rest again.
    pub(super) reread: Reread,
    /// Is told once signals are taken over, or why they are not.
    pub(super) taken: Sender<io::Result<()>>,
}

impl Heeding {
    /// Takes signals over and does what they ask for, for ever; returns only if it cannot.
    pub(super) async fn run(self, net: Net) {
        let signals = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()), signal(SignalKind::hangup()));
        let (mut terminate, mut interrupt, mut hangup) = match signals {
            (Ok(terminate), Ok(interrupt), Ok(hangup)) => (terminate, interrupt, hangup),
            (Err(error), ..) | (_, Err(error), _) | (.., Err(error)) => {
                // Whoever starts the agent waits for it.
                let _ = self.taken.send(Err(error));
                return;
            }
        };
        let _ = self.taken.send(Ok(()));
        loop {
            tokio::select! {
                Some(()) = terminate.recv() => drain(&self.door).await,
                Some(()) = interrupt.recv() => drain(&self.door).await,
                Some(()) = hangup.recv() => reload(Arc::clone(&self.mtls), Arc::clone(&self.reread), &net).await,
            }
        }
    }
}

async fn drain(door: &Door<Notice>) {
    while door.try_send(Notice::Drain).is_err() {
        tokio::time::sleep(RETRY).await;
    }
}

async fn reload(mtls: Arc<Mtls>, reread: Reread, net: &Net) {
    crate::systemd::reloading();
    let reloaded = tokio::task::spawn_blocking(move || {
        reread();
        mtls.reload()
    })
    .await;
    match reloaded {
        Ok(Ok(())) => {
            tracing::info!("certificates read again");
            // If the net has ended, so has the process.
            let _ = net.command(Command::Recheck).await;
        }
        Ok(Err(error)) => tracing::error!(%error, "certificates not read again; the old ones stay in use"),
        Err(error) => tracing::error!(%error, "certificates not read again"),
    }
    crate::systemd::ready("serving");
}
