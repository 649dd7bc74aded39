//! The `everett` binary beside the tests, built if it is not there or older than its sources.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::SystemTime;

/// Where the sources are, below the workspace.
const SOURCES: [&str; 3] = ["agent/src", "certs/src", "mesh-proto/src"];

/// The binary's path.
pub fn path() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let path = beside_the_tests();
        if is_stale(&path) {
            build(&path);
        }
        path
    })
}

fn beside_the_tests() -> PathBuf {
    let own = env::current_exe().expect("a test knows its own path");
    // Tests lie in `deps/` of the profile's directory.
    let profile = own.parent().and_then(Path::parent).expect("a test lies in the target directory");
    profile.join("everett")
}

fn is_stale(binary: &Path) -> bool {
    let Ok(built) = fs::metadata(binary).and_then(|data| data.modified()) else { return true };
    let root = workspace();
    SOURCES.iter().filter_map(|folder| newest(&root.join(folder))).any(|changed| changed > built)
}

fn newest(folder: &Path) -> Option<SystemTime> {
    let entries = fs::read_dir(folder).ok()?.flatten();
    let times = entries.filter_map(|entry| {
        let path = entry.path();
        if path.is_dir() { newest(&path) } else { entry.metadata().ok()?.modified().ok() }
    });
    times.max()
}

fn build(path: &Path) {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "-p", "everett", "--bin", "everett"]).current_dir(workspace());
    if path.parent().is_some_and(|profile| profile.ends_with("release")) {
        command.arg("--release");
    }
    let built = command.status().expect("cargo runs");
    assert!(built.success(), "the agent does not build");
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the workspace").to_owned()
}
