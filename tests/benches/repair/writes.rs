//! Writes a second of whole agents, with the tree kept and without, side by side: what the tree costs a client.
//!
//! Two agents, each with its own store, take the same load in turns: SETs of 100 bytes under random keys over the socket,
//! so many that memory fills and is flushed again and again. The time counts until the last of them is flushed.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use everett_agent::{config::Config, store, wiring};
use everett_tests::cluster::{Cluster, PATIENCE, wait};

/// Memory for unflushed rows, small enough for several flushes in a round.
const STORE: &str = "[store]\nmemtable_bytes = \"64MiB\"\ncache_bytes = \"256MiB\"\n";

/// What the tests set for themselves.
const TESTS_STORE: &str = "[store]\nmemtable_bytes = \"16MiB\"\ncache_bytes = \"16MiB\"\n";

/// Rounds of each agent.
const ROUNDS: u32 = 3;

/// This process becomes an agent that keeps no tree.
pub(crate) fn run_without_tree(path: &std::path::Path) {
    let mut config = Config::load(path).expect("the configuration was written for this");
    config.store.keeps_tree = false;
    store::guarded(|| wiring::run(&config, Arc::new(|| ()))).expect("the agent runs until it is killed");
}

/// An agent and its process.
struct Subject {
    cluster: Cluster,
    without: Option<Child>,
}

impl Drop for Subject {
    fn drop(&mut self) {
        if let Some(child) = &mut self.without {
            // Both fail only for a child that has ended.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Subject {
    fn new(keeps_tree: bool) -> Self {
        let mut cluster = Cluster::laid_out(1);
        let agent = cluster.agent(0);
        agent.reconfigure(TESTS_STORE, STORE);
        agent.reconfigure("filter = \"everett_agent=debug,info\"", "filter = \"warn\"");
        if keeps_tree {
            agent.start_and_serve();
            return Self { cluster, without: None };
        }
        let program = std::env::current_exe().expect("this program has a path");
        let mut command = Command::new(program);
        command.arg("--agent-without-tree").arg(agent.socket().with_file_name("everett.toml"));
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("this program runs");
        wait::until("the agent without a tree serves", PATIENCE, || agent.serves());
        Self { cluster, without: Some(child) }
    }

    /// Writes; returns how many a second were flushed in the end.
    fn write(&mut self, writes: u64, keys: usize) -> f64 {
        let agent = self.cluster.agent(0);
        let socket: PathBuf = agent.socket();
        let began = Instant::now();
        let mut load = Command::new("redis-benchmark");
        load.arg("-s").arg(socket).args(["-t", "set", "-d", "100", "-c", "50", "-P", "16", "-q"]);
        load.args(["-r", &keys.to_string(), "-n", &writes.to_string()]);
        let done = load.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
        assert!(done.is_ok_and(|status| status.success()), "redis-benchmark, which Debian has, runs");
        assert!(agent.digest().is_some(), "the agent says when everything is flushed");
        writes as f64 / began.elapsed().as_secs_f64()
    }
}

/// Prints the table.
pub(crate) fn compare(writes: u64, keys: usize) {
    let mut subjects = [true, false].map(Subject::new);
    println!("| SETs of {keys} keys | a second with the tree | without | ratio |\n|---|---|---|---|");
    for round in 0..=ROUNDS {
        let [with, without] = subjects.each_mut().map(|subject| subject.write(writes, keys));
        // The first one fills the stores.
        let name = if round == 0 { "to empty stores".to_owned() } else { writes.to_string() };
        println!("| {name} | {with:.0} | {without:.0} | {:.2} |", with / without);
    }
}
