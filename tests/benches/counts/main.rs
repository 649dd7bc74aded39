//! Instructions of the hot paths, counted by callgrind and held against the recorded ones.
//!
//! `just count`, and `just count --record` after a change that was meant; `.ci/run` runs the first. Counts are what stays
//! when a machine is busy: they do not depend on its load or its clock. Each path runs so many steps and twice as many in
//! processes of their own, and what counts is the difference: start and preparation are in both. The binary is the
//! release profile's, stripped as it is shipped; its allocator is the C library's, whose calls are counted beside the
//! instructions (the agent's own, mimalloc, asks for the time, and does not count the same twice).
//!
//! What this does not do: count cache misses, system calls, or anything that waits. Paths on which threads meet are for
//! `just bench`.
#![expect(clippy::print_stdout, reason = "its table is what it is for")]

mod paths;
mod record;
mod server;
mod valgrind;

use std::path::{Path as FilePath, PathBuf};
use std::process::ExitCode;

use clap::{Parser, ValueEnum};

use paths::Path;
use record::{MARGIN_PERCENT, Record, Verdict};

/// Instructions of the hot paths.
#[derive(Debug, Parser)]
struct Args {
    /// Keep these counts as the ones to hold
    #[arg(long)]
    record: bool,
    /// Only these paths
    #[arg(long, value_delimiter = ',', conflicts_with = "record")]
    only: Vec<Path>,
    /// Copy what each step works on once more, to see that this does not go unnoticed
    #[arg(long, conflicts_with = "record")]
    burdened: bool,
    /// Leave what callgrind wrote here, for `callgrind_annotate`
    #[arg(long)]
    keep: Option<PathBuf>,
    /// Run this path, in the process that is counted
    #[arg(long, hide = true)]
    path: Option<Path>,
    /// So many steps of it
    #[arg(long, hide = true, default_value_t = 0)]
    steps: usize,
    /// Given by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if let Some(path) = args.path {
        return run(path, args.steps, args.burdened);
    }
    let paths = if args.only.is_empty() { Path::value_variants() } else { &args.only };
    let mut counted = Record::of_this_machine();
    for &path in paths {
        counted.set(path.name(), valgrind::count(path, args.burdened, args.keep.as_deref()));
    }
    let file = FilePath::new(env!("CARGO_MANIFEST_DIR")).join("benches/counts/recorded.txt");
    if args.record {
        counted.write(&file);
        println!("{counted}recorded");
        return ExitCode::SUCCESS;
    }
    judge(&counted, &Record::read(&file))
}

/// The counted process: steps, and nothing said.
fn run(path: Path, steps: usize, burdened: bool) -> ExitCode {
    let mut step = path.prepare(burdened);
    for number in 0..steps {
        step(number);
    }
    ExitCode::SUCCESS
}

/// Prints both records side by side. The exit code says whether the machine counts alike and a path left the margin.
fn judge(counted: &Record, recorded: &Record) -> ExitCode {
    println!(
        "{:<8} {:>13} {:>9} {:>8} {:>12} {:>9}",
        "path", "instructions", "recorded", "change", "allocations", "recorded"
    );
    let mut held = true;
    for (path, count) in counted.counts() {
        let verdict = recorded.verdict(path, count);
        held &= verdict == Verdict::Holds;
        let before = recorded.count(path).unwrap_or_default();
        let change = (count.instructions as f64 / before.instructions as f64 - 1.0) * 100.0;
        println!(
            "{path:<8} {:>13} {:>9} {change:>+7.1}% {:>12} {:>9} {verdict}",
            count.instructions, before.instructions, count.allocations, before.allocations
        );
    }
    if held {
        println!("all within {MARGIN_PERCENT} % of what is recorded");
        return ExitCode::SUCCESS;
    }
    if counted.maker() != recorded.maker() {
        println!("\nnot judged: counted with {}, recorded with {}", counted.maker(), recorded.maker());
        return ExitCode::SUCCESS;
    }
    println!("\nif it was meant: just count --record");
    ExitCode::FAILURE
}
