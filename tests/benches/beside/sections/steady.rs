//! SETs without a pause: the worst second beside the median one, with memory as it is by default and with memory for 15 % of
//! the rows, so that flushes do not keep up by themselves.

use crate::client::Client;
use crate::load::{self, Load};
use crate::report::{Asked, Report};
use crate::{Args, agents};

/// Of the rows, what percentage fits the smaller memory for unflushed ones.
const MEMTABLE_PERCENT: u64 = 15;

/// A sample of rows that tells what one takes in memory.
const FEW: u64 = 10_000;

pub(super) fn run(args: &Args, report: &mut Report) {
    measure(args, "", "", report);
    let mut small = agents::alone();
    Client::of(&small.agent(0).socket()).fill(0..FEW, 100);
    let row_bytes = small.agent(0).figure("rows_bytes") / FEW;
    drop(small);
    measure(args, &agents::store_for(args.keys, MEMTABLE_PERCENT, row_bytes), ", memory for 15 %", report);
}

fn measure(args: &Args, store: &str, name: &str, report: &mut Report) {
    let mut everett = agents::alone_with(store);
    let socket = everett.agent(0).socket();
    let load = Load { clients: 50, pipeline: 16, keys: args.keys };
    let running = load.begin(&socket, "set");
    let mut rates = load::rates(&socket, args.seconds);
    drop(running);
    report.figure(&format!("sets a second, 50 x 16{name}, each second"), &rates, Asked::Nothing);
    rates.sort_by(f64::total_cmp);
    let (worst, median) = (rates[0], rates[rates.len() / 2]);
    report.single(&format!("worst of {} seconds / median{name}", args.seconds), worst / median, Asked::AtLeast(0.5));
}
