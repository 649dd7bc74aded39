//! An agent that was away for longer than anybody's log reaches: only range repair brings it back.

use everett_tests::cluster::{Cluster, PATIENCE, wait};
use redis::{Commands, Value, cmd};

/// Keys of each kind.
const KEYS: usize = 300;

/// More than fits the log's budget: everything before it is recycled.
const FILLER_MIB: usize = 96;

fn keys(kind: &str) -> Vec<String> {
    (0..KEYS).map(|number| format!("{kind}:{number}")).collect()
}

/// Sets every key of a kind to one value.
fn set_all(cluster: &Cluster, index: usize, kind: &str, value: &str) {
    let pairs: Vec<_> = keys(kind).into_iter().map(|key| (key, value)).collect();
    cluster.client(index).mset::<_, _, ()>(&pairs).expect("a local write succeeds");
}

fn delete_all(cluster: &Cluster, index: usize, kind: &str) {
    let deleted: usize = cluster.client(index).del(keys(kind)).expect("a local write succeeds");
    assert_eq!(deleted, KEYS);
}

fn increment(cluster: &Cluster, index: usize, by: i64) {
    cluster.client(index).incr::<_, _, i64>("count", by).expect("a local write succeeds");
}

fn set(cluster: &Cluster, index: usize, key: &str, value: &str) {
    cluster.client(index).set::<_, _, ()>(key, value).expect("a local write succeeds");
}

/// Three agents with logs as short as they may be.
fn forgetful() -> Cluster {
    let mut cluster = Cluster::laid_out(3);
    for index in 0..3 {
        let short = "[store]\nlog_bytes = \"64MiB\"\nsegment_bytes = \"16MiB\"\n";
        cluster.agent(index).reconfigure("[store]\n", short);
        cluster.agent(index).start();
    }
    cluster.wait_until_whole();
    cluster
}

#[test]
fn an_agent_that_no_log_reaches_is_repaired_and_all_hold_the_same() {
    let mut cluster = forgetful();
    for kind in ["same", "changed", "deleted-by-others", "deleted-by-it", "changed-by-both"] {
        set_all(&cluster, 0, kind, "before");
    }
    increment(&cluster, 0, 10);
    cluster.wait_until_converged();

    // It writes alone, and goes before anybody hears of it.
    cluster.agent(0).kill();
    cluster.agent(1).kill();
    set_all(&cluster, 2, "changed-by-both", "by it");
    set_all(&cluster, 2, "new-from-it", "by it");
    delete_all(&cluster, 2, "deleted-by-it");
    increment(&cluster, 2, 3);
    cluster.agent(2).kill();

    // The others write without it, until their logs no longer hold what it lacks.
    for index in [0, 1] {
        cluster.agent(index).start_and_serve();
    }
    cluster.wait_until_whole();
    set_all(&cluster, 0, "changed-by-both", "by others");
    set_all(&cluster, 0, "changed", "after");
    set_all(&cluster, 1, "new-from-others", "by others");
    delete_all(&cluster, 0, "deleted-by-others");
    increment(&cluster, 0, 5);
    increment(&cluster, 1, 7);
    cluster.wait_until_converged();
    let written = [0, 1].map(|index| cluster.agent(index).figure("commit"));
    let filler = "f".repeat(1 << 20);
    for _ in 0..FILLER_MIB {
        set(&cluster, 0, "filler", &filler);
    }
    for (index, written) in written.into_iter().enumerate() {
        wait::until("the log has moved on", PATIENCE, || cluster.agent(index).log_begins_at() > written);
    }

    cluster.agent(2).start_and_serve();
    cluster.wait_until_whole();
    cluster.wait_until_converged();
    assert!(cluster.agent(2).figure("repairs") > 0, "no log could bring this");
    assert!(cluster.agent(2).figure("repaired_rows") >= 4 * KEYS as u64);
    for index in 0..3 {
        assert_eq!(cluster.agent(index).figure("divergences"), 0, "at agent {index}");
        check(&cluster, index);
    }
}

/// What every agent holds in the end.
fn check(cluster: &Cluster, index: usize) {
    let mut client = cluster.client(index);
    for (kind, expected) in [
        ("same", Some("before")),
        ("changed", Some("after")),
        ("new-from-it", Some("by it")),
        ("new-from-others", Some("by others")),
        ("deleted-by-others", None),
        ("deleted-by-it", None),
    ] {
        let values: Vec<Option<String>> = client.mget(keys(kind)).expect("a local read succeeds");
        assert!(values.iter().all(|value| value.as_deref() == expected), "{kind} at agent {index}");
    }
    assert_eq!(client.get::<_, i64>("count").expect("a local read succeeds"), 25, "at agent {index}");
    for key in keys("changed-by-both") {
        let siblings: Vec<Value> = cmd("MESH.SIBLINGS").arg(&key).query(&mut client).expect("a local read succeeds");
        assert_eq!(siblings.len(), 2, "{key} at agent {index}: {siblings:?}");
    }
}
