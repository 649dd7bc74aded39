//! The reference model in the everyday run: random schedules against the event graph, and every broken rule noticed.
//!
//! A failure names its seed. `EVERETT_MODEL_SEED=<seed> cargo test -p everett-tests --test model one_seed -- --nocapture`
//! tells that schedule step by step; `EVERETT_MODEL_SCHEDULES=<count>` runs as many seeds instead of the everyday number.

use everett_tests::model::{self, Failure, Fault, Flaw, Plan, Stats};

const SCHEDULES: u64 = 10_000;
const THREADS: u64 = 2;

/// A broken rule must show within so many schedules.
const FLAWED_MAX: u64 = 1_000;

/// What must have happened, often, for the run to mean anything.
const HAPPENED: [&str; 16] = [
    "adoptions",
    "caught up",
    "closings",
    "converged",
    "crashes",
    "downs",
    "edits",
    "equal roots",
    "messages",
    "pulls",
    "reopened",
    "restores",
    "sessions",
    "skews",
    "trims",
    "watermarks",
];

/// How many schedules to run.
fn schedules() -> u64 {
    let asked = std::env::var("EVERETT_MODEL_SCHEDULES").ok();
    asked.map_or(SCHEDULES, |count| count.parse().expect("EVERETT_MODEL_SCHEDULES is a number"))
}

fn share(first: u64) -> Result<Stats, Failure> {
    let mut total = Stats::new();
    for seed in (first..schedules()).step_by(usize::try_from(THREADS).expect("few")) {
        for (what, count) in model::run(seed, Plan::of(seed))? {
            *total.entry(what).or_default() += count;
        }
    }
    Ok(total)
}

#[test]
fn every_schedule_shows_what_its_events_say_and_converges() {
    let threads: Vec<_> = (0..THREADS).map(|first| std::thread::spawn(move || share(first))).collect();
    let mut total = Stats::new();
    for thread in threads {
        let stats = thread.join().expect("a schedule does not panic").unwrap_or_else(|failure| panic!("{failure}"));
        for (what, count) in stats {
            *total.entry(what).or_default() += count;
        }
    }
    for what in HAPPENED {
        assert!(total.get(what).is_some_and(|&count| count > schedules() / 10), "{what} in {total:?}");
    }
}

/// The first schedule that breaks a promise once `flaw` is in.
fn caught(flaw: Flaw) -> Failure {
    let failures = (0..FLAWED_MAX).filter_map(|seed| model::run(seed, Plan::flawed(seed, flaw)).err());
    let telling = |failure: &Failure| failure.fault != Fault::Stuck;
    failures.into_iter().find(telling).unwrap_or_else(|| panic!("{flaw:?} passes {FLAWED_MAX} schedules"))
}

#[test]
fn one_seed_is_one_schedule() {
    let asked = std::env::var("EVERETT_MODEL_SEED").ok();
    let seed = asked.as_ref().map_or(77, |seed| seed.parse().expect("EVERETT_MODEL_SEED is a number"));
    let mut plan = Plan::of(seed);
    plan.told = asked.is_some();
    let first = model::run(seed, plan);
    assert_eq!(first, model::run(seed, Plan::of(seed)));
    assert_eq!(first.err(), None);
}

#[test]
fn cuts_that_spare_the_memtable_are_caught() {
    caught(Flaw::CutFirst);
}

#[test]
fn a_flush_that_overtakes_the_log_is_caught() {
    caught(Flaw::FlushNotDurable);
}

#[test]
fn pins_that_are_not_settled_are_caught() {
    caught(Flaw::NoSettle);
}

#[test]
fn silence_taken_for_equality_is_caught() {
    caught(Flaw::NeedNotSend);
}

#[test]
fn silence_of_one_side_taken_for_equality_is_caught() {
    caught(Flaw::NeedNotSendOneSided);
}

#[test]
fn equal_roots_adopted_without_what_changed_since_are_caught() {
    caught(Flaw::EqualRootsNaive);
}

#[test]
fn adoptions_that_other_pins_do_not_hear_of_are_caught() {
    caught(Flaw::NamesNothing);
}

#[test]
fn adoptions_logged_without_what_changed_since_are_caught() {
    caught(Flaw::RecordStageOnly);
}

#[test]
fn adoptions_made_without_what_changed_since_are_caught() {
    caught(Flaw::StageOnly);
}

#[test]
fn sessions_by_message_under_the_first_vector_are_caught() {
    caught(Flaw::PerMessageFirst);
}

#[test]
fn sessions_by_message_under_the_last_vector_are_caught() {
    caught(Flaw::PerMessageLast);
}

#[test]
fn delivery_in_the_authors_order_alone_shows_values_that_no_events_explain() {
    assert!(matches!(caught(Flaw::Fifo).fault, Fault::View { .. }));
}

#[test]
fn elements_without_deadlines_of_their_own_outlive_their_key() {
    assert!(matches!(caught(Flaw::NoInheritedDeadlines).fault, Fault::View { .. }));
}

#[test]
fn a_restart_under_the_old_id_is_caught() {
    caught(Flaw::SameLife);
}

#[test]
fn replay_that_ignores_how_far_a_flush_came_is_caught() {
    caught(Flaw::CursorIgnored);
}

#[test]
fn closings_that_cover_what_is_not_here_are_caught() {
    caught(Flaw::ClosingCovers);
}

#[test]
fn a_start_without_its_table_of_closed_lives_is_caught() {
    caught(Flaw::TableLost);
}

#[test]
fn a_peers_table_taken_for_the_own_one_is_caught() {
    caught(Flaw::TablesTaken);
}
