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
fn at_a_fifth_of_all_packets_lost_a_crash_is_known_to_all_in_five_seconds() {
    let mut field = formed(21);
    field.net.loss = 0.2;
    for _ in 0..6 {
        field.run_for(Duration::from_secs(10));
        let (node, start) = (field.any(), field.now());
        field.crash(node);
        let observers = field.running();
        field.run_for(Duration::from_secs(7));
        let (_, all) = field.views.known(start, node, Sight::Down, &observers);
        assert!(all.is_some_and(|all| all <= Duration::from_secs(5)), "{all:?}");
        field.start(node, &observers[..3]);
    }
}

#[test]
fn a_newcomer_and_a_leave_are_known_to_all_at_once() {
    for seed in 22..26 {
        let mut field: Field<Everett> = Field::new(seed, NODES, SITES, Config::default());
        field.form(NODES - 1);
        let others = field.running();
        let start = field.now();
        field.start(NODES - 1, &[0, 1, 2]);
        field.run_for(Duration::from_secs(15));
        let (_, known) = field.views.known(start, NODES - 1, Sight::Up, &others);
        assert!(known.is_some_and(|known| known <= Duration::from_millis(700)), "seed {seed}: {known:?}");
        let start = field.now();
        field.leave(NODES - 1);
        field.run_for(Duration::from_secs(15));
        let (_, known) = field.views.known(start, NODES - 1, Sight::Left, &others);
        assert!(known.is_some_and(|known| known <= Duration::from_millis(500)), "seed {seed}: {known:?}");
    }
}

#[test]
fn a_node_that_hears_nothing_is_found_in_four_seconds() {
    for seed in 26..29 {
        let mut field = formed(seed);
        let node = field.any();
        let (start, observers) = (field.now(), field.running());
        field.net.lose_towards(node, 1.0);
        field.run_for(Duration::from_secs(10));
        let (first, _) = field.views.known(start, node, Sight::Down, &observers);
        assert!(first.is_some_and(|first| first <= Duration::from_secs(4)), "seed {seed}: {first:?}");
    }
}

#[test]
fn members_blocked_again_and_again_bury_nobody() {
    let mut field = formed(29);
    let blocked: Vec<_> = (0..NODES).step_by(8).collect();
    for _ in 0..3 {
        blocked.iter().for_each(|&node| field.block(node, Duration::from_secs(30)));
        field.run_for(Duration::from_secs(50));
    }
    let mut down = field.views.seen.iter().filter(|seen| seen.sight == Sight::Down);
    assert!(down.all(|seen| blocked.contains(&seen.node)), "a healthy member was accused");
}

#[test]
fn the_saving_profile_costs_a_quarter() {
    let mut field: Field<Everett> = Field::formed(30, NODES, SITES, Config::eco());
    field.run_for(Duration::from_mins(2));
    let (messages, bytes) = per_node_and_second(&field, 120);
    assert!(messages <= 0.55 && bytes <= 45.0, "{messages:.3} messages, {bytes:.1} bytes");
}

fn per_node_and_second(field: &Field<Everett>, seconds: u32) -> (f64, f64) {
    let share = |count: u64| count as f64 / NODES as f64 / f64::from(seconds);
    (share(field.sent.messages), share(field.sent.bytes))
}

#[test]
fn an_idle_node_sends_two_small_datagrams_a_second() {
    let mut field = formed(2);
    field.run_for(Duration::from_mins(1));
    let (messages, bytes) = per_node_and_second(&field, 60);
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
