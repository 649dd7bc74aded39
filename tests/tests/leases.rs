//! Leases among real agents: what goes with the node that holds it, what stays, and who decides.

use std::time::{Duration, Instant};

use everett_tests::cluster::{Cluster, PATIENCE, wait};
use redis::{Commands, Connection, Value, cmd};

/// Long enough for a node to be found silent, dead a minute later, and given up by whoever is to act.
const BURIED_WITHIN: Duration = Duration::from_mins(3);

fn lease(client: &mut Connection, keys: &[&str]) {
    let count: usize = cmd("MESH.LEASE").arg(keys).query(client).expect("the keys are there");
    assert_eq!(count, keys.len());
}

fn set(client: &mut Connection, key: &str, value: &str) {
    client.set::<_, _, ()>(key, value).expect("a local write succeeds");
}

fn get(client: &mut Connection, key: &str) -> Option<String> {
    client.get(key).expect("a local read succeeds")
}

fn leases(client: &mut Connection) -> usize {
    cmd("MESH.LEASES").query::<Vec<Value>>(client).expect("leases are listed").len()
}

/// Agents that give up what a node held soon after it is gone.
fn of_little_grace(count: usize) -> Cluster {
    let mut cluster = Cluster::laid_out(count);
    for index in 0..count {
        let agent = cluster.agent(index);
        agent.reconfigure("[telemetry]", "[membership]\nrestart_grace = \"1s\"\n[telemetry]");
        agent.start();
    }
    cluster.wait_until_whole();
    cluster
}

#[test]
fn what_a_node_holds_goes_with_its_leave_and_outlives_its_restart() {
    let mut cluster = Cluster::of(3);
    let mut client = cluster.client(2);
    set(&mut client, "held", "1");
    set(&mut client, "kept", "1");
    lease(&mut client, &["held"]);
    cluster.wait_until_converged();
    assert_eq!(leases(&mut cluster.client(0)), 1, "everybody knows of it");

    cluster.agent(2).stop();
    let mut other = cluster.client(0);
    wait::until("the leave is known", PATIENCE, || cluster.agent(0).state_of("c").as_deref() == Some("left"));
    cluster.agent(2).start_and_serve();
    cluster.wait_until_whole();
    assert_eq!(get(&mut other, "held").as_deref(), Some("1"), "a restart takes nothing away");

    let began = Instant::now();
    assert!(cluster.agent(2).verb(&["leave"]).output().expect("a verb runs").status.success());
    assert!(cluster.agent(2).wait_for_end().success());
    for index in [0, 1] {
        let mut client = cluster.client(index);
        wait::until("it is gone", PATIENCE, || get(&mut client, "held").is_none());
        assert_eq!(get(&mut client, "kept").as_deref(), Some("1"), "at agent {index}");
        wait::until("nothing is held any more", PATIENCE, || leases(&mut client) == 0);
    }
    assert!(began.elapsed() < Duration::from_secs(25), "not after the grace: {:?}", began.elapsed());
    cluster.wait_until_converged();
}

#[test]
fn what_a_dead_node_held_is_gone_everywhere_and_what_others_wrote_is_not() {
    let mut cluster = of_little_grace(4);
    let (mut holder, mut other) = (cluster.client(3), cluster.client(1));
    for key in ["own", "detached", "later"] {
        set(&mut holder, key, "1");
    }
    set(&mut other, "others", "1");
    for _ in 0..3 {
        holder.incr::<_, _, i64>("count", 1).expect("a local write succeeds");
    }
    cluster.wait_until_converged();
    lease(&mut holder, &["own", "detached", "later", "others", "count"]);
    set(&mut holder, "later", "2");
    cluster.wait_until_converged();
    set(&mut other, "detached", "mine");
    other.incr::<_, _, i64>("count", 2).expect("a local write succeeds");
    cluster.wait_until_converged();

    cluster.agent(3).kill();
    for index in 0..3 {
        let mut client = cluster.client(index);
        wait::until("what it held is gone", BURIED_WITHIN, || {
            ["own", "later", "others"].iter().all(|key| get(&mut client, key).is_none()) && leases(&mut client) == 0
        });
        assert_eq!(get(&mut client, "detached").as_deref(), Some("mine"), "at agent {index}");
        assert_eq!(get(&mut client, "count").as_deref(), Some("2"), "at agent {index}");
    }
    assert_eq!(cluster.agent(0).figure("leases_withdrawn"), 5, "the first by name did it");
    cluster.wait_until_converged();
    // It finds everything withdrawn when it is back.
    cluster.agent(3).start_and_serve();
    cluster.wait_until_whole();
    cluster.wait_until_converged();
    assert_eq!(get(&mut cluster.client(3), "own"), None);
}

#[test]
fn the_smaller_side_gives_nothing_up() {
    let mut cluster = of_little_grace(5);
    let gone = [2, 3, 4];
    for index in gone {
        let (key, mut client) = (format!("held:{index}"), cluster.client(index));
        set(&mut client, &key, "1");
        lease(&mut client, &[&key]);
    }
    cluster.wait_until_converged();
    gone.into_iter().for_each(|index| cluster.agent(index).kill());
    for name in ["c", "d", "e"] {
        wait::until("it is dead", BURIED_WITHIN, || cluster.agent(0).state_of(name).as_deref() == Some("dead"));
    }
    let buried = Instant::now();
    wait::until("it would have acted by now", PATIENCE, || buried.elapsed() >= Duration::from_secs(10));
    for survivor in [0, 1] {
        let mut client = cluster.client(survivor);
        for index in gone {
            assert_eq!(get(&mut client, &format!("held:{index}")).as_deref(), Some("1"), "at agent {survivor}");
        }
        assert_eq!(leases(&mut client), 3);
    }
    // With one of them back, those who are here are the larger side, and the other two are given up.
    cluster.agent(2).start_and_serve();
    let mut client = cluster.client(1);
    wait::until("the others are given up", BURIED_WITHIN, || leases(&mut client) == 1);
    assert_eq!(get(&mut client, "held:2").as_deref(), Some("1"), "it is back");
    assert_eq!(get(&mut client, "held:3"), None);
}
