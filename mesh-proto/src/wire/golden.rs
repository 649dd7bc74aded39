//! Every byte that is stored, frozen: log payloads and rows, and their decoders under damaged and random input.
//!
//! Apart from the frames' tests because these bytes outlive a connection: a change here is a new format, and stores that
//! hold the old one must still open.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::clock::Stamp;
use crate::crdt::{NEVER_MS, Raise, Register, Scalar, Seen, Sibling};
use crate::id::{Dot, NodeId, ReplicaId, Space};
use crate::replica::{Adoption, Config, Effect, Group, Input, Observed, Op, Payload, Replica, Settled};
use crate::rows::{Kind, Placer, Row, RowKey};
use crate::testing::{MemoryRows, now_at};
use crate::vector::Vector;

const A: ReplicaId = ReplicaId([0xaa; 16]);
const B: ReplicaId = ReplicaId([0xbb; 16]);

fn at(replica: ReplicaId, seq: u64) -> Dot {
    Dot { replica, seq }
}

fn space() -> Space {
    Space::numbered(0)
}

fn scalar() -> Row {
    let mut scalar = Scalar::default();
    let bytes = Bytes::from_static(b"v");
    scalar.insert(Sibling { dot: at(A, 1), stamp: Stamp::at_ms(1).plus(2), bytes, deadline_ms: NEVER_MS });
    scalar.raise(at(B, 3), Raise { seq: 4, stamp: Stamp::at_ms(5), up: 6, down: 7, deadline_ms: 300 });
    scalar.reset(at(A, 8), &Seen { presence: at(B, 3), seq: 3, up: 5, down: 0 });
    Row::Scalar(scalar)
}

fn register() -> Row {
    let mut register = Register::default();
    register.insert(at(B, 2), 300);
    register.insert(at(A, 1), NEVER_MS);
    Row::Expiry(register)
}

fn group() -> Group {
    let key = Bytes::from_static(b"k");
    let seen =
        Observed { siblings: vec![at(A, 4)], entries: vec![Seen { presence: at(B, 1), seq: 200, up: 9, down: 0 }] };
    let effects = [
        Effect::Set { seen: seen.clone(), value: Bytes::from_static(b"v"), deadline_ms: NEVER_MS },
        Effect::Reset { seen: seen.clone() },
        Effect::Raise { generation: 7, up: 300, down: 1, deadline_ms: 1_000 },
        Effect::Drop { presence: at(A, 2) },
        Effect::Expire { removed: vec![at(B, 2)], deadline_ms: 1_000 },
        Effect::Unexpire { removed: vec![at(B, 2)] },
    ];
    let mut ops: Vec<Op> = effects.map(|effect| Op::Key { key: key.clone(), effect }).into();
    ops.push(Op::Cut { context: [at(A, 6), at(B, 2)].into_iter().collect(), resets: vec![(key, seen.entries)] });
    Group { space: space(), author: A, first: 7, stamp: Stamp::at_ms(1_000), deps: vec![at(B, 200)], ops }
}

fn adoption() -> Adoption {
    let key = |kind| RowKey::new(&space(), 0x0102, b"k", kind);
    let rows = vec![(key(Kind::Expiry), None), (key(Kind::Scalar), Some(scalar()))];
    Adoption { space: space(), vector: [at(A, 5), at(B, 300)].into_iter().collect(), rows }
}

fn closing_group() -> Group {
    Group { ops: vec![Op::Close { last: at(A, 300) }], author: B, first: 2, deps: vec![], ..group() }
}

fn adoption_of_closed() -> Adoption {
    let mut vector = adoption().vector;
    vector.close(at(A, 5), at(B, 299));
    Adoption { vector, ..adoption() }
}

fn payloads() -> [Payload; 5] {
    [
        Payload::Group(group()),
        Payload::Adoption(adoption()),
        Payload::Clock { mark_ms: 1_000 },
        Payload::Group(closing_group()),
        Payload::Adoption(adoption_of_closed()),
    ]
}

fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(nibble.into(), 16).expect("a nibble is a digit");
    bytes.iter().flat_map(|&byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

const ROWS: [&str; 2] = [
    "0102aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa01ffffffffffffffffff01bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb02ac02",
    "0101aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa0100000000000100020176ffffffffffffffffff0101bbbbbbbbbbbbbbbb\
     bbbbbbbbbbbbbbbb030400000000000500000607ac020103aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa080500",
];
const PAYLOADS: [&str; 5] = [
    "0100013002aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaabbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb070000000003e800000101\
     c8010700016b010004010101c701090001760001016b010004010101c701090002016b07ac020101e80703016b000204\
     016b01010201e80705016b01010206020006010201016b010101c7010900",
    "0101013002aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa05bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbac020218013000000000\
     000001026b000000000000000000000000000018013000000000000001026b00000100000000000000000000015b0101\
     aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa0100000000000100020176ffffffffffffffffff0101bbbbbbbbbbbbbbbbbbbb\
     bbbbbbbbbbbb030400000000000500000607ac020103aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa080500",
    "0102e807",
    "0100013002bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa020000000003e800000001\
     0701ac02",
    "0103013001bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbac020218013000000000000001026b000000000000000000000000\
     000018013000000000000001026b00000100000000000000000000015b0101aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa01\
     00000000000100020176ffffffffffffffffff0101bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb0304000000000005000006\
     07ac020103aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa08050001aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa05bbbbbbbbbbbb\
     bbbbbbbbbbbbbbbbbbbbab02",
];

#[test]
fn rows_keep_their_bytes() {
    for (row, frozen) in [register(), scalar()].into_iter().zip(ROWS) {
        let bytes = encode_row(&row);
        assert_eq!(hex(&bytes), frozen, "bytes changed: raise wire::ROW_FORMAT and go on reading the old one");
        assert_eq!(decode_row(row.kind(), &bytes), Ok(row));
    }
}

#[test]
fn row_keys_keep_their_bytes() {
    let key = RowKey::new(&space(), 0x0102, b"k\0", Kind::Scalar);
    let frozen = "01300000000000000102".to_owned() + "6b00ff0000" + "01" + "0000000000000000" + "0000";
    assert_eq!(hex(key.as_bytes()), frozen, "bytes changed: every stored row lies under its old key");
}

#[test]
fn payloads_keep_their_bytes() {
    for (payload, frozen) in payloads().into_iter().zip(PAYLOADS) {
        let bytes = encode_payload(&payload);
        assert_eq!(hex(&bytes), frozen, "bytes changed: raise wire::PAYLOAD_FORMAT and go on reading the old one");
        assert_eq!(decode_payload(&bytes), Ok(payload));
    }
}

#[test]
fn another_format_is_refused() {
    for payload in payloads() {
        let mut bytes = encode_payload(&payload).to_vec();
        bytes[0] += 1;
        assert_eq!(decode_payload(&bytes), Err(Malformed));
    }
}

#[test]
fn rows_out_of_order_are_refused() {
    let bytes = encode_row(&register());
    let (head, entries) = bytes.split_at(2);
    let first = entries.len() - (16 + 1 + 2);
    let swapped = [head, &entries[first..], &entries[..first]].concat();
    assert_eq!(decode_row(Kind::Expiry, &swapped), Err(Malformed));
}

#[test]
fn an_adoption_of_another_namespaces_row_is_refused() {
    let elsewhere = RowKey::new(&Space::numbered(1), 0, b"k", Kind::Scalar);
    let adoption = Adoption { rows: vec![(elsewhere, None)], ..adoption() };
    assert_eq!(decode_payload(&encode_payload(&Payload::Adoption(adoption))), Err(Malformed));
}

#[test]
fn entries_of_zero_do_not_arrive() {
    let adoption = Adoption { rows: vec![], vector: [at(A, 5)].into_iter().collect(), space: space() };
    let mut bytes = encode_payload(&Payload::Adoption(adoption.clone())).to_vec();
    let seq = bytes.iter().rposition(|&byte| byte == 5).unwrap();
    bytes[seq] = 0;
    let without = Adoption { vector: Vector::new(), ..adoption };
    assert_eq!(decode_payload(&bytes), Ok(Payload::Adoption(without)));
}

#[test]
fn counts_beyond_the_bytes_left_are_refused() {
    let huge = [0xff, 0xff, 0xff, 0xff, 0x0f];
    for payload in payloads() {
        let bytes = encode_payload(&payload);
        for at in 1..bytes.len() {
            let announced = [&bytes[..at], &huge, &bytes[at..]].concat();
            never_grows(&announced);
        }
    }
}

/// What came out of `bytes`, if anything did, is no more than went in and comes back as it is.
fn never_grows(bytes: &[u8]) {
    if let Ok(payload) = decode_payload(bytes) {
        let again = encode_payload(&payload);
        assert!(again.len() <= bytes.len(), "{payload:?}");
        assert_eq!(decode_payload(&again), Ok(payload));
    }
    for kind in Kind::ALL {
        if let Ok(row) = decode_row(kind, bytes) {
            let again = encode_row(&row);
            assert!(again.len() <= bytes.len(), "{row:?}");
            assert_eq!(decode_row(kind, &again), Ok(row));
        }
    }
    let span = decode_span(bytes);
    if let Ok(Payload::Group(group)) = decode_payload(bytes) {
        let span = span.expect("a whole group has a span").expect("it is a group");
        assert_eq!((span.author, span.first, span.last), (group.author, group.first, group.last().seq));
    }
}

/// A replica that hears `bytes` from a peer, and a client that reads afterwards.
fn hears(bytes: Bytes) {
    let config = Config {
        id: ReplicaId([9; 16]),
        placer: Placer::new(&[7; 32]),
        max_skew: std::time::Duration::from_millis(500),
        gate_bytes_max: 1 << 16,
    };
    let mut replica = Replica::resume(config, Settled::default());
    let mut rows = MemoryRows::default();
    let from = NodeId([1; 16]);
    let Ok(()) = replica.handle_input(now_at(1), &mut rows, Input::Remote { from, payload: bytes });
    let Ok(_) = replica.view(now_at(2), &rows, &space(), b"k");
}

/// The group as the author's first, with nothing to wait for, so that it is applied whatever else is wrong with it.
fn ready() -> Bytes {
    encode_payload(&Payload::Group(Group { first: 1, deps: vec![], ..group() }))
}

fn damaged(bytes: &[u8], damage: &[(usize, u8)], cut: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for &(at, to) in damage {
        let at = at % bytes.len();
        bytes[at] = to;
    }
    bytes.truncate(cut);
    bytes
}

fn any_damage() -> impl Strategy<Value = Vec<(usize, u8)>> {
    prop::collection::vec((any::<usize>(), any::<u8>()), 1..4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn random_bytes_never_panic_nor_yield_more_than_came(
        format in 0..3_u8,
        variant in 0..5_u8,
        tail in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        never_grows(&[&[format, variant], tail.as_slice()].concat());
    }

    #[test]
    fn damaged_payloads_never_panic_nor_yield_more_than_came(
        which in 0..5_usize,
        damage in any_damage(),
        cut in 0..400_usize,
    ) {
        never_grows(&damaged(&encode_payload(&payloads()[which]), &damage, cut));
    }

    #[test]
    fn damaged_rows_never_panic_nor_yield_more_than_came(
        damage in any_damage(),
        cut in 0..400_usize,
    ) {
        for row in [register(), scalar()] {
            never_grows(&damaged(&encode_row(&row), &damage, cut));
        }
    }

    #[test]
    fn a_replica_that_hears_a_damaged_group_never_panics(damage in any_damage()) {
        hears(damaged(&ready(), &damage, usize::MAX).into());
    }
}
