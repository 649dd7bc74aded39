//! A real agent whose store goes bad: it stops with the store's code, and what it had acknowledged is there afterwards.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;

use everett_tests::cluster::{Cluster, worn_disk};
use redis::{Commands, RedisResult};

/// The store's exit code.
const STORE: Option<i32> = Some(4);

#[test]
fn a_failed_sync_ends_the_agent_and_loses_nothing_acknowledged() {
    let tools = tempfile::tempdir().expect("a temporary directory can be made");
    let (library, worn) = (worn_disk(tools.path()), tools.path().join("worn"));
    let mut cluster = Cluster::of(1);
    cluster.agent(0).stop();
    cluster.agent(0).start_with(&[("LD_PRELOAD", library.as_path()), ("WORN_DISK", worn.as_path())]);
    cluster.agent(0).wait_until_serving();
    let mut client = cluster.client(0);
    let mut acknowledged = 0_i64;
    while acknowledged < 50 {
        acknowledged = client.incr("n", 1).expect("the disk is sound");
    }
    fs::write(&worn, b"").expect("the disk can be worn");
    let answer: RedisResult<i64> = client.incr("n", 1);
    assert!(answer.is_err(), "what is not durable is not acknowledged: {answer:?}");
    assert_eq!(cluster.agent(0).wait_for_end().code(), STORE);
    cluster.agent(0).start_and_serve();
    let found: i64 = cluster.client(0).get("n").expect("a local read succeeds");
    assert!(found == acknowledged || found == acknowledged + 1, "{found} of {acknowledged}");
}

#[test]
fn a_damaged_log_is_refused_and_left_as_it_is() {
    let mut cluster = Cluster::of(1);
    let mut client = cluster.client(0);
    for number in 0..20 {
        client
            .set::<_, _, ()>(format!("key{number}"), "a value to be found in the log")
            .expect("a local write succeeds");
    }
    cluster.agent(0).kill();
    let log = cluster.agent(0).state().join("log");
    let segment = log.join("0000000000000001.seg");
    let bytes = fs::read(&segment).expect("the first segment can be read");
    let at = bytes.windows(5).position(|window| window == b"value").expect("the value stands in the log");
    let file = OpenOptions::new().write(true).open(&segment).expect("the segment can be opened");
    file.write_all_at(b"VALUE", at as u64).expect("the segment can be damaged");
    let damaged = fs::read(&segment).expect("the first segment can be read");
    cluster.agent(0).start();
    assert_eq!(cluster.agent(0).wait_for_end().code(), STORE);
    assert!(fs::read(&segment).expect("the first segment can be read") == damaged, "nothing was changed");
}
