//! Real agents, real QUIC and mutual TLS, real disks, real `kill -9`.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use everett_tests::cluster::{Cluster, PATIENCE, copy_directory, wait};
use redis::{Commands, Connection, RedisResult, cmd};

/// Increments until told to stop; returns how many were acknowledged, and how many more were sent.
fn increment(client: &mut Connection, key: &str, stop: &AtomicBool) -> (i64, i64) {
    let (mut acknowledged, mut unanswered) = (0, 0);
    while !stop.load(Ordering::Relaxed) {
        let answer: RedisResult<i64> = client.incr(key, 1);
        if answer.is_ok() {
            acknowledged += 1;
        } else {
            unanswered += 1;
            break;
        }
    }
    (acknowledged, unanswered)
}

fn set(client: &mut Connection, key: &str, value: &str) {
    client.set::<_, _, ()>(key, value).expect("a local write succeeds");
}

fn get(client: &mut Connection, key: &str) -> Option<String> {
    client.get(key).expect("a local read succeeds")
}

#[test]
fn what_is_written_at_one_agent_is_read_at_the_others() {
    let cluster = Cluster::of(3);
    set(&mut cluster.client(0), "greeting", "hello");
    for index in [1, 2] {
        let mut client = cluster.client(index);
        wait::until("the write is visible", PATIENCE, || get(&mut client, "greeting").as_deref() == Some("hello"));
    }
    let digest = cluster.wait_until_converged();
    assert!(digest.iter().any(|line| line.starts_with("0 ")), "{digest:?}");
}

#[test]
fn an_agent_killed_under_load_comes_back_and_all_hold_the_same() {
    let mut cluster = Cluster::of(3);
    let stop = AtomicBool::new(false);
    let sockets = [cluster.client(0), cluster.client(1), cluster.client(2)];
    let counted: Vec<_> = thread::scope(|scope| {
        let writers: Vec<_> = sockets
            .into_iter()
            .enumerate()
            .map(|(index, mut client)| {
                scope.spawn({
                    let stop = &stop;
                    move || increment(&mut client, &format!("counter:{index}"), stop)
                })
            })
            .collect();
        let mut watcher = cluster.client(0);
        wait::until("the load is under way", PATIENCE, || {
            get(&mut watcher, "counter:2").is_some_and(|n| n.parse().is_ok_and(|n: i64| n > 200))
        });
        cluster.agent(2).kill();
        cluster.agent(2).start_and_serve();
        let before: i64 = watcher.get("counter:0").unwrap();
        wait::until("the load goes on", PATIENCE, || watcher.get("counter:0").is_ok_and(|n: i64| n > before + 200));
        stop.store(true, Ordering::Relaxed);
        writers.into_iter().map(|writer| writer.join().unwrap()).collect()
    });
    cluster.wait_until_converged();
    for (key, (acknowledged, unanswered)) in counted.into_iter().enumerate() {
        for index in 0..3 {
            let value: i64 = cluster.client(index).get(format!("counter:{key}")).unwrap();
            let range = acknowledged..=acknowledged + unanswered;
            assert!(range.contains(&value), "counter:{key} at {index} is {value}, not in {range:?}");
        }
    }
}

#[test]
fn a_killed_agent_without_seeds_is_linked_again_before_its_old_links_time_out() {
    let mut cluster = Cluster::of(3);
    wait_until_remembered(&mut cluster, 2);
    let stop = AtomicBool::new(false);
    let sockets = [cluster.client(1), cluster.client(2)];
    thread::scope(|scope| {
        for (index, mut client) in sockets.into_iter().enumerate() {
            let (key, stop) = (format!("counter:{index}"), &stop);
            scope.spawn(move || increment(&mut client, &key, stop));
        }
        let mut watcher = cluster.client(1);
        let reaches = |client: &mut Connection, least: i64| client.get("counter:0").is_ok_and(|n: i64| n > least);
        wait::until("the load is under way", PATIENCE, || reaches(&mut watcher, 100));
        cluster.agent(0).kill();
        let at_death: i64 = watcher.get("counter:0").unwrap();
        wait::until("the load goes on", PATIENCE, || reaches(&mut watcher, at_death + 100));
        cluster.agent(0).start_and_serve();
        let mut client = cluster.client(0);
        wait::until("it has what it missed", PATIENCE, || reaches(&mut client, at_death + 100));
        stop.store(true, Ordering::Relaxed);
    });
    cluster.wait_until_whole();
    cluster.wait_until_converged();
    for index in [1, 2] {
        let log = cluster.agent(index).log();
        let gone: Vec<_> = log.lines().filter(|line| line.contains("link is gone")).collect();
        assert!(!gone.is_empty() && gone.iter().all(|line| !line.contains("TimedOut")), "{gone:?}");
    }
}

#[test]
fn agents_that_knew_each_other_need_no_seed_to_meet_again() {
    let mut cluster = Cluster::of(2);
    wait_until_remembered(&mut cluster, 1);
    let seeds = format!("seeds = [\"127.0.0.1:{}\"]", cluster.agent(0).port());
    cluster.agent(1).reconfigure(&seeds, "seeds = []");
    cluster.agent(0).kill();
    cluster.agent(1).kill();
    for index in [0, 1] {
        cluster.agent(index).start_and_serve();
    }
    cluster.wait_until_whole();
}

/// Waits until every agent has put `members` others on disk for its next start.
fn wait_until_remembered(cluster: &mut Cluster, members: usize) {
    let word = format!("kept whom the next start should know members={members}");
    for index in 0..=members {
        wait::until("the members are on disk", PATIENCE, || cluster.agent(index).log().contains(&word));
    }
}

#[test]
fn counters_are_exact_although_one_agent_restarts_in_between() {
    let mut cluster = Cluster::of(3);
    for restart in [false, true] {
        for index in 0..3 {
            let mut client = cluster.client(index);
            for _ in 0..200 {
                client.incr::<_, _, i64>("visits", 1).expect("a local write succeeds");
            }
        }
        if !restart {
            cluster.agent(1).stop();
            cluster.agent(1).start_and_serve();
        }
    }
    cluster.wait_until_converged();
    for index in 0..3 {
        let visits: i64 = cluster.client(index).get("visits").unwrap();
        assert_eq!(visits, 1_200, "at agent {index}");
    }
}

#[test]
fn a_disk_put_back_loses_neither_what_reached_a_peer_nor_what_follows() {
    let mut cluster = Cluster::of(3);
    set(&mut cluster.client(0), "before", "1");
    cluster.wait_until_converged();
    cluster.agent(0).stop();
    let copy = cluster.directory().join("copy");
    copy_directory(&cluster.agent(0).state(), &copy);

    cluster.agent(0).start_and_serve();
    let mut client = cluster.client(0);
    set(&mut client, "between", "2");
    for _ in 0..10 {
        client.incr::<_, _, i64>("count", 1).unwrap();
    }
    let copies: i64 = cmd("WAIT").arg(2).arg(60_000).query(&mut client).unwrap();
    assert_eq!(copies, 2, "both peers hold it durably");
    for index in 0..3 {
        cluster.agent(index).stop();
    }

    let state = cluster.agent(0).state();
    fs::remove_dir_all(&state).unwrap();
    copy_directory(&copy, &state);
    cluster.agent(0).start_and_serve();
    let mut client = cluster.client(0);
    assert_eq!(get(&mut client, "before").as_deref(), Some("1"));
    assert_eq!(get(&mut client, "between"), None, "the old disk does not know it");
    set(&mut client, "after", "3");
    for _ in 0..5 {
        client.incr::<_, _, i64>("count", 1).unwrap();
    }

    for index in [1, 2] {
        cluster.agent(index).start_and_serve();
    }
    cluster.wait_until_whole();
    cluster.wait_until_converged();
    for index in 0..3 {
        let mut client = cluster.client(index);
        for (key, value) in [("before", "1"), ("between", "2"), ("after", "3"), ("count", "15")] {
            assert_eq!(get(&mut client, key).as_deref(), Some(value), "{key} at agent {index}");
        }
    }
}

#[test]
fn a_node_is_compared_with_another_by_name() {
    let cluster = Cluster::of(2);
    set(&mut cluster.client(0), "k", "v");
    cluster.wait_until_converged();
    let verify = |node: &str| cmd("MESH.VERIFY").arg(node).query::<Vec<redis::Value>>(&mut cluster.client(0));
    let names = ["rows", "ranges", "keys", "diverged"].map(|name| redis::Value::BulkString(name.into()));
    let empty = || redis::Value::Array(Vec::new());
    let nothing = [redis::Value::Int(0), empty(), empty(), empty()];
    let expected: Vec<_> = names.into_iter().zip(nothing).flat_map(|(name, value)| [name, value]).collect();
    assert_eq!(verify("b").expect("a session comes to an end"), expected);
    let error = verify("nobody").expect_err("nobody has that name");
    assert!(error.to_string().contains("no other node has that name"), "{error}");
}

#[test]
fn an_agent_that_is_told_to_stop_leaves_with_everything_on_disk() {
    let mut cluster = Cluster::of(2);
    set(&mut cluster.client(1), "kept", "yes");
    cluster.agent(1).stop();
    assert!(!cluster.agent(1).socket().exists(), "the socket is gone with the agent");
    wait::until("the other agent saw it leave", PATIENCE, || cluster.agent(0).peers_alive() == Some(0));
    cluster.agent(1).start_and_serve();
    assert_eq!(get(&mut cluster.client(1), "kept").as_deref(), Some("yes"));
    cluster.wait_until_whole();
}

#[test]
fn what_was_written_just_before_a_stop_is_at_the_peers_once_it_has_ended() {
    let mut cluster = Cluster::of(3);
    let mut pipe = redis::pipe();
    for number in 0..5_000 {
        pipe.set(format!("k:{number}"), number).ignore();
    }
    pipe.query::<()>(&mut cluster.client(2)).expect("local writes succeed");
    cluster.agent(2).stop();
    for index in [0, 1] {
        assert_eq!(cmd("DBSIZE").query::<u64>(&mut cluster.client(index)).unwrap(), 5_000, "at agent {index}");
    }
}

#[test]
fn two_processes_do_not_share_one_state_directory() {
    let mut cluster = Cluster::laid_out(1);
    cluster.agent(0).start_and_serve();
    let first = cluster.agent(0).pid();
    let second = cluster.second_process(0).wait_for_end();
    assert!(!second.success(), "the second process must not serve");
    assert_eq!(cluster.agent(0).pid(), first);
    set(&mut cluster.client(0), "still", "here");
}

#[test]
fn a_reload_reads_the_log_filter_again_and_drops_no_client() {
    let mut cluster = Cluster::laid_out(1);
    cluster.agent(0).start_and_serve();
    let mut client = cluster.client(0);
    set(&mut client, "kept", "1");
    cluster.agent(0).reconfigure("filter = \"everett_agent=debug,info\"", "filter = \"error,everett_agent::cli=info\"");
    cluster.agent(0).reload();
    wait::until("the reload is logged", PATIENCE, || cluster.agent(0).log().contains("log filter read again"));
    assert_eq!(get(&mut client, "kept").as_deref(), Some("1"));
    cluster.agent(0).reconfigure("filter = \"error,everett_agent::cli=info\"", "filter = \"a=loudly\"");
    cluster.agent(0).reload();
    wait::until("the refusal is logged", PATIENCE, || cluster.agent(0).log().contains("the old one stays"));
    assert_eq!(get(&mut client, "kept").as_deref(), Some("1"));
}
