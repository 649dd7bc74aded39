//! An agent comes back that missed a hundred thousand rows: how long until it has them, and until all know that they are
//! equal.
//!
//! The rows are one author's, whose writes are applied in order and without holes: whoever has the last has all. Equal
//! roots are what the agent itself finds out by comparing summaries with both peers, at its own pace.

use std::time::Instant;

use everett_tests::cluster::{PATIENCE, wait};

use everett_tests::resp::encode;

use crate::client::{Client, Reply, key};
use crate::report::{Asked, Report};
use crate::{Args, agents};

/// Rows that were missed.
const ROWS: u64 = 100_000;

/// With a key of 16 bytes, a row of 110.
const VALUE_BYTES: usize = 94;

pub(super) fn run(args: &Args, report: &mut Report) {
    let mut mesh = agents::mesh();
    let (mut has_all, mut knows) = (Vec::new(), Vec::new());
    for round in 0..args.rounds as u64 {
        mesh.agent(2).stop();
        let rows = round * ROWS..(round + 1) * ROWS;
        Client::of(&mesh.agent(0).socket()).fill(rows.clone(), VALUE_BYTES);
        let socket = mesh.agent(2).socket();
        let get = encode(&[b"GET", &key(rows.end - 1)]);
        let began = Instant::now();
        mesh.agent(2).start();
        wait::until("it has what it missed", PATIENCE, || {
            let reply = Client::connect(&socket).and_then(|mut client| client.try_ask(&get));
            matches!(reply, Some(Reply::Text(_)))
        });
        has_all.push(began.elapsed().as_secs_f64());
        wait::until("it knows that all are equal", PATIENCE, || {
            let equal = mesh.agent(2).peer_figures("root_equal");
            equal.len() == 2 && equal.iter().all(|equal| *equal == 1)
        });
        knows.push(began.elapsed().as_secs_f64());
    }
    report.figure("100,000 rows behind, s to equal vectors", &has_all, Asked::AtMost(1.0));
    report.figure("100,000 rows behind, s to equal roots", &knows, Asked::AtMost(2.0));
}
