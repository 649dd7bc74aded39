//! A store of many keys beside one of ten thousand, and beside a redis-server that holds as many.
//!
//! The large store's memory for unflushed rows is 15 % of its rows, so that its SETs pay for flushes at random places; its
//! cache is what the configuration has by default, or what `--cache` says. By default there are 10⁶ keys; 10⁷ have a recipe
//! of their own, in which Redis takes no part.

use crate::client::Client;
use crate::load::Load;
use crate::redis_server::RedisServer;
use crate::report::{Asked, Report};
use crate::{Args, agents};

/// Keys of the small store.
const FEW: u64 = 10_000;

/// Of the large one's rows, what percentage fits the memory for unflushed ones.
const MEMTABLE_PERCENT: u64 = 15;

/// Beyond so many keys, filling a redis-server as well takes longer than a section may.
const BESIDE_REDIS_MAX: u64 = 2_000_000;

pub(super) fn run(args: &Args, report: &mut Report) {
    let mut small = agents::alone();
    let small_socket = small.agent(0).socket();
    Client::of(&small_socket).fill(0..FEW, 100);
    let row_bytes = small.agent(0).figure("rows_bytes") / FEW;
    let mut store = agents::store_for(args.keys, MEMTABLE_PERCENT, row_bytes);
    if let Some(cache) = &args.cache {
        store = format!("{store}cache_bytes = \"{cache}\"\n");
    }
    let mut large = agents::alone_with(&store);
    let large_socket = large.agent(0).socket();
    Client::of(&large_socket).fill(0..args.keys, 100);
    let redis = (args.keys <= BESIDE_REDIS_MAX).then(|| RedisServer::start("none"));
    if let Some(redis) = &redis {
        Client::of(&redis.socket()).fill(0..args.keys, 100);
    }
    let count = args.keys;
    for (clients, pipeline) in [(1, 1), (50, 1), (50, 16)] {
        for test in ["get", "set", "incr"] {
            let few = Load { clients, pipeline, keys: FEW };
            let many = Load { keys: count, ..few };
            let (mut by_few, mut by_redis, mut rates) = (Vec::new(), Vec::new(), Vec::new());
            for _ in 0..args.rounds {
                let small = few.run(&small_socket, test);
                let large = many.run(&large_socket, test);
                by_few.push(large / small);
                rates.push(large);
                if let ("get", Some(redis)) = (test, &redis) {
                    by_redis.push(large / many.run(&redis.socket(), test));
                }
            }
            let name = few.name();
            report.figure(&format!("{test} {name}, {count} keys / {FEW}"), &by_few, asked(test, clients, pipeline));
            report.figure(&format!("{test} {name}, {count} keys / redis"), &by_redis, Asked::AtLeast(0.8));
            report.figure(&format!("  {test} {name}, {count} keys, a second"), &rates, Asked::Nothing);
        }
    }
}

fn asked(test: &str, clients: u32, pipeline: u32) -> Asked {
    match (test, clients, pipeline) {
        ("get", 50, 1) => Asked::AtLeast(0.7),
        ("set", 50, 1) => Asked::AtLeast(0.5),
        _ => Asked::Nothing,
    }
}
