//! `everett demo`: a mesh on this host, at work, cut apart and healed.
//!
//! Real agents as child processes of this binary, with a throw-away CA, in sites on loopback, that reach each other through
//! the demo's own relay. What it leaves behind is nothing, unless `--dir` names a directory to keep; that one can be
//! resumed, and its agents can be killed and started by hand while the demo runs.

mod agents;
mod layout;
mod mesh;
mod pause;
mod relay;
mod story;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use std::time::Duration;

use clap::Args;

use super::failure::Failure;
use super::say;
use crate::client::ClientError;
use crate::exit::Exit;
use agents::Agents;
use layout::{LayoutError, Place};
use mesh::Mesh;
use pause::{Interrupted, Pause, Waited};
use relay::Relay;
use story::Broken;

/// How long the agents may take to start and find each other.
const START_MAX: Duration = Duration::from_mins(1);

#[derive(Debug, Args)]
pub(super) struct DemoArgs {
    /// end after the show; the exit code says whether all agents converged
    #[arg(long)]
    once: bool,
    /// how many agents
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(2..=16))]
    agents: u8,
    /// keep everything in DIR, and resume what is there
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// no show: only start the agents
    #[arg(long)]
    idle: bool,
}

/// The mesh did not form.
#[derive(Debug, thiserror::Error)]
#[error("the agents did not find each other within {} s", START_MAX.as_secs())]
struct NotWhole(#[source] Option<ClientError>);

/// Some agents had to be killed.
#[derive(Debug, thiserror::Error)]
#[error("agents that did not drain were killed: {}", .0.join(", "))]
struct Stubborn(Vec<String>);

pub(super) fn run(args: &DemoArgs) -> Result<(), Failure> {
    let pause = Pause::new()?;
    let directory = Directory::new(args.dir.as_deref())?;
    let places = layout::prepare(&directory.path, args.agents.into()).map_err(|error| laid_out(error, &directory))?;
    let ends: Vec<_> = places.iter().map(|place| place.ends).collect();
    let relay = Relay::start(&ends).map_err(|error| {
        Failure::from(error).hint("does another demo run in this directory? its relay holds the agents' ports")
    })?;
    let mut agents = Agents::start(places)?;
    let shown = show(args, &mut agents, &relay, &pause);
    if !args.once && shown.is_ok() {
        stay(&mut agents, &pause);
    }
    say::talk("\nending the agents");
    let stubborn = agents.stop(&pause);
    drop(relay);
    directory.leave(shown.is_ok());
    shown?;
    if stubborn.is_empty() { Ok(()) } else { Err(Failure::new(Exit::Failed, Stubborn(stubborn))) }
}

fn show(args: &DemoArgs, agents: &mut Agents, relay: &Relay, pause: &Pause) -> Result<(), Failure> {
    introduce(agents.places())?;
    let told = meet(agents, pause)
        .and_then(|mut mesh| if args.idle { Ok(()) } else { story::tell(&mut mesh, agents.places(), relay, pause) });
    match told {
        Err(Broken::Interrupted) if args.once => Err(Failure::new(Exit::Failed, UserEnded)),
        Ok(()) | Err(Broken::Interrupted) => Ok(()),
        Err(Broken::Client(error)) => Err(Failure::from(error).hint(logs(agents.places()))),
        Err(Broken::Promise(error)) => Err(Failure::new(Exit::Failed, error).hint(logs(agents.places()))),
        Err(Broken::NotWhole(error)) => Err(Failure::new(Exit::Failed, NotWhole(error)).hint(logs(agents.places()))),
    }
}

/// The user ended a demo that was to end by itself.
#[derive(Debug, thiserror::Error)]
#[error("interrupted before all agents converged")]
struct UserEnded;

fn introduce(places: &[Place]) -> Result<(), Failure> {
    say::talk(&format!("{} agents in {} sites; talk to them with\n", places.len(), sites(places)));
    for place in places {
        let words = format!("  {:8} redis-cli -s {}", place.site, place.socket.display());
        say::data(&words)?;
    }
    Ok(())
}

fn sites(places: &[Place]) -> usize {
    let mut sites: Vec<_> = places.iter().map(|place| place.site).collect();
    sites.sort_unstable();
    sites.dedup();
    sites.len()
}

/// Waits until every agent answers and sees all others.
fn meet(agents: &mut Agents, pause: &Pause) -> Result<Mesh, Broken> {
    let mut last = None;
    let mut mesh = None;
    let waited = pause.until(START_MAX, || {
        if !agents.ended().is_empty() {
            return true;
        }
        let whole = Mesh::connect(agents.places()).and_then(|mut met| met.is_whole().map(|whole| whole.then_some(met)));
        match whole {
            Ok(met) => mesh = met,
            Err(error) => last = Some(error),
        }
        mesh.is_some()
    })?;
    match (waited, mesh) {
        (Waited::Held(after), Some(mesh)) => {
            say::talk(&format!("\nevery agent sees all others, {} ms after the start", after.as_millis()));
            Ok(mesh)
        }
        (Waited::Held(_) | Waited::TimedOut, _) => Err(Broken::NotWhole(last)),
    }
}

/// Until Ctrl-C; says when an agent ends by other hands.
fn stay(agents: &mut Agents, pause: &Pause) {
    say::talk("\nthe mesh stays up until Ctrl-C");
    loop {
        for (place, status) in agents.ended() {
            say::talk(&format!(
                "agent {} ended ({status}); start it again with\n  everett agent --config {}",
                place.name,
                place.config.display(),
            ));
        }
        if let Err(Interrupted) = pause.briefly() {
            return;
        }
    }
}

fn logs(places: &[Place]) -> String {
    let logs: Vec<_> = places.iter().map(|place| place.log.display().to_string()).collect();
    format!("the agents' logs: {}", logs.join(" "))
}

fn laid_out(error: LayoutError, directory: &Directory) -> Failure {
    let hint = match &error {
        LayoutError::Count { found, .. } => format!("`--agents {found}` resumes it"),
        LayoutError::Foreign { .. } | LayoutError::Config(_) => "a demo needs a directory of its own".into(),
        LayoutError::Write { .. } | LayoutError::Ports(_) | LayoutError::Certificates(_) => {
            format!("is {} writable?", directory.path.display())
        }
    };
    let exit = if matches!(error, LayoutError::Config(_)) { Exit::Config } else { Exit::Failed };
    Failure::new(exit, error).hint(hint)
}

/// Where the demo keeps everything, and whether it stays.
#[derive(Debug)]
struct Directory {
    path: PathBuf,
    keep: bool,
}

impl Directory {
    fn new(kept: Option<&Path>) -> Result<Self, Failure> {
        let (path, keep) = match kept {
            Some(path) => (path.to_owned(), true),
            None => (env::temp_dir().join(format!("everett-demo-{}", process::id())), false),
        };
        match fs::create_dir_all(&path).and_then(|()| path.canonicalize()) {
            Ok(path) => Ok(Self { path, keep }),
            Err(source) => Err(Failure::new(Exit::Failed, LayoutError::Write { path, source })
                .hint("`--dir` names a directory, which is made if its parent is there to be written to")),
        }
    }

    /// Removes what is not to be kept; after a failure the logs are worth keeping.
    fn leave(&self, well: bool) {
        if self.keep || !well {
            say::talk(&format!("everything is in {}", self.path.display()));
        } else if let Err(error) = fs::remove_dir_all(&self.path) {
            say::talk(&format!("cannot remove {}: {error}", self.path.display()));
        }
    }
}
