//! Whatever happens, nothing stays behind: the measuring process and all that it starts are one process group, which
//! this one ends, with the directory that everything is in.
//!
//! Apart because a process that is interrupted in the middle of a section has no place where it could clean up.

use std::env;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

/// Runs this program again, in a group of its own and a directory of its own, and ends both with it or with this process.
pub(crate) fn run() -> ExitCode {
    // Of the profile's directory, where binaries are; sockets in it must have short names.
    let own = env::current_exe().expect("a benchmark knows its own path");
    let target = own.ancestors().nth(3).map_or_else(env::temp_dir, Path::to_owned);
    let directory = tempfile::Builder::new().prefix("bench.").tempdir_in(target).expect("target/ can be written");
    let child = measure(&own, directory.path().to_owned());
    let group = Pid::from_child(&child);
    let status = until_the_end(child);
    // Those that the measuring process did not end, or all, itself included.
    let _ = kill_process_group(group, Signal::KILL);
    match status {
        Some(status) if status.success() => ExitCode::SUCCESS,
        Some(_) => ExitCode::FAILURE,
        None => {
            eprintln!("interrupted; what was measured so far stands above");
            ExitCode::from(130)
        }
    }
}

fn measure(own: &Path, directory: PathBuf) -> Child {
    let mut command = Command::new(own);
    command.args(env::args_os().skip(1)).args([OsString::from("--inside"), directory.clone().into()]);
    // Clusters of the tests lie in the directory for temporary files.
    command.env("TMPDIR", directory).process_group(0);
    command.spawn().expect("a benchmark can run itself")
}

/// Waits for the child; nothing if a signal came first.
fn until_the_end(mut child: Child) -> Option<ExitStatus> {
    let (ended, end) = oneshot::channel();
    let group = Pid::from_child(&child);
    let waiting = std::thread::spawn(move || {
        // The receiver is gone only after a signal.
        let _ = ended.send(child.wait());
    });
    let runtime = runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
    let status = runtime.block_on(async {
        let heeded = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let [mut interrupt, mut terminate, mut hangup] =
            heeded.map(|kind| signal(kind).expect("signals can be heeded"));
        tokio::select! {
            biased;
            status = end => status.ok().and_then(Result::ok),
            _ = interrupt.recv() => None,
            _ = terminate.recv() => None,
            _ = hangup.recv() => None,
        }
    });
    if status.is_none() {
        let _ = kill_process_group(group, Signal::KILL);
    }
    waiting.join().expect("waiting for a child does not fail");
    status
}
