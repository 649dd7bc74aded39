//! `everett leave`: lets an agent finish, take its leave of the mesh, and end.
//!
//! What SIGTERM does, for whoever has the socket and not the process. Success means that the agent has ended.

use std::path::PathBuf;

use clap::Args;

use super::failure::Failure;
use super::say;
use crate::client::Client;

/// What `everett leave` is told.
#[derive(Debug, Args)]
pub(super) struct LeaveArgs {
    /// the agent's socket
    #[arg(long, value_name = "PATH", default_value = "/run/everett/everett.sock")]
    socket: PathBuf,
}

pub(super) fn run(args: &LeaveArgs) -> Result<(), Failure> {
    let mut client = Client::connect(&args.socket)?;
    client.call(&["MESH.LEAVE"])?;
    client.wait_for_end()?;
    Ok(say::data("left")?)
}
