//! Three agents that have nothing to do, and how large the binary is.

use std::time::{Duration, Instant};

use everett_tests::cluster::{self, Agent, Cluster, wait};

use crate::report::{Asked, Report};
use crate::{Args, agents, machine};

/// What a mesh that has just met needs to fall silent.
const SETTLE: Duration = Duration::from_secs(15);

const MIB: f64 = 1024.0 * 1024.0;

pub(super) fn run(args: &Args, report: &mut Report) {
    let mut mesh = agents::mesh();
    wait::pause_until(Instant::now() + SETTLE);
    let look = |mesh: &mut Cluster| {
        [0, 1, 2].map(|index| {
            let agent = mesh.agent(index);
            (machine::processor_time(agent.pid()), sent_bytes(agent), machine::resident_bytes(agent.pid()))
        })
    };
    let (began, before, crossed) = (Instant::now(), look(&mut mesh), machine::loopback_bytes());
    wait::pause_until(began + Duration::from_secs(args.seconds));
    let (crossed, took) = (machine::loopback_bytes() - crossed, began.elapsed().as_secs_f64());
    let after = look(&mut mesh);
    let each = |figure: &dyn Fn(usize) -> f64| (0..3).map(figure).collect::<Vec<_>>();
    let core = each(&|index| (after[index].0.saturating_sub(before[index].0)).as_secs_f64() / took * 100.0);
    report.figure("idle, % of a core", &core, Asked::AtMost(0.1));
    report.figure("idle, MiB resident", &each(&|index| after[index].2 as f64 / MIB), Asked::AtMost(20.0));
    let sent = each(&|index| (after[index].1 - before[index].1) as f64 / took);
    report.figure("idle, bytes/s sent, without IP and UDP", &sent, Asked::Nothing);
    report.single("idle, bytes/s sent each, with them", crossed as f64 / took / 3.0, Asked::AtMost(200.0));
    let binary = std::fs::metadata(cluster::binary()).expect("the binary is there");
    report.single("binary, MB", binary.len() as f64 / 1e6, Asked::AtMost(12.0));
}

/// UDP payload that the agent's links sent.
pub(super) fn sent_bytes(agent: &Agent) -> u64 {
    agent.peer_figures("sent_bytes").iter().sum()
}
