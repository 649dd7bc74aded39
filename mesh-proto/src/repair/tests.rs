//! Two replicas that have heard different parts of each other's writes, and a session between their snapshots.

use std::collections::BTreeMap;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

use super::*;
use crate::id::{Dot, NodeId, ReplicaId};
use crate::replica::{Alarm, Config, Edit, Expiry, Input, PinId, Replica, Settled, Signal};
use crate::rows::{Placer, Row};
use crate::summary::Hash;
use crate::testing::{MemoryContent, MemoryRows, now_at};
use crate::time::Instant;
use crate::vector::Brief;

mod glances;
mod hostile;
mod tables;

fn placer() -> Placer {
    Placer::new(&[7; 32])
}

fn space() -> Space {
    Space::numbered(0)
}

struct Site {
    replica: Replica,
    rows: MemoryRows,
    said: Vec<bytes::Bytes>,
}

impl Site {
    fn new(number: u8) -> Self {
        let config = Config {
            id: ReplicaId([number; 16]),
            placer: placer(),
            max_skew: Duration::from_millis(500),
            gate_bytes_max: 1 << 20,
        };
        let replica = Replica::resume(config, Settled::default());
        Self { replica, rows: MemoryRows::default(), said: Vec::new() }
    }

    fn input(&mut self, input: Input) {
        let Ok(()) = self.replica.handle_input(now_at(1), &mut self.rows, input);
        while let Some((record, _)) = self.replica.seal() {
            self.said.push(record.payload);
        }
    }

    fn write(&mut self, rng: &mut Pcg64, keys: u32) {
        let key = bytes::Bytes::from(format!("k{}", rng.random_range(0..keys)));
        let edit = match rng.random_range(0..10) {
            0..5 => Edit::Set { key, value: rng.random::<u64>().to_string().into(), expiry: Expiry::Clear },
            5..7 => Edit::Add { key, by: 1 },
            7 => Edit::Expire { key, deadline_ms: now_at(1_000_000).wall_ms + rng.random_range(0..100) },
            _ => Edit::Delete { key },
        };
        self.input(Input::Local { space: space(), edits: vec![edit] });
    }

    fn hear(&mut self, payload: bytes::Bytes) {
        self.input(Input::Remote { from: NodeId([0; 16]), payload });
    }

    fn pin(&mut self) -> (MemoryContent, PinId) {
        let content = self.rows.content(&space());
        let snapshot = MemoryContent::settled(&placer(), &space(), &content, self.replica.vector(&space()));
        (snapshot, self.replica.open_pin())
    }
}

/// What the messages of a session came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Traffic {
    messages: usize,
    /// Those of the initiator.
    messages_left: usize,
    bytes: usize,
    /// Without rows and their keys.
    bare_bytes: usize,
}

impl Traffic {
    fn count(&mut self, message: &Message) {
        self.messages += 1;
        self.bytes += crate::wire::encode_datagram(message).len();
        let mut bare = message.clone();
        match &mut bare {
            Message::Turn(turn) | Message::Answer(Answer { turn, .. }) => {
                turn.rows.clear();
                turn.kept.clear();
            }
            Message::Open(_) | Message::Closed(_) => {}
        }

        self.bare_bytes += crate::wire::encode_datagram(&bare).len();
    }
}

fn hear(session: &mut Session, pin: &MemoryContent, message: Message) {
    let Ok(()) = session.handle_input(Instant::ZERO, pin, message);
    while session.is_working() {
        let Ok(()) = session.work(pin);
    }
}

/// What a session between two pins came to on both sides, and its traffic.
fn converse(a: &MemoryContent, b: &MemoryContent, limits: Limits) -> (Output, Output, Traffic) {
    let Ok(mut left) = Session::initiate(Instant::ZERO, limits, placer(), space(), a);
    let mut right: Option<Session> = None;
    let mut traffic = Traffic::default();
    let (mut ends, mut turns) = ((None, None), 0);
    while ends.0.is_none() || ends.1.is_none() {
        turns += 1;
        assert!(turns < 100_000, "a session between honest sides ends");
        while let Some(output) = left.poll_output() {
            match output {
                Output::Send(message) => {
                    traffic.count(&message);
                    traffic.messages_left += 1;
                    match (&mut right, message) {
                        (None, Message::Open(open)) => {
                            let Ok(session) = Session::respond(Instant::ZERO, limits, placer(), open, b);
                            right = Some(session);
                        }
                        (Some(right), message) => hear(right, b, message),
                        (None, message) => panic!("a session begins with OPEN, not {message:?}"),
                    }
                }
                end @ (Output::Done(_) | Output::Failed(_)) => ends.0 = Some(end),
            }
        }
        let Some(right) = &mut right else { continue };
        while let Some(output) = right.poll_output() {
            match output {
                Output::Send(message) => {
                    traffic.count(&message);
                    hear(&mut left, a, message);
                }
                end @ (Output::Done(_) | Output::Failed(_)) => ends.1 = Some(end),
            }
        }
    }
    let (Some(left), Some(right)) = ends else { unreachable!("both sides have ended") };
    (left, right, traffic)
}

fn done(output: Output) -> Outcome {
    match output {
        Output::Done(outcome) => *outcome,
        other @ (Output::Send(_) | Output::Failed(_)) => panic!("the session ended with {other:?}"),
    }
}

fn adopt(site: &mut Site, outcome: Outcome, pin: &(MemoryContent, PinId)) {
    let touched = site.replica.touched_since(pin.1, &space()).expect("few rows changed").cloned().collect::<Vec<_>>();
    let Ok(adoption) = outcome.complete(&touched, &pin.0);
    site.replica.close_pin(pin.1);
    site.input(Input::Adopt { from: NodeId([9; 16]), adoption });
    assert!(std::iter::from_fn(|| site.replica.poll_signal()).all(|signal| !matches!(signal, Signal::Alarm(_))));
}

/// From a descent over first glances that are too small to full ones.
fn glancing(rng: &mut Pcg64) -> Limits {
    Limits { glance_sums: [0, 3, 8, 16, 32, 32][rng.random_range(0..6)], ..Limits::default() }
}

#[test]
fn random_pairs_end_with_equal_vectors_and_equal_bytes() {
    for seed in 0..400 {
        let mut rng = Pcg64::seed_from_u64(seed);
        let (mut a, mut b) = (Site::new(1), Site::new(2));
        let keys = rng.random_range(1..400);
        for _ in 0..rng.random_range(0..400) {
            a.write(&mut rng, keys);
            b.write(&mut rng, keys);
            // Each hears a prefix of the other's writes.
            if rng.random_bool(0.3) {
                for payload in a.said.clone() {
                    b.hear(payload);
                }
            }
        }
        let limits = Limits { turn_bytes: 2_000, turn_entries: 8, ..glancing(&mut rng) };
        let (pin_a, pin_b) = (a.pin(), b.pin());
        let (left, right, _) = converse(&pin_a.0, &pin_b.0, limits);
        // Writes go on during the session.
        for _ in 0..rng.random_range(0..20) {
            a.write(&mut rng, keys);
            b.write(&mut rng, keys);
        }
        adopt(&mut a, done(left), &pin_a);
        adopt(&mut b, done(right), &pin_b);
        let (pin_a, pin_b) = (a.pin(), b.pin());
        let (left, right, _) = converse(&pin_a.0, &pin_b.0, limits);
        adopt(&mut a, done(left), &pin_a);
        adopt(&mut b, done(right), &pin_b);
        assert_eq!(a.replica.vector(&space()), b.replica.vector(&space()), "seed {seed}");
        assert_eq!(a.rows.content(&space()), b.rows.content(&space()), "seed {seed}");
    }
}

#[test]
fn equal_roots_end_at_once_with_an_empty_stage() {
    let mut a = Site::new(1);
    let mut rng = Pcg64::seed_from_u64(1);
    (0..100).for_each(|_| a.write(&mut rng, 50));
    let (pin, _) = a.pin();
    for (limits, bytes_max) in [(Limits::default(), 660), (Limits::tiny(), 250)] {
        let (left, right, traffic) = converse(&pin, &pin, limits);
        assert!(done(left).stage.is_empty() && done(right).stage.is_empty());
        assert!(traffic.bytes < bytes_max && traffic.messages == 2, "{traffic:?} for equal content");
    }
}

#[test]
fn an_empty_side_gets_everything_and_sends_nothing() {
    let (mut a, mut b) = (Site::new(1), Site::new(2));
    for n in 0..3_000 {
        let edit = Edit::Set { key: format!("k{n}").into(), value: "v".into(), expiry: Expiry::Clear };
        a.input(Input::Local { space: space(), edits: vec![edit] });
    }
    let (pin_a, pin_b) = (a.pin(), b.pin());
    let (left, right, _) = converse(&pin_b.0, &pin_a.0, Limits::default());
    let (left, right) = (done(left), done(right));
    assert_eq!((left.stage.len(), right.stage.len()), (3_000, 0));
    assert_eq!((left.cost.rows_sent, right.cost.rows_sent), (0, 3_000));
    let limits = Limits { turn_bytes: 1_000, ..Limits::default() };
    let (of_turns, _, traffic) = converse(&pin_b.0, &pin_a.0, limits);
    assert_eq!(done(of_turns).stage, left.stage);
    assert!(traffic.messages > 200, "it takes many turns: {traffic:?}");
    assert!(traffic.messages_left < 30, "and few words between them: {traffic:?}");
    adopt(&mut b, left, &pin_b);
    assert_eq!(a.rows.content(&space()), b.rows.content(&space()));
}

#[test]
fn what_was_removed_travels_as_a_fact_and_not_as_a_row() {
    let (mut a, mut b) = (Site::new(1), Site::new(2));
    for n in 0..200 {
        let edit = Edit::Set { key: format!("k{n}").into(), value: "v".repeat(1_000).into(), expiry: Expiry::Clear };
        a.input(Input::Local { space: space(), edits: vec![edit] });
    }
    a.said.clone().into_iter().for_each(|payload| b.hear(payload));
    for n in 0..100 {
        b.input(Input::Local { space: space(), edits: vec![Edit::Delete { key: format!("k{n}").into() }] });
    }
    let (pin_a, pin_b) = (a.pin(), b.pin());
    let (left, right, traffic) = converse(&pin_a.0, &pin_b.0, Limits::default());
    assert!(traffic.bytes < 10_000, "{traffic:?} for a hundred removals of a thousand bytes each");
    adopt(&mut a, done(left), &pin_a);
    adopt(&mut b, done(right), &pin_b);
    assert_eq!(a.rows.content(&space()), b.rows.content(&space()));
    assert_eq!(a.rows.content(&space()).len(), 100);
}

#[test]
fn a_turn_in_which_nothing_needs_words_does_not_end_the_session() {
    let (mut a, mut b) = (Site::new(1), Site::new(2));
    let set = |n: u32| Edit::Set { key: format!("k{n}").into(), value: "v".into(), expiry: Expiry::Clear };
    (0..20).for_each(|n| a.input(Input::Local { space: space(), edits: vec![set(n)] }));
    a.said.clone().into_iter().for_each(|payload| b.hear(payload));
    b.input(Input::Local { space: space(), edits: vec![Edit::Flush] });
    (20..40).for_each(|n| a.input(Input::Local { space: space(), edits: vec![set(n)] }));
    let limits = Limits { turn_bytes: 1, turn_entries: 1, ..Limits::default() };
    let (pin_a, pin_b) = (a.pin(), b.pin());
    for (left, right) in [(&pin_a, &pin_b), (&pin_b, &pin_a)] {
        let (left, right, _) = converse(&left.0, &right.0, limits);
        assert_eq!(done(left).stage.len() + done(right).stage.len(), 20 + 20);
    }
}

#[test]
fn a_hundred_differences_in_ten_thousand_are_found_at_a_glance() {
    let (mut a, mut b) = (Site::new(1), Site::new(2));
    for n in 0..10_000 {
        let edit = Edit::Set { key: format!("k{n}").into(), value: "v".into(), expiry: Expiry::Clear };
        a.input(Input::Local { space: space(), edits: vec![edit] });
    }
    a.said.clone().into_iter().for_each(|payload| b.hear(payload));
    for n in 0..100 {
        let edit = Edit::Set { key: format!("k{}", n * 97).into(), value: "w".into(), expiry: Expiry::Clear };
        b.input(Input::Local { space: space(), edits: vec![edit] });
    }
    let (pin_a, pin_b) = (a.pin(), b.pin());
    for (glance_sums, bytes_max, messages_max) in [(0, 42_000, 9), (16, 3_400, 5), (32, 3_400, 4)] {
        let limits = Limits { glance_sums, ..Limits::default() };
        let (left, right, traffic) = converse(&pin_a.0, &pin_b.0, limits);
        let (left, right) = (done(left).cost, done(right).cost);
        // What is stale does not travel.
        assert_eq!((left.rows_sent, left.rows_kept, right.rows_sent, right.rows_kept), (0, 0, 100, 100));
        assert!(traffic.bare_bytes < bytes_max && traffic.messages <= messages_max, "{glance_sums} sums: {traffic:?}");
    }
}

#[test]
fn equal_vectors_with_other_content_name_the_keys() {
    let mut a = Site::new(1);
    let mut rng = Pcg64::seed_from_u64(3);
    (0..50).for_each(|_| a.write(&mut rng, 40));
    let rows = a.rows.content(&space());
    let vector = a.replica.vector(&space());
    let mut damaged: BTreeMap<_, Row> = rows.clone();
    let (lost, _) = damaged.pop_first().expect("fifty writes leave rows");
    let pin_a = MemoryContent::settled(&placer(), &space(), &rows, vector.clone());
    let pin_b = MemoryContent::settled(&placer(), &space(), &damaged, vector);
    let (left, right, _) = converse(&pin_a, &pin_b, Limits::default());
    assert_eq!(done(left).diverged, std::slice::from_ref(&lost));
    assert_eq!(done(right).diverged, [lost]);
}

#[test]
fn the_same_pins_give_the_same_conversation() {
    let talk = || {
        let mut rng = Pcg64::seed_from_u64(5);
        let (mut a, mut b) = (Site::new(1), Site::new(2));
        (0..500).for_each(|_| a.write(&mut rng, 300));
        (0..500).for_each(|_| b.write(&mut rng, 300));
        converse(&a.pin().0, &b.pin().0, Limits::default())
    };
    assert_eq!(talk(), talk());
}
