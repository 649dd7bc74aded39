//! A disk on which syncs fail, or hang, when a test says so.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Compiles, into `folder`, the library that an agent is started with (`LD_PRELOAD`): its syncs fail while the file named by
/// `WORN_DISK` exists, and wait while the pipe named by `HELD_DISK` does.
pub fn worn_disk(folder: &Path) -> PathBuf {
    let library = folder.join("failing_sync.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/failing_sync.rs");
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let status = Command::new(rustc).arg("--edition=2024").arg("-o").arg(&library).arg(source).status();
    assert!(status.expect("the compiler runs").success(), "the library compiles");
    library
}
