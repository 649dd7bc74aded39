//! Who is turned away, and that nothing else happens.

use std::fs;
use std::time::{Duration, SystemTime};

use everett_certs::{Authority, CaOptions, Profile, files};
use everett_mesh_proto::membership::{Datagram, Life, Standing, State};
use everett_mesh_proto::wire::{Protocol, StreamKind, encode_datagram};
use tempfile::TempDir;

use super::raw::{Raw, hello, say};
use super::world::{Agent, FIRST, Start, authority, bundle, mtls, pair, quick, until};
use crate::net::refusal::Close;
use crate::net::tls::stranger;
use crate::net::{Command, DownReason, Limits, MemberEvent, Refusal, Target};

/// Asserts that `raw` is closed without having been sent a word, and that the agent counts `cause` and heard nothing.
async fn turned_away(raw: Raw, agent: &mut Agent, cause: Refusal) {
    raw.connection.closed().await;
    agent.until_refused(cause).await;
    assert_eq!(raw.heard(), 0);
    assert_eq!(agent.refused(cause), 1);
    assert!(agent.heard_nothing());
}

#[tokio::test]
async fn a_dialer_without_a_certificate_hears_nothing() {
    let mut agent = Agent::new(&authority(), "a");
    let raw = Raw::dial(agent.net.local_address(), stranger::anonymous()).await.unwrap();
    let _ = raw.connection.send_datagram(b"\x01let me in"[..].into());
    turned_away(raw, &mut agent, Refusal::NoCertificate).await;
}

#[tokio::test]
async fn a_dialer_of_another_authority_hears_nothing() {
    let mut agent = Agent::new(&authority(), "a");
    let foreign = mtls(bundle(&authority(), "b").path());
    let raw = Raw::dial(agent.net.local_address(), stranger::showing(&foreign)).await.unwrap();
    turned_away(raw, &mut agent, Refusal::UnknownCa).await;
}

fn expired(authority: &Authority, node: &str) -> TempDir {
    let hour = Duration::from_hours(1);
    let profile = Profile { starts_at: SystemTime::now() - 2 * hour, valid_for: hour, ..Profile::new("fra", node) };
    let dir = tempfile::tempdir().unwrap();
    authority.issue(&profile).unwrap().save(dir.path(), false).unwrap();
    dir
}

#[tokio::test]
async fn a_dialer_whose_certificate_has_expired_hears_nothing() {
    let authority = authority();
    let mut agent = Agent::new(&authority, "a");
    let late = mtls(expired(&authority, "b").path());
    let raw = Raw::dial(agent.net.local_address(), stranger::showing(&late)).await.unwrap();
    turned_away(raw, &mut agent, Refusal::Expired).await;
}

#[tokio::test]
async fn an_acceptor_whose_certificate_has_expired_is_refused_by_the_dialer() {
    let authority = authority();
    let mut agent = Agent::new(&authority, "a");
    let mut late = Agent::with(&mtls(expired(&authority, "b").path()), FIRST, quick());
    agent.dial(&late).await;
    agent.until_refused(Refusal::Expired).await;
    until(|| late.net.counters().turned_away() > 0).await;
    assert!(agent.heard_nothing() && late.heard_nothing());
}

/// Two nodes of two clusters whose operator put both authorities into both bundles.
fn overlapping() -> (TempDir, TempDir) {
    let (one, two) = (bundle(&authority(), "a"), bundle(&authority(), "b"));
    let authorities = |dir: &TempDir| fs::read_to_string(dir.path().join(files::CA_CERTIFICATES)).unwrap();
    let (first, second) = (authorities(&one), authorities(&two));
    fs::write(one.path().join(files::CA_CERTIFICATES), format!("{first}{second}")).unwrap();
    fs::write(two.path().join(files::CA_CERTIFICATES), format!("{second}{first}")).unwrap();
    (one, two)
}

#[tokio::test]
async fn a_dialer_of_another_cluster_hears_nothing() {
    let (one, two) = overlapping();
    let mut agent = Agent::with(&mtls(one.path()), FIRST, quick());
    let raw = Raw::dial(agent.net.local_address(), stranger::showing(&mtls(two.path()))).await.unwrap();
    turned_away(raw, &mut agent, Refusal::OtherCluster).await;
}

#[tokio::test]
async fn two_clusters_refuse_each_other_whoever_dials() {
    let (one, two) = overlapping();
    let mut a = Agent::with(&mtls(one.path()), FIRST, quick());
    let mut b = Agent::with(&mtls(two.path()), FIRST, quick());
    a.dial(&b).await;
    a.until_refused(Refusal::OtherCluster).await;
    b.dial(&a).await;
    b.until_refused(Refusal::OtherCluster).await;
    assert!(a.heard_nothing() && b.heard_nothing());
}

#[tokio::test]
async fn a_dialer_with_another_place_key_hears_nothing() {
    let authority = authority();
    let mut agent = Agent::new(&authority, "a");
    let raw =
        Raw::dial(agent.net.local_address(), stranger::showing(&mtls(bundle(&authority, "b").path()))).await.unwrap();
    let _stream = raw.hello(&hello([1; 16])).await;
    assert_eq!(raw.closed().await, Some(Close::Refused(Refusal::OtherPlaceKey)));
    turned_away(raw, &mut agent, Refusal::OtherPlaceKey).await;
}

#[tokio::test]
async fn agents_with_different_place_keys_refuse_each_other() {
    let authority = authority();
    let mut a = Agent::new(&authority, "a");
    let dir = bundle(&authority, "b");
    let key = dir.path().join(files::PLACE_KEY);
    let length = fs::metadata(&key).unwrap().len();
    let other = bundle(&self::authority(), "b");
    fs::copy(other.path().join(files::PLACE_KEY), &key).unwrap();
    assert_eq!(fs::metadata(&key).unwrap().len(), length);
    let mut b = Agent::with(&mtls(dir.path()), FIRST, quick());
    a.dial(&b).await;
    b.until_refused(Refusal::OtherPlaceKey).await;
    until(|| a.net.counters().turned_away() > 0).await;
    assert!(a.heard_nothing() && b.heard_nothing());
}

#[tokio::test]
async fn a_dialer_of_another_version_hears_nothing() {
    let authority = authority();
    let mut agent = Agent::new(&authority, "a");
    let peer = mtls(bundle(&authority, "b").path());
    let raw = Raw::dial(agent.net.local_address(), stranger::showing(&peer)).await.unwrap();
    let mut future = hello(peer.place_key().fingerprint());
    future.protocol = Protocol { min: 200, max: 201 };
    let _stream = raw.hello(&future).await;
    assert_eq!(raw.closed().await, Some(Close::Refused(Refusal::Version)));
    turned_away(raw, &mut agent, Refusal::Version).await;
}

#[tokio::test]
async fn a_dialer_that_says_no_hello_is_closed_in_time() {
    let authority = authority();
    let limits = Limits { greeting_timeout: Duration::from_millis(200), ..quick() };
    let mut agent = Agent::with(&mtls(bundle(&authority, "a").path()), FIRST, limits);
    let peer = mtls(bundle(&authority, "b").path());
    let raw = Raw::dial(agent.net.local_address(), stranger::showing(&peer)).await.unwrap();
    assert_eq!(raw.closed().await, Some(Close::Refused(Refusal::Silent)));
    turned_away(raw, &mut agent, Refusal::Silent).await;
}

#[tokio::test]
async fn a_dialer_that_says_something_else_first_is_refused() {
    let authority = authority();
    let mut agent = Agent::new(&authority, "a");
    let peer = mtls(bundle(&authority, "b").path());
    let raw = Raw::dial(agent.net.local_address(), stranger::showing(&peer)).await.unwrap();
    let (mut send, _recv) = raw.connection.open_bi().await.unwrap();
    say(&mut send, &StreamKind::Session).await;
    assert_eq!(raw.closed().await, Some(Close::Refused(Refusal::Malformed)));
    turned_away(raw, &mut agent, Refusal::Malformed).await;
}

#[tokio::test]
async fn a_linked_peer_that_breaks_the_protocol_loses_its_link_and_no_other_does() {
    let authority = authority();
    let (mut a, mut b) = pair(&authority).await;
    let peer = mtls(bundle(&authority, "c").path());
    let raw = Raw::dial(a.net.local_address(), stranger::showing(&peer)).await.unwrap();
    raw.link(&hello(peer.place_key().fingerprint())).await;
    let (broken, _) = a.up().await;
    let mut stream = raw.connection.open_uni().await.unwrap();
    stream.write_all(&[2, 0, 0, 0, 1, 99]).await.unwrap();
    assert_eq!(raw.closed().await, Some(Close::Refused(Refusal::Malformed)));
    assert_eq!(a.down().await, (broken, DownReason::ByUs(Close::Refused(Refusal::Malformed))));
    assert_eq!(a.refused(Refusal::Malformed), 1);
    a.command(Command::Datagram { peer: b.id(), bytes: b"still here"[..].into() }).await;
    b.member_that(|event| matches!(event, crate::net::MemberEvent::Datagram { .. }).then_some(())).await;
}

#[tokio::test]
async fn whatever_is_said_in_whose_name_the_certificate_tells_who_said_it() {
    let authority = authority();
    let (mut a, b) = pair(&authority).await;
    let peer = mtls(bundle(&authority, "c").path());
    let raw = Raw::dial(a.net.local_address(), stranger::showing(&peer)).await.unwrap();
    raw.link(&hello(peer.place_key().fingerprint())).await;
    let (linked, _) = a.up().await;
    let life = Life { id: b.id(), boot_epoch: 9, nonce: 9 };
    let standing = Standing { life, incarnation: 0, state: State::Left };
    raw.connection.send_datagram(encode_datagram(&Datagram::Leaving { standing })).unwrap();
    let said_by = |event| if let MemberEvent::Datagram { peer, .. } = event { Some(peer) } else { None };
    let from = a.member_that(said_by).await;
    assert_eq!(from, linked);
    assert_ne!(from, b.id());
}

#[tokio::test]
async fn of_two_processes_with_one_name_the_earlier_start_is_fenced() {
    let authority = authority();
    let shared = mtls(bundle(&authority, "a").path());
    let mut earlier = Agent::with(&shared, Start { boot_epoch: 5, nonce: 1 }, quick());
    let mut later = Agent::with(&shared, Start { boot_epoch: 6, nonce: 2 }, quick());
    later.dial(&earlier).await;
    assert!(earlier.clash().await);
    assert!(!later.clash().await);
    assert!(earlier.refused(Refusal::NameClash) > 0);
    assert!(earlier.heard_nothing() && later.heard_nothing());
}

#[tokio::test]
async fn of_two_processes_with_one_name_and_epoch_both_are_fenced() {
    let authority = authority();
    let shared = mtls(bundle(&authority, "a").path());
    let mut one = Agent::with(&shared, Start { boot_epoch: 5, nonce: 1 }, quick());
    let mut two = Agent::with(&shared, Start { boot_epoch: 5, nonce: 2 }, quick());
    one.dial(&two).await;
    assert!(one.clash().await);
    assert!(two.clash().await);
}

#[tokio::test]
async fn an_agent_that_dials_itself_gives_the_address_up_and_counts_nothing() {
    let authority = authority();
    let (mut a, mut b) = (Agent::new(&authority, "a"), Agent::new(&authority, "b"));
    a.command(Command::Connect { target: a.seed(), addresses: Vec::new() }).await;
    a.dial(&b).await;
    assert_eq!(a.up().await.0, b.id());
    b.up().await;
    assert!(Refusal::ALL.iter().all(|cause| a.refused(*cause) == 0));
    assert_eq!(a.net.counters().turned_away(), 0);
}

#[tokio::test]
async fn a_seed_that_nobody_answers_at_is_reported_and_does_no_harm() {
    let mut agent = Agent::new(&authority(), "a");
    let nowhere = Target::Seed("no-such-host.invalid:7117".to_owned());
    agent.command(Command::Connect { target: nowhere.clone(), addresses: Vec::new() }).await;
    let reported = agent
        .member_that(
            |event| if let crate::net::MemberEvent::Unreached { target } = event { Some(target) } else { None },
        )
        .await;
    assert_eq!(reported, nowhere);
}

#[tokio::test]
async fn a_peer_whose_authority_is_trusted_no_longer_loses_its_link_at_once() {
    let authority = authority();
    let dir = bundle(&authority, "a");
    let trust = mtls(dir.path());
    let mut a = Agent::with(&trust, FIRST, quick());
    let mut b = Agent::new(&authority, "b");
    b.dial(&a).await;
    a.up().await;
    b.up().await;
    a.command(Command::Recheck).await;
    let successor = authority.successor(&CaOptions::default()).unwrap();
    successor.issue(&Profile::new("fra", "a")).unwrap().save(dir.path(), true).unwrap();
    let authorities = dir.path().join(files::CA_CERTIFICATES);
    let both = fs::read_to_string(&authorities).unwrap();
    let end = "-----END CERTIFICATE-----";
    fs::write(&authorities, &both[..both.find(end).unwrap() + end.len()]).unwrap();
    trust.reload().unwrap();
    a.command(Command::Recheck).await;
    assert_eq!(a.down().await, (b.id(), DownReason::ByUs(Close::Untrusted)));
    assert_eq!(b.down().await, (a.id(), DownReason::ByPeer(Some(Close::Untrusted))));
    b.until_refused(Refusal::UnknownCa).await;
}

#[tokio::test]
async fn silent_strangers_hold_no_more_slots_than_there_are() {
    let authority = authority();
    let limits = Limits { greetings_max: 1, ..quick() };
    let mut agent = Agent::with(&mtls(bundle(&authority, "a").path()), FIRST, limits);
    let peer = mtls(bundle(&authority, "b").path());
    let silent = Raw::dial(agent.net.local_address(), stranger::showing(&peer)).await.unwrap();
    let refused = Raw::dial(agent.net.local_address(), stranger::showing(&peer)).await;
    assert!(refused.is_err());
    assert_eq!(agent.refused(Refusal::Crowded), 1);
    drop(silent);
    let mut c = Agent::new(&authority, "c");
    c.dial(&agent).await;
    assert_eq!(agent.up().await.0, c.id());
    c.up().await;
}
