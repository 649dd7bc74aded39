//! How long a GET takes while others write, beside the same with Redis at `always`.
//!
//! Reads come at a pace, from one connection, and a read that was due while an earlier one waited counts from when it
//! was due: a server that answers nobody for a second does not get away with one slow answer.

use std::path::Path;
use std::time::{Duration, Instant};

use everett_tests::cluster::wait;

use everett_tests::resp::encode;

use crate::client::{Client, key};
use crate::load::{self, Load, Times};
use crate::redis_server::RedisServer;
use crate::report::{Asked, Report};
use crate::{Args, agents};

const KEYS: u64 = 100_000;

/// Two hundred reads a second: fewer than the one connection could have answered one by one beside any of the loads, or
/// they would queue for ever and their times say how long the sample was.
const PERIOD: Duration = Duration::from_millis(5);

/// Reads of one sample.
const READS: u32 = 1_000;

/// What is written beside: clients and pipeline.
const BESIDE: [(u32, u32); 3] = [(4, 1), (50, 1), (50, 16)];

/// What a load needs to be in full swing.
const WARM_UP: Duration = Duration::from_millis(500);

pub(super) fn run(args: &Args, report: &mut Report) {
    let mut everett = agents::alone();
    let everett = everett.agent(0).socket();
    let redis = RedisServer::start("always");
    let sockets = [everett, redis.socket()];
    for socket in &sockets {
        Client::of(socket).fill(0..KEYS, 100);
    }
    let loads = BESIDE.map(|(clients, pipeline)| Load { clients, pipeline, keys: KEYS });
    // By load, idle first; by round; by server.
    let mut p99s: Vec<Vec<[f64; 2]>> = vec![Vec::new(); 1 + loads.len()];
    for _ in 0..args.rounds {
        for (index, load) in std::iter::once(None).chain(loads.iter().map(Some)).enumerate() {
            let both = [0, 1].map(|server: usize| reads_beside(&sockets[server], load).percentile_ms(99));
            p99s[index].push(both);
        }
    }
    let of = |index: usize, figure: &dyn Fn([f64; 2], [f64; 2]) -> f64| {
        let rounds = p99s[index].iter().zip(&p99s[0]);
        rounds.map(|(beside, idle)| figure(*beside, *idle)).collect::<Vec<f64>>()
    };
    report.figure("get p99 idle, ms", &of(0, &|own, _| own[0]), Asked::Nothing);
    report.figure("get p99 idle, ms, redis", &of(0, &|own, _| own[1]), Asked::Nothing);
    for (index, load) in (1..).zip(&loads) {
        let name = load.name();
        report.figure(&format!("get p99 beside {name} set, ms"), &of(index, &|own, _| own[0]), Asked::Nothing);
        report.figure(&format!("get p99 beside {name} set, ms, redis"), &of(index, &|own, _| own[1]), Asked::Nothing);
        let (by_idle, by_redis) =
            if load.clients == 4 { (Asked::AtMost(2.0), Asked::Nothing) } else { (Asked::Nothing, Asked::AtMost(0.6)) };
        report.figure(&format!("get p99 beside {name} set / idle"), &of(index, &|own, idle| own[0] / idle[0]), by_idle);
        report.figure(&format!("get p99 beside {name} set / redis"), &of(index, &|own, _| own[0] / own[1]), by_redis);
    }
}

fn reads_beside(socket: &Path, load: Option<&Load>) -> Times {
    let _running = load.map(|load| load.begin(socket, "set"));
    wait::pause_until(Instant::now() + WARM_UP);
    let mut client = Client::of(socket);
    load::at_pace(PERIOD, READS, |number| {
        // Stepping by a prime reads all over the keys.
        client.clock(&encode(&[b"GET", &key(u64::from(number) * 7_919 % KEYS)]))
    })
}
