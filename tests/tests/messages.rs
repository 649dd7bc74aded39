//! What real agents tell a stock `redis-cli` that listens.

use everett_tests::cluster::{Cluster, Listener, PATIENCE};
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
    listener.line_with(&["\"event\":\"draining\"", "\"node\":\"b\""]);
    listener.line_with(&["\"event\":\"left\"", "\"node\":\"b\""]);
    let facts: Vec<(String, Value)> = cmd("MESH.INFO").query(&mut cluster.client(0)).unwrap();
    let last = facts.into_iter().find(|(name, _)| name == "last_member_event").unwrap().1;
    let last: String = redis::from_redis_value(last).unwrap();
    assert!(last.contains("\"event\":\"left\""), "{last}");
    assert!(cluster.agent(0).figure("member_events") >= 5);
}

#[test]
fn what_a_peer_writes_is_told_to_those_who_listen_for_keys() {
    let cluster = Cluster::of(2);
    let (mut here, mut there) = (cluster.client(0), cluster.client(1));
    let agreed: String = cmd("CONFIG").arg(&["SET", "notify-keyspace-events", "KEA"]).query(&mut here).unwrap();
    assert_eq!(agreed, "OK");
    let socket = cluster.directory().join("a").join("sock");
    let mut listener = Listener::start(&socket, "__key*__:*");
    let mut told = |request: &[&str], event: &str| {
        cmd(request[0]).arg(&request[1..]).query::<Value>(&mut there).unwrap();
        listener.line_with(&["__keyspace@0__:k"]);
        assert_eq!(listener.line_within(PATIENCE, |_| true).as_deref(), Some(event), "{request:?}");
        listener.line_with(&["__keyevent@0__:", event]);
        assert_eq!(listener.line_within(PATIENCE, |_| true).as_deref(), Some("k"), "{request:?}");
    };
    told(&["SET", "k", "1"], "set");
    told(&["INCR", "k"], "set");
    told(&["EXPIRE", "k", "1000"], "expire");
    told(&["PERSIST", "k"], "persist");
    told(&["DEL", "k"], "del");
}
