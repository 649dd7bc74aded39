//! Membership on a simulated network: 64 nodes in 16 sites, half a globe apart, and everything that goes wrong there.
//!
//! Every step of every run is checked for the protocol's promises (`sim::checks`); the tests here add what must happen, and
//! by when. A failure names its seed.

use std::collections::BTreeSet;
use std::time::Duration;

use everett_mesh_proto::membership::{Cmd, Config, Event, MemberState, Membership};
use everett_tests::sim::Clockwork;
use everett_tests::sim::members::World;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

const NODES: usize = 64;
const SITES: usize = 16;

fn formed(seed: u64) -> World {
    World::formed(seed, NODES, SITES, Config::default())
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// Numbers of the nodes that somebody accused.
fn accused(world: &World) -> BTreeSet<usize> {
    let mut ids = BTreeSet::new();
    for (_, _, event) in &world.events {
        if let Event::Unreachable { life } = event {
            ids.insert(life.id);
        }
    }
    (0..world.len()).filter(|&node| ids.contains(&world.id(node))).collect()
}

fn all_see(world: &World, count: usize) -> bool {
    world.running().all(|(_, machine)| machine.alive() == count)
}

/// Runs until it holds, and fails if that takes longer than `limit`.
fn within(limit: Duration, world: &mut World, what: &str, holds: impl FnMut(&World) -> bool) -> Duration {
    let took = world.run_until(limit, holds);
    took.unwrap_or_else(|| panic!("seed {}: {what} within {limit:?}", world.seed()))
}

#[test]
fn a_crash_is_known_to_all_and_nobody_else_is_accused() {
    let mut all = Vec::new();
    for seed in 1..=10 {
        let mut world = formed(seed);
        world.crash(5);
        all.push(within(seconds(5), &mut world, "all know of the crash", |world| {
            world.all_hold(5, MemberState::Unreachable)
        }));
        world.run_for(seconds(70));
        assert!(world.all_hold(5, MemberState::Dead), "seed {seed}: a minute later it is dead");
        assert_eq!(accused(&world), [5].into(), "seed {seed}");
    }
    all.sort_unstable();
    assert!(all[5] <= millis(2_500), "median {:?}", all[5]);
}

#[test]
fn a_crash_is_known_to_all_at_twenty_percent_loss() {
    for seed in 11..=14 {
        let mut world = formed(seed);
        world.net.loss = 0.2;
        world.run_for(seconds(20));
        world.crash(7);
        within(seconds(6), &mut world, "all know of the crash", |world| world.all_hold(7, MemberState::Unreachable));
        assert_eq!(accused(&world), [7].into(), "seed {seed}");
    }
}

#[test]
fn a_process_that_dies_on_a_living_host_is_found_sooner() {
    let mut world = formed(15);
    world.kill(9);
    within(millis(2_500), &mut world, "all know", |world| world.all_hold(9, MemberState::Unreachable));
    assert_eq!(accused(&world), [9].into());
}

/// Seed, share lost, simulated seconds; messages and bytes per node and second that may be spent.
const LOSSES: [(u64, f64, u64, f64, f64); 3] =
    [(21, 0.0, 300, 2.15, 170.0), (22, 0.05, 600, 3.6, 290.0), (23, 0.3, 120, 16.0, 2_000.0)];

#[test]
fn nobody_is_accused_at_any_loss_up_to_thirty_percent() {
    for (seed, loss, time, messages_max, bytes_max) in LOSSES {
        let mut world = formed(seed);
        world.net.loss = loss;
        world.run_for(seconds(time));
        assert!(accused(&world).is_empty(), "seed {seed}: {:?}", world.events);
        let share = |count: usize| count as f64 / NODES as f64 / time as f64;
        let (messages, bytes) = (share(world.traffic.messages), share(world.traffic.bytes));
        assert!(messages <= messages_max && bytes <= bytes_max, "{loss}: {messages:.2} messages, {bytes:.0} bytes");
    }
}

#[test]
fn nobody_is_accused_while_a_quarter_of_the_pairs_of_sites_cannot_talk() {
    let mut world = formed(24);
    world.net.cut_sites(0.25);
    world.run_for(seconds(120));
    assert!(accused(&world).is_empty(), "{:?}", world.events);
}

#[test]
fn members_that_sleep_accuse_nobody_and_are_back_when_they_wake() {
    let mut world = formed(25);
    let sleepers: BTreeSet<_> = (0..NODES).step_by(4).collect();
    for &node in &sleepers {
        world.sleep(node, seconds(30));
    }
    world.run_for(seconds(30));
    within(seconds(10), &mut world, "all are back", |world| all_see(world, NODES));
    assert!(accused(&world).is_subset(&sleepers), "{:?}", accused(&world));
}

#[test]
fn a_newcomer_is_known_by_all_in_less_than_a_second() {
    let mut world = World::new(31, NODES, SITES, Config::default());
    world.form(NODES - 1);
    world.start(NODES - 1, &[3, 4]);
    within(seconds(1), &mut world, "all know the newcomer", |world| all_see(world, NODES));
}

#[test]
fn a_leave_is_known_by_all_at_once_and_is_final_for_its_epoch() {
    let mut world = formed(32);
    world.command(8, Cmd::Leave);
    within(millis(700), &mut world, "all know of the leave", |world| world.all_hold(8, MemberState::Left));
    world.run_for(seconds(60));
    assert!(world.machine(8).is_none(), "the leaver was told that it may go");
    assert!(accused(&world).is_empty());
    world.start(8, &[0]);
    within(seconds(2), &mut world, "it is back in a later epoch", |world| all_see(world, NODES));
}

/// A member leaves, and starts again with the epoch that its leave ended.
fn leaves_and_comes_back_in_the_same_epoch(prepare: impl FnOnce(&mut World)) -> World {
    let mut world = formed(35);
    world.command(8, Cmd::Leave);
    within(seconds(1), &mut world, "all know of the leave", |world| world.all_hold(8, MemberState::Left));
    world.run_for(seconds(5));
    prepare(&mut world);
    world.start_with_epoch(8, &[3], 1);
    world.run_for(seconds(5));
    world
}

#[test]
fn who_left_does_not_come_back_in_the_epoch_that_it_ended() {
    let world = leaves_and_comes_back_in_the_same_epoch(|_| {});
    assert!(all_see(&world, NODES));
    assert_eq!(world.machine(3).unwrap().member(world.id(8)).unwrap().boot_epoch, 2);
}

#[test]
#[should_panic(expected = "who left comes back only in a later epoch")]
fn a_member_that_forgets_who_left_is_caught() {
    leaves_and_comes_back_in_the_same_epoch(|world| world.forget_everybody(3));
}

#[test]
fn who_is_about_to_leave_is_known_to_be_and_goes_without_suspicion() {
    let mut world = formed(36);
    world.command(8, Cmd::Drain);
    within(millis(700), &mut world, "all know that it drains", |world| world.all_hold(8, MemberState::Draining));
    let id = world.id(8);
    let told = world.events.iter().filter(|(_, _, event)| matches!(event, Event::Draining { life } if life.id == id));
    assert_eq!(told.count(), NODES - 1);
    world.run_for(seconds(30));
    assert!(all_see(&world, NODES), "it still answers");
    world.command(8, Cmd::Leave);
    within(millis(700), &mut world, "all know of the leave", |world| world.all_hold(8, MemberState::Left));
    assert!(accused(&world).is_empty());
}

#[test]
fn members_that_leave_at_one_moment_are_all_held_as_left() {
    for seed in 320..330 {
        let mut world = formed(seed);
        let leavers = [8, 9, 30, 31];
        for leaver in leavers {
            world.command(leaver, Cmd::Leave);
        }
        within(seconds(3), &mut world, "all know of all leaves", |world| {
            leavers.iter().all(|&leaver| world.all_hold(leaver, MemberState::Left))
        });
        world.run_for(seconds(30));
        assert!(accused(&world).is_empty(), "seed {seed}: {:?}", accused(&world));
    }
}

#[test]
fn a_restarted_node_is_itself_again_at_once() {
    let mut world = formed(33);
    world.crash(11);
    world.run_for(millis(100));
    world.start(11, &[0, 1]);
    let id = world.id(11);
    within(seconds(2), &mut world, "all know the new life", |world| {
        world.running().all(|(_, machine)| machine.member(id).is_some_and(|member| member.boot_epoch == 2))
    });
    world.run_for(seconds(20));
    assert!(world.all_hold(11, MemberState::Alive));
    assert!(accused(&world).is_empty());
}

#[test]
fn a_node_whose_epoch_was_lost_takes_a_later_one_than_the_mesh_knows() {
    let mut world = formed(34);
    world.crash(11);
    world.run_for(seconds(30));
    world.start_with_epoch(11, &[0], 0);
    within(seconds(2), &mut world, "it is back", |world| all_see(world, NODES));
    assert_eq!(world.machine(0).unwrap().member(world.id(11)).unwrap().boot_epoch, 2);
}

#[test]
fn a_partition_heals_by_itself() {
    let mut world = formed(41);
    for node in 0..NODES / 2 {
        world.net.put_into_group(node, 1);
    }
    within(seconds(20), &mut world, "each half sees itself", |world| all_see(world, NODES / 2));
    world.run_for(seconds(20));
    world.links_time_out();
    world.run_for(seconds(70));
    world.events.clear();
    for node in 0..NODES / 2 {
        world.net.put_into_group(node, 0);
    }
    within(seconds(6), &mut world, "all see all", |world| all_see(world, NODES));
    world.run_for(seconds(60));
    assert!(all_see(&world, NODES));
    assert!(accused(&world).is_empty(), "nobody is buried by the other half's view");
}

#[test]
fn a_node_that_is_cut_off_accuses_itself() {
    let mut world = formed(42);
    world.net.put_into_group(13, 1);
    world.run_for(seconds(15));
    assert!(world.machine(13).unwrap().is_isolated());
    assert_eq!(world.machine(13).unwrap().alive(), NODES, "it accuses nobody else");
    assert!(world.all_hold(13, MemberState::Unreachable));
    world.net.put_into_group(13, 0);
    within(seconds(6), &mut world, "it is back, and has heard somebody", |world| {
        all_see(world, NODES) && !world.machine(13).unwrap().is_isolated()
    });
}

#[test]
fn a_node_that_hears_nothing_is_noticed() {
    let mut world = formed(43);
    for from in 0..NODES {
        world.net.cut(from, 17, true);
    }
    within(seconds(5), &mut world, "the deaf node is noticed", |world| world.all_hold(17, MemberState::Unreachable));
    world.run_for(seconds(30));
    assert_eq!(accused(&world), [17].into());
}

#[test]
fn a_site_that_falls_at_once_is_named() {
    let mut world = formed(44);
    for node in (3..NODES).step_by(SITES) {
        world.crash(node);
    }
    world.run_for(seconds(10));
    let named = world
        .events
        .iter()
        .filter(|(_, _, event)| matches!(event, Event::SiteUnreachable { site } if site == "site-3"));
    let observers: BTreeSet<_> = named.map(|(_, observer, _)| observer).collect();
    assert!(observers.len() > NODES / 2, "{}", observers.len());
    assert_eq!(accused(&world).len(), NODES / SITES);
}

#[test]
fn a_path_that_loses_most_is_advised_of() {
    let mut world = formed(45);
    world.net.lose_towards(18, 0.8);
    world.run_for(seconds(200));
    let id = world.id(18);
    let advised = world.events.iter().any(|(_, _, event)| *event == Event::Degraded { node: id, degraded: true });
    assert!(advised);
    assert!(accused(&world).is_subset(&[18].into()), "{:?}", accused(&world));
}

#[test]
fn small_meshes_find_a_crash_too() {
    for (seed, nodes) in [(51, 2), (52, 3), (53, 4), (54, 5), (55, 6)] {
        let mut world = World::formed(seed, nodes, nodes, Config::default());
        world.crash(1);
        within(seconds(9), &mut world, "all know of the crash", |world| world.all_hold(1, MemberState::Unreachable));
        world.start(1, &[0]);
        within(seconds(3), &mut world, "it is back", |world| all_see(world, nodes));
    }
}

#[test]
fn small_meshes_accuse_nobody_at_loss() {
    for (seed, nodes) in [(56, 2), (57, 3), (58, 4)] {
        let mut world = World::formed(seed, nodes, nodes, Config::default());
        world.net.loss = 0.2;
        world.run_for(seconds(1_200));
        assert!(accused(&world).is_empty(), "seed {seed}");
    }
}

#[test]
fn a_member_that_goes_and_comes_is_shown_three_times_at_most() {
    let mut world = World::formed(61, 16, 8, Config::default());
    let node = 5;
    for _ in 0..15 {
        world.net.put_into_group(node, 1);
        world.run_for(seconds(20));
        world.net.put_into_group(node, 0);
        world.run_for(seconds(20));
    }
    let shown = |observer| {
        let returns =
            world.events.iter().filter(|(_, by, event)| *by == observer && matches!(event, Event::Returned { .. }));
        returns.count()
    };
    let most = (0..16).filter(|&observer| observer != node).map(shown).max();
    assert!(most <= Some(3));
    assert!(most >= Some(1));
}

#[test]
fn the_saving_profile_finds_a_crash_for_a_quarter_of_the_traffic() {
    let mut world = World::formed(62, NODES, SITES, Config::eco());
    world.run_for(seconds(100));
    let sent = world.traffic.messages as f64 / NODES as f64 / 100.0;
    assert!(sent <= 0.6, "{sent} messages per node and second");
    world.crash(3);
    within(seconds(10), &mut world, "all know of the crash", |world| world.all_hold(3, MemberState::Unreachable));
}

#[test]
fn a_quiet_node_speaks_to_sixteen_members_at_most() {
    let mut world = formed(63);
    world.run_for(seconds(60));
    // A relay pings somebody else's subject now and then; what is probed regularly is spoken to seven times a minute.
    let regular = world.spoken.iter().filter(|(_, datagrams)| **datagrams >= 4).map(|((from, _), _)| *from);
    let spoken_by = |node: usize| regular.clone().filter(|from| *from == node).count();
    let most = (0..NODES).map(spoken_by).max();
    assert!(most <= Some(16), "{most:?}");
    assert!(most >= Some(8));
}

#[test]
fn one_seed_tells_one_story() {
    let story = |seed| {
        let mut world = formed(seed);
        world.net.loss = 0.1;
        world.crash(2);
        world.run_for(seconds(20));
        world.start(2, &[0]);
        world.run_for(seconds(20));
        world.trace()
    };
    assert_eq!(story(71), story(71));
    assert_ne!(story(71), story(72));
}

const FAULTS: usize = 12;
const FEW: usize = 24;
const SEEDS: std::ops::Range<u64> = 1_005..1_017;
const WHOLE_AGAIN: Duration = Duration::from_secs(12);

/// Does one thing to the world that an operator would rather not see.
fn disturb(world: &mut World, rng: &mut Pcg64) {
    let node = rng.random_range(0..FEW);
    match rng.random_range(0..8) {
        0 => world.crash(node),
        1 => world.kill(node),
        2 => world.command(node, Cmd::Leave),
        3 => (0..FEW).for_each(|node| world.net.put_into_group(node, rng.random_range(0..2))),
        4 => world.net.loss = rng.random_range(0.0..0.4),
        5 => world.sleep(node, seconds(rng.random_range(1..20))),
        6 => (0..FEW).for_each(|from| world.net.cut(from, node, true)),
        _ if world.machine(node).is_none() => world.start(node, &[0, 1, 2, 3]),
        _ => world.links_time_out(),
    }
}

fn mend(world: &mut World) {
    world.net.loss = 0.0;
    for node in 0..FEW {
        world.net.put_into_group(node, 0);
        (0..FEW).for_each(|from| world.net.cut(from, node, false));
        world.sleep(node, Duration::ZERO);
        if world.machine(node).is_none() {
            world.start(node, &[0, 1, 2, 3]);
        }
    }
}

fn is_whole(world: &World) -> bool {
    let view = world.machine(0).map(Membership::view);
    world.running().all(|(_, machine)| machine.alive() == FEW && Some(machine.view()) == view)
}

#[test]
fn after_any_faults_all_hold_one_view_again() {
    for seed in SEEDS {
        let mut rng = Pcg64::seed_from_u64(seed);
        let mut world = World::formed(seed, FEW, 8, Config::default());
        for _ in 0..FAULTS {
            disturb(&mut world, &mut rng);
            world.run_for(seconds(rng.random_range(1..20)));
        }
        mend(&mut world);
        let whole = world.run_until(WHOLE_AGAIN, is_whole);
        let seen: Vec<_> = world.running().map(|(node, machine)| (node, machine.alive(), machine.view())).collect();
        assert!(whole.is_some(), "seed {seed}: not whole again after {WHOLE_AGAIN:?}: {seen:?}");
    }
}
