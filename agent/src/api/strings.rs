//! Commands about strings and counters, which are one type.

use bytes::Bytes;
use everett_mesh_proto::crdt::Value;
use everett_mesh_proto::replica::{Edit, Expiry};

use super::call::Call;
use super::command::{Command, Flags, GROW, GROW_FAST, Group, Handler, Keys, READ, READ_SLOW, WRITE_FAST};
use super::refusal::{Refusal, Stop};

mod counter;
mod deadline;
mod part;
mod set;

const fn string(name: &'static str, arity: i32, flags: Flags, run: Handler) -> Command {
    Command::new(name, arity, Group::String, run).flags(flags).keys(Keys::ONE)
}

/// This family's part of the table.
pub(super) const COMMANDS: &[Command] = &[
    string("append", 3, GROW_FAST, part::append)
        .docs("2.0.0", "O(N) where N is the length of the value", "Adds to the end of a value.")
        .takes("key value"),
    string("decr", 2, GROW_FAST, counter::decr).docs("1.0.0", "O(1)", "Takes one from a number.").takes("key"),
    string("decrby", 3, GROW_FAST, counter::decrby)
        .docs("1.0.0", "O(1)", "Takes an amount from a number.")
        .takes("key decrement"),
    string("get", 2, READ, get).docs("1.0.0", "O(1)", "Returns a value.").takes("key"),
    string("getdel", 2, WRITE_FAST, getdel).docs("6.2.0", "O(1)", "Returns a value and deletes it.").takes("key"),
    string("getex", -2, WRITE_FAST, set::getex)
        .docs("6.2.0", "O(1)", "Returns a value and sets when it expires.")
        .takes("key [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | PERSIST]"),
    string("getrange", 4, READ_SLOW, part::getrange)
        .docs("2.4.0", "O(N) where N is the length of the part", "Returns a part of a value.")
        .takes("key start end"),
    string("getset", 3, GROW_FAST, getset)
        .docs("1.0.0", "O(1)", "Sets a value and returns the one before.")
        .takes("key value"),
    string("incr", 2, GROW_FAST, counter::incr).docs("1.0.0", "O(1)", "Adds one to a number.").takes("key"),
    string("incrby", 3, GROW_FAST, counter::incrby)
        .docs("1.0.0", "O(1)", "Adds an amount to a number.")
        .takes("key increment"),
    string("mget", -2, READ, mget)
        .keys(Keys::ALL)
        .docs("1.0.0", "O(N) where N is the number of keys", "Returns the values of several keys.")
        .takes("key [key ...]"),
    string("mset", -3, GROW, mset)
        .keys(Keys::PAIRS)
        .docs("1.0.1", "O(N) where N is the number of keys", "Sets several keys, all of them at once everywhere.")
        .takes("key value [key value ...]"),
    string("msetnx", -3, GROW, msetnx)
        .keys(Keys::PAIRS)
        .docs("1.0.1", "O(N) where N is the number of keys", "Sets several keys if this agent sees none of them.")
        .takes("key value [key value ...]"),
    string("psetex", 4, GROW, set::psetex)
        .docs("2.6.0", "O(1)", "Sets a value that expires after so many milliseconds.")
        .takes("key milliseconds value"),
    string("set", -3, GROW, set::set)
        .docs("1.0.0", "O(1)", "Sets a value; conditions hold for what this agent sees.")
        .takes(
            "key value [NX | XX] [GET] [EX seconds | PX milliseconds | EXAT unix-time-seconds | \
             PXAT unix-time-milliseconds | KEEPTTL]",
        ),
    string("setex", 4, GROW, set::setex)
        .docs("2.0.0", "O(1)", "Sets a value that expires after so many seconds.")
        .takes("key seconds value"),
    string("setnx", 3, GROW_FAST, set::setnx)
        .docs("1.0.0", "O(1)", "Sets a value if this agent sees none.")
        .takes("key value"),
    string("setrange", 4, GROW, part::setrange)
        .docs("2.2.0", "O(N) where N is the length of the value", "Overwrites a part of a value.")
        .takes("key offset value"),
    string("strlen", 2, READ, part::strlen).docs("2.2.0", "O(1)", "Returns a value's length.").takes("key"),
    string("substr", 4, READ_SLOW, part::getrange)
        .docs("1.0.0", "O(N) where N is the length of the part", "Returns a part of a value.")
        .takes("key start end"),
];

impl Call<'_> {
    /// Replies with the value of `key`, or nothing.
    fn reply_value(&mut self, key: &[u8]) -> Result<bool, Stop> {
        let value = self.view(key)?.value;
        match &value {
            Some(Value::Bytes(bytes)) => self.reply.bulk(bytes),
            Some(Value::Integer(sum)) => self.reply.text(sum),
            None => self.reply.null(),
        }
        Ok(value.is_some())
    }
}

fn get(call: &mut Call<'_>) -> Result<(), Stop> {
    let key = call.key(1)?;
    call.reply_value(key)?;
    Ok(())
}

fn getset(call: &mut Call<'_>) -> Result<(), Stop> {
    let (key, value) = (call.key(1)?, call.value(2)?);
    call.reply_value(key)?;
    let edit = Edit::Set { key: Bytes::copy_from_slice(key), value, expiry: Expiry::Clear };
    call.edit(vec![edit])
}

fn getdel(call: &mut Call<'_>) -> Result<(), Stop> {
    let key = call.key(1)?;
    if call.reply_value(key)? {
        call.edit(vec![Edit::Delete { key: Bytes::copy_from_slice(key) }])?;
    }
    Ok(())
}

fn mget(call: &mut Call<'_>) -> Result<(), Stop> {
    call.reply.array(call.args.len() - 1);
    for index in 1..call.args.len() {
        let key = call.key(index)?;
        call.reply_value(key)?;
    }
    Ok(())
}

fn mset(call: &mut Call<'_>) -> Result<(), Stop> {
    let edits = pairs(call)?;
    call.edit(edits)?;
    call.reply.ok();
    Ok(())
}

fn msetnx(call: &mut Call<'_>) -> Result<(), Stop> {
    let edits = pairs(call)?;
    for index in (1..call.args.len()).step_by(2) {
        let key = call.key(index)?;
        if call.view(key)?.value.is_some() {
            call.reply.int(0);
            return Ok(());
        }
    }
    call.edit(edits)?;
    call.reply.int(1);
    Ok(())
}

fn pairs(call: &Call<'_>) -> Result<Vec<Edit>, Refusal> {
    if call.args.len().is_multiple_of(2) {
        return Err(Refusal::Arity(call.command.name.to_owned()));
    }
    let indices = (1..call.args.len()).step_by(2);
    let edits = indices.map(|index| {
        let key = Bytes::copy_from_slice(call.key(index)?);
        Ok(Edit::Set { key, value: call.value(index + 1)?, expiry: Expiry::Clear })
    });
    edits.collect()
}
