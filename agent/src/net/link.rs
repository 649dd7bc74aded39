//! One link: the tasks between a settled connection and the rest of the agent.
//!
//! A link announces itself, carries its streams and datagrams until the connection ends, and announces its end; its
//! successor to the same peer waits for that. What the peer sends is decoded where that is the net's business, bounded by
//! credit and by not reading on. A peer that breaks the protocol loses its link and nothing else happens.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use bytes::Bytes;
use everett_mesh_proto::wire::{Hello, Received, StreamKind};
use quinn::{Connection, ConnectionError, RecvStream};
use tokio::sync::oneshot;
use tokio::task::{JoinError, JoinSet};

use super::context::{Ask, Context, LinkId, close};
use super::greet;
use super::lane::LaneReceiver;
use super::messages::{DataEvent, DownReason, Fault, MemberEvent};
use super::meter::LinkMeter;
use super::pace::Pace;
use super::refusal::{Close, Refusal};
use super::session;
use super::stream::{self, PRIORITY_MEMBERSHIP, PRIORITY_OPS, StreamReader};
use crate::identity::NodeIdentity;

/// Closes a link's connection and remembers why, for the link's own last word.
#[derive(Clone, Debug)]
pub(super) struct Closer {
    connection: Connection,
    why: Arc<OnceLock<Close>>,
}

impl Closer {
    pub(super) fn new(connection: Connection) -> Self {
        Self { connection, why: Arc::default() }
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Closes; the first reason stays.
    pub(super) fn close(&self, why: Close) {
        close(&self.connection, *self.why.get_or_init(|| why));
    }
}

/// A settled connection, ready to run.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) id: LinkId,
    pub(super) peer: NodeIdentity,
    pub(super) hello: Arc<Hello>,
    pub(super) closer: Closer,
    pub(super) meter: LinkMeter,
    pub(super) ops: LaneReceiver,
    pub(super) membership: LaneReceiver,
    /// Resolves when the previous link to this peer has said its last word.
    pub(super) predecessor: Option<oneshot::Receiver<()>>,
    /// Dropped with this link's last word.
    pub(super) last_word: Option<oneshot::Sender<()>>,
}

/// What a link's task did when it ended well.
enum Done {
    /// A lane was emptied after the hub let go of it, and the peer has it all.
    LaneDelivered,
    /// Anything else.
    Other,
}

/// Streams that a peer opens once in a link's life.
#[derive(Debug, Default)]
struct Opened {
    ops: AtomicBool,
    membership: AtomicBool,
}

type Tasks = JoinSet<Result<Done, Fault>>;

impl Link {
    /// Carries the link to its end.
    pub(super) async fn run(mut self, context: Arc<Context>) {
        if let Some(predecessor) = self.predecessor.take() {
            // An error means dropped, which means ended as well.
            let _ = predecessor.await;
        }
        let last_word = self.last_word.take();
        let peer = self.peer.id;
        let link = self.id;
        let reason = self.carry(&context).await;
        // Nobody left to tell means that the process is ending.
        let _ = context.outlets.data.send(DataEvent::Down { peer, reason }).await;
        let _ = context.outlets.members.send(MemberEvent::Down { peer, reason }).await;
        drop(last_word);
        context.tell(Ask::Ended { peer, link }).await;
    }

    async fn carry(self, context: &Arc<Context>) -> DownReason {
        let Self { peer, hello, closer, meter, ops, membership, .. } = self;
        let data_up = DataEvent::Up { peer: peer.clone(), hello: Arc::clone(&hello), meter: meter.clone() };
        let member_up =
            MemberEvent::Up { peer: peer.clone(), hello, address: closer.connection.remote_address(), meter };
        // Nobody left to tell means that the process is ending, which closes the endpoint.
        let _ = context.outlets.members.send(member_up).await;
        let _ = context.outlets.data.send(data_up).await;
        let mut tasks = Tasks::new();
        tasks.spawn(write_ops(Arc::clone(context), peer.clone(), closer.connection.clone(), ops));
        tasks.spawn(write_membership(closer.connection.clone(), membership));
        let reason = supervise(context, &peer, &closer, &mut tasks).await;
        tasks.shutdown().await;
        reason
    }
}

async fn supervise(context: &Arc<Context>, peer: &NodeIdentity, closer: &Closer, tasks: &mut Tasks) -> DownReason {
    let connection = closer.connection();
    let opened = Arc::new(Opened::default());
    let mut pace = Pace::default();
    let mut lanes_left = 2_u8;
    loop {
        tokio::select! {
            biased;
            error = connection.closed() => return down(context, peer, closer, &error).await,
            Some(done) = tasks.join_next() => match ended(done) {
                Ok(Done::LaneDelivered) => {
                    lanes_left -= 1;
                    if lanes_left == 0 {
                        closer.close(Close::Leaving);
                    }
                }
                Ok(Done::Other) | Err(Fault::Lost) => {}
                Err(Fault::Refused(cause)) => {
                    closer.close(Close::Refused(cause));
                    context.tell(Ask::Refused { cause, who: peer.to_string() }).await;
                }
                Err(Fault::Ending) => closer.close(Close::Leaving),
            },
            Ok(datagram) = connection.read_datagram() => take_datagram(context, peer, &mut pace, datagram),
            Ok(recv) = connection.accept_uni() => {
                tasks.spawn(read_lane(Arc::clone(context), peer.clone(), Arc::clone(&opened), recv));
            }
            Ok((send, recv)) = connection.accept_bi() => {
                let session = session::take(Arc::clone(context), peer.id, send, recv);
                tasks.spawn(async { session.await.map(|()| Done::Other) });
            }
        }
    }
}

fn ended(done: Result<Result<Done, Fault>, JoinError>) -> Result<Done, Fault> {
    match done {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_cancelled) => Ok(Done::Other),
        },
    }
}

async fn down(context: &Context, peer: &NodeIdentity, closer: &Closer, error: &ConnectionError) -> DownReason {
    match error {
        ConnectionError::LocallyClosed => DownReason::ByUs(closer.why.get().copied().unwrap_or(Close::Leaving)),
        ConnectionError::ApplicationClosed(_) | ConnectionError::ConnectionClosed(_) => {
            let why = greet::by_peer(error);
            if let Some(close @ Close::Refused(_)) = why {
                if greet::is_clash(close) {
                    let fenced = close == Close::Refused(Refusal::Fenced);
                    context.tell(Ask::Clash { boot_epoch: None, fenced }).await;
                }
                context.tell(Ask::TurnedAway { close, who: peer.to_string() }).await;
            }
            DownReason::ByPeer(why)
        }
        ConnectionError::TimedOut => DownReason::TimedOut,
        ConnectionError::Reset => DownReason::Reset,
        ConnectionError::VersionMismatch | ConnectionError::TransportError(_) | ConnectionError::CidsExhausted => {
            DownReason::Transport
        }
    }
}

fn take_datagram(context: &Context, peer: &NodeIdentity, pace: &mut Pace, bytes: Bytes) {
    let event = MemberEvent::Datagram { peer: peer.id, bytes };
    if !pace.permits(Instant::now()) || !context.outlets.members.offer(event) {
        context.counters.count_datagram_dropped();
    }
}

async fn write_ops(
    context: Arc<Context>,
    peer: NodeIdentity,
    connection: Connection,
    mut lane: LaneReceiver,
) -> Result<Done, Fault> {
    let mut send = connection.open_uni().await.map_err(|_| Fault::Lost)?;
    stream::begin(&mut send, StreamKind::Ops, PRIORITY_OPS).await?;
    let data = &context.outlets.data;
    let peer = peer.id;
    while let Some(mut batch) = lane.next_batch().await {
        if lane.is_cut_since_asked() {
            data.send(DataEvent::Behind { peer }).await.map_err(|_| Fault::Ending)?;
        }
        let batch_bytes = batch.iter().map(|frame| frame.len() as u64).sum();
        let writing = send.write_all_chunks(&mut batch);
        tokio::pin!(writing);
        loop {
            tokio::select! {
                biased;
                written = &mut writing => break written?,
                () = lane.next_cut() => {
                    data.send(DataEvent::Behind { peer }).await.map_err(|_| Fault::Ending)?;
                }
            }
        }
        lane.written(batch_bytes);
        if lane.shall_report_empty() {
            data.send(DataEvent::Drained { peer }).await.map_err(|_| Fault::Ending)?;
        }
    }
    deliver(send).await
}

async fn write_membership(connection: Connection, mut lane: LaneReceiver) -> Result<Done, Fault> {
    let mut send = connection.open_uni().await.map_err(|_| Fault::Lost)?;
    stream::begin(&mut send, StreamKind::Membership, PRIORITY_MEMBERSHIP).await?;
    while let Some(mut batch) = lane.next_batch().await {
        let batch_bytes = batch.iter().map(|frame| frame.len() as u64).sum();
        send.write_all_chunks(&mut batch).await?;
        lane.written(batch_bytes);
    }
    deliver(send).await
}

/// Ends a stream and waits until the peer has all of it.
async fn deliver(mut send: quinn::SendStream) -> Result<Done, Fault> {
    send.finish().map_err(|_| Fault::Lost)?;
    // Stopped or lost: there is nothing more to deliver either way.
    let _ = send.stopped().await;
    Ok(Done::LaneDelivered)
}

async fn read_lane(
    context: Arc<Context>,
    peer: NodeIdentity,
    opened: Arc<Opened>,
    recv: RecvStream,
) -> Result<Done, Fault> {
    let mut reader = StreamReader::new(recv);
    let first = tokio::time::timeout(context.limits.greeting_timeout, reader.expect::<StreamKind>());
    let kind = first.await.unwrap_or(Err(Fault::Refused(Refusal::Silent)))?;
    let seen = match kind {
        StreamKind::Ops => &opened.ops,
        StreamKind::Membership => &opened.membership,
        StreamKind::Hello | StreamKind::Session => return Err(Fault::Refused(Refusal::Malformed)),
    };
    if seen.swap(true, Ordering::Relaxed) {
        return Err(Fault::Refused(Refusal::Malformed));
    }
    while let Some(frame) = reader.next().await? {
        if kind == StreamKind::Ops {
            take_ops(&context, &peer, &frame).await?;
        } else {
            take_membership(&context, &peer, frame).await?;
        }
    }
    Ok(Done::Other)
}

async fn take_ops(context: &Context, peer: &NodeIdentity, received: &Received) -> Result<(), Fault> {
    let frame = received.decode()?;
    let credit = context.allowances.ops.take(body_bytes(received)).await;
    let event = DataEvent::Ops { peer: peer.id, frame, credit };
    context.outlets.data.send(event).await.map_err(|_| Fault::Ending)
}

async fn take_membership(context: &Context, peer: &NodeIdentity, frame: Received) -> Result<(), Fault> {
    let credit = context.allowances.members.take(body_bytes(&frame)).await;
    let event = MemberEvent::Frame { peer: peer.id, frame, credit };
    context.outlets.members.send(event).await.map_err(|_| Fault::Ending)
}

fn body_bytes(received: &Received) -> u32 {
    u32::try_from(received.body().len()).unwrap_or(u32::MAX)
}
