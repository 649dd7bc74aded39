//! Commands about keys of any type: being there, expiring, being listed.

use bytes::Bytes;
use everett_mesh_proto::replica::Edit;

use super::call::Call;
use super::command::{Command, Flags, Group, Handler, Keys, READ, READ_SLOW, WRITE_FAST};
use super::refusal::{Refusal, Stop};

mod expire;
mod scan;

const fn generic(name: &'static str, arity: i32, flags: Flags, run: Handler) -> Command {
    Command::new(name, arity, Group::Generic, run).flags(flags).keys(Keys::ONE)
}

const fn expiry(name: &'static str, run: Handler) -> Command {
    generic(name, -3, WRITE_FAST, run)
}

/// This family's part of the table.
pub(super) const COMMANDS: &[Command] = &[
    generic("del", -2, Flags::WRITE, del)
        .keys(Keys::ALL)
        .docs("1.0.0", "O(N) where N is the number of keys", "Deletes keys, all of them at once everywhere.")
        .takes("key [key ...]"),
    generic("exists", -2, READ, exists)
        .keys(Keys::ALL)
        .docs("1.0.0", "O(N) where N is the number of keys", "Counts the given keys that exist.")
        .takes("key [key ...]"),
    expiry("expire", expire::expire)
        .docs("1.0.0", "O(1)", "Lets a key expire after so many seconds.")
        .takes("key seconds [NX | XX | GT | LT]"),
    expiry("expireat", expire::expireat)
        .docs("1.2.0", "O(1)", "Lets a key expire at a time in seconds.")
        .takes("key unix-time-seconds [NX | XX | GT | LT]"),
    generic("expiretime", 2, READ, expire::expiretime)
        .docs("7.0.0", "O(1)", "Returns when a key expires, in seconds since 1970.")
        .takes("key"),
    generic("keys", 2, READ_SLOW.and(Flags::DANGEROUS), scan::keys)
        .keys(Keys::NONE)
        .docs("1.0.0", "O(N) where N is the number of keys", "Lists all keys that match.")
        .takes("pattern"),
    generic("persist", 2, WRITE_FAST, expire::persist)
        .docs("2.2.0", "O(1)", "Takes a key's deadline away.")
        .takes("key"),
    expiry("pexpire", expire::pexpire)
        .docs("2.6.0", "O(1)", "Lets a key expire after so many milliseconds.")
        .takes("key milliseconds [NX | XX | GT | LT]"),
    expiry("pexpireat", expire::pexpireat)
        .docs("2.6.0", "O(1)", "Lets a key expire at a time in milliseconds.")
        .takes("key unix-time-milliseconds [NX | XX | GT | LT]"),
    generic("pexpiretime", 2, READ, expire::pexpiretime)
        .docs("7.0.0", "O(1)", "Returns when a key expires, in milliseconds since 1970.")
        .takes("key"),
    generic("pttl", 2, READ, expire::pttl)
        .docs("2.6.0", "O(1)", "Returns how many milliseconds a key has left.")
        .takes("key"),
    generic("randomkey", 1, READ_SLOW, scan::randomkey).keys(Keys::NONE).docs("1.0.0", "O(1)", "Returns some key."),
    generic("scan", -2, READ_SLOW, scan::scan)
        .keys(Keys::NONE)
        .docs(
            "2.8.0",
            "O(1) for every call, O(N) for all, where N is the number of keys",
            "Lists keys in pieces; the cursor is a place, so nothing is kept between calls.",
        )
        .takes("cursor [MATCH pattern] [COUNT count] [TYPE type]"),
    generic("touch", -2, READ, exists)
        .keys(Keys::ALL)
        .docs("3.2.1", "O(N) where N is the number of keys", "Counts the given keys that exist.")
        .takes("key [key ...]"),
    generic("ttl", 2, READ, expire::ttl).docs("1.0.0", "O(1)", "Returns how many seconds a key has left.").takes("key"),
    generic("type", 2, READ, kind).docs("1.0.0", "O(1)", "Returns a key's type.").takes("key"),
    generic("unlink", -2, WRITE_FAST, del)
        .keys(Keys::ALL)
        .docs("4.0.0", "O(N) where N is the number of keys", "Deletes keys, all of them at once everywhere.")
        .takes("key [key ...]"),
    Command::new("dbsize", 1, Group::Server, dbsize).flags(READ).docs(
        "1.0.0",
        "O(N) where N is the number of keys, 10,000 at most",
        "Counts the keys of the namespace; above 10,000 it estimates at first, and takes in expired keys.",
    ),
    Command::new("flushall", -1, Group::Server, flush)
        .flags(Flags::WRITE.and(Flags::DANGEROUS))
        .docs("1.0.0", "O(N) where N is the number of keys", "Deletes all keys of all numbered namespaces.")
        .takes("[ASYNC | SYNC]"),
    Command::new("flushdb", -1, Group::Server, flush)
        .flags(Flags::WRITE.and(Flags::DANGEROUS))
        .docs("1.0.0", "O(N) where N is the number of keys", "Deletes all keys of the namespace.")
        .takes("[ASYNC | SYNC]"),
];

fn del(call: &mut Call<'_>) -> Result<(), Stop> {
    let mut edits = Vec::with_capacity(call.args.len() - 1);
    for index in 1..call.args.len() {
        let key = call.key(index)?;
        let repeated = call.args.from(1).take(index - 1).any(|earlier| earlier == key);
        if !repeated && call.view(key)?.value.is_some() {
            edits.push(Edit::Delete { key: Bytes::copy_from_slice(key) });
        }
    }
    call.reply.count(edits.len());
    if !edits.is_empty() {
        call.edit(edits)?;
    }
    Ok(())
}

fn exists(call: &mut Call<'_>) -> Result<(), Stop> {
    let mut found = 0;
    for index in 1..call.args.len() {
        let key = call.key(index)?;
        found += usize::from(call.view(key)?.value.is_some());
    }
    call.reply.count(found);
    Ok(())
}

fn kind(call: &mut Call<'_>) -> Result<(), Stop> {
    let key = call.key(1)?;
    let exists = call.view(key)?.value.is_some();
    call.reply.status(if exists { "string" } else { "none" });
    Ok(())
}

fn dbsize(call: &mut Call<'_>) -> Result<(), Stop> {
    let space = call.session().space;
    let count = call.host.data.count(call.now, space)?;
    call.reflects_all();
    call.reply.uint(count);
    Ok(())
}

fn flush(call: &mut Call<'_>) -> Result<(), Stop> {
    match call.args.len() {
        1 => {}
        2 if call.says(1, "async") || call.says(1, "sync") => {}
        _ => return Err(Refusal::Syntax.into()),
    }
    let chosen = call.session().space;
    let spaces = if call.command.name == "flushall" { 0..16 } else { chosen..chosen + 1 };
    for space in spaces {
        call.edit_in(space, vec![Edit::Flush])?;
    }
    call.reply.ok();
    Ok(())
}
