//! Commands about the server rather than its data.

use super::call::Call;
use super::command::{ALWAYS, Command, Flags, Group, Handler};
use super::dispatch::{help, subcommand};
use super::glob;
use super::host::Stats;
use super::notify::Classes;
use super::refusal::{Refusal, Stop, quoted};

const fn server(name: &'static str, arity: i32, run: Handler) -> Command {
    Command::new(name, arity, Group::Server, run).flags(ALWAYS)
}

/// This family's part of the table.
pub(super) const COMMANDS: &[Command] = &[
    server("config", -2, subcommand).docs("2.0.0", "Depends on subcommand.", "Commands about settings.").container(&[
        server("get", -3, config_get)
            .flags(ALWAYS.and(Flags::ADMIN))
            .docs("2.0.0", "O(N) where N is the number of settings", "Returns the settings that match.")
            .takes("parameter [parameter ...]"),
        server("help", 2, help).docs("5.0.0", "O(1)", "Prints this help."),
        server("resetstat", 2, config_resetstat).flags(ALWAYS.and(Flags::ADMIN)).docs(
            "2.0.0",
            "O(1)",
            "Begins the counts of INFO anew.",
        ),
        server("set", -4, config_set)
            .flags(ALWAYS.and(Flags::ADMIN))
            .docs(
                "2.0.0",
                "O(1)",
                "Sets notify-keyspace-events until the agent ends; all else comes from the configuration file.",
            )
            .takes("parameter value [parameter value ...]"),
    ]),
    server("time", 1, time).flags(Flags::LOADING.and(Flags::STALE).and(Flags::FAST)).docs(
        "2.6.0",
        "O(1)",
        "Returns this host's time: seconds, and microseconds within the second.",
    ),
];

/// The one setting that can be changed while the agent runs.
const NOTIFY: &str = "notify-keyspace-events";

fn config_get(call: &mut Call<'_>) -> Result<(), Stop> {
    let settings = &call.host.settings;
    let asked = |name: &str| call.args.from(2).any(|pattern| glob::matches(pattern, name.as_bytes(), true));
    let found: Vec<_> = settings.iter().filter(|(name, _)| asked(name)).collect();
    call.reply.map(found.len());
    for (name, value) in found {
        call.reply.bulk(name.as_bytes());
        call.reply.bulk(value.as_bytes());
    }
    Ok(())
}

fn config_set(call: &mut Call<'_>) -> Result<(), Stop> {
    if !call.args.len().is_multiple_of(2) {
        return Err(Refusal::Arity("config|set".to_owned()).into());
    }
    let is_settable = |name: &&[u8]| name.eq_ignore_ascii_case(NOTIFY.as_bytes());
    let names = call.args.from(2).step_by(2);
    if let Some(name) = names.clone().find(|name| !is_settable(name)) {
        return Err(Refusal::ConfigSet(quoted(name)).into());
    }
    if names.count() > 1 {
        return Err(Refusal::ConfigSetTwice(NOTIFY).into());
    }
    let classes = Classes::parse(call.arg(3)).ok_or(Refusal::EventClass)?;
    call.host.set_classes(classes);
    call.reply.ok();
    Ok(())
}

fn config_resetstat(call: &mut Call<'_>) -> Result<(), Stop> {
    call.host.stats = Stats::default();
    call.reply.ok();
    Ok(())
}

fn time(call: &mut Call<'_>) -> Result<(), Stop> {
    let ms = call.now.wall_ms;
    call.reply.array(2);
    call.reply.digits(ms / 1_000);
    call.reply.digits(ms % 1_000 * 1_000);
    Ok(())
}
