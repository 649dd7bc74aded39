//! Agents 80 ms apart, and an agent that has nothing: how long until they hold the same.
//!
//! The figures are printed; what is held to is loose, because the machine is shared and the everyday build is not optimized.
#![expect(clippy::print_stderr, reason = "measurements are read by people")]

use std::time::{Duration, Instant};

use everett_tests::cluster::{Cluster, PATIENCE, Router, wait};

/// Half a round trip.
const ONE_WAY: Duration = Duration::from_millis(40);

/// Keys in one request.
const BATCH: usize = 1_000;

fn write(cluster: &Cluster, index: usize, rows: usize) {
    let mut client = cluster.client(index);
    for first in (0..rows).step_by(BATCH) {
        let mut pipe = redis::pipe();
        for number in first..rows.min(first + BATCH) {
            pipe.set(format!("key:{number:07}"), format!("{number:016}")).ignore();
        }
        pipe.query::<()>(&mut client).expect("a local write succeeds");
    }
}

/// How long it takes from now until an agent holds the same as another, whose state is settled.
fn time_until_equal(cluster: &Cluster, index: usize, as_at: usize) -> Duration {
    let began = Instant::now();
    let digest = |index: usize| redis::cmd("MESH.DIGEST").query::<Vec<String>>(&mut cluster.client(index)).ok();
    let wanted = digest(as_at);
    assert!(wanted.as_ref().is_some_and(|roots| !roots.is_empty()));
    wait::until("they hold the same", PATIENCE * 5, || {
        redis::cmd("DBSIZE").query::<u64>(&mut cluster.client(index)).is_ok() && digest(index) == wanted
    });
    began.elapsed()
}

fn away(rows: usize) -> Duration {
    let mut cluster = Cluster::laid_out(3);
    let _router = Router::with_delay(&mut cluster, 3, 0.0, ONE_WAY);
    (0..3).for_each(|index| cluster.agent(index).start());
    cluster.wait_until_whole();
    write(&cluster, 0, 100);
    cluster.wait_until_converged();
    cluster.agent(2).stop();
    write(&cluster, 0, rows);
    time_until_equal(&cluster, 1, 0);
    cluster.agent(2).start_and_serve();
    time_until_equal(&cluster, 2, 0)
}

#[test]
fn an_agent_that_was_down_has_what_was_written_80_ms_away() {
    let took = away(5_000);
    assert!(took < Duration::from_secs(20), "{took:?}");
}

#[test]
#[ignore = "a measurement"]
fn a_hundred_thousand_rows_written_while_one_is_down_80_ms_away() {
    let took = away(100_000);
    eprintln!("100,000 rows, 80 ms: equal after {took:?}");
    assert!(took < Duration::from_secs(30), "{took:?}");
}

#[test]
#[ignore = "a measurement"]
fn an_empty_agent_takes_a_million_small_rows() {
    const ROWS: usize = 1_000_000;
    let mut cluster = Cluster::laid_out(2);
    for index in 0..2 {
        let short = "[store]\nlog_bytes = \"64MiB\"\nsegment_bytes = \"16MiB\"\n";
        cluster.agent(index).reconfigure("[store]\n", short);
    }
    cluster.agent(0).start_and_serve();
    write(&cluster, 0, ROWS);
    wait::until("the log has moved on", PATIENCE, || cluster.agent(0).log_begins_at() > 1_000);
    let began = Instant::now();
    cluster.agent(1).start();
    time_until_equal(&cluster, 1, 0);
    let took = began.elapsed();
    eprintln!("{ROWS} rows: equal after {took:?}, {:.0} a second", ROWS as f64 / took.as_secs_f64());
    assert!(cluster.agent(1).figure("repairs") > 0, "no log reaches down to the first rows");
}
