//! The bytes of a session's messages, frozen, and their decoder under damage.

use proptest::prelude::*;

use super::super::cells::Cells;
use super::super::look::{Buckets, Named};
use super::*;
use crate::id::{Dot, ReplicaId};
use crate::rows::Kind;
use crate::vector::Closing;
use crate::wire::{decode_datagram, encode_datagram};

fn messages() -> [Message; 6] {
    let space = Space::numbered(0);
    let named = [Dot { replica: ReplicaId([0xaa; 16]), seq: 300 }].into_iter().collect();
    let root = Hash([0xbb; 32]);
    let by = Dot { replica: ReplicaId([0xaa; 16]), seq: 299 };
    let closed: Closed = [(ReplicaId([0xa9; 16]), Closing { last: 3, by })].into_iter().collect();
    let vector = Brief { named, closed: None };
    let brief = Brief { closed: Some(Hash([0xee; 32])), ..vector.clone() };
    let child = Path::ROOT.children().nth(1).expect("a root has children");
    let sights = vec![
        (Path::ROOT, Sight::Inner(vec![[0xcc; 16], [0; 16]])),
        (child, Sight::Elements(vec![Listed { offset: 300, digest: [0xdd; 16] }])),
    ];
    let key = RowKey::new(&space, 0x0102, b"k", Kind::Scalar);
    let wanted = vec![Want { place: 3, both: true }, Want { place: 300, both: false }];
    let rows = vec![(key.clone(), Bytes::from_static(b"row"))];
    let parts = vec![Dot { replica: ReplicaId([0xab; 16]), seq: 2 }];
    let kept = vec![Kept { key: key.with_kind(Kind::Expiry), parts, marks: [[1; 4], [2; 4]] }];
    let turn = Turn { sights, rows, kept, told: vec![2], cells_told: 5, wanted, more: true, ..Turn::default() };
    let glance = || Glance { estimator: Bytes::from_static(&[4, 5]), sums: Bytes::from_static(&[6; 8]) };
    let cells = |cells: &[u32]| Cells::encode(cells);
    let buckets = Buckets { bits: 1, which: Some(vec![0, 300]), capacity: 2, sums: Bytes::from_static(&[7; 3]) };
    let named = Named { yours: cells(&[1]), both: cells(&[9, 1 << 30]) };
    let looks = vec![
        Look::Anew,
        Look::Glance(glance()),
        Look::Buckets(buckets),
        Look::List(cells(&[1, 1, 1 << 31]), Bytes::from_static(&[8; 4])),
        Look::Cells(named),
        Look::Rest([0xee; 16]),
    ];
    [
        Message::Open(Open { space, vector, root, count: 300, glance: glance() }),
        Message::Answer(Answer { vector: brief, is_equal: true, count: 300, turn: Turn::default() }),
        Message::Turn(turn),
        Message::Turn(Turn::default()),
        Message::Turn(Turn { looks, ..Turn::default() }),
        Message::Closed(closed),
    ]
}

fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(nibble.into(), 16).expect("a nibble is a digit");
    bytes.iter().flat_map(|&byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

const FROZEN: [&str; 6] = [
    "0100013001aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaac0200bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\
     bbbbbbbbbbbbac02020405080606060606060606",
    "010101aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaac0201eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee\
     eeeeeeee01ac02000000000000000000",
    "0102000200000002cccccccccccccccccccccccccccccccc0000000000000000000000000000000001010101ac02dddddddd\
     dddddddddddddddddddddddd0118013000000000000001026b0000010000000000000000000003726f770118013000000000\
     000001026b0000000000000000000000000001abababababababababababababababab020101010102020202010205020301\
     ac02000100",
    "0102000000000000000000",
    "01020600010204050806060606060606060201010200ac020203070707030e9e030000004000000040ffffff3f0408080808\
     04069f01000000800a9e0200000048ffffff3b05eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee0000000000000000",
    "010301a9a9a9a9a9a9a9a9a9a9a9a9a9a9a9a903aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab02",
];

#[test]
fn messages_keep_their_bytes() {
    let bytes = messages().map(|message| encode_datagram(&message));
    assert_eq!(bytes.each_ref().map(|bytes| hex(bytes)), FROZEN, "bytes changed: raise wire::VERSION");
    assert_eq!(bytes.map(|bytes| decode_datagram(&bytes)), messages().map(Ok));
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
        which in 0..5_usize,
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
