//! `COMMAND`: the table, told to clients.

use super::call::Call;
use super::command::{Command, Flags, Group, Handler, Keys};
use super::dispatch::{help, subcommand};
use super::refusal::{Refusal, Stop};
use super::resp::Reply;
use super::{glob, syntax};

const ANY_TIME: Flags = Flags::LOADING.and(Flags::STALE);

const fn sub(name: &'static str, arity: i32, run: Handler) -> Command {
    Command::new(name, arity, Group::Server, run).flags(ANY_TIME)
}

/// This family's part of the table.
pub(super) const COMMANDS: &[Command] = &[sub("command", -1, command)
    .docs("2.8.13", "O(N) where N is the number of commands", "Describes all commands.")
    .container(&[
        sub("count", 2, count).docs("2.8.13", "O(1)", "Returns how many commands there are."),
        sub("docs", -2, docs)
            .docs("7.0.0", "O(N) where N is the number of commands", "Explains all commands, or the named ones.")
            .takes("[command-name ...]"),
        sub("getkeys", -4, getkeys)
            .docs("2.8.13", "O(N) where N is the number of words", "Returns the keys among a command's words.")
            .takes("command [arg ...]"),
        sub("help", 2, help).docs("5.0.0", "O(1)", "Prints this help."),
        sub("info", -2, info)
            .docs("2.8.13", "O(N) where N is the number of commands", "Describes all commands, or the named ones.")
            .takes("[command-name ...]"),
        sub("list", -2, list)
            .docs("7.0.0", "O(N) where N is the number of commands", "Lists the names of commands.")
            .takes("[FILTERBY <MODULE module-name | ACLCAT category | PATTERN pattern>]"),
    ])];

/// A command by its full name, a subcommand as `container|name`.
type Named = (Option<&'static Command>, &'static Command);

fn command(call: &mut Call<'_>) -> Result<(), Stop> {
    if call.args.len() > 1 {
        return subcommand(call);
    }
    describe_all(call);
    Ok(())
}

fn count(call: &mut Call<'_>) -> Result<(), Stop> {
    call.reply.count(call.host.table.len());
    Ok(())
}

fn info(call: &mut Call<'_>) -> Result<(), Stop> {
    if call.args.len() == 2 {
        describe_all(call);
        return Ok(());
    }
    call.reply.array(call.args.len() - 2);
    for name in call.args.from(2) {
        match find(call, name) {
            Some(named) => describe(named, &mut call.reply),
            None => call.reply.null(),
        }
    }
    Ok(())
}

fn docs(call: &mut Call<'_>) -> Result<(), Stop> {
    let chosen: Vec<Named> = if call.args.len() == 2 {
        call.host.table.iter().map(|command| (None, command)).collect()
    } else {
        call.args.from(2).filter_map(|name| find(call, name)).collect()
    };
    call.reply.map(chosen.len());
    for named in chosen {
        explain(named, &mut call.reply);
    }
    Ok(())
}

fn list(call: &mut Call<'_>) -> Result<(), Stop> {
    let filter: Box<dyn Fn(Named) -> bool> = match call.args.len() {
        2 => Box::new(|(container, _)| container.is_none()),
        5 if call.says(2, "filterby") => {
            let value = call.arg(4);
            if call.says(3, "pattern") {
                Box::new(|named| glob::matches(value, full_name(named).as_bytes(), true))
            } else if call.says(3, "aclcat") {
                Box::new(|(_, command)| {
                    categories(command).any(|category| category.as_bytes()[1..].eq_ignore_ascii_case(value))
                })
            } else if call.says(3, "module") {
                Box::new(|_| false)
            } else {
                return Err(Refusal::Syntax.into());
            }
        }
        _ => return Err(Refusal::Syntax.into()),
    };
    let names: Vec<String> = everything(call).filter(|named| filter(*named)).map(full_name).collect();
    call.reply.array(names.len());
    for name in names {
        call.reply.bulk(name.as_bytes());
    }
    Ok(())
}

fn getkeys(call: &mut Call<'_>) -> Result<(), Stop> {
    let (_, command) = call.host.table.find(call.arg(2)).ok_or(Refusal::InvalidCommand)?;
    let words = call.args.len() - 2;
    if command.keys == Keys::NONE {
        return Err(Refusal::NoKeys.into());
    }
    if !command.takes_words(words) {
        return Err(Refusal::InvalidCommandArity.into());
    }
    let indices: Vec<usize> = command.keys.indices(words).collect();
    call.reply.array(indices.len());
    for index in indices {
        let key = call.arg(index + 2);
        call.reply.bulk(key);
    }
    Ok(())
}

fn everything(call: &Call<'_>) -> impl Iterator<Item = Named> {
    call.host.table.iter().flat_map(|command| {
        let inner = command.subcommands.iter().map(move |sub| (Some(command), sub));
        std::iter::once((None, command)).chain(inner)
    })
}

fn find(call: &Call<'_>, name: &[u8]) -> Option<Named> {
    let mut parts = name.splitn(2, |byte| *byte == b'|');
    let (_, command) = call.host.table.find(parts.next()?)?;
    match parts.next() {
        None => Some((None, command)),
        Some(sub) => Some((Some(command), command.subcommand(sub)?)),
    }
}

fn full_name((container, command): Named) -> String {
    match container {
        None => command.name.to_owned(),
        Some(container) => format!("{}|{}", container.name, command.name),
    }
}

fn categories(command: &Command) -> impl Iterator<Item = &'static str> {
    let flags = command.flags;
    [
        (flags.has(Flags::WRITE), "@write"),
        (flags.has(Flags::READONLY), "@read"),
        (command.group != Group::Server, command.group.category()),
        (flags.has(Flags::ADMIN), "@admin"),
        (flags.has(Flags::ADMIN) || flags.has(Flags::DANGEROUS), "@dangerous"),
        (flags.has(Flags::BLOCKING), "@blocking"),
        (flags.has(Flags::FAST), "@fast"),
        (!flags.has(Flags::FAST), "@slow"),
    ]
    .into_iter()
    .filter_map(|(applies, category)| applies.then_some(category))
}

fn describe_all(call: &mut Call<'_>) {
    let commands: Vec<_> = call.host.table.iter().collect();
    call.reply.array(commands.len());
    for command in commands {
        describe((None, command), &mut call.reply);
    }
}

/// A command as `COMMAND INFO` has it.
fn describe(named: Named, reply: &mut Reply<'_>) {
    let (_, command) = named;
    reply.array(10);
    reply.bulk(full_name(named).as_bytes());
    reply.int(command.arity.into());
    let flags = Flags::NAMES.iter().filter(|(flag, _)| command.flags.has(*flag));
    reply.set(flags.clone().count());
    flags.for_each(|(_, name)| reply.status(name));
    reply.count(command.keys.first);
    reply.int(command.keys.last.into());
    reply.count(command.keys.step);
    let categories: Vec<_> = categories(command).collect();
    reply.set(categories.len());
    categories.into_iter().for_each(|category| reply.status(category));
    reply.array(0);
    key_specs(command, reply);
    reply.array(command.subcommands.len());
    for sub in command.subcommands {
        describe((Some(command), sub), reply);
    }
}

/// Where the keys are, in the words of Redis 7.
fn key_specs(command: &Command, reply: &mut Reply<'_>) {
    let keys = command.keys;
    if keys == Keys::NONE {
        reply.array(0);
        return;
    }
    reply.array(1);
    reply.map(3);
    reply.bulk(b"flags");
    let access: &[&str] = if command.flags.has(Flags::WRITE) { &["RW", "update"] } else { &["RO", "access"] };
    reply.set(access.len());
    access.iter().for_each(|flag| reply.status(flag));
    let last = if keys.last < 0 { keys.last } else { keys.last - i32::try_from(keys.first).unwrap_or(i32::MAX) };
    spec(reply, "begin_search", "index", &[("index", i64::try_from(keys.first).unwrap_or(i64::MAX))]);
    let step = i64::try_from(keys.step).unwrap_or(i64::MAX);
    spec(reply, "find_keys", "range", &[("lastkey", last.into()), ("keystep", step), ("limit", 0)]);
}

fn spec(reply: &mut Reply<'_>, what: &str, kind: &str, numbers: &[(&str, i64)]) {
    reply.bulk(what.as_bytes());
    reply.map(2);
    reply.bulk(b"type");
    reply.bulk(kind.as_bytes());
    reply.bulk(b"spec");
    reply.map(numbers.len());
    for (name, number) in numbers {
        reply.bulk(name.as_bytes());
        reply.int(*number);
    }
}

/// A command as `COMMAND DOCS` has it: its name, then what there is to say.
fn explain(named: Named, reply: &mut Reply<'_>) {
    let (_, command) = named;
    reply.bulk(full_name(named).as_bytes());
    let has_args = !command.syntax.is_empty();
    let has_subs = !command.subcommands.is_empty();
    reply.map(4 + usize::from(has_args) + usize::from(has_subs));
    let facts = [
        ("summary", command.summary),
        ("since", command.since),
        ("group", command.group.name()),
        ("complexity", command.complexity),
    ];
    for (key, value) in facts {
        reply.bulk(key.as_bytes());
        reply.bulk(value.as_bytes());
    }
    if has_args {
        reply.bulk(b"arguments");
        syntax::describe(&syntax::parse(command.syntax), reply);
    }
    if has_subs {
        reply.bulk(b"subcommands");
        reply.map(command.subcommands.len());
        for sub in command.subcommands {
            explain((Some(command), sub), reply);
        }
    }
}
