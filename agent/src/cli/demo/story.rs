//! What the demo shows: a workload, a partition with writes on both sides, and its end.
//!
//! Every step is told as it happens, and every claim is checked: a counter that comes out short or a digest that differs is
//! a failure of the demo, not a line in its output.

use std::time::{Duration, Instant};

use super::layout::Place;
use super::mesh::Mesh;
use super::pause::{Interrupted, Pause, Waited};
use super::relay::Relay;
use crate::cli::say;
use crate::client::{ClientError, Reply};
use crate::report;

/// Writes to each agent in the workload.
const WRITES_PER_AGENT: usize = 500;

/// Increments on each side of the partition.
const INCREMENTS_PER_SIDE: i64 = 100;

/// How long the agents may take to hold the same, and to notice each other again.
const CONVERGE_MAX: Duration = Duration::from_mins(2);

/// The counter that both sides of the partition increment.
const COUNTER: &str = "demo:visits";

/// The string that both sides of the partition write.
const CONTESTED: &str = "demo:motto";

/// Why the story did not come to its end.
#[derive(Debug)]
pub(crate) enum Broken {
    /// The user wants to stop.
    Interrupted,
    /// An agent could not be asked, or refused.
    Client(ClientError),
    /// The agents did not find each other; what the last one asked said.
    NotWhole(Option<ClientError>),
    /// Something that Everett promises did not hold.
    Promise(BrokenPromise),
}

/// A promise that did not hold in this demo.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BrokenPromise {
    /// The agents do not hold the same.
    #[error("the agents hold different data after {} s", .0.as_secs())]
    Diverged(Duration),
    /// An agent that nobody reaches is still counted on.
    #[error("the cut was not noticed within {} s", .0.as_secs())]
    Unnoticed(Duration),
    /// The counter lost or gained increments.
    #[error("the counter at agent {agent} is {found}, {wanted} increments were acknowledged")]
    Counter {
        /// Where it was read.
        agent: String,
        /// What was read.
        found: i64,
        /// What was acknowledged.
        wanted: i64,
    },
}

impl From<Interrupted> for Broken {
    fn from(Interrupted: Interrupted) -> Self {
        Self::Interrupted
    }
}

impl From<ClientError> for Broken {
    fn from(error: ClientError) -> Self {
        Self::Client(error)
    }
}

/// Tells the whole story.
pub(crate) fn tell(mesh: &mut Mesh, places: &[Place], relay: &Relay, pause: &Pause) -> Result<(), Broken> {
    let visits = read_counter(mesh, 0)?;
    workload(mesh, places)?;
    converged(mesh, pause, "all agents hold the same")?;
    partition(mesh, places, relay)?;
    noticed(mesh, places, pause)?;
    relay.cut(places.len() - 1, false);
    say::talk("\nhealing the cut");
    converged(mesh, pause, "all agents hold the same again")?;
    aftermath(mesh, places, visits)?;
    say::talk(&format!("\nlatencies of agent {}, from `everett report`\n", places[0].name));
    show(&report::table(&mesh.report(0)?));
    Ok(())
}

fn workload(mesh: &mut Mesh, places: &[Place]) -> Result<(), Broken> {
    let start = Instant::now();
    for turn in 0..WRITES_PER_AGENT {
        for (agent, place) in places.iter().enumerate() {
            let key = format!("demo:{}:{turn}", place.name);
            mesh.call(agent, &["SET", &key, place.site])?;
        }
    }
    let writes = WRITES_PER_AGENT * places.len();
    let rate = writes as f64 / start.elapsed().as_secs_f64();
    say::talk(&format!("\n{writes} writes, one after another, each on disk before its answer: {rate:.0} per second"));
    let last = format!("demo:{}:{}", places[0].name, WRITES_PER_AGENT - 1);
    let reader = places.len() - 1;
    let start = Instant::now();
    while mesh.call(reader, &["GET", &last])?.text() != Some(places[0].site) {
        if start.elapsed() > CONVERGE_MAX {
            return Err(Broken::Promise(BrokenPromise::Diverged(CONVERGE_MAX)));
        }
    }
    let reads = 1_000_u32;
    let start = Instant::now();
    for _ in 0..reads {
        mesh.call(reader, &["GET", &last])?;
    }
    let each = start.elapsed() / reads;
    say::talk(&format!(
        "{last}, written at {}, read at {}: {} µs a read",
        places[0].site,
        places[reader].site,
        each.as_micros()
    ));
    Ok(())
}

fn partition(mesh: &mut Mesh, places: &[Place], relay: &Relay) -> Result<(), Broken> {
    let alone = places.len() - 1;
    relay.cut(alone, true);
    say::talk(&format!("\ncutting agent {} in {} off", places[alone].name, places[alone].site));
    for _ in 0..INCREMENTS_PER_SIDE {
        mesh.call(0, &["INCR", COUNTER])?;
        mesh.call(alone, &["INCR", COUNTER])?;
    }
    for agent in [0, alone] {
        mesh.call(agent, &["SET", CONTESTED, &format!("{} first", places[agent].site)])?;
    }
    for agent in [0, alone] {
        let (visits, motto) = (read_counter(mesh, agent)?, mesh.call(agent, &["GET", CONTESTED])?);
        say::talk(&format!(
            "  agent {} goes on: {COUNTER} {visits}, {CONTESTED} \"{}\"",
            places[agent].name,
            motto.text().unwrap_or_default(),
        ));
    }
    Ok(())
}

/// Waits until the others know of the cut, so that what follows is a return and not a hiccup.
fn noticed(mesh: &mut Mesh, places: &[Place], pause: &Pause) -> Result<(), Broken> {
    let alone = places.len() - 1;
    let mut outcome = Ok(0);
    let waited = pause.until(CONVERGE_MAX, || {
        outcome = mesh.peers_alive(0);
        outcome.as_ref().map_or(true, |seen| *seen < alone)
    })?;
    outcome?;
    match waited {
        Waited::Held(after) => {
            let name = &places[alone].name;
            say::talk(&format!("  agent {name} is missed by the others, {} ms after that", after.as_millis()));
            Ok(())
        }
        Waited::TimedOut => Err(Broken::Promise(BrokenPromise::Unnoticed(CONVERGE_MAX))),
    }
}

fn aftermath(mesh: &mut Mesh, places: &[Place], visits_before: i64) -> Result<(), Broken> {
    let wanted = visits_before + 2 * INCREMENTS_PER_SIDE;
    for (agent, place) in places.iter().enumerate() {
        let found = read_counter(mesh, agent)?;
        if found != wanted {
            return Err(Broken::Promise(BrokenPromise::Counter { agent: place.name.clone(), found, wanted }));
        }
    }
    let motto = mesh.call(0, &["GET", CONTESTED])?;
    say::talk(&format!("  {COUNTER} is {wanted} everywhere: no increment of either side is lost"));
    say::talk(&format!("  {CONTESTED} is \"{}\" everywhere: the later write wins", motto.text().unwrap_or_default()));
    Ok(())
}

fn converged(mesh: &mut Mesh, pause: &Pause, words: &str) -> Result<(), Broken> {
    let mut outcome = Ok(None);
    let waited = pause.until(CONVERGE_MAX, || {
        outcome = mesh.common_digest();
        !matches!(outcome, Ok(None))
    })?;
    match (waited, outcome?) {
        (Waited::Held(after), Some(digest)) => {
            say::talk(&format!("{words}, {} ms later", after.as_millis()));
            show(&digest);
            Ok(())
        }
        (Waited::Held(_) | Waited::TimedOut, _) => Err(Broken::Promise(BrokenPromise::Diverged(CONVERGE_MAX))),
    }
}

fn read_counter(mesh: &mut Mesh, agent: usize) -> Result<i64, ClientError> {
    let reply = mesh.call(agent, &["GET", COUNTER])?;
    if reply == Reply::Nil {
        return Ok(0);
    }
    let number = reply.text().and_then(|text| text.parse().ok());
    number.ok_or(ClientError::Unexpected { command: "GET" })
}

fn show(data: &str) {
    // A reader that went away must not keep the demo from cleaning up.
    let _ = say::data(data);
}
