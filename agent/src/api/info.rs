//! `INFO`: what there is to know of the server, in the lines and under the names that monitoring of Redis looks for.
//!
//! A section is a list of lines. Names that Redis has mean what they mean there; what Redis has no word for is in the
//! section `mesh`. Figures of mechanisms that do not exist here (forks, replication backlogs, eviction) are left out
//! rather than invented.

use std::fmt::{Display, Write};

use super::call::Call;
use super::command::{ALWAYS, Command, Group};
use super::connection::NUMBERED_SPACES;
use super::host::Phase;
use super::refusal::Stop;
use super::resp::EOL;
use crate::durability::Durability;

/// The version of Redis whose commands and error texts are followed; some clients choose by it.
const REDIS_VERSION: &str = "7.0.15";

/// This family's part of the table.
pub(super) const COMMANDS: &[Command] = &[Command::new("info", -1, Group::Server, info)
    .flags(ALWAYS)
    .docs("1.0.0", "O(1)", "Describes the server.")
    .takes("[section [section ...]]")];

/// A section's name, and what writes its lines.
type Section = (&'static str, fn(&mut Call<'_>, &mut Lines) -> Result<(), Stop>);

const SECTIONS: [Section; 9] = [
    ("Server", server),
    ("Clients", clients),
    ("Memory", memory),
    ("Persistence", persistence),
    ("Stats", stats),
    ("Replication", replication),
    ("Commandstats", command_stats),
    ("Keyspace", keyspace),
    ("Mesh", mesh),
];

/// Shown only when asked for.
const SILENT: &str = "Commandstats";

fn info(call: &mut Call<'_>) -> Result<(), Stop> {
    let mut lines = Lines(String::new());
    for (name, write) in SECTIONS {
        let is_named = |word: &str| call.args.from(1).any(|asked| asked.eq_ignore_ascii_case(word.as_bytes()));
        let by_default = (call.args.len() == 1 || is_named("default")) && name != SILENT;
        if by_default || is_named("all") || is_named("everything") || is_named(name) {
            lines.title(name);
            write(call, &mut lines)?;
        }
    }
    call.reply.verbatim(&lines.0);
    Ok(())
}

/// Lines of `name:value` under titles.
struct Lines(String);

impl Lines {
    fn title(&mut self, name: &str) {
        let blank = if self.0.is_empty() { "" } else { EOL };
        write!(self.0, "{blank}# {name}{EOL}").expect("memory takes every write");
    }

    fn put(&mut self, name: &str, value: impl Display) {
        write!(self.0, "{name}:{value}{EOL}").expect("memory takes every write");
    }
}

fn server(call: &mut Call<'_>, lines: &mut Lines) -> Result<(), Stop> {
    let about = &call.host.about;
    let uptime = call.now.mono.saturating_since(about.started.mono).as_secs();
    lines.put("redis_version", REDIS_VERSION);
    lines.put("redis_mode", "standalone");
    lines.put("everett_version", env!("CARGO_PKG_VERSION"));
    lines.put("os", std::env::consts::OS);
    lines.put("arch_bits", usize::BITS);
    lines.put("multiplexing_api", "epoll");
    lines.put("process_id", std::process::id());
    lines.put("run_id", call.host.data.replica.id());
    lines.put("tcp_port", 0);
    lines.put("server_time_usec", call.now.wall_ms.saturating_mul(1_000));
    lines.put("uptime_in_seconds", uptime);
    lines.put("uptime_in_days", uptime / 86_400);
    Ok(())
}

fn clients(call: &mut Call<'_>, lines: &mut Lines) -> Result<(), Stop> {
    let setting = |name: &str| call.host.settings.iter().find(|(known, _)| *known == name).map(|(_, value)| value);
    lines.put("connected_clients", call.host.sessions.len());
    if let Some(clients_max) = setting("maxclients") {
        lines.put("maxclients", clients_max);
    }
    Ok(())
}

fn memory(call: &mut Call<'_>, lines: &mut Lines) -> Result<(), Stop> {
    let resident = resident_bytes();
    lines.put("used_memory", resident);
    lines.put("used_memory_rss", resident);
    lines.put("used_memory_rows", call.host.data.rows.bytes());
    lines.put("maxmemory", 0);
    lines.put("maxmemory_policy", "noeviction");
    Ok(())
}

/// What the process occupies, as the kernel says; 0 where it does not say.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kibibytes.unwrap_or(0) * 1_024
}

fn persistence(call: &mut Call<'_>, lines: &mut Lines) -> Result<(), Stop> {
    let data = &call.host.data;
    let watermark = data.rows.base().watermark();
    lines.put("loading", u8::from(call.host.phase == Phase::Loading));
    lines.put("aof_enabled", 1);
    let sessions = &call.host.sessions;
    let levels = sessions.levels();
    let at_interval = levels.iter().filter(|&(_, level)| level == Durability::Interval);
    let at_interval: Vec<String> = at_interval.map(|(number, _)| format!("db{number}")).collect();
    lines.put("durability", sessions.durability(call.me, sessions.of(call.me).space));
    lines.put("durability_interval", at_interval.join(","));
    lines.put("durability_interval_ms", levels.interval.as_millis());
    lines.put("log_bytes", call.host.stats.log_bytes);
    lines.put("commit", data.replica.commit().0);
    lines.put("durable_commit", call.host.peers.durable().upto().0);
    lines.put("flushed_commit", watermark.0);
    lines.put("flush_in_progress", u8::from(data.rows.is_flushing()));
    Ok(())
}

fn stats(call: &mut Call<'_>, lines: &mut Lines) -> Result<(), Stop> {
    let stats = call.host.stats;
    lines.put("total_connections_received", stats.connections);
    lines.put("total_commands_processed", stats.commands);
    lines.put("total_net_input_bytes", stats.input_bytes);
    lines.put("total_net_output_bytes", stats.output_bytes);
    lines.put("rejected_connections", stats.connections_rejected);
    lines.put("client_output_buffer_limit_disconnections", stats.cut_output);
    lines.put("client_output_buffer_limit_listeners", stats.cut_listeners);
    lines.put("client_protocol_errors", stats.cut_protocol);
    lines.put("keyspace_hits", stats.keyspace_hits);
    lines.put("keyspace_misses", stats.keyspace_misses);
    lines.put("evicted_keys", 0);
    let topics = call.host.sessions.topics();
    lines.put("pubsub_channels", topics.channels_len());
    lines.put("pubsub_patterns", topics.patterns());
    Ok(())
}

/// Every agent takes writes, so each is a master to those who ask; how peers keep up is told in the section `mesh`.
fn replication(call: &mut Call<'_>, lines: &mut Lines) -> Result<(), Stop> {
    lines.put("role", "master");
    lines.put("connected_slaves", 0);
    lines.put("master_replid", call.host.data.replica.id());
    Ok(())
}

fn command_stats(call: &mut Call<'_>, lines: &mut Lines) -> Result<(), Stop> {
    let names: Vec<&str> = call.host.table.iter().map(|command| command.name).collect();
    for line in call.host.metrics.lines(|number| names[number]) {
        if let Some(name) = line.path.strip_prefix("command ") {
            lines.put(
                &format!("cmdstat_{name}"),
                format_args!(
                    "calls={},usec={},usec_per_call={:.2},p50_usec={},p99_usec={}",
                    line.count,
                    line.sum_us,
                    line.sum_us as f64 / line.count.max(1) as f64,
                    line.p50_us,
                    line.p99_us
                ),
            );
        }
    }
    Ok(())
}

fn keyspace(call: &mut Call<'_>, lines: &mut Lines) -> Result<(), Stop> {
    for number in 0..NUMBERED_SPACES {
        let keys = call.host.data.keys_flushed(number)?;
        if keys > 0 {
            lines.put(&format!("db{number}"), format_args!("keys={keys},expires=0,avg_ttl=0"));
        }
    }
    Ok(())
}

fn mesh(call: &mut Call<'_>, lines: &mut Lines) -> Result<(), Stop> {
    for (name, value) in super::mesh::facts(call) {
        lines.put(name, value);
    }
    for peer in call.host.peers.report(call.now, &call.host.data.replica) {
        let figures = super::mesh::figures(&peer);
        let shown: Vec<String> = figures.iter().map(|(name, fact)| format!("{name}={fact}")).collect();
        lines.put("peer", shown.join(","));
    }
    Ok(())
}
