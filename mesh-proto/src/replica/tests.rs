//! Two or three replicas in memory, with pushes delivered by hand.

use super::*;
use crate::crdt::{NEVER_MS, Value};
use crate::id::NodeId;
use crate::log::Log;
use crate::testing::{MemoryRows, Nowhere, now_at};

mod closing;

struct Site {
    replica: Replica,
    rows: MemoryRows,
    log: Log<Nowhere>,
    records: Vec<Record>,
    pushed: Vec<bytes::Bytes>,
}

fn space() -> Space {
    Space::numbered(0)
}

impl Site {
    fn new(number: u8) -> Self {
        let config = Config {
            id: ReplicaId([number; 16]),
            placer: Placer::new(&[7; 32]),
            max_skew: Duration::from_millis(500),
            gate_bytes_max: 1 << 20,
        };
        let replica = Replica::resume(config, Settled::default());
        Self {
            replica,
            rows: MemoryRows::default(),
            log: Log::resume(Nowhere, Commit(0)),
            records: vec![],
            pushed: vec![],
        }
    }

    fn input(&mut self, ms: u64, input: Input) {
        let Ok(()) = self.replica.handle_input(now_at(ms), &mut self.rows, input);
        self.seal();
    }

    fn seal(&mut self) {
        while let Some((record, held)) = self.replica.seal() {
            let Ok(Some(durable)) = self.log.commit(std::slice::from_ref(&record)) else { panic!("memory commits") };
            self.records.push(record);
            for output in held.release(durable).expect("its commit was just made durable") {
                match output {
                    Output::Push { payload, .. } => self.pushed.push(payload),
                    Output::Applied { .. } | Output::Closed { .. } => {}
                }
            }
        }
    }

    fn edit(&mut self, ms: u64, edits: impl IntoIterator<Item = Edit>) {
        self.input(ms, Input::Local { space: space(), edits: edits.into_iter().collect() });
    }

    /// An edit that is not sealed yet; returns the commit that it became part of.
    fn write(&mut self, ms: u64, edit: Edit) -> Option<Commit> {
        let Ok(commit) = self.replica.edit(now_at(ms), &mut self.rows, &space(), vec![edit]);
        commit
    }

    fn hears(&mut self, ms: u64, from: &Self) {
        for payload in &from.pushed {
            self.input(ms, Input::Remote { from: NodeId([0; 16]), payload: payload.clone() });
        }
    }

    fn get(&self, ms: u64, key: &str) -> Option<String> {
        let Ok(view) = self.replica.view(now_at(ms), &self.rows, &space(), key.as_bytes());
        view.value.map(|value| String::from_utf8_lossy(&value.to_bytes()).into_owned())
    }
}

fn set(key: &str, value: &str) -> Edit {
    Edit::Set { key: key.to_owned().into(), value: value.to_owned().into(), expiry: Expiry::Clear }
}

fn add(key: &str, by: i64) -> Edit {
    Edit::Add { key: key.to_owned().into(), by }
}

fn delete(key: &str) -> Edit {
    Edit::Delete { key: key.to_owned().into() }
}

/// The next signal that is not about something that went well.
fn signal(site: &mut Site) -> Option<Signal> {
    std::iter::from_fn(|| site.replica.poll_signal()).find(|signal| !matches!(signal, Signal::Visible { .. }))
}

fn exchange(ms: u64, a: &mut Site, b: &mut Site) {
    a.hears(ms, b);
    b.hears(ms, a);
    assert_eq!(a.rows.content(&space()), b.rows.content(&space()));
    assert_eq!(a.replica.vector(&space()), b.replica.vector(&space()));
}

#[test]
fn a_set_and_a_concurrent_increment_both_count() {
    let (mut a, mut b) = (Site::new(1), Site::new(2));
    a.edit(1, [set("k", "10")]);
    b.edit(1, [add("k", 1)]);
    exchange(2, &mut a, &mut b);
    assert_eq!(a.get(3, "k").as_deref(), Some("11"));
}

#[test]
fn increments_that_a_set_saw_are_gone_and_others_stay() {
    let (mut a, mut b) = (Site::new(1), Site::new(2));
    a.edit(1, [set("k", "0")]);
    exchange(2, &mut a, &mut b);
    (0..5).for_each(|_| a.edit(3, [add("k", 1)]));
    b.edit(4, [set("k", "100")]);
    exchange(5, &mut a, &mut b);
    assert_eq!(a.get(6, "k").as_deref(), Some("105"));
}

#[test]
fn a_delete_takes_back_only_what_it_saw() {
    let (mut a, mut b) = (Site::new(1), Site::new(2));
    (0..3).for_each(|_| a.edit(1, [add("k", 1)]));
    exchange(2, &mut a, &mut b);
    b.edit(3, [delete("k")]);
    (0..2).for_each(|_| a.edit(3, [add("k", 1)]));
    exchange(4, &mut a, &mut b);
    assert_eq!(b.get(5, "k").as_deref(), Some("2"));
}

#[test]
fn a_group_that_waits_and_an_adoption_of_nothing_make_no_namespace() {
    let (mut a, mut b) = (Site::new(1), Site::new(2));
    a.edit(1, [set("k", "1")]);
    a.edit(2, [set("k", "2")]);
    let second = a.pushed[1].clone();
    b.input(3, Input::Remote { from: NodeId([0; 16]), payload: second });
    assert_eq!(b.replica.gate().groups, 1);
    let adoption = Adoption { space: Space::numbered(3), vector: Vector::new(), rows: vec![] };
    b.input(4, Input::Adopt { from: NodeId([0; 16]), adoption });
    assert_eq!(b.replica.spaces().count(), 0);
    b.hears(5, &a);
    assert_eq!(b.get(6, "k").as_deref(), Some("2"));
}

#[test]
fn a_group_waits_for_what_it_depends_on() {
    let (mut a, mut b, mut c) = (Site::new(1), Site::new(2), Site::new(3));
    a.edit(1, [set("cause", "1")]);
    b.hears(2, &a);
    b.edit(3, [set("effect", "2")]);
    c.hears(4, &b);
    assert_eq!(c.get(5, "effect"), None);
    assert_eq!(c.replica.gate().groups, 1);
    c.hears(6, &a);
    assert_eq!(c.get(7, "effect").as_deref(), Some("2"));
}

#[test]
fn a_group_that_waits_too_long_is_pulled_from_its_sender() {
    let (mut a, mut b, mut c) = (Site::new(1), Site::new(2), Site::new(3));
    a.edit(1, [set("cause", "1")]);
    b.hears(2, &a);
    b.edit(3, [set("effect", "2")]);
    c.hears(4, &b);
    let deadline = c.replica.poll_timeout().expect("a waiting group has a deadline");
    assert_eq!(deadline.why, Timer::Pull);
    let Ok(()) = c.replica.handle_timeout(now_at(10_000), &mut c.rows);
    assert_eq!(signal(&mut c), Some(Signal::Pull { to: NodeId([0; 16]), space: space() }));
}

#[test]
fn a_flush_removes_what_it_saw_and_nothing_else() {
    let (mut a, mut b) = (Site::new(1), Site::new(2));
    a.edit(1, [set("seen", "1"), add("counter", 3)]);
    exchange(2, &mut a, &mut b);
    b.edit(3, [set("unseen", "1"), add("counter", 2)]);
    a.edit(3, [Edit::Flush]);
    exchange(4, &mut a, &mut b);
    assert_eq!((a.get(5, "seen"), a.get(5, "counter"), a.get(5, "unseen")), (None, Some("2".into()), Some("1".into())));
}

#[test]
fn a_flush_of_many_counters_is_cut_into_groups_that_fit_a_frame() {
    let (mut a, mut b) = (Site::new(1), Site::new(2));
    for n in 0..9 {
        a.edit(1, (0..1_000).map(|m| add(&format!("{n}.{m}"), 1)).chain([set(&format!("s{n}"), "v")]));
    }
    exchange(2, &mut a, &mut b);
    let before = b.pushed.len();
    b.edit(3, [Edit::Flush]);
    exchange(4, &mut a, &mut b);
    assert!(b.pushed.len() - before >= 3, "nine thousand counters are more than two groups");
    assert_eq!((a.get(5, "0.0"), a.get(5, "8.999"), a.get(5, "s3")), (None, None, None));
    // What is left are dead entries of a, which a drops.
    let Ok(()) = a.replica.handle_timeout(now_at(9_000), &mut a.rows);
    a.edit(9_001, []);
    exchange(9_002, &mut a, &mut b);
    assert!(a.rows.content(&space()).is_empty());
}

#[test]
fn what_a_flush_removed_is_not_shown_as_gone_before_the_flush_is_durable() {
    let mut a = Site::new(1);
    a.edit(1, [set("k", "v")]);
    a.edit(2, [Edit::Flush]);
    let Ok(view) = a.replica.view(now_at(3), &a.rows, &space(), b"k");
    assert_eq!((view.value, view.at), (None, a.replica.commit()));
}

#[test]
fn what_has_expired_never_comes_back() {
    let (mut a, mut b) = (Site::new(1), Site::new(2));
    let deadline_ms = now_at(100).wall_ms;
    a.edit(1, [add("k", 5)]);
    a.edit(2, [Edit::Expire { key: "k".into(), deadline_ms }]);
    exchange(3, &mut a, &mut b);
    assert_eq!(b.get(99, "k").as_deref(), Some("5"));
    assert_eq!(b.get(100, "k"), None);
    b.edit(101, [add("k", 1)]);
    exchange(102, &mut a, &mut b);
    assert_eq!(a.get(103, "k").as_deref(), Some("1"));
    a.edit(104, [Edit::Expire { key: "k".into(), deadline_ms: NEVER_MS }]);
    assert_eq!(a.get(105, "k").as_deref(), Some("1"));
}

#[test]
fn an_element_written_under_a_deadline_dies_with_it() {
    let mut a = Site::new(1);
    let deadline_ms = now_at(100).wall_ms;
    a.edit(1, [Edit::Set { key: "k".into(), value: "v".into(), expiry: Expiry::At(deadline_ms) }]);
    a.edit(2, [Edit::Set { key: "k".into(), value: "w".into(), expiry: Expiry::Keep }]);
    assert_eq!((a.get(99, "k").as_deref(), a.get(100, "k")), (Some("w"), None));
    a.edit(101, [set("k", "x")]);
    assert_eq!(a.get(10_000, "k").as_deref(), Some("x"));
}

#[test]
fn own_entries_that_another_reset_are_dropped_everywhere() {
    let (mut a, mut b) = (Site::new(1), Site::new(2));
    a.edit(1, [add("k", 1)]);
    exchange(2, &mut a, &mut b);
    b.edit(3, [delete("k")]);
    exchange(4, &mut a, &mut b);
    assert_eq!(a.rows.content(&space()).len(), 1);
    let Ok(()) = a.replica.handle_timeout(now_at(5_000), &mut a.rows);
    a.edit(5_001, []);
    exchange(5_002, &mut a, &mut b);
    assert!(b.rows.content(&space()).is_empty());
}

#[test]
fn a_replay_of_the_records_gives_the_same_rows_and_vector() {
    let (mut a, mut b) = (Site::new(1), Site::new(2));
    a.edit(1, [set("x", "1"), add("y", 2)]);
    b.edit(1, [set("x", "2"), set("z", "3")]);
    exchange(2, &mut a, &mut b);
    a.edit(3, [Edit::Flush]);
    a.edit(4, [add("y", 1)]);
    let mut again = Site::new(9);
    for record in &a.records {
        let payload = wire::decode_payload(&record.payload).expect("a sealed payload decodes");
        let Ok(()) = again.replica.replay(&mut again.rows, record.commit, payload);
    }
    assert_eq!(again.rows.content(&space()), a.rows.content(&space()));
    assert_eq!(again.replica.settled(), a.replica.settled());
    assert_eq!(a.replica.view(now_at(5), &a.rows, &space(), b"y").map(|view| view.value), Ok(Some(Value::Integer(1))));
}

#[test]
fn what_a_new_life_writes_depends_on_what_its_log_brought_back() {
    let (mut a, mut b, mut c) = (Site::new(1), Site::new(2), Site::new(3));
    a.edit(1, [set("cause", "1")]);
    b.hears(2, &a);
    let mut again = Site::new(9);
    for record in &b.records {
        let payload = wire::decode_payload(&record.payload).expect("a sealed payload decodes");
        let Ok(()) = again.replica.replay(&mut again.rows, record.commit, payload);
    }
    again.log = Log::resume(Nowhere, again.replica.commit());
    again.edit(3, [set("effect", "2")]);
    c.hears(4, &again);
    assert_eq!(c.get(5, "effect"), None);
    c.hears(6, &a);
    assert_eq!(c.get(7, "effect").as_deref(), Some("2"));
}

#[test]
fn more_of_my_living_id_than_i_wrote_is_a_fork() {
    let (mut a, mut twin) = (Site::new(1), Site::new(1));
    twin.edit(1, [set("k", "v")]);
    a.hears(2, &twin);
    let dot = Dot { replica: a.replica.id(), seq: 1 };
    assert_eq!(signal(&mut a), Some(Signal::Alarm(Alarm::Fork { from: NodeId([0; 16]), dot })));
    assert_eq!(a.get(3, "k"), None);
}

#[test]
fn bytes_that_are_no_group_are_the_peers_fault() {
    let mut a = Site::new(1);
    a.input(1, Input::Remote { from: NodeId([4; 16]), payload: bytes::Bytes::from_static(b"\x01nonsense") });
    assert_eq!(signal(&mut a), Some(Signal::Broke { from: NodeId([4; 16]) }));
}

#[test]
fn what_is_written_between_two_seals_is_one_group_and_one_commit() {
    let (mut a, mut b) = (Site::new(1), Site::new(2));
    let first = a.write(1, set("k", "1"));
    assert_eq!(a.write(1, add("n", 2)), first);
    assert_eq!(a.write(1, delete("nothing")), None, "what changes nothing is in no commit");
    assert_eq!(a.write(1, set("k", "3")), first);
    assert_eq!(a.get(1, "k").as_deref(), Some("3"), "it is seen before it is sealed");
    let Ok(counted) = a.replica.count(now_at(1), &mut a.rows, &space(), ("n".into(), 1));
    assert_eq!((counted.0, Some(counted.1)), (Counted::Sum(3), first));
    a.seal();
    assert_eq!(a.pushed.len(), 1);
    assert!(a.write(2, set("k", "4")) > first);
    a.seal();
    exchange(3, &mut a, &mut b);
    assert_eq!((b.get(3, "k").as_deref(), b.get(3, "n").as_deref()), (Some("4"), Some("3")));
}

#[test]
fn a_commit_does_not_grow_once_something_describes_it() {
    let (mut a, mut b) = (Site::new(1), Site::new(2));
    b.edit(1, [set("k", "b")]);
    let group = b.pushed[0].clone();
    let closers: [&dyn Fn(&mut Site); 4] = [
        &|site| drop(site.replica.settled()),
        &|site| {
            site.replica.open_pin();
        },
        &|site| {
            let remote = Input::Remote { from: NodeId([0; 16]), payload: group.clone() };
            let Ok(()) = site.replica.handle_input(now_at(2), &mut site.rows, remote);
        },
        &|site| {
            let elsewhere = Space::numbered(1);
            let Ok(_) = site.replica.edit(now_at(2), &mut site.rows, &elsewhere, vec![set("k", "v")]);
        },
    ];
    for close in closers {
        let before = a.write(2, add("n", 1));
        close(&mut a);
        let commit = a.replica.commit();
        let after = a.write(2, add("n", 1));
        assert!(before <= Some(commit) && after > Some(commit), "{before:?} {commit:?} {after:?}");
        a.seal();
    }
    let (seqs, groups) = (a.replica.vector(&space()).seq(a.replica.id()), a.pushed.len());
    assert_eq!((seqs, groups), (8, 9), "two groups around each, one of them elsewhere");
}

#[test]
fn a_group_ends_when_it_is_large() {
    let mut a = Site::new(1);
    for _ in 0..300 {
        a.write(1, add("n", 1));
    }
    a.seal();
    assert_eq!(a.pushed.len(), 3);
    let large = "x".repeat(40 << 10);
    for _ in 0..4 {
        a.write(2, set("k", &large));
    }
    a.seal();
    assert_eq!(a.pushed.len(), 5);
    assert_eq!(a.get(3, "n").as_deref(), Some("300"));
}

#[test]
fn a_withdrawal_takes_the_parts_named_and_spares_what_came_since() {
    let (mut a, mut b) = (Site::new(1), Site::new(2));
    a.edit(1, [set("k", "old"), add("n", 3), Edit::Expire { key: "k".into(), deadline_ms: u64::MAX - 1 }]);
    exchange(2, &mut a, &mut b);
    let parts = |site: &Site, key: &str| {
        let Ok(parts) = site.replica.parts(now_at(3), &site.rows, &space(), key.as_bytes());
        parts
    };
    let withdraw = |key: &str, parts| Edit::Withdraw { key: key.to_owned().into(), parts };
    let (old, counted) = (parts(&a, "k"), parts(&a, "n"));
    assert_eq!((old.len(), counted.len()), (1, 1));
    // What b does meanwhile: a value in place of the old one, and a count beside the other.
    b.edit(3, [set("k", "new"), add("n", 2)]);
    a.edit(3, [withdraw("k", old.clone()), withdraw("n", counted.clone())]);
    assert_eq!((a.get(4, "k"), a.get(4, "n")), (None, None));
    let Ok(view) = a.replica.view(now_at(4), &a.rows, &space(), b"k");
    assert_eq!(view.deadline_ms, None, "the deadline goes with the last value");
    exchange(4, &mut a, &mut b);
    for site in [&a, &b] {
        assert_eq!((site.get(5, "k").as_deref(), site.get(5, "n").as_deref()), (Some("new"), Some("2")));
    }
    assert_eq!(b.write(5, withdraw("k", old)), None, "what is gone is not withdrawn twice");
}
