//! Membership's figures, held to hard limits: a small version of the benchmark's tables.
//!
//! `cargo bench -p everett-tests --bench membership` prints all of them. Time is simulated: a figure that grows is a change
//! of the protocol, never a slow machine.

use std::time::Duration;

use everett_mesh_proto::membership::Config;
use everett_tests::sim::Clockwork;
use everett_tests::sim::field::{Everett, Field, Sight};

const NODES: usize = 128;
const SITES: usize = 42;

fn formed(seed: u64) -> Field<Everett> {
    Field::formed(seed, NODES, SITES, Config::default())
}

/// Looks only now and then: everybody's view is long to read.
fn all_hold_all_within(field: &mut Field<Everett>, limit: Duration) -> Option<Duration> {
    let mut look = field.now();
    field.run_until(limit, |field| {
        let due = field.now().saturating_since(look) >= Duration::from_millis(10);
        if due {
            look = field.now();
        }
        due && (0..field.len()).all(|by| field.views.count(by) == field.len())
    })
}

#[test]
fn a_crash_is_first_found_and_then_known_to_all_in_time() {
    let (mut first, mut all) = (Vec::new(), Vec::new());
    let mut field = formed(1);
    for _ in 0..12 {
        field.run_for(Duration::from_secs(10));
        let (node, start) = (field.any(), field.now());
        field.crash(node);
        let observers = field.running();
        field.run_for(Duration::from_secs(6));
        let known = field.views.known(start, node, Sight::Down, &observers);
        first.push(known.0.expect("found"));
        all.push(known.1.expect("known to all"));
        field.start(node, &observers[..3]);
    }
    first.sort_unstable();
    all.sort_unstable();
    assert!(first[6] <= Duration::from_secs(2) && first[11] <= Duration::from_millis(3_500), "{first:?}");
    assert!(all[6] <= Duration::from_millis(2_500) && all[11] <= Duration::from_secs(4), "{all:?}");
}

#[test]
fn an_idle_node_sends_two_small_datagrams_a_second() {
    let mut field = formed(2);
    field.run_for(Duration::from_mins(1));
    let share = |count: u64| count as f64 / NODES as f64 / 60.0;
    let (messages, bytes) = (share(field.sent.messages), share(field.sent.bytes));
    assert!(messages <= 2.1 && bytes <= 170.0, "{messages:.2} messages, {bytes:.0} bytes");
}

#[test]
fn all_that_start_at_once_hold_all_at_once() {
    for seed in 3..6 {
        let mut field: Field<Everett> = Field::new(seed, NODES, SITES, Config::default());
        field.form(3);
        (3..NODES).for_each(|node| field.start(node, &[0, 1, 2]));
        let took = all_hold_all_within(&mut field, Duration::from_millis(1_200));
        assert!(took.is_some(), "seed {seed}");
    }
}

#[test]
fn two_halves_hold_one_view_within_three_seconds_and_bury_nobody() {
    for seed in 6..9 {
        let mut field = formed(seed);
        let half = |node: usize| node % 2;
        (0..NODES).filter(|&node| half(node) == 1).for_each(|node| field.net.put_into_group(node, 1));
        field.run_for(Duration::from_secs(30));
        (0..NODES).for_each(|node| field.net.put_into_group(node, 0));
        let took = all_hold_all_within(&mut field, Duration::from_secs(3));
        assert!(took.is_some(), "seed {seed}");
        field.run_for(Duration::from_secs(10));
        let mut down = field.views.seen.iter().filter(|seen| seen.sight == Sight::Down);
        assert!(down.all(|seen| half(seen.by) != half(seen.node)), "seed {seed}: a half accused its own");
    }
}
