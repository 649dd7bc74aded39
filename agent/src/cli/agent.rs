//! `everett agent`: runs an agent, or only checks what it would run with.

use std::path::PathBuf;

use clap::Args;

use super::failure::Failure;
use super::say;
use crate::config::{self, Config};
use crate::pid_file::PidFile;
use crate::{telemetry, wiring};

#[derive(Debug, Args)]
pub(super) struct AgentArgs {
    /// the configuration file
    #[arg(long, value_name = "FILE", default_value = "/etc/everett/everett.toml")]
    config: PathBuf,
    /// only check the configuration, then end
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
    telemetry::filter(&config.log)?;
    if args.check {
        say::talk(&format!("{}: fine", args.config.display()));
        return Ok(());
    }
    telemetry::init(&config.log)?;
    let _pid_file = config.pid_file.as_deref().map(PidFile::write).transpose()?;
    Ok(wiring::run(&config)?)
}
