//! A peer that does not read costs a bounded amount of memory and nobody else's time.

use bytes::Bytes;
use everett_mesh_proto::wire::{OpsFrame, encode_frame};

use super::raw::{Raw, hello, narrow};
use super::world::{Agent, FIRST, authority, bundle, mtls, quick};
use crate::net::messages::{Command, DataEvent};
use crate::net::tls::stranger;
use crate::net::{Limits, LinkMeter};

const FRAME_BYTES: usize = 10_000;
const FRAMES: usize = 200;

/// `a` with a peer that reads, and one that does not.
async fn world() -> (Agent, Agent, Raw, (everett_mesh_proto::id::NodeId, LinkMeter)) {
    let authority = authority();
    let limits = Limits { lane_bytes_max: 100_000, ..quick() };
    let mut a = Agent::with(&mtls(bundle(&authority, "a").path()), FIRST, limits);
    let mut brisk = Agent::new(&authority, "brisk");
    brisk.dial(&a).await;
    a.up().await;
    brisk.up().await;
    let peer = mtls(bundle(&authority, "slow").path());
    let client = narrow(stranger::showing(&peer));
    let raw = Raw::dial(a.net.local_address(), client).await.unwrap();
    raw.link(&hello(peer.place_key().fingerprint())).await;
    let slow = a.up().await;
    for peer in [brisk.id(), slow.0] {
        a.command(Command::Resume { peer }).await;
    }
    (a, brisk, raw, slow)
}

#[tokio::test]
async fn a_peer_that_does_not_read_falls_behind_and_delays_nobody() {
    let (mut a, mut brisk, raw, (slow, meter)) = world().await;
    let mut behind = 0;
    for sent in 0..FRAMES {
        let group = Bytes::from(vec![u8::try_from(sent).unwrap(); FRAME_BYTES]);
        a.net.broadcast(encode_frame(&OpsFrame::Groups(vec![group])).unwrap());
        let byte = brisk
            .data_that(|event| {
                if let DataEvent::Ops { frame: OpsFrame::Groups(groups), .. } = event {
                    Some(groups[0][0])
                } else {
                    None
                }
            })
            .await;
        assert_eq!(usize::from(byte), sent);
        assert!(meter.read().queued_bytes <= 100_000 + FRAME_BYTES as u64);
        while let Some(event) = a.inboxes.data.next_now() {
            match event {
                DataEvent::Behind { peer } => {
                    assert_eq!(peer, slow);
                    behind += 1;
                }
                DataEvent::Drained { .. } => {}
                other @ (DataEvent::Up { .. } | DataEvent::Ops { .. } | DataEvent::Down { .. }) => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(behind, 1, "reported once, then left alone");
    // It begins to read, takes what was under way, and is reported as ready for catch-up.
    let mut reading = tokio::task::JoinSet::new();
    for _ in 0..2 {
        let mut stream = raw.connection.accept_uni().await.unwrap();
        reading.spawn(async move { while let Ok(Some(_)) = stream.read_chunk(1 << 16, true).await {} });
    }
    a.drained().await;
    a.command(Command::Resume { peer: slow }).await;
    assert_eq!(meter.read().queued_bytes, 0);
}
