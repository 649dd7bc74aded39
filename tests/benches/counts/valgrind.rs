//! Counting: this program again, under callgrind, twice.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::Path as FilePath;
use std::process::{Command, Stdio};

use crate::paths::Path;
use crate::record::{Count, Hundredths};

/// The functions of the C library that give memory.
const ALLOCATORS: [&str; 5] = ["malloc", "calloc", "realloc", "posix_memalign", "aligned_alloc"];

/// What one run took in all.
#[derive(Clone, Copy)]
struct Total {
    instructions: u64,
    allocations: u64,
}

/// What one step of `path` takes.
pub(crate) fn count(path: Path, burdened: bool, keep: Option<&FilePath>) -> Count {
    let steps = path.steps();
    let scratch = tempfile::tempdir().expect("a temporary directory can be made");
    let folder = keep.unwrap_or(scratch.path());
    fs::create_dir_all(folder).expect("the folder can be made");
    let [few, many] = [steps, 2 * steps].map(|steps| {
        let file = folder.join(format!("callgrind.{}.{steps}", path.name()));
        run(path, steps, burdened, &file);
        read(&file)
    });
    let each = |few: u64, many: u64, by: u64| (many.saturating_sub(few) * by + steps as u64 / 2) / steps as u64;
    Count {
        instructions: each(few.instructions, many.instructions, 1),
        allocations: Hundredths(each(few.allocations, many.allocations, 100)),
    }
}

fn run(path: Path, steps: usize, burdened: bool, file: &FilePath) {
    let own = env::current_exe().expect("a benchmark knows its own path");
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--quiet"]).arg(format!("--callgrind-out-file={}", file.display()));
    command.arg(own).args(["--path", path.name(), "--steps", &steps.to_string()]);
    if burdened {
        command.arg("--burdened");
    }
    // Nothing of the caller's but the way to temporary files: an environment of another length moves the stack.
    command.env_clear().env("PATH", "/usr/bin:/bin").stdin(Stdio::null());
    let output = command.output().unwrap_or_else(|error| panic!("valgrind, which Debian has, runs: {error}"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Takes the totals out of what callgrind wrote.
fn read(file: &FilePath) -> Total {
    let text = fs::read_to_string(file).expect("callgrind wrote its file");
    let mut total = Total { instructions: 0, allocations: 0 };
    // A function is named in full where it first comes up, and by its number after that.
    let mut allocators = BTreeSet::new();
    let mut calls_allocator = false;
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("totals: ").or_else(|| line.strip_prefix("summary: ")) {
            total.instructions = total.instructions.max(rest.trim().parse().unwrap_or(0));
        } else if let Some(rest) = line.strip_prefix("cfn=").or_else(|| line.strip_prefix("fn=")) {
            let (number, name) = rest.split_once(' ').unwrap_or((rest, ""));
            if ALLOCATORS.contains(&name) {
                allocators.insert(number.to_owned());
            }
            calls_allocator = line.starts_with('c') && allocators.contains(number);
        } else if let Some(rest) = line.strip_prefix("calls=")
            && calls_allocator
        {
            total.allocations += rest.split(' ').next().and_then(|count| count.parse().ok()).unwrap_or(0);
        }
    }
    assert!(total.instructions > 0, "callgrind's file has no totals");
    total
}
