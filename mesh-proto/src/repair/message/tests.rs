//! The bytes of a session's messages, frozen, and their decoder under damage.

use proptest::prelude::*;

use super::*;
use crate::id::{Dot, ReplicaId};
use crate::rows::Kind;
use crate::wire::{decode_datagram, encode_datagram};

fn messages() -> [Message; 4] {
    let space = Space::numbered(0);
    let vector: Vector = [Dot { replica: ReplicaId([0xaa; 16]), seq: 300 }].into_iter().collect();
    let root = Hash([0xbb; 32]);
    let child = Path::ROOT.children().nth(1).expect("a root has children");
    let sights = vec![
        (Path::ROOT, Sight::Inner(vec![[0xcc; 16], [0; 16]])),
        (child, Sight::Elements(vec![Listed { offset: 300, digest: [0xdd; 16] }])),
    ];
    let key = RowKey::new(&space, 0x0102, b"k", Kind::Scalar);
    let wanted = vec![Want { place: 3, both: true }, Want { place: 300, both: false }];
    let turn = Turn { sights, rows: vec![(key, Bytes::from_static(b"row"))], told: vec![2], wanted, more: true };
    [
        Message::Open(Open { space, vector: vector.clone(), root }),
        Message::Answer(Answer { vector, root, sight: Some(Sight::Elements(Vec::new())) }),
        Message::Turn(turn),
        Message::Turn(Turn::default()),
    ]
}

fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(nibble.into(), 16).expect("a nibble is a digit");
    bytes.iter().flat_map(|&byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

const FROZEN: [&str; 4] = [
    "0100013001aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaac02bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\
     bbbbbbbbbbbbbb",
    "010101aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaac02bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\
     bbbbbbbbbb010100",
    "01020200000002cccccccccccccccccccccccccccccccc0000000000000000000000000000000001010101ac02dddd\
     dddddddddddddddddddddddddddd0118013000000000000001026b0000010000000000000000000003726f77010202\
     0301ac020001",
    "01020000000000",
];

#[test]
fn messages_keep_their_bytes() {
    for (message, frozen) in messages().into_iter().zip(FROZEN) {
        let bytes = encode_datagram(&message);
        assert_eq!(hex(&bytes), frozen, "bytes changed: raise wire::VERSION");
        assert_eq!(decode_datagram(&bytes), Ok(message));
    }
}

fn never_grows(bytes: &[u8]) {
    if let Ok(message) = decode_datagram::<Message>(bytes) {
        let again = encode_datagram(&message);
        assert!(again.len() <= bytes.len(), "{message:?}");
        assert_eq!(decode_datagram(&again), Ok(message));
    }
}

proptest! {
    #[test]
    fn damaged_messages_never_panic_nor_yield_more_than_came(
        which in 0..4_usize,
        damage in prop::collection::vec((any::<usize>(), any::<u8>()), 1..4),
        cut in 0..300_usize,
    ) {
        let mut bytes = encode_datagram(&messages()[which]).to_vec();
        for (at, to) in damage {
            let at = at % bytes.len();
            bytes[at] = to;
        }
        bytes.truncate(cut);
        never_grows(&bytes);
    }

    #[test]
    fn random_messages_never_panic_nor_yield_more_than_came(
        variant in 0..4_u8,
        tail in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        never_grows(&[&[1, variant], tail.as_slice()].concat());
    }
}
