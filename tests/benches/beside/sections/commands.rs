//! SET, GET and INCR of one agent beside one redis-server, at every load and level.
//!
//! Beside `always` stands an agent as it comes, which answers what is on the disk; beside `everysec` one that is told to
//! answer at once, with the disk a second behind; so it is beside `none`, for information, as an agent has no such level.

use crate::load::Load;
use crate::redis_server::RedisServer;
use crate::report::{Asked, Report};
use crate::{Args, agents};

/// Keys that commands choose from.
const KEYS: u64 = 100_000;

/// What makes an agent answer before the disk.
const INTERVAL: &str = "[store]\ndurability = \"interval\"\n";

pub(super) fn run(args: &Args, report: &mut Report) {
    for level in &args.levels {
        let mut everett = agents::alone_with(if level == "always" { "" } else { INTERVAL });
        let everett = everett.agent(0).socket();
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
        (_, "get", "1:1" | "50:1" | "50:16") | ("everysec", "set" | "incr", "1:1" | "50:1" | "50:16") => {
            Asked::AtLeast(0.8)
        }
        ("always", "set" | "incr", "1:1") => Asked::AtLeast(0.75),
        ("always", "set" | "incr", "50:1" | "256:1") => Asked::AtLeast(1.0),
        ("always", "set" | "incr", "50:16") => Asked::AtLeast(1.2),
        _ => Asked::Nothing,
    }
}
