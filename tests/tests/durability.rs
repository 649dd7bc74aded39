//! Real agents that answer before the disk: what a kill takes, and what nobody hears before it is on the disk.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use everett_tests::cluster::{Cluster, PATIENCE, wait, worn_disk};
use redis::{Commands, Connection};

/// Where the configuration's table for the store begins.
const STORE: &str = "[store]\n";

/// Much longer than the interval.
const STILL: Duration = Duration::from_secs(3);

fn level(client: &mut Connection, level: &str) {
    redis::cmd("MESH.DURABILITY").arg(level).exec(client).expect("the level exists");
}

/// An agent whose clients are answered before the disk unless they choose otherwise.
fn hasty() -> Cluster {
    let mut cluster = Cluster::laid_out(1);
    cluster.agent(0).reconfigure(STORE, "[store]\ndurability = \"interval\"\n");
    cluster.agent(0).start_and_serve();
    cluster
}

/// Writes numbered keys one after another; returns how many are there afterwards, which are the first ones.
fn first_keys(cluster: &Cluster, written: u64) -> u64 {
    let mut client = cluster.client(0);
    let keys: Vec<String> = (0..written).map(|number| format!("key{number}")).collect();
    let found: Vec<Option<u64>> = client.mget(&keys).expect("a local read succeeds");
    let count = found.iter().take_while(|value| value.is_some()).count();
    assert!(found[count..].iter().all(Option::is_none), "a write is there though an earlier one is not");
    count as u64
}

fn write(client: &mut Connection, numbers: std::ops::Range<u64>) {
    for number in numbers {
        client.set::<_, _, ()>(format!("key{number}"), number).expect("a local write succeeds");
    }
}

#[test]
fn a_kill_takes_at_most_the_end_of_what_was_answered_before_the_disk() {
    const MANY: u64 = 2_000;
    let mut cluster = hasty();
    write(&mut cluster.client(0), 0..MANY);
    cluster.agent(0).kill();
    cluster.agent(0).start_and_serve();
    let kept = first_keys(&cluster, MANY);

    let mut hasty = cluster.client(0);
    write(&mut hasty, kept..MANY);
    hasty.set::<_, _, ()>("the last of all", 1).expect("a local write succeeds");
    let log = cluster.agent(0).state().join("log");
    wait::until("the kernel has the last write", PATIENCE, || holds(&log, b"the last of all"));
    cluster.agent(0).kill();
    cluster.agent(0).start_and_serve();
    assert_eq!(first_keys(&cluster, MANY), MANY, "what the kernel has outlives the process, synced or not");
}

/// Whether the beginning of some segment of a log holds these bytes, as the kernel has it.
fn holds(log: &Path, bytes: &[u8]) -> bool {
    const BEGINNING: u64 = 2 << 20;
    let files = fs::read_dir(log).expect("the log can be listed").flatten();
    let mut contents = files.filter_map(|file| {
        let mut content = Vec::new();
        File::open(file.path()).ok()?.take(BEGINNING).read_to_end(&mut content).ok()?;
        Some(content)
    });
    contents.any(|content| content.windows(bytes.len()).any(|window| window == bytes))
}

#[test]
fn a_write_that_waits_for_the_disk_takes_along_all_before_it() {
    const MANY: u64 = 2_000;
    let mut cluster = hasty();
    let mut hasty = cluster.client(0);
    write(&mut hasty, 0..MANY);
    let mut careful = cluster.client(0);
    level(&mut careful, "commit");
    careful.set::<_, _, ()>("last", 1).expect("a local write succeeds");
    cluster.agent(0).kill();
    cluster.agent(0).start_and_serve();
    let last: Option<u64> = cluster.client(0).get("last").expect("a local read succeeds");
    assert_eq!((last, first_keys(&cluster, MANY)), (Some(1), MANY));
}

#[test]
fn a_clean_end_loses_nothing() {
    let mut cluster = hasty();
    write(&mut cluster.client(0), 0..500);
    cluster.agent(0).stop();
    cluster.agent(0).start_and_serve();
    assert_eq!(first_keys(&cluster, 500), 500);
}

#[test]
fn a_peer_never_hears_what_is_not_on_the_disk_and_answers_wait_for_a_disk_that_hangs() {
    let tools = tempfile::tempdir().expect("a temporary directory can be made");
    let (library, pipe) = (worn_disk(tools.path()), tools.path().join("held"));
    let mut cluster = Cluster::laid_out(2);
    cluster.agent(0).start_with(&[("LD_PRELOAD", library.as_path()), ("HELD_DISK", pipe.as_path())]);
    cluster.agent(1).start();
    cluster.wait_until_whole();
    let mut client = cluster.client(0);
    level(&mut client, "interval");
    client.set::<_, _, ()>("before", 1).expect("a local write succeeds");
    let mut peer = cluster.client(1);
    wait::until("the peer hears of the write", PATIENCE, || peer.exists("before").is_ok_and(|there| there));

    let status = Command::new("mkfifo").arg(&pipe).status();
    assert!(status.expect("mkfifo runs").success(), "the disk can be held");
    client.set::<_, _, ()>("meanwhile", 1).expect("it is answered though the disk hangs");
    let answered = AtomicU64::new(0);
    let enough = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !enough.load(Ordering::Relaxed) {
                client.incr::<_, _, ()>("n", 1).expect("it is answered in the end");
                answered.fetch_add(1, Ordering::Relaxed);
            }
        });
        // Sooner or later an answer waits, and none follows.
        let mut last = (0, Instant::now());
        wait::until("answers wait for the disk", PATIENCE, || {
            let now = answered.load(Ordering::Relaxed);
            if now != last.0 {
                last = (now, Instant::now());
            }
            last.1.elapsed() >= STILL
        });
        let heard: bool = peer.exists("meanwhile").expect("a local read succeeds");
        assert!(!heard, "a peer heard of a write that is not on the disk");
        assert_eq!(peer.exists("n"), Ok(false));

        enough.store(true, Ordering::Relaxed);
        let release = File::options().write(true).open(&pipe).expect("somebody waits at the pipe");
        fs::remove_file(&pipe).expect("the pipe can be removed");
        drop(release);
    });
    let count = answered.load(Ordering::Relaxed);
    assert!(count > 1, "answers came before the disk");
    wait::until("the peer hears of all", PATIENCE, || peer.get::<_, Option<u64>>("n").is_ok_and(|n| n == Some(count)));
    assert_eq!(peer.exists("meanwhile"), Ok(true));
}
