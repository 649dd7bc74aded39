//! What is measured, each a section that can be run alone.

mod agree;
mod behind;
mod commands;
mod disk;
mod etcd;
mod idle;
mod quic;
mod reads;
mod scale;
mod start;
mod steady;
mod visible;
mod wire;

use clap::ValueEnum;

use crate::Args;
use crate::report::Report;

/// One part of the benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Section {
    /// SET, GET and INCR beside each level of Redis
    Commands,
    /// GETs beside SETs, beside Redis in the same mix
    Reads,
    /// The worst second of a long load of SETs
    Steady,
    /// A large store beside a small one, and beside Redis with as many keys
    Scale,
    /// Write here, visible there, on loopback: beside Redis, etcd, a bare QUIC stream
    Visible,
    /// The same at a round trip of 80 ms
    Far,
    /// Bytes between agents for a row
    Wire,
    /// An agent that missed 100,000 rows
    Behind,
    /// Start to first answer with many keys, beside Redis
    Start,
    /// Bytes to the disk for a row, and the size of the store
    Disk,
    /// Three agents that have nothing to do, and the size of the binary
    Idle,
    /// What an agent reports of itself beside what its client measures
    Agree,
}

impl Section {
    /// As the command line names it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Commands => "commands",
            Self::Reads => "reads",
            Self::Steady => "steady",
            Self::Scale => "scale",
            Self::Visible => "visible",
            Self::Far => "far",
            Self::Wire => "wire",
            Self::Behind => "behind",
            Self::Start => "start",
            Self::Disk => "disk",
            Self::Idle => "idle",
            Self::Agree => "agree",
        }
    }

    /// Measures it.
    pub(crate) fn run(self, args: &Args, report: &mut Report) {
        match self {
            Self::Commands => commands::run(args, report),
            Self::Reads => reads::run(args, report),
            Self::Steady => steady::run(args, report),
            Self::Scale => scale::run(args, report),
            Self::Visible => visible::near(args, report),
            Self::Far => visible::far(args, report),
            Self::Wire => wire::run(args, report),
            Self::Behind => behind::run(args, report),
            Self::Start => start::run(args, report),
            Self::Disk => disk::run(args, report),
            Self::Idle => idle::run(args, report),
            Self::Agree => agree::run(args, report),
        }
    }
}
