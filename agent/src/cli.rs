//! The command line: one verb a file, one voice for all.
//!
//! Data goes to stdout, talk to stderr, in lower case and without a full stop; what to do about a failure follows as
//! `hint:` after a blank line. Every verb ends with one of the codes of [`Exit`]. This is the only room that may print.

mod agent;
mod ask;
mod certs;
mod check;
mod demo;
mod failure;
mod leave;
mod members;
mod report;
mod say;
mod status;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::exit::Exit;
use failure::Failure;

/// an edge-state mesh agent: every site keeps its own universe of the state, and all of them converge
#[derive(Debug, Parser)]
#[command(name = "everett", version)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// run an agent, or check its configuration
    Agent(agent::AgentArgs),
    /// make the cluster's authority and its nodes' certificates, look at them, check them
    Certs(certs::CertsArgs),
    /// show what an agent knows of itself and of its peers
    Status(SocketArgs),
    /// list the members of the mesh, this agent included
    Members(members::MembersArgs),
    /// let an agent finish, take its leave of the mesh, and end
    Leave(leave::LeaveArgs),
    /// show how long things take, as percentiles
    Report(SocketArgs),
    /// check a stopped agent's store, row by row and record by record
    Check(check::CheckArgs),
    /// run a mesh on this host, at work, cut apart and healed
    Demo(demo::DemoArgs),
}

/// Which agent to ask, and for whom the answer is.
#[derive(Debug, Args)]
struct SocketArgs {
    /// the agent's socket
    #[arg(long, value_name = "PATH", default_value = "/run/everett/everett.sock")]
    socket: PathBuf,
    /// print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the verb that the process's arguments name, and says how it ended.
pub fn run() -> ExitCode {
    let outcome = match Cli::parse().verb {
        Verb::Agent(args) => agent::run(&args),
        Verb::Certs(args) => certs::run(&args),
        Verb::Status(args) => status::run(&args),
        Verb::Members(args) => members::run(&args),
        Verb::Leave(args) => leave::run(&args),
        Verb::Report(args) => report::run(&args),
        Verb::Check(args) => check::run(&args),
        Verb::Demo(args) => demo::run(&args),
    };
    finish(outcome)
}

fn finish(outcome: Result<(), Failure>) -> ExitCode {
    match outcome {
        Ok(()) => Exit::Done.into(),
        Err(failure) => {
            say::failure(&failure);
            failure.exit().into()
        }
    }
}
