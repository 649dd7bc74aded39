//! Connections that listen on channels: what they get, when, and what becomes of those that do not read.

use super::*;
use crate::mesh::{Change, ChangeKind};

#[test]
fn a_message_reaches_every_listener_in_the_version_it_speaks() {
    let running = start(|_| {});
    let (mut old, mut new, mut publisher) = (running.connect(), running.connect(), running.connect());
    old.listen("news");
    new.say("HELLO 3\r\nPSUBSCRIBE n*\r\n");
    while new.line() != "n*" {}
    assert_eq!(new.line(), ":1");
    assert_eq!(publisher.ask("PUBLISH news hello"), ":2");
    assert_eq!(publisher.ask("PUBLISH other hello"), ":0");
    assert_eq!(old.lines(7), "*3 $7 message $4 news $5 hello");
    assert_eq!(new.lines(9), ">4 $8 pmessage $2 n* $4 news $5 hello");
    assert_eq!(publisher.ask("CLIENT KILL TYPE pubsub"), ":2");
    assert_eq!((old.rest(), new.rest()), (String::new(), String::new()));
    assert_eq!(publisher.ask("PUBLISH news hello"), ":0");
    assert_eq!(publisher.ask("PUBSUB NUMPAT"), ":0");
    running.end();
}

#[test]
fn a_message_leaves_when_what_its_publisher_may_have_told_is_durable() {
    let mut running = start(|_| {});
    let (mut listener, mut publisher) = (running.connect(), running.connect());
    listener.listen("c");
    publisher.say("SET k v\r\nPUBLISH c k-changed\r\n");
    let batch = running.batch();
    assert_eq!(running.connect().ask("PUBLISH c free"), ":1", "a publisher who told nothing waits for nobody");
    assert!(listener.has_nothing(), "but a message never overtakes an earlier one");
    running.append(batch);
    assert_eq!(listener.lines(7), "*3 $7 message $1 c $9 k-changed");
    assert_eq!(listener.lines(7), "*3 $7 message $1 c $4 free");
    assert_eq!(publisher.lines(2), "+OK :1");
    running.end();
}

#[test]
fn what_a_connection_publishes_to_itself_comes_before_its_reply() {
    let running = start(|_| {});
    let mut client = running.connect();
    client.say("HELLO 3\r\nSUBSCRIBE c\r\nPUBLISH c 1\r\nPUBLISH c 2\r\nPING\r\n");
    while client.line() != "subscribe" {}
    assert_eq!(client.lines(3), "$1 c :1");
    assert_eq!(client.lines(8), ">3 $7 message $1 c $1 1 :1");
    assert_eq!(client.lines(9), ">3 $7 message $1 c $1 2 :1 +PONG");
    running.end();
}

#[test]
fn a_listener_that_does_not_read_is_cut_and_counted_and_holds_up_nobody() {
    let running = start(|settings| settings.output_bytes_max = 1 << 20);
    let (mut idle, mut other, mut publisher) = (running.connect(), running.connect(), running.connect());
    idle.listen("c");
    other.listen("d");
    let message = format!("*3\r\n$7\r\nPUBLISH\r\n$1\r\nc\r\n$100000\r\n{}\r\n", "x".repeat(100_000));
    let until = std::time::Instant::now() + Duration::from_secs(20);
    loop {
        publisher.say(&message);
        if publisher.line() == ":0" {
            break;
        }
        assert!(std::time::Instant::now() < until, "a listener that does not read is never cut");
    }
    assert_eq!(publisher.ask("PUBLISH d x"), ":1");
    assert_eq!(other.lines(7), "*3 $7 message $1 d $1 x");
    let stats = running.end().stats;
    assert_eq!((stats.cut_output, stats.cut_listeners), (1, 1));
}

#[test]
fn a_listener_that_went_listens_on_nothing() {
    let running = start(|_| {});
    let (mut gone, mut other) = (running.connect(), running.connect());
    gone.listen("c");
    drop(gone);
    let until = std::time::Instant::now() + Duration::from_secs(20);
    while other.ask("PUBLISH c x") != ":0" {
        assert!(std::time::Instant::now() < until, "a connection that is gone is listened for");
    }
    assert_eq!(other.ask("PUBSUB CHANNELS"), "*0");
    running.end();
}

#[test]
fn a_connection_that_is_put_back_is_an_ordinary_one_again() {
    let running = start(|_| {});
    let mut client = running.connect();
    client.listen("c");
    assert!(client.ask("GET k").starts_with("-ERR Can't execute 'get': only (P|S)SUBSCRIBE"));
    assert_eq!(client.ask("RESET"), "+RESET");
    assert_eq!(client.ask("PUBLISH c x"), ":0");
    assert_eq!(client.ask("GET k"), "$-1");
    running.end();
}

#[test]
fn a_change_of_who_is_here_is_published_and_counted() {
    let running = start(|_| {});
    let (mut listener, mut other) = (running.connect(), running.connect());
    listener.listen("__mesh__:members");
    let node = Some("b".to_owned());
    let change = Change { seq: 1, event: ChangeKind::Dead, node, site: None, boot_epoch: Some(2), at_ms: 3 };
    running.door.send(Notice::News(News::Changed(change))).unwrap();
    let line = r#"{"seq":1,"event":"dead","node":"b","boot_epoch":2,"at_ms":3}"#;
    assert_eq!(listener.lines(7), format!("*3 $7 message $16 __mesh__:members ${} {line}", line.len()));
    other.wait_for("INFO mesh\r\n", "member_events:1", true);
    other.wait_for("INFO mesh\r\n", &format!("last_member_event:{line}"), true);
    running.end();
}

#[test]
fn changes_of_keys_are_told_under_the_names_of_redis_and_only_when_asked_for() {
    let mut running = start(|_| {});
    let (mut listener, mut client) = (running.connect(), running.connect());
    assert_eq!(client.ask("CONFIG SET notify-keyspace-events EAmn"), "+OK");
    listener.say("HELLO 3\r\nPSUBSCRIBE __key*__:*\r\n");
    while listener.line() != "psubscribe" {}
    listener.lines(3);
    let requests = "SET k 5 EX 100\r\nINCR k\r\nAPPEND k 0\r\nSETRANGE k 0 7\r\nPERSIST k\r\nEXPIRE k 50\r\n\
                    GETDEL k\r\nDEL k\r\nGET k\r\nMSET a 1 b 2\r\nDEL a b\r\nEXPIRE a 5\r\nFLUSHDB\r\nPING\r\n";
    client.say(requests);
    let mut last = String::new();
    while last != "+PONG" {
        if let Ok(batch) = running.batches.recv_timeout(Duration::from_millis(10)) {
            running.append(batch.sealed);
        }
        while last != "+PONG" && !client.has_nothing() {
            last = client.line();
        }
    }
    let mut told = Vec::new();
    while told.last().is_none_or(|last| last != "del b") {
        let words = listener.lines(9);
        let words: Vec<&str> = words.split(' ').collect();
        assert_eq!(words[..5], [">4", "$8", "pmessage", "$10", "__key*__:*"]);
        told.push(format!("{} {}", words[6].trim_start_matches("__keyevent@0__:"), words[8]));
    }
    let expected = "new k, set k, expire k, incrby k, append k, setrange k, persist k, expire k, del k, keymiss k, new a, set a, \
                    new b, set b, del a, del b";
    assert_eq!(told.join(", "), expected);
    assert_eq!(client.ask("CONFIG SET notify-keyspace-events \"\""), "+OK");
    client.say("GET nosuch\r\nPUBLISH __key__: last\r\n");
    assert!(listener.lines(9).ends_with("last"), "nothing between");
    running.end();
}

#[test]
fn nobody_listens_on_more_than_there_may_be() {
    let running = start(|_| {});
    let mut client = running.connect();
    for chunk in 0..10 {
        let names: Vec<String> = (0..1_000).map(|number| format!("c{chunk}-{number}")).collect();
        client.say(&format!("SUBSCRIBE {}\r\n", names.join(" ")));
        client.lines(6 * 1_000);
    }
    let refused = "-ERR too many subscriptions on one connection (10000 at most)";
    assert_eq!(client.ask("SUBSCRIBE one-more"), refused);
    let long = format!("PSUBSCRIBE {}", "*a".repeat(600));
    let mut other = running.connect();
    assert_eq!(other.ask(&long), "-ERR pattern exceeds maximum allowed size (1024 bytes)");
    running.end();
}
