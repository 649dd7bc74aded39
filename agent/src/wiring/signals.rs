//! Signals: SIGTERM and SIGINT drain, SIGHUP reads the certificates and the log filter again.
//!
//! Invariant: they are taken over before clients find a socket, so whoever has had an answer may end the agent gently.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use everett_certs::Mtls;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Reread;
use crate::ledger::{Door, Notice};
use crate::net::{Command, Net};

/// Between two tries to tell a busy ledger.
const RETRY: Duration = Duration::from_millis(10);

/// The signals, taken over from the system's defaults.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// Takes them over. Must be called on the runtime.
    pub(super) fn take() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Does what they ask for, for ever.
    pub(super) async fn heed(mut self, door: Door<Notice>, mtls: Arc<Mtls>, reread: Reread, net: Net) {
        loop {
            tokio::select! {
                Some(()) = self.terminate.recv() => drain(&door).await,
                Some(()) = self.interrupt.recv() => drain(&door).await,
                Some(()) = self.hangup.recv() => reload(Arc::clone(&mtls), Arc::clone(&reread), &net).await,
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
