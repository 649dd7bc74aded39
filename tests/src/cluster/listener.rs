//! A stock `redis-cli` that listens on channels of one agent.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

/// A listening `redis-cli`, ended when dropped.
#[derive(Debug)]
pub struct Listener {
    child: Child,
    lines: Receiver<String>,
}

impl Listener {
    /// Starts `redis-cli PSUBSCRIBE pattern` at an agent's socket; listens when this returns.
    pub fn start(socket: &Path, pattern: &str) -> Self {
        let mut command = Command::new("redis-cli");
        command.arg("-s").arg(socket).args(["PSUBSCRIBE", pattern]).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("redis-cli is installed");
        let output = child.stdout.take().expect("the output is piped");
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let mut listener = Self { child, lines };
        assert!(listener.line_within(super::PATIENCE, |line| line == "psubscribe").is_some(), "redis-cli listens");
        assert!(listener.line_within(super::PATIENCE, |line| line == "1").is_some(), "redis-cli listens");
        listener
    }

    /// The next line of its output for which `wanted` holds, if one comes in time.
    pub fn line_within(&mut self, time: Duration, wanted: impl Fn(&str) -> bool) -> Option<String> {
        let until = Instant::now() + time;
        loop {
            let line = self.lines.recv_timeout(until.saturating_duration_since(Instant::now())).ok()?;
            if wanted(&line) {
                return Some(line);
            }
        }
    }

    /// The next line that holds all of `words`, which must come.
    pub fn line_with(&mut self, words: &[&str]) -> String {
        let found = self.line_within(super::PATIENCE, |line| words.iter().all(|word| line.contains(word)));
        found.unwrap_or_else(|| panic!("no message with {words:?} came"))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Both fail only for a child that has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
