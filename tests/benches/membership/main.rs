//! Membership measured: Everett beside the `foca` crate on the same simulated network, in tables.
//!
//! `just bench-membership`, or `cargo bench -p everett-tests --bench membership -- --help`. Time is simulated, so the
//! figures do not depend on the machine, only on the seed: half a globe of 42 sites, round trips of 1 to 250 ms, jitter,
//! spikes. Bytes are with 28 of IP and UDP around each packet, without QUIC. The everyday tests hold a smaller version to
//! hard limits.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "its tables are what it is for")]

mod contest;
mod faults;
mod foca_peer;
mod joins;
mod losses;
mod table;
mod targets;

use std::num::NonZeroUsize;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};

use contest::{Contestant, Plan};

/// Tables of membership on a simulated network.
#[derive(Debug, Parser)]
struct Args {
    /// Sizes of mesh, where a table has several
    #[arg(long, value_delimiter = ',', default_value = "16,128,512,1024")]
    nodes: Vec<usize>,
    /// Only these tables
    #[arg(long, value_delimiter = ',')]
    only: Vec<Scene>,
    /// Only these protocols
    #[arg(long, value_delimiter = ',')]
    peers: Vec<Contestant>,
    /// Simulated minutes behind each count of healthy members declared dead, in worlds of ten
    #[arg(long, default_value_t = 600)]
    minutes: usize,
    /// Of the targets, only the lines whose text holds one of these
    #[arg(long, value_delimiter = ',')]
    lines: Vec<String>,
    /// Repetitions behind each percentile
    #[arg(long, default_value_t = 100)]
    trials: usize,
    /// What reproduces a run
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Worlds simulated at once; as many as there are processors by default
    #[arg(long)]
    threads: Option<NonZeroUsize>,
    /// Given by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

/// One table each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Scene {
    /// What membership is held to, line by line; missing one is a failure
    Targets,
    /// Crash of one member
    Crash,
    /// Crash at 20 % loss
    CrashLoss,
    /// Nothing happens
    Steady,
    /// Packets are lost for hours
    Loss,
    /// Processes are blocked
    Blocked,
    /// Pairs of sites are cut, one way and both, for good and for moments
    Routes,
    /// One newcomer
    Join,
    /// All start at once
    MassJoin,
    /// One restarts
    Restart,
    /// Two halves part and meet
    Heal,
    /// One takes leave
    Leave,
    /// One comes and goes
    Flap,
    /// One hears nothing, or little
    Deaf,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let scenes = if args.only.is_empty() { Scene::value_variants() } else { &args.only };
    let mut held = true;
    let plan = Plan {
        nodes: args.nodes,
        peers: if args.peers.is_empty() { Contestant::value_variants().to_vec() } else { args.peers },
        minutes: args.minutes,
        lines: args.lines,
        trials: args.trials,
        seed: args.seed,
        threads: args.threads.or_else(|| std::thread::available_parallelism().ok()).unwrap_or(NonZeroUsize::MIN),
    };
    for scene in scenes {
        match scene {
            Scene::Targets => held = targets::all(&plan),
            Scene::Crash => faults::crash(&plan, 0.0),
            Scene::CrashLoss => faults::crash(&plan, 0.2),
            Scene::Steady => losses::steady(&plan),
            Scene::Loss => losses::loss(&plan),
            Scene::Blocked => losses::blocked(&plan),
            Scene::Routes => losses::routes(&plan),
            Scene::Join => joins::join(&plan),
            Scene::MassJoin => joins::mass_join(&plan),
            Scene::Restart => joins::restart(&plan),
            Scene::Heal => faults::heal(&plan),
            Scene::Leave => joins::leave(&plan),
            Scene::Flap => faults::flap(&plan),
            Scene::Deaf => faults::deaf(&plan),
        }
    }
    if held { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
