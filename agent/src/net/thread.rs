//! The mesh thread: a runtime of one thread that carries the net, and membership beside it.
//!
//! It touches no disk and waits for nothing but packets, timers and commands, so a probe is answered at once whatever the
//! rest of the process is doing.

use std::io;
use std::sync::mpsc::sync_channel;
use std::thread::{Builder, JoinHandle};

use tokio::runtime::Runtime;

use super::channels::Inbox;
use super::messages::{DataEvent, MemberEvent, SessionEvent};
use super::{Inboxes, Net, Setup, StartError, start};

/// The running net, seen from outside its thread.
#[derive(Debug)]
pub struct MeshThread {
    /// Speaks to the net.
    pub net: Net,
    /// For the ledger.
    pub data: Inbox<DataEvent>,
    /// For repair.
    pub sessions: Inbox<SessionEvent>,
    /// Ends when the net has shut down.
    pub thread: JoinHandle<()>,
}

/// Starts the net on a thread of its own, with `membership` as a task beside it.
pub fn spawn<F, M>(setup: Setup, membership: F) -> Result<MeshThread, StartError>
where
    F: FnOnce(Net, Inbox<MemberEvent>) -> M + Send + 'static,
    M: Future<Output = ()> + 'static,
{
    let (started_sender, started) = sync_channel(1);
    let thread = Builder::new()
        .name("mesh".to_owned())
        .spawn(move || {
            let runtime = match runtime() {
                Ok(runtime) => runtime,
                Err(error) => return drop(started_sender.send(Err(StartError::Thread(error)))),
            };
            runtime.block_on(async {
                let (net, inboxes, hub) = match start(&setup) {
                    Ok(running) => running,
                    Err(error) => return drop(started_sender.send(Err(error))),
                };
                let Inboxes { data, members, sessions } = inboxes;
                // If nobody waits any more, the net ends with its last handle.
                let _ = started_sender.send(Ok((net.clone(), data, sessions)));
                tokio::select! {
                    biased;
                    ended = hub => ended.expect("the hub is never cancelled, and its panics are the process's"),
                    () = async {
                        membership(net, members).await;
                        std::future::pending::<()>().await;
                    } => {}
                }
            });
        })
        .map_err(StartError::Thread)?;
    match started.recv() {
        Ok(Ok((net, data, sessions))) => Ok(MeshThread { net, data, sessions, thread }),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(StartError::Thread(io::ErrorKind::Other.into())),
    }
}

fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}
