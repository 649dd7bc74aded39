//! The binary from outside: what it prints where, and the code it ends with.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn everett(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_everett"));
    command.args(arguments).env_remove("EVERETT_LOG").output().expect("the binary runs")
}

fn words(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().expect("it ends by itself"), text(&output.stdout), text(&output.stderr))
}

fn config(directory: &Path, text: &str) -> String {
    let path = directory.join("everett.toml");
    fs::write(&path, text).expect("a temporary directory can be written to");
    path.to_str().expect("temporary paths are text").to_owned()
}

#[test]
fn an_unknown_verb_is_a_usage_error() {
    let (code, out, err) = words(&everett(&["fly"]));
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.contains("unrecognized subcommand"), "{err}");
}

#[test]
fn a_bad_configuration_ends_with_its_own_code_and_says_where() {
    let directory = tempfile::tempdir().unwrap();
    let path = config(directory.path(), "certificates = \"certs\"\nseeds = []\nsseeds = []\n");
    let (code, out, err) = words(&everett(&["agent", "--config", &path]));
    assert_eq!((code, out.as_str()), (3, ""));
    assert!(err.starts_with(&format!("error: {path}:3: sseeds: unknown field `sseeds`")), "{err}");
    assert!(err.contains("\n\nhint: "), "{err}");
}

#[test]
fn a_bad_log_filter_is_a_bad_configuration() {
    let directory = tempfile::tempdir().unwrap();
    let path = config(directory.path(), "certificates = \"c\"\nseeds = []\n[telemetry]\nfilter = \"a=loudly\"\n");
    let (code, _, err) = words(&everett(&["agent", "--config", &path, "--check"]));
    assert_eq!(code, 3);
    assert!(err.contains("`a=loudly` is not a log filter"), "{err}");
}

#[test]
fn absent_certificates_end_the_agent_with_the_code_for_them() {
    let directory = tempfile::tempdir().unwrap();
    let path = config(directory.path(), "certificates = \"certs\"\nseeds = []\nlisten = \"127.0.0.1:0\"\n");
    let (code, _, err) = words(&everett(&["agent", "--config", &path]));
    assert_eq!(code, 3, "{err}");
    assert!(err.contains("hint: "), "{err}");
}

#[test]
fn an_absent_agent_is_unreachable() {
    for verb in ["status", "members", "report"] {
        let (code, out, err) = words(&everett(&[verb, "--socket", "/nowhere/s", "--json"]));
        assert_eq!((code, out.as_str()), (5, ""), "{verb}");
        assert!(err.starts_with("error: no agent answers at /nowhere/s"), "{verb}: {err}");
    }
}

#[test]
fn a_demo_in_a_file_says_which_and_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let path = config(directory.path(), "");
    let (code, out, err) = words(&everett(&["demo", "--once", "--dir", &path]));
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.starts_with(&format!("error: cannot lay out {path}\n  caused by: ")), "{err}");
    assert!(err.contains("\n\nhint: `--dir` names a directory"), "{err}");
}
