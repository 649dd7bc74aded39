//! The demo's agents as processes: children of the demo, of the same binary, or whatever the pid files name.
//!
//! A child that is killed by hand stays dead until it is started by hand; then its pid file names it, and the demo ends it
//! with the others. Each runs in a process group of its own, so that the terminal's Ctrl-C reaches the demo alone and the
//! demo decides the order.

use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::layout::Place;
use super::pause::{Interrupted, Pause};
use crate::pid_file::Named;

/// How long an agent may drain before it is killed.
const DRAIN_MAX: Duration = Duration::from_secs(20);

/// How long the kernel may take to end a killed process.
const KILL_MAX: Duration = Duration::from_secs(10);

/// The agents of one demo.
#[derive(Debug)]
pub(crate) struct Agents {
    places: Vec<Place>,
    children: Vec<Option<Child>>,
}

impl Agents {
    /// Starts every agent that does not run already.
    pub(crate) fn start(places: Vec<Place>) -> io::Result<Self> {
        let mut agents = Self { children: places.iter().map(|_| None).collect(), places };
        for (place, child) in agents.places.iter().zip(&mut agents.children) {
            if Named::find(&place.pid_file, &place.config).is_none() {
                *child = Some(spawn(place)?);
            }
        }
        Ok(agents)
    }

    /// The agents' places.
    pub(crate) fn places(&self) -> &[Place] {
        &self.places
    }

    /// The children that ended since the last call, with how they ended.
    pub(crate) fn ended(&mut self) -> Vec<(&Place, ExitStatus)> {
        let mut ended = Vec::new();
        for (place, slot) in self.places.iter().zip(&mut self.children) {
            if let Some(Ok(Some(status))) = slot.as_mut().map(Child::try_wait) {
                *slot = None;
                ended.push((place, status));
            }
        }
        ended
    }

    /// Drains and ends every agent, whoever started it; tells which had to be killed.
    pub(crate) fn stop(&mut self, pause: &Pause) -> Vec<String> {
        self.signal(Named::terminate);
        self.wait_for_all(pause, DRAIN_MAX);
        let stubborn = self.living();
        if !stubborn.is_empty() {
            self.signal(Named::kill);
            self.wait_for_all(pause, KILL_MAX);
        }
        stubborn
    }

    fn signal(&self, signal: impl Fn(Named) -> io::Result<()>) {
        for (place, child) in self.places.iter().zip(&self.children) {
            let named = Named::find(&place.pid_file, &place.config);
            let child = child.as_ref().and_then(Named::child);
            // One that ended in the meantime is what was wanted.
            let _ = named.map(&signal);
            if child != named {
                let _ = child.map(&signal);
            }
        }
    }

    /// The names of the agents that still run.
    fn living(&mut self) -> Vec<String> {
        self.ended();
        let pairs = self.places.iter().zip(&self.children);
        let living =
            pairs.filter(|(place, child)| child.is_some() || Named::find(&place.pid_file, &place.config).is_some());
        living.map(|(place, _)| place.name.clone()).collect()
    }

    fn wait_for_all(&mut self, pause: &Pause, at_most: Duration) {
        let deadline = Instant::now() + at_most;
        while !self.living().is_empty() && Instant::now() < deadline {
            // A second Ctrl-C while the agents drain changes nothing: they are ending already.
            let (Ok(()) | Err(Interrupted)) = pause.briefly();
        }
    }
}

impl Drop for Agents {
    /// The last resort where the demo fails halfway: nothing may be left behind.
    fn drop(&mut self) {
        for child in self.children.iter_mut().flatten() {
            // Both fail only for a child that has ended.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn spawn(place: &Place) -> io::Result<Child> {
    let log = File::options().create(true).append(true).open(&place.log)?;
    Command::new(std::env::current_exe()?)
        .args(["agent", "--config"])
        .arg(&place.config)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .env_remove("NOTIFY_SOCKET")
        .process_group(0)
        .spawn()
}
