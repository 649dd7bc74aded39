//! When writes are answered, at each level: who waits for the disk, who does not, and who makes it work.

use std::collections::BTreeMap;

use super::*;
use crate::durability::{Durability, Levels};

/// A ledger whose disk may be so far behind before answers wait for it, and which waits so long for it at its end.
fn start_with_interval(interval: Duration, drain_max: Duration) -> Running {
    let levels = Levels::new(interval, Durability::Commit, &BTreeMap::from([(3, Durability::Interval)]));
    start_host(|settings| settings.drain_max = drain_max, |_| {}, |host| host.sessions.set_levels(levels))
}

fn start_levels() -> Running {
    start_with_interval(Duration::from_hours(1), Duration::ZERO)
}

impl Running {
    fn next(&self) -> Batch {
        self.batches.recv_timeout(Duration::from_secs(20)).unwrap()
    }

    fn connect_at(&self, level: &str) -> Client {
        let mut client = self.connect();
        assert_eq!(client.ask(&format!("MESH.DURABILITY {level}")), "+OK");
        client
    }
}

#[test]
fn at_the_level_interval_a_write_is_answered_at_once_and_nobody_makes_the_disk_work() {
    let running = start_levels();
    let mut client = running.connect_at("interval");
    assert_eq!(client.ask("SET k v"), "+OK");
    let batch = running.next();
    assert!(!batch.urgent && !batch.sealed.is_empty());
    client.say("GET k\r\nINCR n\r\nDBSIZE\r\n");
    assert_eq!([client.line(), client.line(), client.line(), client.line()], ["$1", "v", ":1", ":2"]);
    assert!(!running.next().urgent);
    running.end();
}

#[test]
fn whoever_awaits_the_disk_waits_for_what_others_wrote_before_it_and_has_it_synced_at_once() {
    let mut running = start_levels();
    let (mut fast, mut safe) = (running.connect_at("interval"), running.connect());
    assert_eq!(fast.ask("SET k v"), "+OK");
    let written = running.next();
    safe.say("GET k\r\n");
    let asked = running.next();
    assert!(asked.urgent && asked.sealed.is_empty(), "a read of what is not durable asks for nothing but a sync");
    assert!(safe.has_nothing());
    assert_eq!(fast.ask("GET k"), "$1", "one connection's level is nobody else's");
    assert_eq!(fast.line(), "v");
    running.append(written.sealed);
    assert_eq!([safe.line(), safe.line()], ["$1", "v"]);
    assert_eq!(safe.ask("GET k"), "$1", "what is durable is told at once");
    assert!(running.batches.is_empty());
    running.end();
}

#[test]
fn writes_of_both_levels_are_answered_each_in_its_time() {
    let mut running = start_levels();
    let (mut fast, mut safe) = (running.connect_at("interval"), running.connect());
    assert_eq!(fast.ask("SET a 1"), "+OK");
    safe.say("SET b 2\r\n");
    assert_eq!(fast.ask("SET c 3"), "+OK");
    let mut batches = vec![running.next()];
    while !batches.iter().any(|batch| batch.urgent) {
        batches.push(running.next());
    }
    assert!(safe.has_nothing());
    for batch in batches {
        running.append(batch.sealed);
    }
    assert_eq!(safe.line(), "+OK");
    running.end();
}

#[test]
fn a_namespace_has_a_level_and_a_connection_may_have_its_own() {
    let running = start_levels();
    let mut client = running.connect();
    assert_eq!([client.ask("MESH.DURABILITY"), client.line()], ["$6", "commit"]);
    assert_eq!(client.ask("SELECT 3"), "+OK");
    assert_eq!([client.ask("MESH.DURABILITY"), client.line()], ["$8", "interval"]);
    assert_eq!(client.ask("SET k v"), "+OK");
    assert!(!running.next().urgent);
    assert_eq!(client.ask("SELECT 0"), "+OK");
    client.say("SET k v\r\n");
    assert!(running.next().urgent, "the namespace's level is that of the write, not of the connection's last one");
    assert!(client.has_nothing());
    assert_eq!(running.connect().ask("MESH.DURABILITY never"), "-ERR syntax error");
    assert_eq!(
        running.connect().ask("MESH.DURABILITY a b"),
        "-ERR wrong number of arguments for 'mesh.durability' command"
    );
    running.end();
}

#[test]
fn going_back_to_commit_waits_for_all_that_was_answered_before() {
    for word in ["commit", "default"] {
        let mut running = start_levels();
        let mut client = running.connect_at("interval");
        assert_eq!(client.ask("SET k v"), "+OK");
        let written = running.next();
        client.say(&format!("MESH.DURABILITY {word}\r\n"));
        assert!(running.next().urgent);
        assert!(client.has_nothing());
        running.append(written.sealed);
        assert_eq!(client.line(), "+OK");
        client.say("SET k w\r\n");
        assert!(running.next().urgent);
        running.end();
    }
}

#[test]
fn a_reset_takes_the_choice_back() {
    let running = start_levels();
    let mut client = running.connect_at("interval");
    assert_eq!(client.ask("RESET"), "+RESET");
    assert_eq!([client.ask("MESH.DURABILITY"), client.line()], ["$6", "commit"]);
    running.end();
}

#[test]
fn messages_wait_for_the_disk_whatever_the_level_of_their_publisher() {
    let mut running = start_levels();
    let (mut listener, mut fast) = (running.connect(), running.connect_at("interval"));
    listener.listen("c");
    assert_eq!(fast.ask("SET k v"), "+OK");
    let written = running.next();
    assert_eq!(fast.ask("PUBLISH c k-changed"), ":1");
    // It has been through a turn, and so has the message.
    assert_eq!(fast.ask("PING"), "+PONG");
    assert!(listener.has_nothing());
    running.append(written.sealed);
    assert_eq!(listener.lines(7), "*3 $7 message $1 c $9 k-changed");
    running.end();
}

#[test]
fn what_a_connection_tells_itself_waits_too() {
    let mut running = start_levels();
    let mut client = running.connect();
    client.say("HELLO 3\r\nSUBSCRIBE c\r\nMESH.DURABILITY interval\r\n");
    while client.line() != "+OK" {}
    assert_eq!(client.ask("SET k v"), "+OK");
    let written = running.next();
    client.say("PUBLISH c 1\r\n");
    assert!(running.next().urgent, "somebody waits");
    assert!(client.has_nothing());
    running.append(written.sealed);
    assert_eq!(client.lines(8), ">3 $7 message $1 c $1 1 :1");
    running.end();
}

#[test]
fn wait_makes_the_disk_work() {
    let running = start_levels();
    let mut client = running.connect_at("interval");
    assert_eq!(client.ask("SET k v"), "+OK");
    assert!(!running.next().urgent);
    client.say("WAIT 1 0\r\n");
    assert!(running.next().urgent, "a peer gets only what is durable here");
    running.end();
}

#[test]
fn a_disk_that_is_further_behind_than_the_interval_is_waited_for() {
    let mut running = start_with_interval(Duration::from_millis(20), Duration::ZERO);
    let mut client = running.connect_at("interval");
    let mut answered = 0;
    let until = std::time::Instant::now() + Duration::from_secs(20);
    // Nothing becomes durable, so there is a write that is not answered at once.
    let mut batches = Vec::new();
    loop {
        assert!(std::time::Instant::now() < until, "{answered} writes were answered though none is on the disk");
        client.say("INCR n\r\n");
        let batch = running.next();
        let urgent = batch.urgent;
        batches.push(batch);
        if urgent {
            break;
        }
        answered += 1;
        assert_eq!(client.line(), format!(":{answered}"));
    }
    assert!(client.has_nothing());
    for batch in batches {
        running.append(batch.sealed);
    }
    assert_eq!(client.line(), format!(":{}", answered + 1));
    assert_eq!(client.ask("INCR n"), format!(":{}", answered + 2), "the disk has caught up");
    running.end();
}

#[test]
fn a_drain_waits_until_what_was_answered_is_durable() {
    let mut running = start_with_interval(Duration::from_hours(1), Duration::from_secs(20));
    let mut client = running.connect_at("interval");
    assert_eq!(client.ask("SET k v"), "+OK");
    let written = running.next();
    running.door.send(Notice::Drain).unwrap();
    assert!(running.next().urgent);
    running.append(written.sealed);
    let host = running.thread.join().unwrap().unwrap();
    assert_eq!(host.peers.durable().upto(), host.data.replica.commit());
}
