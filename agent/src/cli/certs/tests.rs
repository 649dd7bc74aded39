use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use clap::Parser;
use clap::error::ErrorKind;
use tempfile::TempDir;

use super::*;
use crate::exit::Exit;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    certs: CertsArgs,
}

/// What a command line says, or the error it ends with.
fn call(words: &[&str]) -> Result<String, Error> {
    let line = Line::try_parse_from([&["everett"], words].concat()).unwrap();
    line.certs.answer().map(|said| said.warnings.concat() + &said.data + "\n")
}

/// How an error is told.
fn told(error: Error) -> String {
    let failure = Failure::from(error);
    assert_eq!(failure.exit(), Exit::Config);
    failure.words()
}

struct Place {
    root: TempDir,
}

impl Place {
    fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap() }
    }

    fn at(&self, name: &str) -> String {
        self.root.path().join(name).to_str().unwrap().to_owned()
    }

    fn init(&self) {
        call(&["init", "--dir", &self.at("ca")]).unwrap();
    }

    fn issue(&self, node: &str, site: &str, more: &[&str]) -> Result<String, Error> {
        let (ca, out) = (self.at("ca"), self.at(node));
        call(&[&["issue", node, "--site", site, "--dir", &ca, "--out", &out], more].concat())
    }
}

#[test]
fn init_issue_show_and_verify_work_on_each_others_files() {
    let place = Place::new();
    place.init();
    let issued = place.issue("edge-1", "fra", &[]).unwrap();
    assert!(issued.contains("/fra/edge-1\n"), "{issued}");
    let shown = call(&["show", &place.at("edge-1")]).unwrap();
    assert!(shown.contains("names: everett://") && shown.contains("names: authority of cluster"), "{shown}");
    let verified = call(&["verify", "--dir", &place.at("edge-1")]).unwrap();
    assert!(verified.starts_with("ok: ") && verified.contains("/fra/edge-1\n"), "{verified}");
    let verified = call(&["verify", &place.at("ca")]).unwrap();
    assert!(verified.contains("authority of cluster"), "{verified}");
}

#[test]
fn json_names_cluster_site_and_node_apart() {
    let place = Place::new();
    place.init();
    place.issue("edge-1", "fra", &[]).unwrap();
    let shown: Value = serde_json::from_str(&call(&["show", "--json", &place.at("edge-1")]).unwrap()).unwrap();
    assert_eq!((&shown[0]["site"], &shown[0]["node"]), (&json!("fra"), &json!("edge-1")));
    assert_eq!(shown[1]["kind"], "authority");
    assert_eq!(shown[0]["cluster"], shown[1]["cluster"]);
    assert_eq!(shown[0]["sha256"].as_str().unwrap().len(), 64);
    let report: Value = serde_json::from_str(&call(&["verify", "--json", &place.at("edge-1")]).unwrap()).unwrap();
    assert_eq!((&report["node"], &report["warnings"]), (&json!("edge-1"), &json!([])));
}

#[test]
fn nothing_is_overwritten_without_force_and_a_refused_issue_is_not_registered() {
    let place = Place::new();
    place.init();
    let register = || fs::read(place.root.path().join("ca/issued")).unwrap();
    assert!(matches!(call(&["init", "--dir", &place.at("ca")]), Err(Error::Exists { .. })));
    place.issue("edge-1", "fra", &[]).unwrap();
    let (before, key) = (register(), fs::read(place.at("edge-1/node.key")).unwrap());
    assert!(matches!(place.issue("edge-1", "fra", &[]), Err(Error::Exists { .. })));
    assert_eq!((register(), fs::read(place.at("edge-1/node.key")).unwrap()), (before, key.clone()));
    place.issue("edge-1", "fra", &["--force"]).unwrap();
    assert_ne!(fs::read(place.at("edge-1/node.key")).unwrap(), key);
}

#[test]
fn a_name_in_use_at_another_site_is_refused_without_force() {
    let place = Place::new();
    place.init();
    place.issue("edge-1", "fra", &[]).unwrap();
    fs::remove_dir_all(place.at("edge-1")).unwrap();
    let error = place.issue("edge-1", "ams", &[]).unwrap_err();
    let told = told(error);
    assert!(told.contains("fra already\n\nhint: "), "{told}");
    place.issue("edge-1", "ams", &["--force"]).unwrap();
}

#[test]
fn a_successor_issues_bundles_that_trust_both_authorities() {
    let place = Place::new();
    place.init();
    place.issue("edge-1", "fra", &[]).unwrap();
    let (old, new, out) = (place.at("ca"), place.at("ca2"), place.at("edge-2"));
    call(&["init", "--dir", &new, "--succeeds", &old]).unwrap();
    call(&["issue", "edge-2", "--site", "fra", "--dir", &new, "--out", &out]).unwrap();
    let shown = call(&["show", &out]).unwrap();
    assert_eq!(shown.matches("names: authority of cluster").count(), 2, "{shown}");
    let taken = call(&["issue", "edge-1", "--site", "ams", "--dir", &new, "--out", &place.at("x")]);
    assert!(matches!(taken, Err(Error::NameTaken { .. })));
}

#[test]
fn an_error_names_the_file_the_cause_and_the_way_out() {
    let place = Place::new();
    let missing = told(call(&["verify", &place.at("nowhere")]).unwrap_err());
    assert!(
        missing.starts_with("error: ")
            && missing.contains("nowhere/place.key: cannot be read\n  caused by: No such file"),
        "{missing}"
    );
    assert!(missing.contains("\n\nhint: "), "{missing}");
    place.init();
    place.issue("edge-1", "fra", &[]).unwrap();
    fs::set_permissions(place.at("edge-1/node.key"), fs::Permissions::from_mode(0o644)).unwrap();
    let exposed = told(call(&["verify", &place.at("edge-1")]).unwrap_err());
    assert!(exposed.contains("0644") && exposed.contains("hint: chmod 600"), "{exposed}");
}

#[test]
fn calls_that_make_no_sense_are_usage_errors() {
    let kind = |words: &[&str]| Line::try_parse_from([&["everett"], words].concat()).unwrap_err().kind();
    assert_eq!(kind(&["issue", "edge-1"]), ErrorKind::MissingRequiredArgument);
    assert_eq!(kind(&["issue", "Edge", "--site", "fra"]), ErrorKind::ValueValidation);
    assert_eq!(kind(&["issue", "edge", "--site", "f/a"]), ErrorKind::ValueValidation);
    assert_eq!(kind(&["issue", "edge", "--site", "fra", "--days", "0"]), ErrorKind::ValueValidation);
    assert_eq!(kind(&["init", "--days", "40000"]), ErrorKind::ValueValidation);
    assert_eq!(kind(&["show", "a", "--dir", "b"]), ErrorKind::ArgumentConflict);
}

#[test]
fn a_date_before_the_epoch_is_told_without_a_panic() {
    assert_eq!(date(SystemTime::UNIX_EPOCH - Duration::from_secs(1)), "before 1970");
    assert_eq!(date(SystemTime::UNIX_EPOCH), "1970-01-01T00:00:00Z");
}
