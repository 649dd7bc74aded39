//! Real agents find out about each other: who died, who left, who came back.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use everett_tests::cluster::{Cluster, PATIENCE, Router, wait};
use redis::Commands;

/// How long it may take, at the median, until every other agent knows of a death.
const KNOWN_WITHIN: Duration = Duration::from_secs(4);

/// Kills one agent of five again and again; returns how long it took each time until all others knew, in order.
fn kill_and_time(kills: usize) -> Vec<Duration> {
    const AGENTS: usize = 5;
    let mut cluster = Cluster::of(AGENTS);
    let mut times: Vec<Duration> = (0..kills)
        .map(|kill| {
            let victim = kill % AGENTS;
            let name = cluster.agent(victim).name().to_owned();
            let others: Vec<usize> = (0..AGENTS).filter(|other| *other != victim).collect();
            cluster.agent(victim).kill();
            let died = Instant::now();
            for &other in &others {
                wait::until("the death is known", PATIENCE, || {
                    cluster.agent(other).state_of(&name).is_some_and(|state| state == "unreachable")
                });
            }
            let took = died.elapsed();
            for &other in &others {
                assert_eq!(cluster.agent(other).figure("members_unreachable"), 1, "nobody else is accused");
            }
            cluster.agent(victim).start_and_serve();
            // One that died often within minutes is on probation, and answers all the same.
            for &other in &others {
                wait::until("it is back", PATIENCE, || {
                    let state = cluster.agent(other).state_of(&name);
                    state.is_some_and(|state| state == "alive" || state == "probation")
                });
            }
            took
        })
        .collect();
    times.sort_unstable();
    times
}

#[test]
fn a_killed_agent_is_known_to_be_gone_by_all_others_within_seconds() {
    let times = kill_and_time(5);
    assert!(times[times.len() / 2] <= KNOWN_WITHIN, "{times:?}");
}

#[test]
#[ignore = "takes minutes"]
fn of_twenty_kills_the_median_is_known_within_seconds() {
    let times = kill_and_time(20);
    say(&format!(
        "known to all, of {}: median {:?}, longest {:?}\n",
        times.len(),
        times[times.len() / 2],
        times.last()
    ));
    assert!(times[times.len() / 2] <= KNOWN_WITHIN, "{times:?}");
}

/// Figures for whoever runs a test for them, past the harness's capture.
fn say(text: &str) {
    std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes()).expect("standard error can be written");
}

/// Five agents, every fifth packet lost between them, for so long; nobody may be accused by anybody.
fn lose_packets_for(long: Duration) {
    const AGENTS: usize = 5;
    let mut cluster = Cluster::laid_out(AGENTS);
    let _router = Router::between(&mut cluster, AGENTS, 0.2);
    (0..AGENTS).for_each(|index| cluster.agent(index).start());
    cluster.wait_until_whole();
    let began = Instant::now();
    wait::until("the time is up", long + PATIENCE, || began.elapsed() >= long);
    for index in 0..AGENTS {
        assert_eq!(cluster.agent(index).figure("found_unreachable"), 0, "at agent {index}");
        assert_eq!(cluster.agent(index).figure("members_alive"), AGENTS as u64, "at agent {index}");
    }
    cluster.client(0).set::<_, _, ()>("k", "v").expect("a local write succeeds");
    cluster.wait_until_converged();
}

#[test]
fn nobody_is_accused_because_packets_are_lost() {
    lose_packets_for(Duration::from_secs(20));
}

#[test]
#[ignore = "takes ten minutes"]
fn nobody_is_accused_in_ten_minutes_of_lost_packets() {
    lose_packets_for(Duration::from_mins(10));
}

/// Prints what an agent costs that has nothing to do: `just idle`.
#[test]
#[ignore = "takes a minute, and prints figures instead of judging them"]
fn an_idle_minute_of_five_agents() {
    const AGENTS: usize = 5;
    let mut cluster = Cluster::of(AGENTS);
    let settled = Instant::now();
    wait::until("what joining stirred up has settled", PATIENCE, || settled.elapsed() >= Duration::from_secs(20));
    let look = |cluster: &mut Cluster, index: usize| {
        let agent = cluster.agent(index);
        let figures = ["sent_bytes", "received_bytes"].map(|name| agent.figure_of_peers(name));
        (figures, agent.figure("probe_datagrams_sent"), agent.computed())
    };
    let before: Vec<_> = (0..AGENTS).map(|index| look(&mut cluster, index)).collect();
    let began = Instant::now();
    wait::until("a minute is over", PATIENCE, || began.elapsed() >= Duration::from_mins(1));
    let lines = before.into_iter().enumerate().map(|(index, ([sent, received], datagrams, computed))| {
        let ([sent_now, received_now], datagrams_now, computed_now) = look(&mut cluster, index);
        let (sent, received, datagrams) = (sent_now - sent, received_now - received, datagrams_now - datagrams);
        let computed = computed_now.saturating_sub(computed);
        format!("{index}: {sent} B, {received} B; {datagrams}; {computed:?}\n")
    });
    let title = "agent: UDP payload sent, received; membership's datagrams; computing\n".to_owned();
    let text = std::iter::once(title).chain(lines).collect::<String>();
    say(&text);
}

#[test]
fn a_watcher_is_told_who_died_and_who_left() {
    let mut cluster = Cluster::of(3);
    let mut watcher = cluster
        .agent(0)
        .verb(&["members", "--watch"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("a verb runs");
    let mut lines = BufReader::new(watcher.stdout.take().expect("its output is piped")).lines();
    let mut told = |what: &str| {
        let line = lines.find(|line| line.as_ref().is_ok_and(|line| line.contains(what)));
        assert!(line.is_some(), "the watcher ended before it told: {what}");
    };
    told("c (site-c)  - -> alive");
    cluster.agent(1).kill();
    told("b (site-b)  alive -> unreachable");
    let left = cluster.agent(2).verb(&["leave"]).output().expect("a verb runs");
    assert!(left.status.success(), "{left:?}");
    assert_eq!(String::from_utf8_lossy(&left.stdout), "left\n");
    assert!(cluster.agent(2).wait_for_end().success());
    told("-> left");
    // With its agent, the watcher ends too.
    cluster.agent(0).stop();
    assert_eq!(watcher.wait().expect("a child can be waited for").code(), Some(5));
}
