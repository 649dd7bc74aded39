//! SETs without a pause: the worst second beside the median one.

use crate::load::{self, Load};
use crate::report::{Asked, Report};
use crate::{Args, agents};

pub(super) fn run(args: &Args, report: &mut Report) {
    let mut everett = agents::alone();
    let socket = everett.agent(0).socket();
    let load = Load { clients: 50, pipeline: 16, keys: args.keys };
    let running = load.begin(&socket, "set");
    let mut rates = load::rates(&socket, args.seconds);
    drop(running);
    report.figure("sets a second, 50 x 16, each second", &rates, Asked::Nothing);
    rates.sort_by(f64::total_cmp);
    let (worst, median) = (rates[0], rates[rates.len() / 2]);
    report.single(&format!("worst of {} seconds / median", args.seconds), worst / median, Asked::AtLeast(0.5));
}
