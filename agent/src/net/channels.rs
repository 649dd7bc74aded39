//! Every channel of the net: its capacity, and what happens when it is full.
//!
//! An `Outlet` leads out of the net to a consumer that may be a thread without a runtime: it wakes that thread when the
//! channel stops being empty, and not again until the consumer has seen it empty. A [`Credit`] bounds what lies between
//! a stream and its consumer in bytes: whoever drops the message gives the bytes back, and until then nothing more is read.
//! What leads to a peer is bounded in bytes by its lane (see `lane`).

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// Commands to the hub. Full: `Net::command` waits, `Net::try_command` refuses, `Net::tell` and `Net::broadcast` lose the
/// command and mark every peer behind, so nothing is lost unseen.
pub const COMMANDS: usize = 4096;

/// Questions of dialers, greeters and links to the hub. Full: the asking task waits.
pub const ASKS: usize = 256;

/// Events for the ledger. Full: the link waits, and with it the peer's stream.
pub const DATA_EVENTS: usize = 1024;

/// Events for membership. Full: a datagram is dropped and counted, anything else waits with its stream.
pub const MEMBER_EVENTS: usize = 1024;

/// Events of repair sessions. Full: the session waits, and with it its stream.
pub const SESSION_EVENTS: usize = 256;

/// Frames queued for one stream, beside the bound in bytes. Full: as if the bound in bytes were reached.
pub const LANE_FRAMES: usize = 8192;

/// Frames that a repair session may have queued for its peer. Full: `SessionSender::send` hands the frame back.
pub const SESSION_FRAMES: usize = 32;

/// Wakes a consumer's thread, whatever that takes. Called from the mesh thread, must not block.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// The consumer of a channel is gone: the process is ending.
#[derive(Clone, Copy, Debug)]
pub(super) struct Closed;

/// The net's end of a channel to a consumer outside.
pub(super) struct Outlet<T> {
    messages: mpsc::Sender<T>,
    signalled: Arc<AtomicBool>,
    wake: Wake,
}

impl<T> Clone for Outlet<T> {
    fn clone(&self) -> Self {
        Self { messages: self.messages.clone(), signalled: Arc::clone(&self.signalled), wake: Arc::clone(&self.wake) }
    }
}

impl<T> fmt::Debug for Outlet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outlet").finish_non_exhaustive()
    }
}

impl<T> Outlet<T> {
    /// Waits for room.
    pub(super) async fn send(&self, message: T) -> Result<(), Closed> {
        self.messages.send(message).await.map_err(|_| Closed)?;
        self.signal();
        Ok(())
    }

    /// Drops the message if there is no room; says whether it went.
    pub(super) fn offer(&self, message: T) -> bool {
        let sent = self.messages.try_send(message).is_ok();
        if sent {
            self.signal();
        }
        sent
    }

    fn signal(&self) {
        if !self.signalled.swap(true, Ordering::SeqCst) {
            (self.wake)();
        }
    }
}

/// The consumer's end of a channel out of the net.
#[derive(Debug)]
pub struct Inbox<T> {
    messages: mpsc::Receiver<T>,
    signalled: Arc<AtomicBool>,
}

impl<T> Inbox<T> {
    /// The next message, `None` if there is none now. Only after `None` will the consumer be woken again: whoever stops
    /// earlier has to come back unbidden.
    pub fn next_now(&mut self) -> Option<T> {
        if let Ok(message) = self.messages.try_recv() {
            return Some(message);
        }
        self.signalled.store(false, Ordering::SeqCst);
        self.messages.try_recv().ok()
    }

    /// Waits for the next message; `None` when the net has ended. For consumers on the runtime.
    pub async fn next(&mut self) -> Option<T> {
        self.messages.recv().await
    }

    /// Waits for the next message; `None` when the net has ended. For threads that have nothing else to wait for.
    pub fn next_blocking(&mut self) -> Option<T> {
        self.messages.blocking_recv()
    }
}

/// A channel of `capacity` that calls `wake` when it stops being empty.
pub(super) fn outlet<T>(capacity: usize, wake: Wake) -> (Outlet<T>, Inbox<T>) {
    let (sender, messages) = mpsc::channel(capacity);
    let signalled = Arc::new(AtomicBool::new(false));
    let outlet = Outlet { messages: sender, signalled: Arc::clone(&signalled), wake };
    (outlet, Inbox { messages, signalled })
}

/// A bound in bytes shared by all streams of one kind.
#[derive(Clone, Debug)]
pub(super) struct Allowance(Arc<Semaphore>);

impl Allowance {
    /// `bytes` in all; no message may be larger.
    pub(super) fn new(bytes: u32) -> Self {
        Self(Arc::new(Semaphore::new(bytes as usize)))
    }

    /// Waits until `bytes` more fit.
    pub(super) async fn take(&self, bytes: u32) -> Credit {
        let permit = Arc::clone(&self.0).acquire_many_owned(bytes).await;
        Credit(permit.expect("an allowance is never closed"))
    }
}

/// The right to hold a received message in memory; dropping it lets the net read on.
#[derive(Debug)]
pub struct Credit(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use super::*;

    #[test]
    fn a_consumer_is_woken_once_until_it_has_seen_the_channel_empty() {
        let wakes = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&wakes);
        let wake: Wake = Arc::new(move || {
            counted.fetch_add(1, Ordering::SeqCst);
        });
        let (outlet, mut inbox) = outlet(4, wake);
        assert!(outlet.offer(1) && outlet.offer(2));
        assert_eq!(wakes.load(Ordering::SeqCst), 1);
        assert_eq!(inbox.next_now(), Some(1));
        assert!(outlet.offer(3));
        assert_eq!(wakes.load(Ordering::SeqCst), 1);
        assert_eq!(inbox.next_now(), Some(2));
        assert_eq!(inbox.next_now(), Some(3));
        assert_eq!(inbox.next_now(), None);
        assert!(outlet.offer(4));
        assert_eq!(wakes.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn a_full_outlet_refuses_an_offer() {
        let (outlet, mut inbox) = outlet(1, Arc::new(|| {}));
        assert!(outlet.offer(1));
        assert!(!outlet.offer(2));
        assert_eq!(inbox.next_now(), Some(1));
        assert!(outlet.offer(3));
    }
}
