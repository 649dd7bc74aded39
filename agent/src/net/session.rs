//! Repair sessions: one stream in both directions each, below everything else in priority.
//!
//! The consumer gets frames as events and sends through a [`SessionSender`]; dropping that ends the session on both sides.
//! A session that breaks takes nothing else with it. How many a peer may open is a limit of the connection.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use everett_mesh_proto::id::NodeId;
use everett_mesh_proto::wire::{Frame, StreamKind};
use quinn::{Connection, RecvStream, SendStream};
use tokio::sync::mpsc;

use super::channels::SESSION_FRAMES;
use super::context::Context;
use super::messages::{Fault, SessionEvent};
use super::stream::{self, PRIORITY_SESSION, StreamReader};

/// Names a session within this process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SessionId(pub u64);

/// Sends to the peer of a session; dropping it ends the session once what was sent is delivered.
#[derive(Debug)]
pub struct SessionSender {
    frames: mpsc::Sender<Frame>,
}

/// A frame was not taken.
#[derive(Debug, thiserror::Error)]
pub enum NotSent {
    /// The peer reads slower than this side writes; the frame comes back.
    #[error("the session's queue is full")]
    Full(Frame),
    /// The session is over.
    #[error("the session is over")]
    Over,
}

impl SessionSender {
    /// Queues a frame, never waits.
    pub fn send(&self, frame: Frame) -> Result<(), NotSent> {
        self.frames.try_send(frame).map_err(|error| match error {
            mpsc::error::TrySendError::Full(frame) => NotSent::Full(frame),
            mpsc::error::TrySendError::Closed(_) => NotSent::Over,
        })
    }

    /// Queues a frame, and waits for room by blocking the thread: not for tasks of a runtime.
    pub fn send_blocking(&self, frame: Frame) -> Result<(), NotSent> {
        self.frames.blocking_send(frame).map_err(|_| NotSent::Over)
    }
}

/// Opens a session with a linked peer and carries it to its end.
pub(super) async fn open(context: Arc<Context>, connection: Connection, peer: NodeId, ticket: u64) {
    let opening = async {
        let (mut send, recv) = connection.open_bi().await.map_err(|_| Fault::Lost)?;
        stream::begin(&mut send, StreamKind::Session, PRIORITY_SESSION).await?;
        Ok::<_, Fault>((send, StreamReader::new(recv)))
    };
    match opening.await {
        Ok((send, reader)) => carry(&context, peer, Some(ticket), send, reader).await,
        // The consumer hears it unless the process is ending.
        Err(_) => drop(context.outlets.sessions.send(SessionEvent::Failed { ticket }).await),
    }
}

/// Takes a session that the peer opened.
pub(super) async fn take(context: Arc<Context>, peer: NodeId, send: SendStream, recv: RecvStream) -> Result<(), Fault> {
    let mut reader = StreamReader::new(recv);
    let first = tokio::time::timeout(context.limits.greeting_timeout, reader.expect::<StreamKind>());
    match first.await {
        Ok(Ok(StreamKind::Session)) => {}
        Ok(Err(Fault::Lost)) | Err(_) => return Ok(()),
        Ok(Ok(StreamKind::Hello | StreamKind::Ops | StreamKind::Membership)) => {
            return Err(Fault::Refused(super::refusal::Refusal::Malformed));
        }
        Ok(Err(fault)) => return Err(fault),
    }
    // As low as what is sent for sessions opened here.
    let _ = send.set_priority(PRIORITY_SESSION);
    carry(&context, peer, None, send, reader).await;
    Ok(())
}

async fn carry(context: &Context, peer: NodeId, ticket: Option<u64>, send: SendStream, reader: StreamReader) {
    let session = SessionId(context.sessions.fetch_add(1, Ordering::Relaxed));
    let (frames, queued) = mpsc::channel(SESSION_FRAMES);
    let sender = SessionSender { frames };
    let opened = SessionEvent::Opened { session, peer, ticket, sender };
    if context.outlets.sessions.send(opened).await.is_err() {
        return;
    }
    let mut reader = reader;
    tokio::select! {
        _ = read(context, session, &mut reader) => {}
        () = write(send, queued) => reader.stop(),
    }
    // The consumer hears it unless the process is ending.
    let _ = context.outlets.sessions.send(SessionEvent::Closed { session }).await;
}

async fn read(context: &Context, session: SessionId, reader: &mut StreamReader) -> Result<(), Fault> {
    while let Some(frame) = reader.next().await? {
        let bytes = u32::try_from(frame.body().len()).unwrap_or(u32::MAX);
        let credit = context.allowances.sessions.take(bytes).await;
        let event = SessionEvent::Frame { session, frame, credit };
        context.outlets.sessions.send(event).await.map_err(|_| Fault::Ending)?;
    }
    Ok(())
}

/// Returns when the consumer has dropped its sender and the peer has all that was sent, or when the peer is gone.
async fn write(mut send: SendStream, mut queued: mpsc::Receiver<Frame>) {
    while let Some(frame) = queued.recv().await {
        if send.write_chunk(frame.into_bytes()).await.is_err() {
            return;
        }
    }
    if send.finish().is_ok() {
        // Whether the peer took it all or went away: the session is over.
        let _ = send.stopped().await;
    }
}
