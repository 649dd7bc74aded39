//! What a random load costs the disk: bytes written for each row, and how large the store is beside what lives in it.
//!
//! What is written is what reaches the device, log, rows, tree and the file system's journal together; on a busy machine
//! it is others' writes as well.

use std::time::{Duration, Instant};

use everett_tests::cluster::wait;

use crate::client::Client;
use crate::load::Load;
use crate::report::{Asked, Report};
use crate::{Args, agents, machine};

/// Percentage of the store's rows that fits the memory for unflushed ones.
const MEMTABLE_PERCENT: u64 = 15;

/// Key and value, as redis-benchmark writes them.
const ROW_BYTES: f64 = 116.0;

/// About what a row takes in memory; measured anew on a small store.
const PROBE_KEYS: u64 = 10_000;

pub(super) fn run(args: &Args, report: &mut Report) {
    let mut probe = agents::alone();
    Client::of(&probe.agent(0).socket()).fill(0..PROBE_KEYS, 100);
    let memory_row_bytes = probe.agent(0).figure("rows_bytes") / PROBE_KEYS;
    drop(probe);
    let mut everett = agents::alone_with(&agents::store_for(args.keys, MEMTABLE_PERCENT, memory_row_bytes));
    let agent = everett.agent(0);
    let mut client = Client::of(&agent.socket());
    client.fill(0..args.keys, 100);
    for pipeline in [1, 16] {
        let load = Load { clients: 50, pipeline, keys: args.keys };
        // What was written before is not this load's.
        agent.digest();
        let mut executed = || client.info("stats", "total_commands_processed");
        let before = (machine::device_written_bytes(&agent.state()), executed());
        let running = load.begin(&agent.socket(), "set");
        wait::pause_until(Instant::now() + Duration::from_secs(args.seconds / 2));
        drop(running);
        let rows = (executed() - before.1) as f64;
        let written = (machine::device_written_bytes(&agent.state()) - before.0) as f64;
        let name = load.name();
        report.single(&format!("rows a second, {name}"), rows * 2.0 / args.seconds as f64, Asked::Nothing);
        report.single(&format!("disk bytes, {name} / row of 116"), written / rows / ROW_BYTES, Asked::AtMost(12.0));
    }
    let live = args.keys as f64 * ROW_BYTES;
    let state = agent.state();
    let all = machine::stored_bytes(&state) as f64;
    let rows = machine::stored_bytes(&state.join("rows.redb")) as f64;
    report.single("store / live data", all / live, Asked::AtMost(4.0));
    report.single("its rows / live data", rows / live, Asked::Nothing);
}
