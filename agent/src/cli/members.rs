//! `everett members`: who is in the mesh, as one agent sees it, itself included.

mod watch;

use clap::Args;
use serde_json::{Map, Value};

use super::failure::Failure;
use super::{SocketArgs, ask, say};
use crate::client::Client;
use crate::report;

/// What is shown of a member: its name in `MESH.PEERS`, and in our own output.
const FIELDS: [(&str, &str); 5] =
    [("node", "name"), ("site", "site"), ("state", "state"), ("addr", "addr"), ("rtt_us", "rtt_us")];

/// What `everett members` is told.
#[derive(Debug, Args)]
pub(super) struct MembersArgs {
    #[command(flatten)]
    agent: SocketArgs,
    /// go on, with a line whenever a member comes, changes its state, or goes
    #[arg(long)]
    watch: bool,
}

pub(super) fn run(args: &MembersArgs) -> Result<(), Failure> {
    if args.watch {
        return watch::run(&args.agent);
    }
    let args = &args.agent;
    let (members, peers) = asked(&mut Client::connect(&args.socket)?)?;
    Ok(say::data(&if args.json { format!("{:#}", Value::Array(members)) } else { table(&members, &peers) })?)
}

/// Who is in the mesh now, in order of names.
fn listed(client: &mut Client) -> Result<Vec<Value>, Failure> {
    Ok(asked(client)?.0)
}

/// What `MESH.PEERS` says, a map a peer.
type Peers = Vec<Map<String, Value>>;

/// The same, with all that is known of each peer.
fn asked(client: &mut Client) -> Result<(Vec<Value>, Peers), Failure> {
    let own = client.object("MESH.INFO")?;
    let peers = client.objects("MESH.PEERS")?;
    Ok((members(&own, &peers), peers))
}

fn members(own: &Map<String, Value>, peers: &[Map<String, Value>]) -> Vec<Value> {
    let own_name = own.get("node");
    let listed = peers.iter().any(|peer| peer.get("node") == own_name);
    let own = (!listed).then(|| {
        let mut own = own.clone();
        own.entry("state").or_insert_with(|| "alive".into());
        own.insert("rtt_us".into(), 0.into());
        own
    });
    let mut members: Vec<_> = own.iter().chain(peers).map(member).collect();
    members.sort_by(|a, b| name(a).cmp(name(b)));
    members
}

fn member(fields: &Map<String, Value>) -> Value {
    let kept = FIELDS.map(|(from, to)| (to.to_owned(), fields.get(from).cloned().unwrap_or(Value::Null)));
    Value::Object(kept.into_iter().collect())
}

fn name(member: &Value) -> &str {
    member["name"].as_str().unwrap_or_default()
}

fn table(members: &[Value], peers: &[Map<String, Value>]) -> String {
    let mut table = report::plain(&["name", "site", "state", "addr", "rtt", "last equal"]);
    for member in members {
        let fields = FIELDS.map(|(_, key)| ask::shown(key, &member[key]));
        let peer = peers.iter().find(|peer| peer.get("node") == Some(&member["name"]));
        let equal = peer.map(|peer| ask::shown("last_equal_ms", peer.get("last_equal_ms").unwrap_or(&Value::Null)));
        table.add_row(fields.into_iter().chain([equal.unwrap_or_else(|| "-".into())]));
    }
    report::align_right(&mut table, 4);
    report::trimmed(&table)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(text: &str) -> Map<String, Value> {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn the_agent_itself_is_listed_once_and_in_order() {
        let own = map(r#"{"node":"b","site":"oslo","addr":"127.0.0.1:1","uptime_ms":5}"#);
        let peers = [map(r#"{"node":"c","site":"lima","state":"suspect"}"#), map(r#"{"node":"a"}"#)];
        let listed = members(&own, &peers);
        assert_eq!(listed.iter().map(name).collect::<Vec<_>>(), ["a", "b", "c"]);
        assert_eq!(
            listed[1],
            Value::Object(map(r#"{"name":"b","site":"oslo","state":"alive","addr":"127.0.0.1:1","rtt_us":0}"#))
        );
        assert_eq!(members(&own, std::slice::from_ref(&own)).len(), 1);
    }

    #[test]
    fn the_table_names_every_member() {
        let peers = [map(r#"{"node":"a","rtt_us":70}"#)];
        let shown = table(&members(&map(r#"{"node":"b"}"#), &peers), &peers);
        let rows: Vec<Vec<_>> = shown.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows.len(), 3);
        assert_eq!(rows[1], ["a", "-", "-", "-", "70", "µs", "never"]);
        assert_eq!(rows[2].last(), Some(&"-"), "an agent is not compared with itself");
    }
}
