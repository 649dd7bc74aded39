//! A disk that hangs is not a dead node: membership never waits for it.

use std::thread;
use std::time::{Duration, Instant};

use everett_tests::cluster::{Cluster, FrozenDisk, PATIENCE, wait};
use redis::Commands;

const AGENTS: usize = 5;
/// Many times what it takes to find a dead member.
const FROZEN_FOR: Duration = Duration::from_secs(20);

/// Says on standard error why nothing was tested, past the harness's capture.
fn skipped(why: &str) {
    let text = format_args!("-- SKIPPED: a disk cannot be frozen here: {why}\n");
    std::io::Write::write_fmt(&mut std::io::stderr(), text).expect("standard error can be written");
}

fn accused(cluster: &mut Cluster) -> Vec<u64> {
    (0..AGENTS).map(|index| cluster.agent(index).figure("found_unreachable")).collect()
}

#[test]
fn while_a_disk_hangs_nobody_accuses_its_node_and_it_accuses_nobody() {
    let disk = match FrozenDisk::mount() {
        Ok(disk) => disk,
        Err(why) => return skipped(&why),
    };
    let mut cluster = Cluster::laid_out(AGENTS);
    let state = format!("state = \"{}\"", disk.mount_point().join("state").display());
    cluster.agent(1).reconfigure("state = \"state\"", &state);
    (0..AGENTS).for_each(|index| cluster.agent(index).start());
    cluster.wait_until_whole();
    cluster.client(1).set::<_, _, ()>("before", "1").expect("the disk takes writes");
    cluster.wait_until_converged();
    assert_eq!(accused(&mut cluster), [0; AGENTS]);

    let mut client = cluster.client(1);
    let freeze = disk.freeze().expect("it could be frozen a moment ago");
    let frozen = Instant::now();
    // Not acknowledged before it is on the disk, so it hangs with it.
    let write = thread::spawn(move || client.set::<_, _, ()>("meanwhile", "2"));
    wait::until("the disk has hung for long", FROZEN_FOR + PATIENCE, || frozen.elapsed() >= FROZEN_FOR);
    assert!(!write.is_finished(), "a write was acknowledged by a disk that hangs");
    for index in (0..AGENTS).filter(|index| *index != 1) {
        assert_eq!(cluster.agent(index).figure("found_unreachable"), 0, "at agent {index}");
        assert_eq!(cluster.agent(index).state_of("b").as_deref(), Some("alive"), "at agent {index}");
    }
    drop(freeze);

    write.join().expect("the writer did not panic").expect("the write is acknowledged once the disk is back");
    assert_eq!(accused(&mut cluster), [0; AGENTS]);
    cluster.wait_until_converged();
}
