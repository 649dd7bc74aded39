//! Leases: keys that go with the node that holds them.

use std::collections::BTreeSet;

use bytes::Bytes;
use everett_mesh_proto::lease::LeaseKey;
use everett_mesh_proto::replica::Edit;

use super::super::call::Call;
use super::super::command::{Command, Flags, GROW, Group, Keys, READ_SLOW};
use super::super::data::{Data, LEASES};
use super::super::refusal::{Refusal, Stop};
use super::facts::state_name;

/// This family's part of the table.
pub(in super::super) const COMMANDS: &[Command] = &[
    Command::new("mesh.lease", -2, Group::Mesh, lease)
        .flags(GROW)
        .keys(Keys::ALL)
        .docs(
            "0.1.0",
            "O(N) where N is the number of keys",
            "Binds keys to this node: they are removed everywhere when it is dead or has left.",
        )
        .takes("key [key ...]"),
    Command::new("mesh.leases", -1, Group::Mesh, leases)
        .flags(READ_SLOW)
        .docs("0.1.0", "O(N) where N is the number of leases", "Lists the leases of all nodes, or of one.")
        .takes("[node]"),
    Command::new("mesh.unlease", -2, Group::Mesh, unlease)
        .flags(Flags::WRITE)
        .keys(Keys::ALL)
        .docs(
            "0.1.0",
            "O(N) where N is the number of keys",
            "Ends this node's leases of keys, which stay as they are; returns how many there were.",
        )
        .takes("key [key ...]"),
];

/// The keys that the call names, each once, as leases of this node.
fn named(call: &mut Call<'_>) -> Result<BTreeSet<LeaseKey>, Refusal> {
    let space = call.session().space;
    let lease = |index| {
        let key = Bytes::copy_from_slice(call.key(index)?);
        Ok(LeaseKey { holder: call.host.about.node.clone(), space, key })
    };
    (1..call.args.len()).map(lease).collect()
}

fn lease(call: &mut Call<'_>) -> Result<(), Stop> {
    let leases = named(call)?;
    let mut edits = Vec::with_capacity(leases.len());
    for lease in &leases {
        if call.view(&lease.key)?.value.is_none() {
            return Err(Refusal::NoSuchKey.into());
        }
        edits.push(call.host.data.bind(call.now, lease)?);
    }
    call.edit_in(LEASES, edits)?;
    call.reply.count(leases.len());
    Ok(())
}

fn unlease(call: &mut Call<'_>) -> Result<(), Stop> {
    let named = named(call)?;
    let held = call.host.data.leases()?;
    let ended: Vec<Edit> = named.iter().filter(|lease| held.has(lease)).map(Data::unbind).collect();
    call.reply.count(ended.len());
    if ended.is_empty() {
        call.reflects_all();
        return Ok(());
    }
    call.edit_in(LEASES, ended)
}

fn leases(call: &mut Call<'_>) -> Result<(), Stop> {
    let node = match call.args.len() {
        1 => None,
        2 => Some(call.arg(1)),
        _ => return Err(Refusal::Syntax.into()),
    };
    let all = call.host.data.leases()?;
    let wanted = |holder: &&str| node.is_none_or(|node| node == holder.as_bytes());
    let listed: Vec<LeaseKey> = all.holders().filter(wanted).flat_map(|holder| all.of(holder)).cloned().collect();
    call.reflects_all();
    call.reply.array(listed.len());
    for lease in &listed {
        let parts = call.host.data.bound(call.now, lease)?.len();
        let state = call.host.peers.roster().iter().find(|member| member.name == lease.holder);
        call.reply.map(5);
        call.reply.bulk(b"node");
        call.reply.bulk(lease.holder.as_bytes());
        call.reply.bulk(b"state");
        call.reply.bulk(state.map_or("unknown", |member| state_name(member.state)).as_bytes());
        call.reply.bulk(b"db");
        call.reply.uint(lease.space.into());
        call.reply.bulk(b"key");
        call.reply.bulk(&lease.key);
        call.reply.bulk(b"values");
        call.reply.count(parts);
    }
    Ok(())
}
