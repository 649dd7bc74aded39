//! HELLO: the first exchange on a connection, and the judgement that makes it a link.
//!
//! The dialer sends HELLO once the acceptor's certificate is verified; the acceptor sends nothing at all until it has
//! judged the dialer's certificate and HELLO. Under TLS 1.3 a dialer believes itself connected before it was judged, so
//! only WELCOME says that it is. All of it is bounded by one timeout. What a HELLO says is checked against the
//! certificate's identity, never the other way round.

use std::sync::Arc;

use everett_mesh_proto::id::NodeId;
use everett_mesh_proto::wire::{Hello, Ready, StreamKind, Welcome};
use quinn::Connection;
use tokio::time::timeout;

use super::context::{Ask, Candidate, Context, close};
use super::messages::Fault;
use super::refusal::{Close, Refusal};
use super::settle::Process;
use super::stream::{self, PRIORITY_MEMBERSHIP, StreamReader};
use super::tls;
use crate::identity::NodeIdentity;

/// How a greeting that made no link ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Parted {
    /// This side closed the connection.
    ByUs(Close),
    /// The other side did, for a reason this version knows.
    ByPeer(Close),
    /// The connection was lost.
    Lost,
}

impl From<Fault> for Parted {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Refused(cause) => Self::ByUs(Close::Refused(cause)),
            Fault::Lost => Self::Lost,
            Fault::Ending => Self::ByUs(Close::Leaving),
        }
    }
}

impl From<Close> for Parted {
    fn from(why: Close) -> Self {
        Self::ByUs(why)
    }
}

/// Greets as the one who dialed. Returns who is linked now.
pub(super) async fn dialed(
    context: &Arc<Context>,
    connection: &Connection,
) -> Result<NodeId, (Option<NodeId>, Parted)> {
    let peer = match tls::peer_of(connection, &context.mtls) {
        Ok(peer) => peer,
        Err(cause) => return Err((None, part(context, connection, None, Close::Refused(cause).into()).await)),
    };
    let greeting = timeout(context.limits.greeting_timeout, say_hello(context, connection, &peer));
    match greeting.await.unwrap_or(Err(Close::Refused(Refusal::Silent).into())) {
        Ok(()) => Ok(peer.id),
        Err(parted) => Err((Some(peer.id), part(context, connection, Some(&peer), parted).await)),
    }
}

/// Greets as the one who was dialed.
pub(super) async fn accepted(context: &Arc<Context>, connection: &Connection) {
    let (peer, parted) = match tls::peer_of(connection, &context.mtls) {
        Ok(peer) => {
            let greeting = timeout(context.limits.greeting_timeout, hear_hello(context, connection, &peer));
            match greeting.await.unwrap_or(Err(Close::Refused(Refusal::Silent).into())) {
                Ok(()) => return,
                Err(parted) => (Some(peer), parted),
            }
        }
        Err(cause) => (None, Close::Refused(cause).into()),
    };
    part(context, connection, peer.as_ref(), parted).await;
}

async fn say_hello(context: &Arc<Context>, connection: &Connection, peer: &NodeIdentity) -> Result<(), Parted> {
    if peer.id != context.me.id {
        context.may_greet(peer.id, None).await?;
    }
    let (mut send, recv) = connection.open_bi().await.map_err(|_| Fault::Lost)?;
    stream::begin(&mut send, StreamKind::Hello, PRIORITY_MEMBERSHIP).await?;
    stream::write(&mut send, &context.hello_for(peer)).await?;
    let mut reader = StreamReader::new(recv);
    let welcome: Welcome = reader.expect().await?;
    judge(context, peer, &welcome.hello).await?;
    let decides = context.decides(peer);
    let candidate = Candidate {
        connection: connection.clone(),
        peer: peer.clone(),
        hello: welcome.hello,
        granted: (!decides).then_some(welcome.ordinal),
    };
    let ordinal = context.settle(candidate).await?;
    // From here on the link speaks for itself: if READY cannot be sent, it is going down already.
    let ready = Ready { ordinal: if decides { ordinal } else { 0 } };
    let _ = stream::write(&mut send, &ready).await;
    let _ = send.finish();
    Ok(())
}

async fn hear_hello(context: &Arc<Context>, connection: &Connection, peer: &NodeIdentity) -> Result<(), Parted> {
    let (mut send, recv) = connection.accept_bi().await.map_err(|_| Fault::Lost)?;
    let mut reader = StreamReader::new(recv);
    if reader.expect::<StreamKind>().await? != StreamKind::Hello {
        return Err(Close::Refused(Refusal::Malformed).into());
    }
    let hello: Hello = reader.expect().await?;
    judge(context, peer, &hello).await?;
    let mut candidate = Candidate { connection: connection.clone(), peer: peer.clone(), hello, granted: None };
    let ours = context.hello_for(peer);
    if context.decides(peer) {
        let ordinal = context.settle(candidate).await?;
        // As above: the link is up and speaks for itself. READY says nothing new to the one who decided.
        let _ = stream::write(&mut send, &Welcome { ordinal, hello: ours }).await;
        let _ = send.finish();
    } else {
        // The other side decides, but about connections and not about who bears its name.
        context.may_greet(peer.id, Some(Process::of(&candidate.hello))).await?;
        let welcome = Welcome { ordinal: 0, hello: ours };
        stream::write(&mut send, &welcome).await?;
        let _ = send.finish();
        let ready: Ready = reader.expect().await?;
        candidate.granted = Some(ready.ordinal);
        context.settle(candidate).await?;
    }
    Ok(())
}

/// Whether what a verified peer says of itself fits us.
async fn judge(context: &Context, peer: &NodeIdentity, hello: &Hello) -> Result<(), Close> {
    if everett_mesh_proto::wire::Protocol::OURS.agree(hello.protocol).is_none() {
        return Err(Close::Refused(Refusal::Version));
    }
    if hello.place != context.place {
        return Err(Close::Refused(Refusal::OtherPlaceKey));
    }
    if peer.id != context.me.id {
        return Ok(());
    }
    let local = context.local();
    if hello.nonce == local.nonce {
        return Err(Close::Itself);
    }
    context.tell(Ask::Clash { boot_epoch: Some(hello.boot_epoch), fenced: hello.boot_epoch >= local.boot_epoch }).await;
    let later = hello.boot_epoch > local.boot_epoch;
    Err(Close::Refused(if later { Refusal::NameClash } else { Refusal::Fenced }))
}

/// Ends a greeting that made no link: closes, counts, and finds out why if the peer was the one to end it.
async fn part(context: &Context, connection: &Connection, peer: Option<&NodeIdentity>, parted: Parted) -> Parted {
    let who = peer.map_or_else(|| connection.remote_address().ip().to_string(), ToString::to_string);
    let parted = match (parted, connection.close_reason()) {
        // Closing a connection resets its streams, so the reason shows only on the connection itself.
        (Parted::Lost | Parted::ByUs(Close::Refused(Refusal::Malformed | Refusal::Silent)), Some(error)) => {
            by_peer(&error).map_or(Parted::Lost, Parted::ByPeer)
        }
        (parted, _) => parted,
    };
    match parted {
        Parted::ByUs(why) => {
            close(connection, why);
            if let Close::Refused(cause) = why {
                context.tell(Ask::Refused { cause, who }).await;
            }
        }
        Parted::ByPeer(close) => {
            if is_clash(close) {
                let fenced = close == Close::Refused(Refusal::Fenced);
                context.tell(Ask::Clash { boot_epoch: None, fenced }).await;
            }
            context.tell(Ask::TurnedAway { close, who }).await;
        }
        Parted::Lost => {}
    }
    parted
}

/// Whether a peer says that this node's name is taken: itself, or by somebody it is linked to.
pub(super) fn is_clash(close: Close) -> bool {
    matches!(close, Close::Refused(Refusal::NameClash | Refusal::Fenced))
}

/// What the peer closed a connection for, if it was the peer and this version knows the reason.
pub(super) fn by_peer(error: &quinn::ConnectionError) -> Option<Close> {
    if let quinn::ConnectionError::ApplicationClosed(close) = error {
        return Close::from_code(close.error_code.into_inner());
    }
    tls::refused_by_peer(error).map(Close::Refused)
}
