//! One agent's view of a peer that comes, falls behind, asks and goes.

use super::*;

const PEER: NodeId = NodeId([2; 16]);
const LIFE: ReplicaId = ReplicaId([2; 16]);
const ME: ReplicaId = ReplicaId([1; 16]);

fn space() -> Space {
    Space::numbered(0)
}

fn outputs(push: &mut Push) -> Vec<Output> {
    std::iter::from_fn(|| push.poll_output()).collect()
}

fn durable(push: &mut Push, commit: u64) {
    let pushes = vec![(Commit(commit), Bytes::from(commit.to_string()))];
    push.handle_input(Instant::ZERO, Input::Durable { upto: Commit(commit), pushes, applied: vec![] });
}

fn up(push: &mut Push) -> Reading {
    push.handle_input(Instant::ZERO, Input::Up { peer: PEER, life: LIFE, has: Vectors::new() });
    let [Output::Read(reading)] = &outputs(push)[..] else { panic!("a new peer is read to first") };
    reading.clone()
}

fn answer(push: &mut Push, reading: &Reading, upto: u64, groups: &[&'static str]) {
    let groups = groups.iter().map(|group| Bytes::from_static(group.as_bytes())).collect();
    let piece = Piece { peer: PEER, ticket: reading.ticket, groups, upto: Commit(upto), below: vec![] };
    push.handle_input(Instant::ZERO, Input::Read(piece));
}

/// Nobody is about to leave.
const NOBODY: BTreeSet<NodeId> = BTreeSet::new();

#[test]
fn a_new_peer_is_read_to_and_then_goes_live_without_a_gap() {
    let mut push = Push::new(Commit(3));
    let reading = up(&mut push);
    assert_eq!((reading.whose, reading.after), (Whose::Own, Commit(0)));
    durable(&mut push, 4);
    assert_eq!(outputs(&mut push), [], "a peer that is behind gets no broadcast");
    answer(&mut push, &reading, 3, &["1", "3"]);
    let expected = [
        Output::Send { peer: PEER, groups: vec!["1".into(), "3".into()] },
        Output::Send { peer: PEER, groups: vec!["4".into()] },
        Output::Resume { peer: PEER },
    ];
    assert_eq!(outputs(&mut push), expected);
    durable(&mut push, 5);
    assert_eq!(outputs(&mut push), [Output::Broadcast { groups: vec!["5".into()] }]);
}

#[test]
fn a_peer_far_behind_is_read_to_piece_by_piece_as_it_takes_them() {
    let mut push = Push::new(Commit(9));
    let reading = up(&mut push);
    answer(&mut push, &reading, 4, &["1"]);
    assert_eq!(outputs(&mut push), [Output::Send { peer: PEER, groups: vec!["1".into()] }]);
    push.handle_input(Instant::ZERO, Input::Drained { peer: PEER });
    let [Output::Read(next)] = &outputs(&mut push)[..] else { panic!("a drained peer is read on to") };
    assert_eq!(next.after, Commit(4));
    let next = next.clone();
    answer(&mut push, &reading, 9, &["void"]);
    assert_eq!(outputs(&mut push), [], "an answer to an older question is void");
    answer(&mut push, &next, 9, &[]);
    assert_eq!(outputs(&mut push), [Output::Resume { peer: PEER }]);
}

#[test]
fn what_a_peer_has_had_for_a_period_is_asked_for_once() {
    let mut push = Push::new(Commit(0));
    up(&mut push);
    let dot = Dot { replica: LIFE, seq: 7 };
    let vector: Vector = [dot].into_iter().collect();
    push.handle_input(Instant::ZERO, Input::Has { peer: PEER, space: space(), vector: vector.clone() });
    let at = |periods: u32| Instant::ZERO + ASK_PERIOD * periods;
    push.handle_timeout(at(1), &Vectors::new(), ME, &NOBODY);
    assert_eq!(outputs(&mut push), [], "it may still be on its way");
    push.handle_timeout(at(2), &Vectors::new(), ME, &NOBODY);
    assert_eq!(outputs(&mut push), [Output::Ask { peer: PEER, space: space() }]);
    push.handle_timeout(at(3), &[(space(), vector)].into(), ME, &NOBODY);
    assert_eq!(outputs(&mut push), []);
}

#[test]
fn an_asker_gets_everybodys_ops_and_hears_what_only_repair_can_bring() {
    let mut push = Push::new(Commit(5));
    let reading = up(&mut push);
    answer(&mut push, &reading, 5, &[]);
    outputs(&mut push);
    push.handle_input(Instant::ZERO, Input::Asked { peer: PEER, space: space(), vector: Vector::new() });
    let [Output::Read(reading)] = &outputs(&mut push)[..] else { panic!("a question is answered from the log") };
    assert_eq!(reading.whose, Whose::All);
    let piece =
        Piece { peer: PEER, ticket: reading.ticket, groups: vec!["x".into()], upto: Commit(5), below: vec![space()] };
    push.handle_input(Instant::ZERO, Input::Read(piece));
    let expected =
        [Output::BelowLog { peer: PEER, space: space() }, Output::Send { peer: PEER, groups: vec!["x".into()] }];
    assert_eq!(outputs(&mut push), expected);
    assert_eq!(push.peers().collect::<Vec<_>>(), [(PEER, true)], "an answer leaves a live peer live");
}

#[test]
fn an_answer_goes_on_when_the_peer_has_taken_a_piece_of_it() {
    let mut push = Push::new(Commit(9));
    let reading = up(&mut push);
    answer(&mut push, &reading, 9, &[]);
    push.handle_input(Instant::ZERO, Input::Asked { peer: PEER, space: space(), vector: Vector::new() });
    let reading =
        outputs(&mut push).into_iter().find_map(|output| if let Output::Read(r) = output { Some(r) } else { None });
    answer(&mut push, &reading.unwrap(), 4, &["x"]);
    let piece = Output::Send { peer: PEER, groups: vec!["x".into()] };
    assert_eq!(outputs(&mut push), [piece, Output::Await { peer: PEER }]);
    push.handle_input(Instant::ZERO, Input::Drained { peer: PEER });
    let [Output::Read(next)] = &outputs(&mut push)[..] else { panic!("the peer has room for more") };
    assert_eq!((next.whose, next.after), (Whose::All, Commit(4)));
    let next = next.clone();
    push.handle_input(Instant::ZERO, Input::Drained { peer: PEER });
    assert_eq!(outputs(&mut push), [], "one piece at a time");
    answer(&mut push, &next, 9, &["y"]);
    assert_eq!(outputs(&mut push), [Output::Send { peer: PEER, groups: vec!["y".into()] }], "that was all");
}

#[test]
fn of_several_peers_each_is_asked_in_turn() {
    let mut push = Push::new(Commit(0));
    let dot = Dot { replica: LIFE, seq: 7 };
    let others = [NodeId([2; 16]), NodeId([3; 16]), NodeId([4; 16])];
    for peer in others {
        let has: Vectors = [(space(), [dot].into_iter().collect())].into();
        push.handle_input(Instant::ZERO, Input::Up { peer, life: LIFE, has });
    }
    outputs(&mut push);
    push.handle_timeout(Instant::ZERO + ASK_PERIOD, &Vectors::new(), ME, &NOBODY);
    outputs(&mut push);
    let mut asked = Vec::new();
    for round in 2..=5 {
        push.handle_timeout(Instant::ZERO + ASK_PERIOD * round, &Vectors::new(), ME, &NOBODY);
        asked.extend(outputs(&mut push).into_iter().map(|output| {
            let Output::Ask { peer, .. } = output else { panic!("{output:?}") };
            peer
        }));
    }
    assert_eq!(asked, [others[0], others[1], others[2], others[0]]);
    let mut ask = |round, leaving: &[NodeId]| {
        let leaving = leaving.iter().copied().collect();
        push.handle_timeout(Instant::ZERO + ASK_PERIOD * round, &Vectors::new(), ME, &leaving);
        outputs(&mut push)
    };
    let question = |peer| [Output::Ask { peer, space: space() }];
    assert_eq!(ask(6, &others[1..2]), question(others[2]), "who is about to leave is passed over");
    assert_eq!(ask(7, &others), question(others[0]), "unless nobody else has it");
}

#[test]
fn nobody_is_asked_for_what_only_this_life_could_have_written() {
    let mut push = Push::new(Commit(0));
    up(&mut push);
    let vector = [Dot { replica: ME, seq: 7 }].into_iter().collect();
    push.handle_input(Instant::ZERO, Input::Has { peer: PEER, space: space(), vector });
    for period in 1..=3 {
        push.handle_timeout(Instant::ZERO + ASK_PERIOD * period, &Vectors::new(), ME, &NOBODY);
    }
    assert_eq!(outputs(&mut push), []);
}

#[test]
fn only_the_author_hears_at_once_that_its_write_is_durable_here() {
    let mut push = Push::new(Commit(0));
    up(&mut push);
    let mine = Dot { replica: LIFE, seq: 3 };
    let other = Dot { replica: ReplicaId([3; 16]), seq: 9 };
    let applied = vec![(space(), mine), (space(), other)];
    push.handle_input(Instant::ZERO, Input::Durable { upto: Commit(2), pushes: vec![], applied });
    assert_eq!(outputs(&mut push), [Output::Ack { peer: PEER, space: space(), seq: mine.seq }]);
}

#[test]
fn copies_count_the_peers_that_hold_a_dot_durably() {
    let mut push = Push::new(Commit(0));
    up(&mut push);
    let dot = Dot { replica: ReplicaId([1; 16]), seq: 2 };
    assert_eq!(push.copies(&space(), dot), 0);
    push.handle_input(Instant::ZERO, Input::Acked { peer: PEER, space: space(), vector: [dot].into_iter().collect() });
    assert_eq!(push.copies(&space(), dot), 1);
}

/// A dot of the life of `node` that began at `start_ms`.
fn of_life(node: &str, start_ms: u64, seq: u64) -> Dot {
    Dot { replica: ReplicaId::new(start_ms, node, 0), seq }
}

fn holds(push: &mut Push, dots: &[Dot]) {
    let vector = dots.iter().copied().collect();
    push.handle_input(Instant::ZERO, Input::Acked { peer: PEER, space: space(), vector });
}

#[test]
fn lives_are_closable_once_all_who_are_here_hold_the_same_of_them() {
    let mut push = Push::new(Commit(0));
    up(&mut push);
    let (ended, other, own) = (of_life("me", 1, 5), of_life("you", 2, 3), of_life("me", 3, 1));
    let mine = Vectors::from([(space(), [ended, other, own].into_iter().collect())]);
    let closable = |push: &Push, members: &[NodeId]| push.closable(&mine, ("me", own.replica), members);
    let only_it = vec![(space(), vec![ended])];
    assert_eq!(closable(&push, &[PEER]), [], "nothing is known of the peer");
    holds(&mut push, &[Dot { seq: 4, ..ended }, other, own]);
    assert_eq!(closable(&push, &[PEER]), [], "the peer lacks its last write");
    holds(&mut push, &[ended]);
    assert_eq!(closable(&push, &[PEER]), only_it);
    assert_eq!(closable(&push, &[PEER, NodeId([3; 16])]), [], "somebody is not linked");
    holds(&mut push, &[Dot { seq: 6, ..ended }]);
    assert_eq!(closable(&push, &[PEER]), [], "the peer has more of it");
    assert_eq!(closable(&push, &[]), only_it, "nobody else is here");
}

#[test]
fn a_life_that_wrote_nothing_leaves_one_predecessor_open() {
    let push = Push::new(Commit(0));
    let own = of_life("me", 9, 1).replica;
    let closable = |dots: &[Dot]| push.closable(&[(space(), dots.iter().copied().collect())].into(), ("me", own), &[]);
    let (first, second) = (of_life("me", 1, 5), of_life("me", 2, 3));
    assert_eq!(closable(&[first]), [], "a closing is a write");
    assert_eq!(closable(&[first, second]), [(space(), vec![first, second])]);
}
