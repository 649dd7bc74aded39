//! Who acts for whom, and when.

use super::*;
use crate::id::ReplicaId;

use MemberState::{Alive, Dead, Left, Unreachable};

const GRACE: Duration = Duration::from_secs(30);

fn at(seconds: u64) -> Instant {
    Instant::ZERO + Duration::from_secs(seconds)
}

/// Members called `a`, `b`, … in these states.
fn mesh(states: &[MemberState]) -> Vec<Member<'static>> {
    ["a", "b", "c", "d", "e"].into_iter().zip(states).map(|(name, &state)| Member { name, state }).collect()
}

/// When the node `me` acts for `holder`, told the same every second; `None` if not within five minutes.
fn acts(me: &str, states: &[MemberState], holder: &'static str) -> Option<u64> {
    let (mut warden, members) = (Warden::new(me.to_owned(), GRACE), mesh(states));
    (0..300).find(|&second| !warden.due(at(second), &members, [holder]).is_empty())
}

#[test]
fn the_living_act_one_after_another_once_the_grace_is_over() {
    let states = [Alive, Alive, Dead, Alive];
    assert_eq!(["a", "b", "d"].map(|me| acts(me, &states, "c")), [Some(30), Some(32), Some(34)]);
    assert_eq!(acts("b", &[Left, Alive, Alive], "a"), Some(30));
}

#[test]
fn turns_are_taken_from_the_moment_that_somebody_may_be_given_up() {
    let mut wardens = ["a", "b"].map(|me| Warden::new(me.to_owned(), GRACE));
    let (silent, dead) = (mesh(&[Alive, Alive, Unreachable]), mesh(&[Alive, Alive, Dead]));
    for second in 0..60 {
        wardens.iter_mut().for_each(|warden| assert!(warden.due(at(second), &silent, ["c"]).is_empty()));
    }
    let mut acts = |second| wardens.each_mut().map(|warden| !warden.due(at(second), &dead, ["c"]).is_empty());
    assert_eq!(acts(60), [true, false], "the grace was over long ago");
    assert_eq!((acts(61), acts(62)), ([true, false], [true, true]));
}

#[test]
fn who_answers_or_may_still_answer_keeps_its_leases() {
    assert_eq!(acts("a", &[Alive, Alive, Alive], "b"), None);
    assert_eq!(acts("a", &[Alive, Unreachable, Alive], "b"), None, "not dead yet");
    assert_eq!(acts("a", &[Alive, Dead], "a"), None, "nobody withdraws its own for being gone");
}

#[test]
fn a_restart_within_the_grace_begins_it_anew() {
    let mut warden = Warden::new("a".to_owned(), GRACE);
    let (here, gone) = (mesh(&[Alive, Alive]), mesh(&[Alive, Left]));
    assert!(warden.due(at(0), &gone, ["b"]).is_empty());
    assert!(warden.due(at(29), &here, ["b"]).is_empty());
    assert!(warden.due(at(31), &gone, ["b"]).is_empty());
    assert!(warden.due(at(60), &gone, ["b"]).is_empty());
    assert_eq!(warden.due(at(61), &gone, ["b"]), ["b"]);
}

#[test]
fn the_smaller_side_of_a_partition_buries_nobody() {
    assert_eq!(acts("a", &[Alive, Alive, Dead, Dead, Dead], "c"), None);
    assert_eq!(acts("c", &[Dead, Dead, Alive, Alive, Alive], "a"), Some(30));
    assert_eq!(acts("a", &[Alive, Dead, Dead], "b"), None);
    assert_eq!(acts("a", &[Alive, Left, Left, Dead, Dead], "b"), Some(30), "a leave is no doubt");
}

#[test]
fn of_two_halves_one_acts_and_of_two_members_the_other() {
    assert_eq!(acts("a", &[Alive, Alive, Dead, Dead], "d"), Some(30));
    assert_eq!(acts("c", &[Dead, Dead, Alive, Alive], "b"), None);
    assert_eq!(acts("a", &[Alive, Dead], "b"), Some(30));
    assert_eq!(acts("b", &[Dead, Alive], "a"), Some(30));
}

#[test]
fn a_holder_nobody_knows_is_given_up_late_and_never_by_one_alone() {
    assert_eq!(acts("a", &[Alive, Alive, Alive], "x"), Some(60));
    assert_eq!(acts("a", &[Alive], "x"), None, "the first to be back after a power cut");
    assert_eq!(acts("a", &[Alive, Dead, Alive], "x"), Some(60), "half of them, with the first");
    assert_eq!(acts("b", &[Dead, Alive, Alive], "x"), None, "half of them, without");
}

#[test]
fn a_lease_binds_what_it_found_and_what_its_holder_writes() {
    let dot = |node: &str, seq| Dot { replica: ReplicaId::new(1_000 + seq, node, 0), seq };
    let lease = LeaseKey { holder: "a".to_owned(), space: 0, key: Bytes::from_static(b"k") };
    let (found, own, other) = (dot("b", 1), dot("a", 2), dot("b", 3));
    assert_eq!(lease.bound(&[found], &[found, own, other]), [found, own]);
}

#[test]
fn the_key_of_a_lease_is_read_as_it_was_written_and_nothing_else_is() {
    for key in [&b""[..], b"a/b", b"\0/\xff"] {
        let lease = LeaseKey { holder: "edge-1".to_owned(), space: 15, key: Bytes::copy_from_slice(key) };
        assert_eq!(LeaseKey::from_bytes(&lease.to_bytes()), Some(lease));
    }
    for bytes in [&b""[..], b"a", b"a/1", b"a/x/k", b"a/01/k", b"a/256/k", b"\xff/1/k"] {
        assert_eq!(LeaseKey::from_bytes(bytes), None, "{}", bytes.escape_ascii());
    }
}
