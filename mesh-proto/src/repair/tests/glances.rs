//! Sketches and lists: each route of a session, and those who know the secret and make sketches lie.

use super::*;
use crate::summary::{Element, Path, elements};

/// Content of one row a key, under the dots of one author.
fn content(keys: impl IntoIterator<Item = (String, u64)>, vector: Vector) -> MemoryContent {
    let mut rows = BTreeMap::new();
    for (key, seq) in keys {
        let mut register = crate::crdt::Register::default();
        register.insert(Dot { replica: ReplicaId([1; 16]), seq }, seq);
        let place = placer().place(key.as_bytes());
        rows.insert(RowKey::new(&space(), place, key.as_bytes(), crate::rows::Kind::Expiry), Row::Expiry(register));
    }
    MemoryContent::settled(&placer(), &space(), &rows, vector)
}

fn upto(seq: u64) -> Vector {
    [Dot { replica: ReplicaId([1; 16]), seq }].into_iter().collect()
}

/// Whether each side's stage is exactly where the two contents differ.
fn finds_all(a: &MemoryContent, b: &MemoryContent, limits: Limits) -> Traffic {
    let (left, right, traffic) = converse(a, b, limits);
    let differ = |content: &MemoryContent, other: &MemoryContent| -> BTreeMap<RowKey, Option<Row>> {
        let keys = content.keys().chain(other.keys());
        let row = |content: &MemoryContent, key: &RowKey| {
            let Ok(row) = content.row(key);
            row
        };
        let differ = keys.filter(|key| row(content, key) != row(other, key));
        differ.map(|key| (key.clone(), row(other, key))).collect()
    };
    let staged = |outcome: Outcome| outcome.stage.into_iter().collect::<BTreeMap<_, _>>();
    let (left, right) = (staged(done(left)), staged(done(right)));
    // A row of the own that the other never saw needs no word; everything else does.
    let needs = |(_, row): &(RowKey, Option<Row>)| row.is_some();
    let left_needs: Vec<_> = differ(a, b).into_iter().filter(needs).collect();
    for (key, row) in left_needs {
        let Ok(theirs) = a.vector(&space());
        let removed = row.iter().all(|row| row.dots().into_iter().all(|dot| theirs.covers(dot)));
        assert!(left.get(&key) == Some(&row) || removed, "{key:?}");
    }
    let differs = differ(b, a);
    assert!(right.keys().all(|key| differs.contains_key(key)));
    traffic
}

#[test]
fn every_route_finds_every_difference() {
    let routes = [
        ("a first glance", 20_000, 10, 700),
        ("sketches", 20_000, 500, 16_000),
        ("sketches in many buckets", 20_000, 2_000, 60_000),
        ("a list", 2_000, 1_500, 18_000),
    ];
    for (route, count, stale, bytes_max) in routes {
        let a = content((0..count).map(|n| (format!("k{n}"), 1)), upto(1));
        let b = content((0..count).map(|n| (format!("k{n}"), if n < stale { 2 } else { 1 })), upto(2));
        for limits in [Limits::default(), Limits::tiny(), Limits { turn_bytes: 3_000, ..Limits::default() }] {
            let traffic = finds_all(&a, &b, limits);
            let most = bytes_max + 700 + 80 * traffic.messages;
            assert!(traffic.bare_bytes < most, "{route}: {traffic:?}");
        }
    }
}

#[test]
fn buckets_that_hold_too_much_are_shown_in_halves() {
    // So many differences at neighbouring places that one bucket of many gets most of them.
    let mut keys: Vec<String> = (0..12_000).map(|n| format!("k{n}")).collect();
    keys.sort_by_key(|key| placer().place(key.as_bytes()));
    let a = content(keys.iter().map(|key| (key.clone(), 1)), upto(1));
    for clustered in [60, 200] {
        let stale = |n: usize| n < clustered || n.is_multiple_of(70);
        let b = content(keys.iter().enumerate().map(|(n, key)| (key.clone(), 1 + u64::from(stale(n)))), upto(2));
        finds_all(&a, &b, Limits::default());
    }
}

/// Two disjoint sets of places whose ids have the same sums in a sketch: one who knows the secret looks for rows whose
/// sketches are linearly dependent.
fn cancelling(sums: usize) -> [Vec<u64>; 2] {
    let wanted = 64 * sums + 1;
    // Each row of the matrix: the sums of the difference between two versions at one place, and which places it is made of.
    let mut pivots: BTreeMap<usize, (Vec<u64>, Vec<u64>)> = BTreeMap::new();
    for place in 0..wanted as u64 {
        let mut sketch = crate::summary::Sketch::new(sums);
        let versions = [1, 2].map(|seq| content([(format!("k{place}"), seq)], upto(seq)));
        for version in &versions {
            sketch.toggle(only(version).id());
        }
        let (mut row, mut made_of) = (sketch.sums().to_vec(), vec![place]);
        loop {
            let Some(bit) = row.iter().enumerate().find(|(_, word)| **word != 0) else {
                return [made_of.clone(), (0..wanted as u64).filter(|place| !made_of.contains(place)).collect()];
            };
            let at = bit.0 * 64 + bit.1.leading_zeros() as usize;
            let Some((pivot, parts)) = pivots.get(&at) else { break };
            row.iter_mut().zip(pivot).for_each(|(word, pivot)| *word ^= pivot);
            for part in parts {
                match made_of.iter().position(|place| place == part) {
                    Some(twice) => drop(made_of.swap_remove(twice)),
                    None => made_of.push(*part),
                }
            }
        }
        let first = row.iter().position(|word| *word != 0).expect("not zero");
        pivots.insert(first * 64 + row[first].leading_zeros() as usize, (row, made_of));
    }
    unreachable!("more vectors than dimensions are dependent")
}

fn only(content: &MemoryContent) -> Element {
    let Ok(elements) = elements(content, &placer(), &space(), Path::ROOT);
    elements[0]
}

#[test]
fn sets_made_to_cancel_in_a_sketch_are_found_by_the_descent() {
    let [changed, _] = cancelling(8);
    assert!(changed.len() > 100, "many rows are needed to cancel in eight sums");
    let stale: std::collections::BTreeSet<u64> = changed.into_iter().collect();
    let a = content((0..5_000).map(|n| (format!("k{n}"), 1)), upto(1));
    let b = content((0..5_000).map(|n| (format!("k{n}"), if stale.contains(&n) { 2 } else { 1 })), upto(2));
    let limits = Limits { glance_sums: 8, ..Limits::default() };
    let honest = finds_all(&a, &b, Limits { glance_sums: 0, ..limits });
    let fooled = finds_all(&a, &b, limits);
    assert!(fooled.messages <= honest.messages + 2, "{fooled:?}, a descent alone {honest:?}");
}

#[test]
fn a_difference_that_hides_in_a_sketch_beside_one_that_does_not_is_found_too() {
    let [changed, _] = cancelling(8);
    let stale: std::collections::BTreeSet<u64> = changed.into_iter().chain([4_000, 4_001]).collect();
    let a = content((0..5_000).map(|n| (format!("k{n}"), 1)), upto(1));
    let b = content((0..5_000).map(|n| (format!("k{n}"), if stale.contains(&n) { 2 } else { 1 })), upto(2));
    for (left, right) in [(&a, &b), (&b, &a)] {
        finds_all(left, right, Limits { glance_sums: 8, ..Limits::default() });
    }
}

#[test]
fn sketches_are_decoded_in_stretches_and_nothing_is_said_meanwhile() {
    let pin = content((0..100).map(|n| (format!("k{n}"), 1)), upto(1));
    let limits = Limits { stretch_sums: 64, ..Limits::default() };
    let sketches = Look::Buckets(Buckets { bits: 4, which: None, capacity: 32, sums: vec![7; 8 * 32 * 16].into() });
    let turn = Turn { looks: vec![sketches], ..Turn::default() };
    let answer = Message::Answer(Answer { vector: Brief::from(&upto(9)), is_equal: false, count: 0, turn });
    let begun = || {
        let Ok(mut session) = Session::initiate(Instant::ZERO, limits, placer(), space(), &pin);
        session.poll_output();
        let Ok(()) = session.handle_input(Instant::ZERO, &pin, answer.clone());
        session
    };
    let mut session = begun();
    let mut stretches = 1;
    while session.is_working() {
        assert_eq!(session.poll_output(), None);
        let Ok(()) = session.work(&pin);
        stretches += 1;
    }
    assert_eq!(stretches, 16 * 32 / 64);
    assert!(matches!(session.poll_output(), Some(Output::Send(_))));
    let mut hasty = begun();
    let Ok(()) = hasty.handle_input(Instant::ZERO, &pin, Message::Turn(Turn::default()));
    assert_eq!((hasty.poll_output(), hasty.is_working()), (Some(Output::Failed(Failure::Broke)), false));
    let Ok(()) = hasty.work(&pin);
    assert_eq!(hasty.poll_output(), None);
}

/// The expiry of "k" under one dot, with any deadline, beside a row of its own seq.
fn damaged(deadline_ms: u64, seq: u64) -> MemoryContent {
    let row = |key: &str, seq: u64, deadline_ms| {
        let mut register = crate::crdt::Register::default();
        register.insert(Dot { replica: ReplicaId([1; 16]), seq }, deadline_ms);
        let place = placer().place(key.as_bytes());
        (RowKey::new(&space(), place, key.as_bytes(), crate::rows::Kind::Expiry), Row::Expiry(register))
    };
    let rows = [row("k", 1, deadline_ms), row("other", seq, 7)].into();
    MemoryContent::settled(&placer(), &space(), &rows, upto(seq))
}

#[test]
fn equal_dots_with_other_bytes_are_named_under_other_vectors_too() {
    let named = |outcome: Outcome| outcome.diverged.iter().map(RowKey::key).collect::<Vec<_>>();
    for limits in [Limits::default(), Limits::blind()] {
        let (left, right, _) = converse(&damaged(5, 2), &damaged(6, 3), limits);
        assert_eq!((named(done(left)), named(done(right))), (vec!["k".into()], vec!["k".into()]));
        let (left, right, _) = converse(&damaged(5, 2), &damaged(5, 3), limits);
        assert_eq!((named(done(left)), named(done(right))), (vec![], vec![]));
    }
}

#[test]
fn parts_kept_that_this_side_never_saw_end_the_session() {
    let pin = content((0..100).map(|n| (format!("k{n}"), 1)), upto(1));
    let key = |name: &str| {
        let place = placer().place(name.as_bytes());
        RowKey::new(&space(), place, name.as_bytes(), crate::rows::Kind::Expiry)
    };
    let after = |key: RowKey, seq: u64| {
        let parts = vec![Dot { replica: ReplicaId([1; 16]), seq }];
        let kept = vec![Kept { key: key.clone(), parts, marks: [[0; 4]; 2] }];
        let both = Cells::encode(&[crate::summary::cell_of(placer().place(b"k1"))]);
        let looks = vec![Look::Cells(Named { both, ..Named::default() })];
        let Ok(mut session) = Session::initiate(Instant::ZERO, Limits::default(), placer(), space(), &pin);
        session.poll_output();
        let turn = Turn { looks, kept, more: true, ..Turn::default() };
        let answer = Message::Answer(Answer { vector: Brief::from(&upto(9)), is_equal: false, count: 0, turn });
        let Ok(()) = session.handle_input(Instant::ZERO, &pin, answer);
        session.poll_output()
    };
    assert!(matches!(after(key("k1"), 1), Some(Output::Send(_))));
    assert_eq!(after(key("k1"), 2), Some(Output::Failed(Failure::Broke)));
    assert_eq!(after(key("k2"), 1), Some(Output::Failed(Failure::Broke)));
}

fn begun(pin: &MemoryContent, looks: Vec<Look>) -> Option<Output> {
    let Ok(mut session) = Session::initiate(Instant::ZERO, Limits::default(), placer(), space(), pin);
    session.poll_output();
    let turn = Turn { looks, ..Turn::default() };
    let answer = Message::Answer(Answer { vector: Brief::from(&upto(9)), is_equal: false, count: 0, turn });
    let Ok(()) = session.handle_input(Instant::ZERO, pin, answer);
    std::iter::from_fn(|| session.poll_output()).find(|output| !matches!(output, Output::Send(_)))
}

#[test]
fn looks_that_no_honest_side_shows_end_the_session() {
    let pin = content((0..100).map(|n| (format!("k{n}"), 1)), upto(1));
    let sums = |count: usize| bytes::Bytes::from(vec![7; 8 * count]);
    let buckets = |bits, which, capacity, sums| Look::Buckets(Buckets { bits, which, capacity, sums });
    let cells = |cells: &[u32]| Cells::encode(cells);
    let cases = [
        ("a second first glance", Look::Glance(Glance::default())),
        ("halves of nothing", buckets(1, Some(vec![0]), 3, sums(3))),
        ("too few sums", buckets(1, None, 3, sums(5))),
        ("no sums", buckets(0, None, 0, sums(0))),
        ("a capacity beyond all", buckets(0, None, 300, sums(300))),
        ("buckets beyond all", buckets(200, None, 3, sums(3))),
        ("a list of other lengths", Look::List(cells(&[1, 2]), vec![0; 4].into())),
        ("more cells than sums", Look::Cells(Named { both: cells(&(0..40).collect::<Vec<_>>()), ..Named::default() })),
        ("a cell twice", Look::Cells(Named { yours: cells(&[1]), both: cells(&[1]) })),
    ];
    for (case, look) in cases {
        assert_eq!(begun(&pin, vec![look]), Some(Output::Failed(Failure::Broke)), "{case}");
    }
    // Sketches of anything decode to nothing that can be: it goes on with a descent.
    assert_eq!(begun(&pin, vec![buckets(1, None, 3, sums(6))]), None);
    // A cell that is said to be taken here, and is not.
    let named = Named { yours: cells(&[7]), ..Named::default() };
    assert_eq!(begun(&pin, vec![Look::Cells(named)]), None);
}

#[test]
fn rows_in_cells_that_were_not_named_are_the_peers_alone_or_the_glance_was_wrong() {
    let pin = content((0..100).map(|n| (format!("k{n}"), 1)), upto(1));
    let after = |limits: Limits, key: &str, looks: Vec<Look>| {
        let Ok(mut session) = Session::initiate(Instant::ZERO, limits, placer(), space(), &pin);
        session.poll_output();
        let other = content([(key.to_owned(), 5)], upto(9));
        let place = placer().place(key.as_bytes());
        let mut rows = Vec::new();
        let Ok(()) = other.rows(&space(), Path::of_place(place), &mut |key, row| {
            rows.push((key.clone(), row.clone()));
            std::ops::ControlFlow::Continue(())
        });
        let turn = Turn { looks, rows, ..Turn::default() };
        let Ok(()) = session.handle_input(
            Instant::ZERO,
            &pin,
            Message::Answer(Answer { vector: Brief::from(&upto(9)), is_equal: false, count: 0, turn }),
        );
        std::iter::from_fn(|| session.poll_output()).last()
    };
    let Ok(proof) = crate::summary::hash_without(&pin, &placer(), &space(), &[]);
    let proof = Look::Rest(*proof.0.first_chunk().expect("32 bytes begin with 16"));
    let looks = |output: Option<Output>| match output {
        Some(Output::Send(Message::Turn(turn))) => turn.looks,
        other => panic!("no turn, but {other:?}"),
    };
    assert!(matches!(after(Limits::default(), "new", vec![proof.clone()]), Some(Output::Done(_))));
    assert_eq!(looks(after(Limits::default(), "k1", vec![proof.clone()])), [Look::Anew]);
    assert_eq!(looks(after(Limits::default(), "new", vec![Look::Rest([1; 16])])), [Look::Anew]);
    let broke = Some(Output::Failed(Failure::Broke));
    assert_eq!(after(Limits::default(), "new", vec![]), broke);
    assert_eq!(after(Limits::blind(), "new", vec![]), broke);
}

#[test]
fn what_is_named_without_a_proof_of_the_rest_is_not_adopted() {
    let pin = content((0..100).map(|n| (format!("k{n}"), 1)), upto(1));
    let Ok(mut session) = Session::initiate(Instant::ZERO, Limits::default(), placer(), space(), &pin);
    session.poll_output();
    let named = Named { both: Cells::encode(&[7]), ..Named::default() };
    let turn = Turn { looks: vec![Look::Cells(named)], cells_told: 1, ..Turn::default() };
    let answer = Message::Answer(Answer { vector: Brief::from(&upto(9)), is_equal: false, count: 0, turn });
    let Ok(()) = session.handle_input(Instant::ZERO, &pin, answer);
    assert_eq!(session.poll_output(), Some(Output::Failed(Failure::Broke)));
}
