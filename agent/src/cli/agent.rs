//! `everett agent`: runs an agent, or only checks what it would run with.

mod check;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use super::failure::Failure;
use super::say;
use crate::config::{self, Config};
use crate::store;
use crate::telemetry::{self, Filter};
use crate::wiring;

#[derive(Debug, Args)]
pub(super) struct AgentArgs {
    /// the configuration file
    #[arg(long, value_name = "FILE", default_value = "/etc/everett/everett.toml")]
    config: PathBuf,
    /// only check the configuration and all that it names, then end
    #[arg(long, conflicts_with = "example")]
    check: bool,
    /// only print a configuration with every knob, its unit, default and price, then end
    #[arg(long)]
    example: bool,
}

pub(super) fn run(args: &AgentArgs) -> Result<(), Failure> {
    if args.example {
        return Ok(say::data(config::EXAMPLE.trim_end())?);
    }
    let config = Config::load(&args.config)?;
    telemetry::filter(&config.telemetry)?;
    if args.check {
        let checked = check::check(&config)?;
        checked.warnings.iter().for_each(|warning| say::talk(&format!("warning: {warning}")));
        return Ok(say::data(&format!("{}: ok\n{}", args.config.display(), checked.lines.join("\n")))?);
    }
    let filter = telemetry::init(&config.telemetry)?;
    store::blame_library();
    let path = args.config.clone();
    let ended = store::guarded(|| wiring::run(&config, Arc::new(move || refilter(&filter, &path))));
    ended.map_err(|error| Failure::of_agent(&config.state, error))
}

/// Puts the log filter of the configuration as it is now in the place of the present one; no other knob changes while the
/// agent runs.
fn refilter(filter: &Filter, path: &Path) {
    let replaced =
        Config::load(path).map_err(anyhow::Error::from).and_then(|config| Ok(filter.replace(&config.telemetry)?));
    match replaced {
        Ok(()) => tracing::info!("log filter read again"),
        Err(error) => tracing::error!(%error, "log filter not read again; the old one stays"),
    }
}
