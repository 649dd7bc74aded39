//! Commands about the mesh: who holds what, and how far it is.

mod facts;
mod leases;
mod report;

use std::time::Duration;

use everett_mesh_proto::id::Dot;

use super::call::{Call, Flow, Wait};
use super::command::{Command, Flags, Group};
use super::refusal::{Refusal, Stop};
use super::resp::parse_i64;

pub(super) use facts::{facts, figures};
pub(super) use leases::COMMANDS as LEASES;
pub(super) use report::COMMANDS as REPORTS;

/// This family's part of the table.
pub(super) const COMMANDS: &[Command] = &[Command::new("wait", 3, Group::Generic, wait)
    .flags(Flags::NOSCRIPT.and(Flags::BLOCKING))
    .docs("3.0.0", "O(1)", "Waits until so many peers hold this connection's last write durably; returns how many do.")
    .takes("numreplicas timeout")];

fn wait(call: &mut Call<'_>) -> Result<(), Stop> {
    let copies = call.int(1)?;
    let timeout_ms = parse_i64(call.arg(2)).ok_or(Refusal::NotIntegerOf("timeout"))?;
    let timeout_ms = u64::try_from(timeout_ms).map_err(|_| Refusal::TimeoutNegative)?;
    let copies = usize::try_from(copies).unwrap_or(0);
    let Some(space) = call.session().wrote else {
        // Nothing was written: every linked peer holds that.
        call.reply.count(call.host.peers.push.peers().count());
        return Ok(());
    };
    // The namespace's latest own write stands for the connection's: it cannot be an earlier one.
    let data = &call.host.data;
    let replica = data.replica.id();
    let dot = Dot { replica, seq: data.replica.vector(data.space(space)).seq(replica) };
    let held_by = call.host.peers.push.copies(data.space(space), dot);
    if held_by >= copies {
        call.reply.count(held_by);
        return Ok(());
    }
    let until = (timeout_ms > 0).then(|| call.now.mono + Duration::from_millis(timeout_ms));
    call.flow = Flow::Wait(Wait::Copies { space, dot, copies, until });
    Ok(())
}
