//! Which figures there are for Prometheus, under which names and in which units.
//!
//! Names follow Prometheus's conventions: `everett_` first, base units (seconds, bytes), `_total` for what only rises. Times
//! of paths are summaries: the quantiles are since the start, from histograms of three significant digits.

use prometheus::TextEncoder;
use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType, Quantile, Summary};
use serde_json::{Map, Value};

use crate::report::Line;

/// The format of the text.
pub(super) const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

/// What one figure of the agent is to Prometheus.
struct Figure {
    /// Its name in the agent's answer.
    told: &'static str,
    /// Its name here, without `everett_` and what the kind and the unit add.
    name: &'static str,
    help: &'static str,
    kind: Kind,
    unit: Unit,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    /// A count of things, or a truth.
    One,
    Bytes,
    /// Seconds here, milliseconds in the agent's answer.
    Ms,
    /// Seconds here, microseconds in the agent's answer.
    Us,
}

impl Unit {
    /// How many of the agent's are one here.
    fn parts(self) -> f64 {
        match self {
            Self::One | Self::Bytes => 1.0,
            Self::Ms => 1e3,
            Self::Us => 1e6,
        }
    }

    fn suffix(self) -> &'static str {
        match self {
            Self::One => "",
            Self::Bytes => "_bytes",
            Self::Ms | Self::Us => "_seconds",
        }
    }
}

const fn counter(told: &'static str, name: &'static str, help: &'static str) -> Figure {
    Figure { told, name, help, kind: Kind::Counter, unit: Unit::One }
}

const fn gauge(told: &'static str, name: &'static str, help: &'static str) -> Figure {
    Figure { told, name, help, kind: Kind::Gauge, unit: Unit::One }
}

impl Figure {
    const fn of(self, unit: Unit) -> Self {
        Self { unit, ..self }
    }

    fn name(&self) -> String {
        let total = if self.kind == Kind::Counter { "_total" } else { "" };
        format!("everett_{}{}{total}", self.name, self.unit.suffix())
    }

    /// The figure's family; `samples` are labels and values as the agent told them.
    fn family(&self, samples: impl Iterator<Item = (Vec<LabelPair>, f64)>) -> MetricFamily {
        let metrics = samples.map(|(labels, value)| {
            let value = value / self.unit.parts();
            let mut metric = Metric::from_label(labels);
            match self.kind {
                Kind::Counter => metric.set_counter(with(|counter: &mut Counter| counter.set_value(value))),
                Kind::Gauge => metric.set_gauge(with(|gauge: &mut Gauge| gauge.set_value(value))),
            }
            metric
        });
        let field_type = match self.kind {
            Kind::Counter => MetricType::COUNTER,
            Kind::Gauge => MetricType::GAUGE,
        };
        family(self.name(), self.help, field_type, metrics.collect())
    }
}

/// What `MESH.INFO` and `INFO` tell of the agent.
const AGENT: &[Figure] = &[
    gauge("uptime_ms", "uptime", "Time since the agent started.").of(Unit::Ms),
    gauge("boot_epoch", "boot_epoch", "Starts of this node so far."),
    gauge("incarnation", "incarnation", "Accusations that this life has answered."),
    counter("commit", "commits", "The last local commit number."),
    counter("durable_commit", "commits_durable", "The last commit that is durable."),
    counter("flushed_commit", "commits_flushed", "The last commit that the row file reflects."),
    gauge("used_memory_rss", "resident", "Memory that the process occupies.").of(Unit::Bytes),
    gauge("rows_bytes", "memtable", "Memory for rows not flushed yet.").of(Unit::Bytes),
    gauge("log_bytes", "log", "Disk that the log's segments take.").of(Unit::Bytes),
    gauge("flush_in_progress", "flush_in_progress", "1 while rows are written to the row file."),
    gauge("loading", "loading", "1 until the agent has held what its mesh holds."),
    gauge("connected_clients", "clients", "Connections on the socket."),
    counter("total_connections_received", "connections", "Connections accepted on the socket."),
    counter("rejected_connections", "connections_rejected", "Connections refused for their number."),
    counter("total_commands_processed", "commands", "Commands executed."),
    counter("total_net_input_bytes", "client_input", "Bytes read from clients.").of(Unit::Bytes),
    counter("total_net_output_bytes", "client_output", "Bytes written to clients.").of(Unit::Bytes),
    counter(
        "client_output_buffer_limit_disconnections",
        "clients_cut_output",
        "Clients cut because they did not read their replies.",
    ),
    counter("client_output_buffer_limit_listeners", "clients_cut_listening", "Of these, listeners to channels."),
    counter("client_protocol_errors", "clients_cut_protocol", "Clients cut because they broke the protocol."),
    counter("keyspace_hits", "keyspace_hits", "Reads of keys that are there."),
    counter("keyspace_misses", "keyspace_misses", "Reads of keys that are not."),
    gauge("members", "members", "Other members that membership lists, in whatever state."),
    gauge("members_alive", "members_alive", "Other members that live."),
    gauge("members_unreachable", "members_unreachable", "Members that nobody reaches, for less than a minute."),
    gauge("members_dead", "members_dead", "Members that nobody has reached for a minute."),
    gauge("members_left", "members_left", "Members that took their leave."),
    gauge("members_degraded", "members_degraded", "Members that live and answer badly."),
    gauge("isolated", "isolated", "1 while nobody answers this agent."),
    counter("came", "members_came", "Members that came."),
    counter("found_unreachable", "members_found_unreachable", "Members found unreachable."),
    counter("returned", "members_returned", "Members that came back."),
    counter("member_events", "member_events", "Membership events told to those who listen."),
    counter("probe_datagrams_sent", "probe_datagrams_sent", "Membership's datagrams sent."),
    counter("probe_datagrams_received", "probe_datagrams_received", "Membership's datagrams received."),
    gauge("peers_linked", "peers_linked", "Peers with a link for data."),
    gauge("gate_groups", "gate_groups", "Remote groups that wait for what they depend on."),
    gauge("gate_bytes", "gate", "Memory for remote groups that wait.").of(Unit::Bytes),
    counter("groups_sent", "groups_sent", "Own groups sent, once for each peer."),
    counter("groups_received", "groups_received", "Groups received, duplicates included."),
    counter("repairs", "repairs", "Repair sessions that brought something."),
    counter("repairs_of_vectors", "repairs_of_vectors", "Repair sessions between equal rows."),
    counter("repairs_of_divergence", "repairs_of_divergence", "Repair sessions that looked for divergence."),
    counter("repaired_rows", "repaired_rows", "Rows that repair sessions brought."),
    counter("session_turns", "session_turns", "Turns of repair sessions."),
    gauge("lives_open", "lives_open", "Entries of version vectors, in all namespaces together."),
    gauge("lives_closed", "lives_closed", "Lives that are no longer entries, in all namespaces together."),
    counter("lives_reopened", "lives_reopened", "Closed lives of which more was heard: a disk was put back."),
    gauge("leases", "leases", "Leases that this agent knows of, whoever holds them."),
    counter("leases_withdrawn", "leases_withdrawn", "Leases that this agent withdrew for nodes that are gone."),
    gauge("repair_rows_staged", "repair_rows_staged", "Rows that sessions under way have brought."),
    gauge("repair_rows_at_peer", "repair_rows_at_peer", "About how many rows the peers of sessions under way hold."),
    counter("repair_sessions", "repair_sessions", "Repair sessions that ended."),
    counter("repair_sessions_failed", "repair_sessions_failed", "Of these, those that brought nothing to an end."),
    counter("repair_sent_bytes", "repair_sent", "Bytes of repair sessions sent.").of(Unit::Bytes),
    counter("repair_received_bytes", "repair_received", "Bytes of repair sessions received.").of(Unit::Bytes),
    counter("repair_messages", "repair_messages", "Messages of repair sessions, both ways."),
    counter("repaired_rows_late_op", "repaired_rows_late_op", "Rows repaired because an op came late."),
    counter("repaired_rows_long_absence", "repaired_rows_long_absence", "Rows repaired because of a long absence."),
    counter("repaired_rows_corruption", "repaired_rows_corruption", "Rows repaired because bytes had changed."),
    counter("skewed", "stamps_skewed", "Remote stamps too far ahead of this host's clock."),
    counter("divergences", "divergences", "Rows with equal dots and different bytes: an alarm."),
    counter("damaged", "damaged_leaves", "Leaves of the tree whose rows are not as they were written: an alarm."),
    counter("forks", "forks", "Peers that held more of this life than it does: an alarm."),
];

/// What `MESH.PEERS` tells of each member.
const PEERS: &[Figure] = &[
    gauge("rtt_us", "peer_rtt", "The link's round trip.").of(Unit::Us),
    gauge("lag_ops", "peer_lag_ops", "Own writes that the peer has not acknowledged."),
    gauge("lag_ms", "peer_lag", "Age of the oldest own write that the peer has not acknowledged.").of(Unit::Ms),
    gauge("root_equal", "peer_root_equal", "1 if the last summaries had equal roots."),
    gauge("last_equal_ms", "peer_last_equal_timestamp", "When roots and vectors were last equal, Unix time.")
        .of(Unit::Ms),
    gauge("offset_us", "peer_clock_offset", "The peer's clock minus this host's.").of(Unit::Us),
    counter("sent_bytes", "peer_sent", "Bytes sent to the peer.").of(Unit::Bytes),
    counter("repaired_rows", "peer_repaired_rows", "Rows that sessions with the peer brought."),
    counter("repair_sessions", "peer_repair_sessions", "Repair sessions with the peer that ended."),
    counter("repair_sent_bytes", "peer_repair_sent", "Bytes of repair sessions sent to the peer.").of(Unit::Bytes),
    counter("repair_received_bytes", "peer_repair_received", "Bytes of repair sessions from the peer.").of(Unit::Bytes),
    counter("received_bytes", "peer_received", "Bytes received from the peer.").of(Unit::Bytes),
];

/// Latencies, by the words that a path's name begins with: the family, what its label is called, and its help.
const PATHS: [(&str, &str, &str, &str); 4] = [
    ("command ", "command", "command", "A command, from its arrival to its reply."),
    ("durable at ", "durable_at_peer", "peer", "A local write, until it is durable at the peer."),
    ("probe ", "probe", "peer", "A membership probe and its answer."),
    ("", "path", "path", "A way through the agent."),
];

/// What the agent told, in one scrape.
pub(super) struct Told {
    pub(super) info: Map<String, Value>,
    pub(super) peers: Vec<Map<String, Value>>,
    pub(super) histograms: Map<String, Value>,
    /// The lines of `INFO`.
    pub(super) stats: String,
}

impl Told {
    /// All of it, in the text format.
    pub(super) fn exposition(&self) -> String {
        let mut families = vec![self.build(), self.state()];
        families.extend(AGENT.iter().map(|figure| figure.family(self.figure(figure).into_iter())));
        families.push(self.peers_up());
        families.extend(PEERS.iter().map(|figure| figure.family(self.of_peers(figure))));
        families.extend(self.paths());
        // A family without samples is an error to the encoder; there is none other.
        families.retain(|family| !family.get_metric().is_empty());
        TextEncoder::new().encode_to_string(&families).unwrap_or_default()
    }

    /// Who this is, as labels of a constant.
    fn build(&self) -> MetricFamily {
        let mut labels: Vec<_> =
            ["node", "site", "cluster"].into_iter().map(|name| label(name, text(&self.info, name))).collect();
        labels.push(label("version", env!("CARGO_PKG_VERSION")));
        gauge("", "build_info", "This agent.").family([(labels, 1.0)].into_iter())
    }

    fn state(&self) -> MetricFamily {
        let labels = vec![label("state", text(&self.info, "state"))];
        gauge("", "state", "What the agent is doing.").family([(labels, 1.0)].into_iter())
    }

    fn figure(&self, figure: &Figure) -> Option<(Vec<LabelPair>, f64)> {
        let in_info = self.info.get(figure.told).and_then(Value::as_f64);
        let in_stats =
            || self.stats.lines().find_map(|line| line.strip_prefix(figure.told)?.strip_prefix(':')?.parse().ok());
        Some((Vec::new(), in_info.or_else(in_stats)?))
    }

    fn peers_up(&self) -> MetricFamily {
        let is_up = |peer: &Map<String, Value>| matches!(text(peer, "state"), "alive" | "probation" | "draining");
        let samples = self.peers.iter().map(|peer| (of_peer(peer), f64::from(u8::from(is_up(peer)))));
        gauge("", "peer_up", "1 if membership holds the peer to live.").family(samples)
    }

    fn of_peers<'a>(&'a self, figure: &Figure) -> impl Iterator<Item = (Vec<LabelPair>, f64)> + 'a {
        let told = figure.told;
        self.peers.iter().filter_map(move |peer| Some((of_peer(peer), peer.get(told)?.as_f64()?)))
    }

    fn paths(&self) -> impl Iterator<Item = MetricFamily> {
        let mut metrics = PATHS.map(|_| Vec::new());
        for (path, figures) in &self.histograms {
            let figure = |name: &str| figures.get(name).and_then(Value::as_u64);
            let Some(line) = Line::from_figures(path.clone(), figure) else { continue };
            let kind = PATHS.iter().position(|(begins, ..)| path.starts_with(begins)).expect("the last takes all");
            let (begins, _, label_name, _) = PATHS[kind];
            let mut metric = Metric::from_label(vec![label(label_name, &path[begins.len()..])]);
            metric.set_summary(summary(&line));
            metrics[kind].push(metric);
        }
        metrics.into_iter().zip(PATHS).map(|(metrics, (_, name, _, help))| {
            family(format!("everett_{name}_latency_seconds"), help, MetricType::SUMMARY, metrics)
        })
    }
}

fn summary(line: &Line) -> Summary {
    let seconds = |time_us: u64| time_us as f64 / Unit::Us.parts();
    let quantiles =
        [(0.5, line.p50_us), (0.9, line.p90_us), (0.99, line.p99_us), (0.999, line.p999_us), (1.0, line.max_us)];
    with(|summary: &mut Summary| {
        summary.set_sample_count(line.count);
        summary.set_sample_sum(seconds(line.sum_us));
        summary.set_quantile(Vec::from(quantiles.map(|(rank, time_us)| {
            with(|quantile: &mut Quantile| {
                quantile.set_quantile(rank);
                quantile.set_value(seconds(time_us));
            })
        })));
    })
}

fn family(name: String, help: &str, field_type: MetricType, metrics: Vec<Metric>) -> MetricFamily {
    with(|family: &mut MetricFamily| {
        family.set_name(name);
        family.set_help(help.to_owned());
        family.set_field_type(field_type);
        family.set_metric(metrics);
    })
}

fn of_peer(peer: &Map<String, Value>) -> Vec<LabelPair> {
    vec![label("peer", text(peer, "node")), label("peer_site", text(peer, "site"))]
}

fn label(name: &str, value: &str) -> LabelPair {
    with(|pair: &mut LabelPair| {
        pair.set_name(name.to_owned());
        pair.set_value(value.to_owned());
    })
}

fn text<'a>(map: &'a Map<String, Value>, key: &str) -> &'a str {
    map.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// A default value, filled.
fn with<T: Default>(fill: impl FnOnce(&mut T)) -> T {
    let mut value = T::default();
    fill(&mut value);
    value
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn map(text: &str) -> Map<String, Value> {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn figures_have_base_units_and_labels() {
        let told = Told {
            info: map(
                r#"{"node":"a","site":"oslo","cluster":"c","state":"alive","uptime_ms":1500,"last_member_event":null}"#,
            ),
            peers: vec![
                map(r#"{"node":"b","site":"li\"ma","state":"dead","rtt_us":null,"sent_bytes":7}"#),
                map(r#"{"node":"c","site":"pune","state":"alive","rtt_us":2500,"sent_bytes":8}"#),
            ],
            histograms: map(
                r#"{"command get":{"count":2,"sum_us":30,"p50_us":10,"p90_us":20,"p99_us":20,"p999_us":20,"max_us":20}}"#,
            ),
            stats: "# Clients\nconnected_clients:3\n".into(),
        };
        let shown = told.exposition();
        for line in [
            "# TYPE everett_uptime_seconds gauge",
            "everett_uptime_seconds 1.5",
            "everett_clients 3",
            r#"everett_state{state="alive"} 1"#,
            r#"everett_peer_up{peer="b",peer_site="li\"ma"} 0"#,
            r#"everett_peer_rtt_seconds{peer="c",peer_site="pune"} 0.0025"#,
            "# TYPE everett_peer_sent_bytes_total counter",
            r#"everett_peer_sent_bytes_total{peer="b",peer_site="li\"ma"} 7"#,
            r#"everett_command_latency_seconds{command="get",quantile="0.9"} 0.00002"#,
            r#"everett_command_latency_seconds_sum{command="get"} 0.00003"#,
            r#"everett_command_latency_seconds_count{command="get"} 2"#,
        ] {
            assert!(shown.lines().any(|shown| shown == line), "{line} is missing from\n{shown}");
        }
        assert!(!shown.contains(r#"peer_rtt_seconds{peer="b""#), "what is not known has no sample");
    }

    #[test]
    fn no_two_figures_share_a_name() {
        let names: Vec<_> = AGENT.iter().chain(PEERS).map(Figure::name).collect();
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
    }
}
