//! Debian's redis-server, as an agent's neighbour on a Unix socket.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use everett_tests::cluster::{PATIENCE, wait};

use everett_tests::resp::encode;

use crate::client::{Client, Reply};

/// A running server; it ends when dropped.
#[derive(Debug)]
pub(crate) struct RedisServer {
    folder: PathBuf,
    options: Vec<String>,
    child: Option<Child>,
}

impl RedisServer {
    /// A server that keeps its writes as `level` says: `always`, `everysec` or `none`.
    pub(crate) fn start(level: &str) -> Self {
        let append = if level == "none" { "no" } else { "yes" };
        let fsync = if level == "none" { "no" } else { level };
        Self::start_with(&["--appendonly", append, "--appendfsync", fsync, "--port", "0"])
    }

    /// One with these options.
    pub(crate) fn start_with(options: &[&str]) -> Self {
        let folder = std::env::temp_dir();
        let folder = tempfile::Builder::new().prefix("redis.").tempdir_in(folder).expect("a directory can be made");
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        let mut server = Self { folder: folder.keep(), options, child: None };
        server.spawn();
        server.wait_until_serving();
        server
    }

    /// Starts the process again, without waiting for it.
    pub(crate) fn spawn(&mut self) {
        let mut command = Command::new("redis-server");
        command.args(["--unixsocket", "sock", "--save", ""]).args(&self.options).current_dir(&self.folder);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        self.child = Some(child.expect("redis-server, which Debian has, runs"));
    }

    fn wait_until_serving(&self) {
        let ping = encode(&[b"PING"]);
        wait::until("redis-server answers", PATIENCE, || {
            let reply = Client::connect(&self.socket()).and_then(|mut client| client.try_ask(&ping));
            matches!(reply, Some(Reply::Text(_)))
        });
    }

    /// Ends the process without asking it.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Both fail only for a child that has ended.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Lets the process end by itself.
    pub(crate) fn stop(&mut self) {
        let _ = Client::of(&self.socket()).try_ask(&encode(&[b"SHUTDOWN", b"NOSAVE"]));
        if let Some(mut child) = self.child.take() {
            child.wait().expect("a child can be waited for");
        }
    }

    /// Its socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.join("sock")
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// How long it takes a process that was just started at `begun` until it answers a GET of this key with a value.
pub(crate) fn first_answer(begun: Instant, socket: &Path, key: &[u8]) -> f64 {
    let get = encode(&[b"GET", key]);
    loop {
        let reply = Client::connect(socket).and_then(|mut client| client.try_ask(&get));
        match reply {
            Some(Reply::Text(_)) => return begun.elapsed().as_secs_f64(),
            Some(Reply::Null) => panic!("a key was lost over a restart"),
            Some(Reply::Error(_)) | None => wait::pause_until(Instant::now() + POLL_PERIOD),
        }
        assert!(begun.elapsed() < PATIENCE, "nobody answers at {}", socket.display());
    }
}

/// Between two looks at a server that starts: a fraction of what is measured.
const POLL_PERIOD: std::time::Duration = std::time::Duration::from_micros(500);
