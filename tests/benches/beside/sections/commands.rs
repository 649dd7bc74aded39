//! SET, GET and INCR of one agent beside one redis-server, at every load and level.
//!
//! The agent answers what is on disk whatever Redis does, so only `always` compares like with like; the other levels are
//! for information.

use crate::load::Load;
use crate::redis_server::RedisServer;
use crate::report::{Asked, Report};
use crate::{Args, agents};

/// Keys that commands choose from.
const KEYS: u64 = 100_000;

pub(super) fn run(args: &Args, report: &mut Report) {
    let mut everett = agents::alone();
    let everett = everett.agent(0).socket();
    for level in &args.levels {
        let redis = RedisServer::start(level);
        for load in &args.loads {
            for test in ["set", "get", "incr"] {
                let case = Load::parse(load, KEYS);
                let (mut ratios, mut rates) = (Vec::new(), Vec::new());
                for _ in 0..args.rounds {
                    let beside = case.run(&redis.socket(), test);
                    let own = case.run(&everett, test);
                    ratios.push(own / beside);
                    rates.push(own);
                }
                let name = format!("{test} {} / redis {level}", case.name());
                report.figure(&name, &ratios, asked(level, test, load));
                report.figure(&format!("  {test} {} a second", case.name()), &rates, Asked::Nothing);
            }
        }
    }
}

fn asked(level: &str, test: &str, load: &str) -> Asked {
    match (level, test, load) {
        (_, "get", "1:1" | "50:1" | "50:16") => Asked::AtLeast(0.8),
        ("always", "set" | "incr", "1:1") => Asked::AtLeast(0.75),
        ("always", "set" | "incr", "50:1" | "256:1") => Asked::AtLeast(1.0),
        ("always", "set" | "incr", "50:16") => Asked::AtLeast(1.2),
        _ => Asked::Nothing,
    }
}
