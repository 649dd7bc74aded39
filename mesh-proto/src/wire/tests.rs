//! Every byte on the wire, frozen, and decoders under random input.

use bytes::Bytes;
use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::*;
use crate::id::{Dot, ReplicaId, Space};
use crate::vector::Vector;

fn vector() -> Vector {
    [Dot { replica: ReplicaId([0xcc; 16]), seq: 200 }].into_iter().collect()
}

fn hello() -> Hello {
    Hello {
        protocol: Protocol { min: 1, max: 2 },
        features: 0x81,
        place: [0xaa; 16],
        boot_epoch: 300,
        nonce: 7,
        replica: ReplicaId([0xbb; 16]),
        wall_ms: 1_000,
        newest_start_of_yours_ms: 0,
        spaces: vec![SpaceHello { space: Space::numbered(0), last_seq: 5, running_hash: 0, vector: vector() }],
    }
}

/// Asserts that `message` has exactly the frame `hex` and reads back. A change here is a new wire version.
fn golden<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(message: &T, hex: &str) {
    let frame = encode_frame(message).unwrap();
    assert_eq!(frame.as_bytes().as_ref(), unhex(hex), "bytes changed: bump wire::VERSION");
    let mut reader = FrameReader::new();
    reader.push(frame.as_bytes());
    let received = reader.next_frame().unwrap().unwrap();
    assert_eq!(received.version(), VERSION);
    assert_eq!(&received.decode::<T>().unwrap(), message);
    assert!(reader.is_between_frames());
}

fn body<T: Serialize>(value: &T) -> Vec<u8> {
    Writer(Vec::new()).append(value)
}

fn unhex(hex: &str) -> Vec<u8> {
    let digits: Vec<u32> = hex.chars().filter_map(|c| c.to_digit(16)).collect();
    let byte = |pair: &[u32]| u8::try_from(pair[0] * 16 + pair[1]).unwrap();
    digits.chunks_exact(2).map(byte).collect()
}

const VECTOR_HEX: &str = "01 cccccccccccccccccccccccccccccccc c801";

const HELLO_HEX: &str = "0102 8101 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa ac02 07 bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb e807 00 \
                         01 0130 05 00 01 cccccccccccccccccccccccccccccccc c801";

#[test]
fn hello_welcome_and_ready_keep_their_bytes() {
    golden(&hello(), &format!("43000000 01 {HELLO_HEX}"));
    golden(&Welcome { ordinal: 9, hello: hello() }, &format!("44000000 01 09 {HELLO_HEX}"));
    golden(&Ready { ordinal: 0 }, "02000000 01 00");
}

#[test]
fn stream_kinds_keep_their_bytes() {
    golden(&StreamKind::Hello, "02000000 01 00");
    golden(&StreamKind::Ops, "02000000 01 01");
    golden(&StreamKind::Session, "02000000 01 02");
    golden(&StreamKind::Membership, "02000000 01 03");
}

#[test]
fn ops_frames_keep_their_bytes() {
    let space = Space::numbered(3);
    let vector = vector();
    let about = |kind: &str| format!("17000000 01 {kind} 0133 {VECTOR_HEX}");
    golden(&OpsFrame::Groups(vec![Bytes::from_static(b"ab"), Bytes::new()]), "07000000 01 00 02 026162 00");
    golden(&OpsFrame::Ack { space: space.clone(), seq: 300 }, "06000000 01 01 0133 ac02");
    golden(&OpsFrame::Has { space: space.clone(), vector: vector.clone() }, &about("02"));
    golden(&OpsFrame::Ask { space: space.clone(), vector }, &about("03"));
    golden(&OpsFrame::BelowLog { space }, "04000000 01 04 0133");
}

#[test]
fn a_datagram_is_a_version_and_a_body() {
    let datagram = encode_datagram(&Ready { ordinal: 5 });
    assert_eq!(datagram.as_ref(), [1, 5]);
    assert_eq!(decode_datagram(&datagram), Ok(Ready { ordinal: 5 }));
    assert_eq!(decode_datagram::<Ready>(&[]), Err(WireError::Malformed));
    assert_eq!(decode_datagram::<Ready>(&[2, 5]), Err(WireError::Version { got: 2 }));
    assert_eq!(decode_datagram::<Ready>(&[1, 5, 0]), Err(WireError::Malformed));
}

#[test]
fn a_batched_set_of_100_bytes_costs_little_more_than_its_group() {
    let group = Bytes::from(vec![0; 150]);
    let frame = encode_frame(&OpsFrame::Groups(vec![group; 50])).unwrap();
    assert!(frame.len_bytes() <= 50 * (150 + 2) + 8);
}

#[test]
fn a_frame_that_announces_too_much_is_refused_before_its_body_comes() {
    let mut reader = FrameReader::new();
    reader.push(&(FRAME_LEN_MAX + 1).to_le_bytes());
    assert_eq!(reader.next_frame(), Err(WireError::TooLong { len: u64::from(FRAME_LEN_MAX) + 1 }));
}

#[test]
fn an_unknown_version_is_refused_before_the_body_comes() {
    let mut reader = FrameReader::new();
    reader.push(&[100, 0, 0, 0, 9]);
    assert_eq!(reader.next_frame(), Err(WireError::Version { got: 9 }));
}

#[test]
fn an_empty_frame_is_refused() {
    let mut reader = FrameReader::new();
    reader.push(&[0, 0, 0, 0]);
    assert_eq!(reader.next_frame(), Err(WireError::Malformed));
}

#[test]
fn a_message_too_long_for_a_frame_is_not_encoded() {
    let groups = OpsFrame::Groups(vec![Bytes::from(vec![0; FRAME_LEN_MAX as usize])]);
    assert!(matches!(encode_frame(&groups), Err(WireError::TooLong { .. })));
}

#[test]
fn a_list_past_its_limit_is_refused() {
    let at_limit = OpsFrame::Groups(vec![Bytes::new(); GROUPS_MAX]);
    assert_eq!(exactly(&body(&at_limit)), Ok(at_limit));
    let above = OpsFrame::Groups(vec![Bytes::new(); GROUPS_MAX + 1]);
    assert_eq!(exactly::<OpsFrame>(&body(&above)), Err(Malformed));
}

#[test]
fn a_count_beyond_the_bytes_left_is_refused() {
    assert_eq!(exactly::<OpsFrame>(&[0, 0xff, 0xff, 0xff, 0xff, 0x0f, 1, 2]), Err(Malformed));
    assert_eq!(exactly::<OpsFrame>(&[0, 1, 0xff, 0xff, 0xff, 0xff, 0x0f, 1, 2]), Err(Malformed));
}

#[test]
fn versions_agree_on_the_newest_common_one() {
    let range = |min, max| Protocol { min, max };
    assert_eq!(range(1, 2).agree(range(2, 3)), Some(2));
    assert_eq!(range(2, 3).agree(range(1, 2)), Some(2));
    assert_eq!(range(1, 1).agree(range(2, 3)), None);
    assert_eq!(range(3, 2).agree(range(1, 9)), None);
}

fn kept_bytes(frame: &OpsFrame) -> usize {
    match frame {
        OpsFrame::Groups(groups) => groups.iter().map(Bytes::len).sum(),
        OpsFrame::Has { space, vector } | OpsFrame::Ask { space, vector } => space.as_str().len() + 17 * vector.len(),
        OpsFrame::Ack { space, .. } | OpsFrame::BelowLog { space } => space.as_str().len(),
        OpsFrame::Summary(summary) => summary.len(),
    }
}

fn reads_back<T: Serialize + DeserializeOwned>(bytes: &[u8]) {
    if let Ok(message) = exactly::<T>(bytes) {
        assert!(body(&message).len() <= bytes.len());
    }
}

proptest! {
    #[test]
    fn random_bytes_never_panic_nor_yield_more_than_came(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        reads_back::<Hello>(&bytes);
        reads_back::<Welcome>(&bytes);
        reads_back::<Ready>(&bytes);
        reads_back::<StreamKind>(&bytes);
        reads_back::<OpsFrame>(&bytes);
        if let Ok(frame) = exactly::<OpsFrame>(&bytes) {
            prop_assert!(kept_bytes(&frame) <= bytes.len());
        }
    }

    #[test]
    fn damaged_hellos_never_panic(at in 0_usize..56, to: u8, cut in 0_usize..60) {
        let mut bytes = body(&Welcome { ordinal: 9, hello: hello() });
        let at = at % bytes.len();
        bytes[at] = to;
        bytes.truncate(cut);
        reads_back::<Welcome>(&bytes);
    }

    #[test]
    fn frames_survive_any_cutting(
        bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 1..8),
        piece in 1_usize..40,
    ) {
        let frames = bodies.iter().map(|body| OpsFrame::Groups(vec![Bytes::copy_from_slice(body)]));
        let frames: Vec<_> = frames.collect();
        let stream: Vec<u8> = frames.iter().flat_map(|f| encode_frame(f).unwrap().into_bytes()).collect();
        let mut reader = FrameReader::new();
        let mut out = Vec::new();
        for chunk in stream.chunks(piece) {
            reader.push(chunk);
            while let Some(frame) = reader.next_frame().unwrap() {
                out.push(frame.decode::<OpsFrame>().unwrap());
            }
        }
        prop_assert!(reader.is_between_frames());
        prop_assert_eq!(out, frames);
    }

    #[test]
    fn a_reader_holds_no_more_than_it_was_given(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut reader = FrameReader::new();
        reader.push(&bytes);
        while let Ok(Some(frame)) = reader.next_frame() {
            prop_assert!(frame.body().len() <= bytes.len());
        }
        prop_assert!(reader.held_bytes() <= bytes.len() as u64);
    }
}
