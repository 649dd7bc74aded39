//! What the manifests say: who depends on whom, and why.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;

use super::{Breach, Tree};

/// The crates of the workspace, and the workspace crates that each may depend on.
const EDGES: [(&str, &[&str]); 4] = [
    ("mesh-proto", &[]),
    ("certs", &[]),
    ("agent", &["everett-mesh-proto", "everett-certs"]),
    ("tests", &["everett-mesh-proto", "everett-certs", "everett"]),
];

/// All that the protocol machines may stand on.
const PROTO_MAY_USE: [&str; 9] =
    ["serde", "postcard", "bytes", "blake3", "archmage", "rand", "rand_pcg", "tracing", "thiserror"];

/// The one feature flag of the workspace.
const FEATURE: &str = "testing";

/// One manifest, table by table.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// The crate's folder; empty for the workspace's own.
    pub folder: String,
    /// The lines of each table, in order.
    tables: BTreeMap<String, Vec<String>>,
}

impl Manifest {
    /// Reads the workspace's manifest and those of its crates.
    pub fn read_all(root: &Path) -> io::Result<Vec<Self>> {
        let folders = std::iter::once("").chain(EDGES.iter().map(|(folder, _)| *folder));
        let read = |folder: &str| {
            let text = fs::read_to_string(root.join(folder).join("Cargo.toml"))?;
            Ok(Self::parse(folder, &text))
        };
        folders.map(read).collect()
    }

    /// The manifest in `folder` with this text.
    pub fn parse(folder: &str, text: &str) -> Self {
        let mut tables: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut table = String::new();
        for line in text.lines() {
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                name.clone_into(&mut table);
            } else {
                tables.entry(table.clone()).or_default().push(line.to_owned());
            }
        }
        Self { folder: folder.to_owned(), tables }
    }

    fn lines(&self, table: &str) -> &[String] {
        self.tables.get(table).map(Vec::as_slice).unwrap_or_default()
    }

    fn keys(&self, table: &str) -> BTreeSet<&str> {
        self.lines(table).iter().filter_map(|line| key(line)).collect()
    }

    fn path(&self) -> String {
        if self.folder.is_empty() { "Cargo.toml".into() } else { format!("{}/Cargo.toml", self.folder) }
    }

    fn breach(&self, what: String) -> Breach {
        Breach::new(&self.path(), 0, what)
    }
}

/// The crates depend on each other in one direction, and the machines on next to nothing.
pub fn edges_between_crates(manifests: &[Manifest]) -> Vec<Breach> {
    let ours = EDGES.iter().flat_map(|(_, may)| may.iter().copied()).collect::<BTreeSet<_>>();
    let mut breaches = Vec::new();
    for manifest in manifests {
        let Some((_, may)) = EDGES.iter().find(|(folder, _)| *folder == manifest.folder) else { continue };
        for name in manifest.keys("dependencies") {
            let edge = !ours.contains(name) || may.contains(&name);
            let pure = manifest.folder != "mesh-proto" || PROTO_MAY_USE.contains(&name);
            if !edge || !pure {
                breaches.push(manifest.breach(format!("may not depend on {name}")));
            }
        }
    }
    breaches
}

/// Every third-party dependency stands below the reason for it.
pub fn dependencies_have_reasons(workspace: &Manifest) -> Vec<Breach> {
    let mut breaches = Vec::new();
    let mut reasoned = false;
    for line in workspace.lines("workspace.dependencies") {
        match key(line) {
            None => reasoned = line.starts_with('#'),
            Some(name) if !reasoned && !name.starts_with("everett") => {
                breaches.push(workspace.breach(format!("{name} stands below no reason")));
            }
            Some(_) => {}
        }
    }
    breaches
}

/// Every dependency is used by the crate that names it.
pub fn dependencies_are_used(manifests: &[Manifest], tree: &Tree) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for manifest in manifests.iter().filter(|manifest| !manifest.folder.is_empty()) {
        let inside = format!("{}/", manifest.folder);
        let code = tree.sources.iter().filter(|s| s.path.starts_with(&inside)).flat_map(|s| &s.code);
        let code = code.map(String::as_str).collect::<Vec<_>>().join("\n");
        for name in manifest.keys("dependencies") {
            let library = if name == "everett" { "everett_agent".into() } else { name.replace('-', "_") };
            let used = [format!("{library}::"), format!("use {library};"), format!("{library}!")];
            if !used.iter().any(|used| code.contains(used)) {
                breaches.push(manifest.breach(format!("depends on {name} and does not use it")));
            }
        }
    }
    breaches
}

/// There is one feature flag, for tests.
pub fn features_are_few(manifests: &[Manifest]) -> Vec<Breach> {
    let flags = manifests.iter().flat_map(|manifest| {
        let flags = manifest.keys("features").into_iter().filter(|flag| *flag != FEATURE);
        flags.map(|flag| manifest.breach(format!("has the feature {flag}"))).collect::<Vec<_>>()
    });
    flags.collect()
}

fn key(line: &str) -> Option<&str> {
    if line.trim_start().starts_with('#') {
        return None;
    }
    let (key, _) = line.split_once('=')?;
    Some(key.trim().trim_end_matches(".workspace"))
}
