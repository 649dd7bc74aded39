//! Everett beside what users would take instead, on one machine in one run: ratios, next to what is asked of them.
//!
//! `just bench`, or `cargo bench -p everett-tests --bench beside -- --help`. Agents are the release binary with the
//! configuration it has by default, where a section does not say otherwise; peers are Debian's redis-server and
//! etcd-server, and a bare QUIC stream. What is compared runs in turns, round after round, and what counts is the ratio
//! within a round: a busy machine slows both. Each section is bounded in time and can be run alone. Everything lies in
//! one directory below `target/`, on the disk that is measured, and is gone afterwards, as is every process.
//!
//! Apart from `tests/`, which says what holds: nothing here fails for being slow.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "its tables are what it is for")]

mod agents;
mod client;
mod load;
mod machine;
mod redis_server;
mod report;
mod sections;
mod supervise;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};

use report::Report;
use sections::Section;

/// Ratios between Everett and its peers.
#[derive(Debug, Clone, Parser)]
struct Args {
    /// Only these sections
    #[arg(long, value_delimiter = ',')]
    only: Vec<Section>,
    /// Turns of each comparison
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// What Redis does with a write, in the section on commands
    #[arg(long, value_delimiter = ',', default_value = "always,everysec,none")]
    levels: Vec<String>,
    /// Clients and pipeline of each load, in the section on commands
    #[arg(long, value_delimiter = ',', default_value = "1:1,16:1,50:1,50:16,256:1")]
    loads: Vec<String>,
    /// Keys of the large stores
    #[arg(long, default_value_t = 1_000_000)]
    keys: u64,
    /// Memory for pages and rows of the large store, in the section on scale, such as 1GiB
    #[arg(long)]
    cache: Option<String>,
    /// Length of the steady load, of the load on the disk and of idling
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Where every sample goes, one JSON object a line
    #[arg(long, default_value = "target/bench.json")]
    json: PathBuf,
    /// Measure in this directory, in the process that is supervised
    #[arg(long, hide = true)]
    inside: Option<PathBuf>,
    /// Given by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if args.inside.is_none() {
        return supervise::run();
    }
    let workspace = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the workspace");
    let mut report = Report::new(&workspace.join(&args.json));
    for section in if args.only.is_empty() { Section::value_variants() } else { &args.only } {
        report.begin(section.name());
        section.run(&args, &mut report);
    }
    ExitCode::SUCCESS
}
