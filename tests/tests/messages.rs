//! What real agents tell a stock `redis-cli` that listens.

use everett_tests::cluster::{Cluster, Listener};
use redis::{Value, cmd};

#[test]
fn who_comes_and_goes_is_told_as_it_happens_in_numbered_lines() {
    let mut cluster = Cluster::of(3);
    let mut listener = Listener::start(&cluster.agent(0).socket(), "__mesh__:*");
    cluster.agent(2).kill();
    let line = listener.line_with(&["\"event\":\"unreachable\"", "\"node\":\"c\""]);
    assert!(line.starts_with("{\"seq\":") && line.contains("\"site\":\"site-c\""), "{line}");
    cluster.agent(2).start_and_serve();
    let up = listener.line_with(&["\"event\":\"up\"", "\"node\":\"c\""]);
    assert!(up.contains("\"boot_epoch\":2"), "{up}");
    cluster.agent(1).stop();
    listener.line_with(&["\"event\":\"left\"", "\"node\":\"b\""]);
    let facts: Vec<(String, Value)> = cmd("MESH.INFO").query(&mut cluster.client(0)).unwrap();
    let last = facts.into_iter().find(|(name, _)| name == "last_member_event").unwrap().1;
    let last: String = redis::from_redis_value(last).unwrap();
    assert!(last.contains("\"event\":\"left\""), "{last}");
    assert!(cluster.agent(0).figure("member_events") >= 5);
}
