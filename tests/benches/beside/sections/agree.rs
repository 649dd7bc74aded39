//! What an agent reports of its commands, with the socket's own time added, beside what its one client measures.
//!
//! The agent's clock runs from when it has read a request's bytes to the writing of its reply; what is missing to the
//! client's is the way there and back. That is the socket's own time: what a PING takes beyond what the agent reports of
//! it, at the same percentile. Percentiles do not add up exactly where both vary, as they do at the 99th of a SET, which
//! is therefore said and not judged.

use std::time::Duration;

use everett_tests::cluster::Agent;
use redis::Value;

use everett_tests::resp::encode;

use crate::client::{Client, key};
use crate::load::Times;
use crate::report::{Asked, Report};
use crate::{Args, agents};

/// Commands of each kind, one after the other.
const COMMANDS: u64 = 10_000;

/// The percentiles that `everett report` shows and that so many commands settle.
const PERCENTILES: [(usize, &str); 3] = [(50, "p50_us"), (90, "p90_us"), (99, "p99_us")];

pub(super) fn run(args: &Args, report: &mut Report) {
    let mut ratios = vec![Vec::new(); 2 * PERCENTILES.len()];
    for _ in 0..args.rounds {
        // Histograms hold everything since the start, so each round has an agent of its own.
        let mut everett = agents::alone();
        let agent = everett.agent(0);
        let mut client = Client::of(&agent.socket());
        client.fill(0..100, 100);
        let mut clocked = |request: &dyn Fn(u64) -> Vec<u8>| {
            let times: Vec<Duration> = (0..COMMANDS).map(|number| client.clock(&request(number % 100))).collect();
            Times::new(times)
        };
        let measured = [
            ("command set", clocked(&|number| encode(&[b"SET", &key(number), &[b'x'; 100]]))),
            ("command get", clocked(&|number| encode(&[b"GET", &key(number)]))),
        ];
        let ping = clocked(&|_| encode(&[b"PING"]));
        for (path, (name, times)) in measured.iter().enumerate() {
            for (at, (percent, figure)) in PERCENTILES.iter().enumerate() {
                let socket_ms = ping.percentile_ms(*percent) - reported(agent, "command ping", figure) / 1e3;
                let told_ms = reported(agent, name, figure) / 1e3 + socket_ms;
                ratios[path * PERCENTILES.len() + at].push(told_ms / times.percentile_ms(*percent));
            }
        }
    }
    for (path, name) in ["set", "get"].iter().enumerate() {
        for (at, (percent, _)) in PERCENTILES.iter().enumerate() {
            let figure = format!("{name} p{percent}, reported + socket / measured");
            let asked = if (*name, *percent) == ("set", 99) { Asked::Nothing } else { Asked::NearOne(0.1) };
            report.figure(&figure, &ratios[path * PERCENTILES.len() + at], asked);
        }
    }
}

/// A percentile that the agent reports of a path, in microseconds.
pub(super) fn reported(agent: &Agent, path: &str, figure: &str) -> f64 {
    let paths: Vec<(String, Vec<(String, Value)>)> =
        redis::cmd("MESH.HISTOGRAM").query(&mut agent.client()).expect("the agent tells of its paths");
    let figures = paths.into_iter().find(|(name, _)| name == path).map(|(_, figures)| figures).unwrap_or_default();
    let value = figures.into_iter().find(|(name, _)| name == figure).map(|(_, value)| value);
    let value = value.unwrap_or_else(|| panic!("the agent tells {figure} of {path}"));
    redis::from_redis_value(value).expect("a percentile is a number")
}
