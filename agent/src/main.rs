//! The `everett` binary: everything is in the library, so that tests reach it.

use std::process::ExitCode;

/// Groups are made on one thread and freed on another, a hundred thousand times a second: the C library's allocator takes
/// a quarter of the processor for that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // The allocator asks for huge pages, of which an idle agent fills eight with next to nothing: 16 MiB more than it
    // needs. Writes were no faster with them. A kernel that does not know the wish leaves things as they are.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    everett_agent::cli::run()
}
