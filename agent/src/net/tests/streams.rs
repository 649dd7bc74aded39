//! What travels over a link.

use bytes::Bytes;
use everett_mesh_proto::wire::{Frame, OpsFrame, Ready, encode_datagram, encode_frame};

use super::world::{Agent, authority, pair, patient, until};
use crate::net::channels::COMMANDS;
use crate::net::messages::{Command, DataEvent, DownReason, Lane, MemberEvent, SessionEvent};
use crate::net::refusal::Close;

fn group(byte: u8) -> Frame {
    encode_frame(&OpsFrame::Groups(vec![Bytes::from(vec![byte; 100])])).unwrap()
}

/// The first byte of the next group.
async fn next_group(agent: &mut Agent) -> u8 {
    agent
        .data_that(|event| {
            if let DataEvent::Ops { frame: OpsFrame::Groups(groups), .. } = event { Some(groups[0][0]) } else { None }
        })
        .await
}

#[tokio::test]
async fn a_new_link_gets_what_is_sent_to_it_and_broadcasts_only_after_resume() {
    let (mut a, mut b) = pair(&authority()).await;
    a.drained().await;
    a.net.broadcast(group(1));
    a.command(Command::Send { peer: b.id(), lane: Lane::Ops, frame: group(2) }).await;
    a.drained().await;
    a.command(Command::Resume { peer: b.id() }).await;
    for byte in 3..20 {
        a.net.broadcast(group(byte));
    }
    for byte in 2..20 {
        assert_eq!(next_group(&mut b).await, byte);
    }
    assert!(a.heard_nothing(), "a peer that keeps up is not reported");
}

#[tokio::test]
async fn what_is_queued_arrives_before_a_graceful_end() {
    let (mut a, mut b) = pair(&authority()).await;
    a.command(Command::Resume { peer: b.id() }).await;
    for byte in 0..100 {
        a.net.broadcast(group(byte));
    }
    a.command(Command::Shutdown).await;
    for byte in 0..100 {
        assert_eq!(next_group(&mut b).await, byte);
    }
    assert_eq!(b.down().await, (a.id(), DownReason::ByPeer(Some(Close::Leaving))));
    a.down().await;
    patient(a.hub).await.unwrap();
}

#[tokio::test]
async fn broadcasts_that_the_net_cannot_take_leave_every_peer_behind() {
    let (mut a, b) = pair(&authority()).await;
    a.drained().await;
    a.command(Command::Resume { peer: b.id() }).await;
    for _ in 0..=COMMANDS {
        a.net.broadcast(group(1));
    }
    assert!(matches!(a.data().await, DataEvent::Behind { peer } if peer == b.id()));
    assert!(matches!(a.data().await, DataEvent::Drained { peer } if peer == b.id()));
}

#[tokio::test]
async fn membership_speaks_by_datagrams_and_by_its_own_stream() {
    let (a, mut b) = pair(&authority()).await;
    let message = Ready { ordinal: 7 };
    a.command(Command::Datagram { peer: b.id(), bytes: encode_datagram(&message) }).await;
    let bytes =
        b.member_that(|event| if let MemberEvent::Datagram { bytes, .. } = event { Some(bytes) } else { None }).await;
    assert_eq!(everett_mesh_proto::wire::decode_datagram(&bytes), Ok(message));
    let frame = encode_frame(&message).unwrap();
    a.command(Command::Send { peer: b.id(), lane: Lane::Membership, frame }).await;
    let frame =
        b.member_that(|event| if let MemberEvent::Frame { frame, .. } = event { Some(frame) } else { None }).await;
    assert_eq!(frame.decode(), Ok(message));
}

#[tokio::test]
async fn a_session_carries_frames_both_ways_and_ends_when_its_sender_is_dropped() {
    let (mut a, mut b) = pair(&authority()).await;
    a.command(Command::OpenSession { peer: b.id(), ticket: 42 }).await;
    let SessionEvent::Opened { peer, ticket: Some(42), sender: from_a, session: at_a } = a.session().await else {
        panic!("not opened")
    };
    assert_eq!(peer, b.id());
    from_a.send(encode_frame(&Ready { ordinal: 1 }).unwrap()).unwrap();
    let SessionEvent::Opened { peer, ticket: None, sender: from_b, session: at_b } = b.session().await else {
        panic!("not opened")
    };
    assert_eq!(peer, a.id());
    let SessionEvent::Frame { frame, session, .. } = b.session().await else { panic!("no frame") };
    assert_eq!((frame.decode(), session), (Ok(Ready { ordinal: 1 }), at_b));
    from_b.send(encode_frame(&Ready { ordinal: 2 }).unwrap()).unwrap();
    let SessionEvent::Frame { frame, .. } = a.session().await else { panic!("no frame") };
    assert_eq!(frame.decode(), Ok(Ready { ordinal: 2 }));
    from_b.send(encode_frame(&Ready { ordinal: 3 }).unwrap()).unwrap();
    drop(from_b);
    assert!(matches!(a.session().await, SessionEvent::Frame { .. }));
    assert!(matches!(a.session().await, SessionEvent::Closed { session } if session == at_a));
    assert!(matches!(b.session().await, SessionEvent::Closed { session } if session == at_b));
    until(|| from_a.send(encode_frame(&Ready { ordinal: 4 }).unwrap()).is_err()).await;
}

#[tokio::test]
async fn a_session_with_a_peer_that_is_not_linked_fails() {
    let authority = authority();
    let (mut a, b) = (Agent::new(&authority, "a"), Agent::new(&authority, "b"));
    a.command(Command::OpenSession { peer: b.id(), ticket: 1 }).await;
    assert!(matches!(a.session().await, SessionEvent::Failed { ticket: 1 }));
}

#[tokio::test]
async fn sessions_end_with_their_link() {
    let (mut a, b) = pair(&authority()).await;
    a.command(Command::OpenSession { peer: b.id(), ticket: 1 }).await;
    let SessionEvent::Opened { sender: _sender, session: opened, .. } = a.session().await else { panic!("not opened") };
    b.command(Command::Disconnect { peer: a.id() }).await;
    assert!(matches!(a.session().await, SessionEvent::Closed { session } if session == opened));
}
