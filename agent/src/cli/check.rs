//! `everett check`: reads a stopped agent's store from end to end and says what is not as it was written.
//!
//! Faults go to stdout, one a line; how far it has come goes to stderr, if it takes long. Any fault ends with the store's
//! exit code.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use everett_certs::Mtls;
use everett_mesh_proto::rows::Placer;

use super::failure::Failure;
use super::say;
use crate::config::Config;
use crate::exit::Exit;
use crate::identity::NodeIdentity;
use crate::store::{self, Checked, Checking, Step};

/// How long to be silent between two words about how far it has come.
const SILENCE: Duration = Duration::from_secs(2);

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// the agent's configuration: where its store is, and the certificates that the store belongs to
    #[arg(long, value_name = "FILE", default_value = "/etc/everett/everett.toml")]
    config: PathBuf,
    /// check this directory in the place of the configuration's, such as a backup
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
}

/// The store is not what was written.
#[derive(Debug, thiserror::Error)]
#[error("the store in {} is damaged: {faults} found", state.display())]
struct Damaged {
    state: PathBuf,
    faults: String,
}

pub(super) fn run(args: &CheckArgs) -> Result<(), Failure> {
    let config = Config::load(&args.config)?;
    let mtls = Mtls::load(&config.certificates)?;
    let state = args.state.as_ref().unwrap_or(&config.state);
    store::blame_library();
    let checking = Checking {
        state,
        cluster: NodeIdentity::from(&mtls.identity()).cluster,
        place_fingerprint: mtls.place_key().fingerprint(),
        placer: Placer::new(mtls.place_key().as_bytes()),
        cache_bytes: usize::try_from(config.store.cache_bytes.resolve()).unwrap_or(usize::MAX),
    };
    let mut told = Instant::now();
    let mut tell = |Step { what, percent }| {
        if told.elapsed() >= SILENCE {
            say::talk(&format!("{what}: {percent} %"));
            told = Instant::now();
        }
    };
    let checked =
        store::guarded(|| store::check(&checking, &mut tell)).map_err(|error| Failure::of_store(state, error))?;
    for fault in &checked.faults {
        say::data(&fault.to_string())?;
    }
    verdict(state, &checked)
}

fn verdict(state: &Path, checked: &Checked) -> Result<(), Failure> {
    let faults = checked.faults.len() as u64 + checked.more;
    if faults > 0 {
        let faults = if faults == 1 { "one fault".to_owned() } else { format!("{faults} faults") };
        let damaged = Damaged { state: state.to_owned(), faults };
        return Err(Failure::new(Exit::Store, damaged).hint(store::DAMAGED));
    }
    if checked.is_interrupted {
        say::talk(
            "the last flush was interrupted: start and stop the agent once to have rows and tree compared as well",
        );
    }
    let commits = &checked.commits;
    Ok(say::data(&format!(
        "{}: ok\nrows  {}\nlog   {} commits, {} to {}",
        state.display(),
        checked.rows,
        commits.end - commits.start,
        commits.start,
        commits.end - 1,
    ))?)
}
