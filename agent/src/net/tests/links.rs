//! One link per pair, whatever happens.

use std::sync::Arc;
use std::time::Duration;

use everett_mesh_proto::id::ReplicaId;

use tokio::sync::watch;

use super::world::{Agent, FIRST, Start, authority, bundle, local, mtls, pair, patient, quick, setup, until};
use crate::net::messages::{Command, DataEvent, DownReason, MemberEvent};
use crate::net::refusal::{Close, Refusal};
use crate::net::{Inbox, Limits, Setup, StartError, Target, bind, spawn, start};

#[tokio::test]
async fn two_agents_link_and_know_each_other_by_their_certificates() {
    let authority = authority();
    let (mut a, mut b) = (Agent::new(&authority, "a"), Agent::new(&authority, "b"));
    let life_of_b = ReplicaId::new(1_234, "b", 7);
    a.local.send_modify(|local| Arc::make_mut(local).lives = vec![ReplicaId::new(1_000, "b", 9), life_of_b]);
    a.dial(&b).await;
    let DataEvent::Up { peer, hello, meter } = a.data().await else { panic!("not up") };
    assert_eq!((&*peer.site, &*peer.node, peer.id), ("fra", "b", b.id()));
    assert_eq!((hello.boot_epoch, hello.nonce, hello.newest_start_of_yours_ms), (FIRST.boot_epoch, FIRST.nonce, 0));
    assert!(hello.wall_ms > 0);
    assert_eq!(meter.read().address, b.net.local_address());
    let DataEvent::Up { peer, hello, .. } = b.data().await else { panic!("not up") };
    assert_eq!(peer.id, a.id());
    assert_eq!(hello.newest_start_of_yours_ms, 1_234);
    let from = a.member_that(|event| matches!(event, MemberEvent::Up { .. }).then_some(())).await;
    assert_eq!(from, ());
}

#[tokio::test]
async fn a_link_counts_its_bytes() {
    let (mut a, b) = pair(&authority()).await;
    a.dial(&b).await;
    let before = b.net.counters().turned_away();
    assert_eq!(before, 0);
    let (_, meter) = {
        b.net.try_command(Command::Disconnect { peer: a.id() }).unwrap();
        a.down().await;
        a.up().await
    };
    let figures = meter.read();
    assert!(figures.sent_bytes > 0 && figures.received_bytes > 0);
    assert!(meter.rtt() > std::time::Duration::ZERO);
    assert!(figures.datagram_bytes_max >= 1_100);
}

/// Ups minus downs so far.
fn links(inbox: &mut Inbox<DataEvent>, count: &mut i32) -> i32 {
    while let Some(event) = inbox.next_now() {
        match event {
            DataEvent::Up { .. } => *count += 1,
            DataEvent::Down { .. } => *count -= 1,
            DataEvent::Ops { .. } | DataEvent::Behind { .. } | DataEvent::Drained { .. } => {}
        }
        assert!((0..=1).contains(count), "{count} links at once");
    }
    *count
}

#[tokio::test]
async fn simultaneous_dials_settle_on_one_link() {
    let authority = authority();
    let (one, two) = (mtls(bundle(&authority, "a").path()), mtls(bundle(&authority, "b").path()));
    for _ in 0..50 {
        let mut a = Agent::with(&one, FIRST, quick());
        let mut b = Agent::with(&two, FIRST, quick());
        tokio::join!(a.dial(&b), b.dial(&a));
        let (mut of_a, mut of_b) = (0, 0);
        until(|| links(&mut a.inboxes.data, &mut of_a) == 1 && links(&mut b.inboxes.data, &mut of_b) == 1).await;
        // A word each way and back proves that both ends mean the same connection: the other one is closed by now.
        for round in 0..3_u8 {
            let word = vec![1, round];
            a.command(Command::Datagram { peer: b.id(), bytes: word.clone().into() }).await;
            assert_eq!(datagram(&mut b).await, word);
            b.command(Command::Datagram { peer: a.id(), bytes: word.clone().into() }).await;
            assert_eq!(datagram(&mut a).await, word);
        }
        assert_eq!((links(&mut a.inboxes.data, &mut of_a), links(&mut b.inboxes.data, &mut of_b)), (1, 1));
        for agent in [&a, &b] {
            assert!(Refusal::ALL.iter().all(|cause| agent.refused(*cause) == 0));
            agent.command(Command::Shutdown).await;
        }
        patient(async { tokio::join!(a.hub, b.hub) }).await.0.unwrap();
    }
}

async fn datagram(agent: &mut Agent) -> Vec<u8> {
    agent
        .member_that(|event| if let MemberEvent::Datagram { bytes, .. } = event { Some(bytes.to_vec()) } else { None })
        .await
}

#[tokio::test]
async fn a_second_dial_to_a_linked_peer_changes_nothing() {
    let (mut a, mut b) = pair(&authority()).await;
    b.dial(&a).await;
    let member = Target::Member(b.id());
    a.command(Command::Connect { target: member, addresses: vec![b.net.local_address()] }).await;
    a.drained().await;
    // Far more packets than two handshakes take.
    for round in 0..100_u8 {
        a.command(Command::Datagram { peer: b.id(), bytes: vec![1, round].into() }).await;
        assert_eq!(datagram(&mut b).await, [1, round]);
    }
    assert!(a.inboxes.data.next_now().is_none());
}

#[tokio::test]
async fn a_peer_that_left_and_comes_back_is_linked_again() {
    let authority = authority();
    let shared = mtls(bundle(&authority, "b").path());
    let mut a = Agent::new(&authority, "a");
    let b = Agent::with(&shared, FIRST, quick());
    a.dial(&b).await;
    a.up().await;
    b.command(Command::Shutdown).await;
    let id = b.id();
    patient(b.hub).await.unwrap();
    assert_eq!(a.down().await, (id, DownReason::ByPeer(Some(Close::Leaving))));
    // Back at another address, which it makes known by dialing.
    let mut back = Agent::with(&shared, Start { boot_epoch: 6, nonce: 101 }, quick());
    back.dial(&a).await;
    assert_eq!(a.up().await.0, id);
    assert_eq!(back.up().await.0, a.id());
}

#[tokio::test]
async fn a_later_start_takes_over_before_the_old_link_is_known_to_be_dead() {
    let authority = authority();
    let shared = mtls(bundle(&authority, "b").path());
    let mut a = Agent::new(&authority, "a");
    let mut old = Agent::with(&shared, FIRST, quick());
    old.dial(&a).await;
    a.up().await;
    old.up().await;
    let mut new = Agent::with(&shared, Start { boot_epoch: 6, nonce: 101 }, quick());
    new.dial(&a).await;
    new.up().await;
    assert_eq!(a.down().await, (new.id(), DownReason::ByUs(Close::Refused(Refusal::Fenced))));
    assert_eq!(a.up().await.0, new.id());
    assert!(old.clash().await, "the old process learns that it is fenced");
}

#[tokio::test]
async fn a_process_that_died_is_found_gone_by_the_one_after_it() {
    let authority = authority();
    let shared = mtls(bundle(&authority, "b").path());
    let patient_limits = Limits { idle_timeout: Duration::from_mins(5), ..quick() };
    let mut a = Agent::with(&mtls(bundle(&authority, "a").path()), FIRST, patient_limits);
    let dying = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (_local_of_old, following) = watch::channel(Arc::new(local(FIRST)));
    let first = setup(&shared, quick(), following);
    let old = dying.spawn(async move { start(&first).unwrap() }).await.unwrap();
    let address = old.0.local_address();
    a.command(Command::Connect { target: Target::Seed(address.to_string()), addresses: Vec::new() }).await;
    let id = a.up().await.0;
    // No task of it runs again, so nothing of it says goodbye.
    dying.shutdown_background();
    drop(old);
    let (_local, following) = watch::channel(Arc::new(local(Start { boot_epoch: 6, nonce: 101 })));
    let mut socket = None;
    until(|| {
        socket = bind(address).ok();
        socket.is_some()
    })
    .await;
    let next = Setup { socket: socket.unwrap(), ..setup(&shared, quick(), following) };
    let _running = start(&next).unwrap();
    assert_eq!(a.down().await, (id, DownReason::Reset));
    assert_eq!(a.up().await.0, id);
}

#[tokio::test]
async fn an_earlier_start_is_fenced_while_the_later_one_answers() {
    let authority = authority();
    let shared = mtls(bundle(&authority, "b").path());
    let mut a = Agent::new(&authority, "a");
    let mut current = Agent::with(&shared, FIRST, quick());
    current.dial(&a).await;
    a.up().await;
    let mut stale = Agent::with(&shared, Start { boot_epoch: 4, nonce: 101 }, quick());
    stale.dial(&a).await;
    assert!(stale.clash().await);
    assert!(stale.heard_nothing());
    current.up().await;
    current.drained().await;
    assert!(current.heard_nothing(), "the standing link is not disturbed");
}

#[tokio::test]
async fn a_disconnected_member_is_not_dialed_again() {
    let authority = authority();
    let (mut a, mut b) = (Agent::new(&authority, "a"), Agent::new(&authority, "b"));
    let target = Target::Member(b.id());
    a.command(Command::Connect { target, addresses: vec![b.net.local_address()] }).await;
    a.up().await;
    b.up().await;
    a.command(Command::Disconnect { peer: b.id() }).await;
    assert_eq!(a.down().await, (b.id(), DownReason::ByUs(Close::Unwanted)));
    assert_eq!(b.down().await, (a.id(), DownReason::ByPeer(Some(Close::Unwanted))));
    // Twice the longest pause of `quick` passes in c's favour: a dials c and not b.
    let mut c = Agent::new(&authority, "c");
    a.dial(&c).await;
    assert_eq!(a.up().await.0, c.id());
    c.up().await;
    assert!(b.heard_nothing());
}

#[test]
fn threads_speak_to_nets_on_threads_of_their_own() {
    let authority = authority();
    let on_thread = |node| {
        let (sender, local) = watch::channel(Arc::new(local(FIRST)));
        let setup = setup(&mtls(bundle(&authority, node).path()), quick(), local);
        let members = |_net, mut inbox: Inbox<MemberEvent>| async move { while inbox.next().await.is_some() {} };
        (sender, spawn(setup, members).unwrap())
    };
    let ((_a, mut one), (_b, mut two)) = (on_thread("a"), on_thread("b"));
    let target = Target::Seed(two.net.local_address().to_string());
    assert!(one.net.tell(Command::Connect { target, addresses: Vec::new() }));
    assert!(matches!(one.data.next_blocking(), Some(DataEvent::Up { .. })));
    assert!(matches!(two.data.next_blocking(), Some(DataEvent::Up { .. })));
    one.net.try_command(Command::Shutdown).unwrap();
    one.thread.join().unwrap();
    assert!(!one.net.tell(Command::Recheck), "an ended net takes nothing");
    drop(two.net);
    two.thread.join().unwrap();
}

#[tokio::test]
async fn a_port_in_use_is_an_error_and_not_a_panic() {
    let taken = Agent::new(&authority(), "a");
    assert!(matches!(bind(taken.net.local_address()), Err(StartError::Bind { .. })));
}

#[tokio::test]
async fn dropping_every_handle_ends_the_net() {
    let agent = Agent::new(&authority(), "a");
    drop(agent.net);
    patient(agent.hub).await.unwrap();
}
