//! How other threads reach the ledger: a bounded channel whose senders wake the poll loop.
//!
//! A sender rings only if nobody has since the loop last looked, so a burst costs one system call. When the channel is
//! full a sender waits, which slows the mesh down rather than filling memory.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Receiver, SendError, Sender, bounded};
use mio::{Poll, Registry, Token, Waker};

use super::{Notice, WAKER};

/// The sending side; clone it for every thread.
#[derive(Debug)]
pub struct Door<T> {
    sender: Sender<T>,
    bell: Arc<Bell>,
}

impl<T> Clone for Door<T> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone(), bell: Arc::clone(&self.bell) }
    }
}

/// The ledger has ended; what was sent comes back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the ledger has ended")]
pub struct Ended;

impl<T> Door<T> {
    /// Wakes the ledger without a notice: somebody else has something for it.
    pub fn ring(&self) {
        self.bell.ring();
    }

    /// Hands a notice to the ledger, waiting while its channel is full.
    pub fn send(&self, notice: T) -> Result<(), Ended> {
        self.sender.send(notice).map_err(|SendError(_)| Ended)?;
        self.bell.ring();
        Ok(())
    }

    /// Hands a notice to the ledger unless its channel is full, in which case the notice comes back.
    pub fn try_send(&self, notice: T) -> Result<(), T> {
        self.sender.try_send(notice).map_err(crossbeam_channel::TrySendError::into_inner)?;
        self.bell.ring();
        Ok(())
    }
}

/// The ledger's side, before the ledger is there: other threads can be started with the door while it is not.
#[derive(Debug)]
pub struct Doorway {
    pub(super) poll: Poll,
    pub(super) inbox: Inbox<Notice>,
}

impl Doorway {
    /// A doorway in which `capacity` notices may queue, and its door.
    pub fn open(capacity: usize) -> io::Result<(Self, Door<Notice>)> {
        let poll = Poll::new()?;
        let (door, inbox) = inbox(poll.registry(), WAKER, capacity)?;
        Ok((Self { poll, inbox }, door))
    }
}

/// The ledger's side.
#[derive(Debug)]
pub(super) struct Inbox<T> {
    receiver: Receiver<T>,
    bell: Arc<Bell>,
}

#[derive(Debug)]
struct Bell {
    waker: Waker,
    rung: AtomicBool,
}

impl Bell {
    fn ring(&self) {
        if !self.rung.swap(true, Ordering::SeqCst) {
            // The waker is a counter in the kernel: writing it fails only if that is gone, and the loop with it.
            if let Err(error) = self.waker.wake() {
                tracing::error!(%error, "the ledger cannot be woken");
            }
        }
    }
}

/// A channel of `capacity` notices that wakes the poll loop behind `registry` with `token`.
fn inbox<T>(registry: &Registry, token: Token, capacity: usize) -> io::Result<(Door<T>, Inbox<T>)> {
    let (sender, receiver) = bounded(capacity);
    let bell = Arc::new(Bell { waker: Waker::new(registry, token)?, rung: AtomicBool::new(false) });
    Ok((Door { sender, bell: Arc::clone(&bell) }, Inbox { receiver, bell }))
}

impl<T> Inbox<T> {
    /// The loop is about to look: whoever sends from now on rings again.
    pub(super) fn open(&self) {
        self.bell.rung.store(false, Ordering::SeqCst);
    }

    /// The next notice, if there is one.
    pub(super) fn next(&self) -> Option<T> {
        self.receiver.try_recv().ok()
    }
}
