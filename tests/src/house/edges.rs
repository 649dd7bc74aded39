//! Which room may know which crate.

use super::{Breach, Source, Tree};

/// A crate that only some rooms may name.
struct Edge {
    name: &'static str,
    rooms: &'static [&'static str],
}

/// Who knows what; everything else goes through these rooms.
const EDGES: [Edge; 9] = [
    Edge { name: "redb", rooms: &["agent/src/store"] },
    Edge { name: "quinn", rooms: &["agent/src/net"] },
    Edge { name: "rustls", rooms: &["certs/src", "agent/src/net/tls"] },
    Edge { name: "postcard", rooms: &["mesh-proto/src/wire"] },
    Edge { name: "mio", rooms: &["agent/src/ledger", "agent/src/api", "agent/src/wiring"] },
    Edge { name: "toml", rooms: &["agent/src/config"] },
    Edge { name: "hyper", rooms: &["agent/src/exporter"] },
    Edge { name: "prometheus", rooms: &["agent/src/exporter"] },
    Edge { name: "sd_notify", rooms: &["agent/src/systemd"] },
];

/// The rooms at the two ends of the socket.
const RESP_ROOMS: [&str; 2] = ["agent/src/api/resp", "agent/src/client"];

/// Only the store names redb, only the net names quinn, and so on.
pub fn crates_are_known_in_their_rooms(tree: &Tree) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for source in ours(tree) {
        for edge in EDGES.iter().filter(|edge| !edge.rooms.iter().any(|room| source.is_in(room))) {
            let named = source.numbered().filter(|(_, line)| names_crate(line, edge.name));
            breaches.extend(named.map(|(line, _)| {
                let what = format!("names {}, which only {} may", edge.name, edge.rooms.join(" and "));
                Breach::new(&source.path, line, what)
            }));
        }
    }
    breaches
}

/// Only the two ends of the socket know RESP bytes.
pub fn resp_is_known_at_the_socket(tree: &Tree) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for source in ours(tree).filter(|source| !RESP_ROOMS.iter().any(|room| source.is_in(room))) {
        let mut in_tests = false;
        for (index, line) in source.text.lines().enumerate() {
            in_tests |= line.starts_with("#[cfg(test)]");
            if !in_tests && !line.trim_start().starts_with("//") && line.contains(r"\r\n") {
                let what = format!("knows RESP bytes, which only {} may", RESP_ROOMS.join(" and "));
                breaches.push(Breach::new(&source.path, index + 1, what));
            }
        }
    }
    breaches
}

fn ours(tree: &Tree) -> impl Iterator<Item = &Source> {
    tree.sources.iter().filter(|source| !source.is_tests())
}

/// Whether `line` names the crate: `name::…`, `use name…` or `extern crate name`.
fn names_crate(line: &str, name: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    line.match_indices(name).any(|(at, _)| {
        let (before, after) = (&line[..at], &line[at + name.len()..]);
        let whole = !before.bytes().last().is_some_and(word) && !after.bytes().next().is_some_and(word);
        let path = after.starts_with("::") && !before.ends_with("::");
        let used = before.trim_end().ends_with("use") || before.trim_end().ends_with("extern crate");
        whole && (path || used)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_is_named_by_a_path_or_a_use() {
        assert!(names_crate("use redb;", "redb"));
        assert!(names_crate("    let t: redb::Table = x;", "redb"));
        assert!(names_crate("pub use redb::Table;", "redb"));
        assert!(!names_crate("let redb = 1;", "redb"));
        assert!(!names_crate("use my_redb::Table;", "redb"));
        assert!(!names_crate("use crate::toml::x;", "toml"));
    }
}
