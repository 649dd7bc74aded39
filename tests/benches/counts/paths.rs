//! The paths that are counted, each prepared so that one step takes what the next one takes.

use std::collections::BTreeMap;
use std::hint::black_box;

use bytes::Bytes;
use clap::ValueEnum;
use everett_agent::api::resp::{Limits, RequestParser};
use everett_mesh_proto::clock::Stamp;
use everett_mesh_proto::crdt::{NEVER_MS, Raise, Scalar, Sibling};
use everett_mesh_proto::id::{Dot, ReplicaId, Space};
use everett_mesh_proto::rows::{Kind, Placer, Row, RowKey};
use everett_mesh_proto::summary;
use everett_mesh_proto::testing::{MemoryChange, MemoryContent, MemoryTree};
use everett_mesh_proto::vector::Vector;
use everett_mesh_proto::wire::{decode_payload, encode_payload, encode_row};

use everett_tests::resp::encode;

use crate::server::{Request, Server};

/// Keys that commands go round.
const KEYS: usize = 1_000;

/// Steps of most paths, and as many again.
const STEPS: usize = 2_000;

/// Rows under the tree.
const TREE_ROWS: usize = 10_000;

/// Rows of it that change in one step.
const TREE_CHANGED: usize = 100;

/// A value as the load tools write them.
const VALUE: [u8; 100] = [b'x'; 100];

/// One hot path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Path {
    /// One SET of 100 bytes is taken out of what a client sent
    Parse,
    /// A GET of a key that is in memory
    Get,
    /// A SET of a key that has a value, to the sealed group and its release
    Set,
    /// An INCR of a key that has a number, likewise
    Incr,
    /// A group of one SET that a peer sent becomes visible
    Apply,
    /// Two states of one row with two values and a counter entry between them
    Join,
    /// A group of one SET into bytes
    Encode,
    /// The same back
    Decode,
    /// A hundred rows of ten thousand have changed
    Tree,
}

/// Takes the number of the step.
type Step = Box<dyn FnMut(usize)>;

impl Path {
    /// As the record names it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Parse => "parse",
            Self::Get => "get",
            Self::Set => "set",
            Self::Incr => "incr",
            Self::Apply => "apply",
            Self::Join => "join",
            Self::Encode => "encode",
            Self::Decode => "decode",
            Self::Tree => "tree",
        }
    }

    /// How many steps are counted.
    pub(crate) fn steps(self) -> usize {
        if self == Self::Tree { 20 } else { STEPS }
    }

    /// What is to be counted. A burdened step copies its value once more.
    pub(crate) fn prepare(self, burdened: bool) -> Step {
        let mut step = match self {
            Self::Parse => parse(),
            // What clients saw lately is found by a hash that is seeded anew by each process: of many keys, two may be in
            // each other's way today and not tomorrow.
            Self::Get => commands(1, |key| Request::new(&[b"GET", key])),
            Self::Set => commands(KEYS, |key| Request::new(&[b"SET", key, &VALUE])),
            Self::Incr => commands(KEYS, |key| Request::new(&[b"INCR", &[b"n:", key].concat()])),
            Self::Apply => apply(),
            Self::Join => join(),
            Self::Encode => encode_group(),
            Self::Decode => decode_group(),
            Self::Tree => tree(),
        };
        let burden = if self == Self::Tree { 100 * TREE_CHANGED } else { 10 };
        if !burdened {
            return step;
        }
        Box::new(move |number| {
            (0..burden).for_each(|_| drop(black_box(VALUE.to_vec())));
            step(number);
        })
    }
}

fn keys() -> impl Iterator<Item = Vec<u8>> {
    (0..KEYS).map(|number| format!("key:{number:012}").into_bytes())
}

fn parse() -> Step {
    let input = keys().take(16).flat_map(|key| encode(&[b"SET", &key, &VALUE])).collect::<Vec<u8>>();
    let (mut parser, limits, mut at) = (RequestParser::new(), Limits::default(), 0);
    Box::new(move |_| {
        let whole = parser.parse(&input[at..], &limits).expect("a request of ours follows the protocol");
        black_box(parser.args(&input[at..]).len());
        at += whole.expect("a request of ours is whole");
        at %= input.len();
    })
}

/// Requests that go round so many of the keys, all of which have values.
fn commands(count: usize, request: impl Fn(&[u8]) -> Request) -> Step {
    let mut server = Server::new(1);
    let requests: Vec<_> = keys().take(count).map(|key| request(&key)).collect();
    for key in keys() {
        server.execute(&Request::new(&[b"SET", &key, &VALUE]));
    }
    requests.iter().for_each(|request| server.execute(request));
    Box::new(move |number| server.execute(&requests[number % count]))
}

/// The groups of so many SETs that go round the keys.
fn groups(count: usize) -> Vec<Bytes> {
    let keys: Vec<_> = keys().collect();
    let set = |number: usize| Request::new(&[b"SET", &keys[number % KEYS], &VALUE]);
    let requests: Vec<_> = (0..count).map(set).collect();
    let groups = Server::new(2).groups_of(&requests);
    // The clock's marks are logged beside them and are not sent.
    groups.into_iter().filter(|payload| payload.len() > VALUE.len()).collect()
}

fn apply() -> Step {
    // Prepared for the longer of the two runs, so that both are prepared alike.
    let groups = groups(KEYS + 2 * STEPS);
    let mut server = Server::new(1);
    groups[..KEYS].iter().for_each(|group| server.apply(group));
    Box::new(move |number| server.apply(&groups[KEYS + number]))
}

fn join() -> Step {
    let life = |id: u8| ReplicaId([id; 16]);
    let state = |id: u8| {
        let dot = Dot { replica: life(id), seq: 7 };
        let mut scalar = Scalar::default();
        scalar.insert(Sibling {
            dot,
            stamp: Stamp::default(),
            bytes: Bytes::from_static(&VALUE),
            deadline_ms: NEVER_MS,
        });
        let raise = Raise { seq: u64::from(id), stamp: Stamp::default(), up: 5, down: 0, deadline_ms: NEVER_MS };
        scalar.raise(Dot { replica: life(3), seq: 1 }, raise);
        let mut vector = Vector::default();
        vector.raise(dot);
        vector.raise(Dot { replica: life(3), seq: u64::from(id) });
        (scalar, vector)
    };
    let (mine, theirs) = (state(1), state(2));
    Box::new(move |_| {
        let (mine, theirs) = (black_box(&mine), black_box(&theirs));
        black_box(Scalar::join((&mine.0, &mine.1), (&theirs.0, &theirs.1)));
    })
}

fn encode_group() -> Step {
    let group = decode_payload(&groups(2 * KEYS)[KEYS]).expect("our groups can be decoded");
    Box::new(move |_| drop(black_box(encode_payload(black_box(&group)))))
}

fn decode_group() -> Step {
    let bytes = groups(2 * KEYS).swap_remove(KEYS);
    Box::new(move |_| drop(black_box(decode_payload(black_box(&bytes)))))
}

fn tree() -> Step {
    let (placer, space) = (Placer::new(&[7; 32]), Space::numbered(0));
    let row = |seq: u64| {
        let mut scalar = Scalar::default();
        let dot = Dot { replica: ReplicaId([1; 16]), seq };
        scalar.insert(Sibling {
            dot,
            stamp: Stamp::default(),
            bytes: Bytes::from_static(&VALUE),
            deadline_ms: NEVER_MS,
        });
        Row::Scalar(scalar)
    };
    let key = |number: usize| {
        let key = format!("key:{number:012}");
        RowKey::new(&space, placer.place(key.as_bytes()), key.as_bytes(), Kind::Scalar)
    };
    let rows: BTreeMap<_, _> = (0..TREE_ROWS).map(|number| (key(number), row(number as u64 + 1))).collect();
    let mut content = MemoryContent::settled(&placer, &space, &rows, Vector::default());
    let mut before = content.clone();
    let keys: Vec<_> = (0..TREE_ROWS).map(key).collect();
    Box::new(move |number| {
        let changed: Vec<_> = (0..TREE_CHANGED).map(|index| &keys[(number * 7 + index * 97) % TREE_ROWS]).collect();
        let mut at: Vec<_> = changed.iter().map(|key| key.place()).collect();
        let puts: Vec<_> = changed
            .into_iter()
            .enumerate()
            .map(|(index, key)| {
                let seq = TREE_ROWS + number * TREE_CHANGED + index;
                (key.clone(), encode_row(&row(seq as u64)))
            })
            .collect();
        for (key, row) in &puts {
            content.put(key.clone(), Some(row.clone()));
        }
        at.sort_unstable();
        at.dedup();
        let mut drawn = MemoryTree::default();
        let change = MemoryChange { before: &before, after: &content, space: &space };
        let Ok(root) = summary::update(&mut drawn, &change, &placer, &space, &at);
        black_box(root);
        for (key, row) in puts {
            before.put(key, Some(row));
        }
        before.tree_mut().absorb(drawn);
    })
}
