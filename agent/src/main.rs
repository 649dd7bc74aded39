//! The `everett` binary: everything is in the library, so that tests reach it.

use std::process::ExitCode;

/// Groups are made on one thread and freed on another, a hundred thousand times a second: the C library's allocator takes
/// a quarter of the processor for that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    everett_agent::cli::run()
}
