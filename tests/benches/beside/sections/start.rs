//! From the start of a process to its first answer, with many keys, after a clean end and after `kill -9`.
//!
//! Files are in the page cache: what is measured is the work, not the disk. Before it is killed a server takes writes for
//! a while, so that there is something to replay.

use std::time::Instant;

use crate::client::{Client, key};
use crate::load::Load;
use crate::redis_server::{RedisServer, first_answer};
use crate::report::{Asked, Report};
use crate::{Args, agents};

/// SETs before a kill.
const WRITES: u64 = 200_000;

pub(super) fn run(args: &Args, report: &mut Report) {
    let mut everett = agents::alone();
    let mut redis = RedisServer::start("everysec");
    let sockets = [everett.agent(0).socket(), redis.socket()];
    for socket in &sockets {
        Client::of(socket).fill(0..args.keys, 100);
    }
    let probe = key(args.keys - 1);
    let load = Load { clients: 50, pipeline: 16, keys: args.keys };
    let (mut clean, mut killed, mut by_redis) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..args.rounds {
        let agent = everett.agent(0);
        agent.stop();
        let begun = Instant::now();
        agent.start();
        clean.push(first_answer(begun, &sockets[0], &probe));
        load.run_of(&sockets[0], "set", WRITES);
        agent.kill();
        let begun = Instant::now();
        agent.start();
        killed.push(first_answer(begun, &sockets[0], &probe));
        redis.stop();
        let begun = Instant::now();
        redis.spawn();
        by_redis.push(first_answer(begun, &sockets[1], &probe));
    }
    let count = args.keys;
    report.figure(&format!("{count} keys, clean end, s to first answer"), &clean, Asked::AtMost(0.2));
    report.figure(&format!("{count} keys, kill -9, s to first answer"), &killed, Asked::AtMost(1.0));
    report.figure(&format!("{count} keys, s to first answer, redis"), &by_redis, Asked::Nothing);
    let ratios: Vec<_> = killed.iter().zip(&by_redis).map(|(own, redis)| own / redis).collect();
    report.figure("after kill -9 / redis", &ratios, Asked::Nothing);
}
