//! Bytes on the wire for each row and each replica that gets it, in all directions: ops, acknowledgements, probes.

use std::time::{Duration, Instant};

use everett_tests::cluster::{Cluster, PATIENCE, wait};

use super::idle::sent_bytes;
use everett_tests::resp::encode;

use crate::client::{Client, Reply, key};
use crate::report::{Asked, Report};
use crate::{Args, agents, load, machine};

/// With a key of 16 bytes, a row of 110.
const VALUE_BYTES: usize = 94;

const ROW_BYTES: f64 = 110.0;

/// Agents that get what another writes.
const REPLICAS: f64 = 2.0;

/// Rows at load, on so many connections.
const ROWS: u64 = 50_000;
const CLIENTS: u64 = 50;

/// Rows at a pace of a hundred a second.
const PACED_ROWS: u32 = 1_000;
const PACE: Duration = Duration::from_millis(10);

pub(super) fn run(args: &Args, report: &mut Report) {
    let mut mesh = agents::mesh();
    let (mut at_load, mut piped, mut paced, mut payload) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 0..args.rounds as u64 {
        let rows = rows_from(round);
        let before = sent(&mut mesh);
        at_load.push(cost(&mut mesh, ROWS, rows, |mesh| {
            // As many connections as in the other loads, one row under way on each.
            std::thread::scope(|scope| {
                for client in 0..CLIENTS {
                    let socket = mesh.agent(0).socket();
                    let (from, count) = (rows + client * (ROWS / CLIENTS), ROWS / CLIENTS);
                    scope.spawn(move || {
                        let (mut client, value) = (Client::of(&socket), [b'x'; VALUE_BYTES]);
                        (from..from + count).for_each(|number| {
                            client.clock(&encode(&[b"SET", &key(number), &value]));
                        });
                    });
                }
            });
        }));
        payload.push((sent(&mut mesh) - before) as f64 / ROWS as f64 / REPLICAS / ROW_BYTES);
        piped.push(cost(&mut mesh, ROWS, rows, |mesh| {
            Client::of(&mesh.agent(0).socket()).fill(rows..rows + ROWS, VALUE_BYTES);
        }));
        paced.push(cost(&mut mesh, PACED_ROWS.into(), rows, |mesh| {
            let (mut client, value) = (Client::of(&mesh.agent(0).socket()), [b'y'; VALUE_BYTES]);
            load::at_pace(PACE, PACED_ROWS, |number| {
                client.clock(&encode(&[b"SET", &key(rows + u64::from(number)), &value]))
            });
        }));
    }
    report.figure("wire bytes at load, 50 x 1 / row of 110", &at_load, Asked::AtMost(1.5));
    report.figure("  the same, without IP and UDP", &payload, Asked::Nothing);
    report.figure("wire bytes at load, pipelined / row of 110", &piped, Asked::AtMost(1.5));
    report.figure("wire bytes paced, 100/s / row of 110", &paced, Asked::AtMost(3.0));
}

fn rows_from(round: u64) -> u64 {
    round * ROWS
}

fn sent(mesh: &mut Cluster) -> u64 {
    (0..3).map(|index| sent_bytes(mesh.agent(index))).sum()
}

/// Bytes that cross the interface until the others hold what `write` wrote, by row, replica and size of a row.
fn cost(mesh: &mut Cluster, count: u64, first: u64, write: impl FnOnce(&mut Cluster)) -> f64 {
    let before = machine::loopback_bytes();
    write(mesh);
    let mark = encode(&[b"INCR", b"mark"]);
    let Reply::Text(mark) = Client::of(&mesh.agent(0).socket()).ask(&mark) else { panic!("an INCR is answered") };
    for index in [1, 2] {
        let mut client = Client::of(&mesh.agent(index).socket());
        let get = encode(&[b"GET", b"mark"]);
        wait::until("what was written is there", PATIENCE, || client.ask(&get) == Reply::Text(mark.clone()));
        assert!(matches!(client.ask(&encode(&[b"GET", &key(first)])), Reply::Text(_)), "the mark came last");
    }
    // Acknowledgements follow within a moment.
    wait::pause_until(Instant::now() + Duration::from_millis(200));
    (machine::loopback_bytes() - before) as f64 / count as f64 / REPLICAS / ROW_BYTES
}
