//! Each promise can be seen to be broken.

use super::*;

fn life(id: u8, boot_epoch: u64) -> Life {
    Life { id: NodeId([id; 16]), boot_epoch, nonce: 0 }
}

fn standing(id: u8, boot_epoch: u64, incarnation: u32, state: State) -> Standing {
    Standing { life: life(id, boot_epoch), incarnation, state }
}

/// A look at the node with this id, whose view hash is `view`.
fn look(id: u8, view: u64, standings: &[Standing]) -> Look {
    Look { life: life(id, 1), incarnation: 0, view, standings: standings.to_vec() }
}

fn checks() -> Checks {
    Checks::new(Duration::from_secs(10))
}

const ALIVE: State = State::Alive;

#[test]
#[should_panic(expected = "only the subject raises its incarnation")]
fn an_incarnation_raised_by_another_is_seen() {
    let mut checks = checks();
    let own = standing(1, 1, 0, ALIVE);
    checks.look(1, look(1, 10, &[own]));
    checks.look(2, look(2, 11, &[own, standing(2, 1, 0, ALIVE)]));
    checks.look(2, look(2, 12, &[standing(1, 1, 1, State::Unreachable), standing(2, 1, 0, ALIVE)]));
}

#[test]
#[should_panic(expected = "who left comes back only in a later epoch")]
fn a_resurrection_within_an_epoch_is_seen() {
    let mut checks = checks();
    checks.look(1, look(1, 10, &[standing(1, 1, 0, ALIVE)]));
    checks.look(2, look(2, 11, &[standing(1, 1, 0, State::Left), standing(2, 1, 0, ALIVE)]));
    checks.look(2, look(2, 12, &[standing(2, 1, 0, ALIVE)]));
    checks.look(2, look(2, 13, &[standing(1, 1, 0, ALIVE), standing(2, 1, 0, ALIVE)]));
}

#[test]
#[should_panic(expected = "equal view hashes mean equal views")]
fn two_views_with_one_hash_are_seen() {
    let mut checks = checks();
    checks.look(1, look(1, 10, &[standing(1, 1, 0, ALIVE)]));
    checks.look(2, look(2, 10, &[standing(2, 1, 0, ALIVE)]));
}

#[test]
#[should_panic(expected = "equal views have equal hashes")]
fn one_view_with_two_hashes_is_seen() {
    let mut checks = checks();
    let all = [standing(1, 1, 0, ALIVE), standing(2, 1, 0, ALIVE)];
    checks.look(2, look(2, 9, &all[1..]));
    checks.look(1, look(1, 10, &all));
    checks.look(2, look(2, 11, &all));
}

fn apart() -> Checks {
    let mut checks = checks();
    checks.look(1, look(1, 10, &[standing(1, 1, 0, ALIVE)]));
    checks.look(2, look(2, 11, &[standing(2, 1, 0, ALIVE)]));
    checks
}

fn at(seconds: u64) -> Instant {
    Instant::ZERO + Duration::from_secs(seconds)
}

#[test]
#[should_panic(expected = "all that live hold one view")]
fn two_that_never_agree_are_seen() {
    let mut checks = apart();
    checks.pass(at(5), true);
    checks.pass(at(11), true);
}

#[test]
fn trouble_gives_time_and_the_dead_need_not_agree() {
    let mut checks = apart();
    checks.disturbed(at(8));
    checks.pass(at(17), true);
    checks.pass(at(30), false);
    checks.pass(at(39), true);
    checks.restarted(2);
    checks.pass(at(60), true);
}
