//! `everett status`: what an agent knows of itself, and how far each peer is from it.

use serde_json::{Map, Value};

use super::failure::Failure;
use super::{SocketArgs, ask, say};
use crate::client::Client;
use crate::report;

/// What is shown of a peer: its name in `MESH.PEERS`, and the column's title.
const COLUMNS: [(&str, &str); 10] = [
    ("node", "node"),
    ("site", "site"),
    ("state", "state"),
    ("root_equal", "equal"),
    ("last_equal_ms", "last equal"),
    ("lag_ops", "lag ops"),
    ("lag_ms", "lag"),
    ("rtt_us", "rtt"),
    ("offset_us", "offset"),
    ("repaired_rows", "repaired"),
];

pub(super) fn run(args: &SocketArgs) -> Result<(), Failure> {
    let mut client = Client::connect(&args.socket)?;
    let info = client.object("MESH.INFO")?;
    let peers = client.objects("MESH.PEERS")?;
    Ok(say::data(&if args.json { json(info, peers) } else { text(&info, &peers) })?)
}

fn json(mut info: Map<String, Value>, peers: Vec<Map<String, Value>>) -> String {
    info.insert("peers".into(), Value::Array(peers.into_iter().map(Value::Object).collect()));
    format!("{:#}", Value::Object(info))
}

fn text(info: &Map<String, Value>, peers: &[Map<String, Value>]) -> String {
    let width = info.keys().map(|key| ask::title(key).len()).max().unwrap_or_default();
    let line = |(key, value): (&String, &Value)| format!("{:width$}  {}", ask::title(key), ask::shown(key, value));
    let mut lines: Vec<String> = info.iter().map(line).collect();
    if peers.is_empty() {
        lines.push("\nno peers".into());
    } else {
        lines.push(String::new());
        lines.push(table(peers));
    }
    lines.join("\n")
}

fn table(peers: &[Map<String, Value>]) -> String {
    let mut table = report::plain(&COLUMNS.map(|(_, title)| title));
    for peer in peers {
        table.add_row(COLUMNS.map(|(key, _)| ask::shown(key, peer.get(key).unwrap_or(&Value::Null))));
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
    fn a_peer_is_shown_with_its_distance() {
        let info = map(r#"{"node":"a","site":"oslo","uptime_ms":1340}"#);
        let peer = map(
            r#"{"node":"b","site":"lima","state":"alive","root_equal":1,"lag_ops":0,"rtt_us":1500,"repaired_rows":7}"#,
        );
        let shown = text(&info, &[peer]);
        assert!(shown.starts_with("node    a\nsite    oslo\nuptime  1.34 s\n\n"), "{shown}");
        let row: Vec<_> = shown.lines().last().unwrap().split_whitespace().collect();
        assert_eq!(row, ["b", "lima", "alive", "yes", "never", "0", "-", "1.50", "ms", "-", "7"]);
    }

    #[test]
    fn an_agent_alone_says_so() {
        assert!(text(&map(r#"{"node":"a"}"#), &[]).ends_with("\nno peers"));
    }

    #[test]
    fn json_holds_the_peers() {
        let whole: Value = serde_json::from_str(&json(map(r#"{"node":"a"}"#), vec![map(r#"{"node":"b"}"#)])).unwrap();
        assert_eq!(whole["peers"][0]["node"], "b");
    }
}
