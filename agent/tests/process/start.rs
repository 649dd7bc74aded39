//! What stops an agent before it begins, and what `--check` says of it.

use std::fs;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use everett_certs::{Authority, CaOptions, Profile};

use crate::place::{Changes, Place, free_port, stop, words};

fn agent(place: &Place, changes: Changes<'_>, more: &[&str]) -> (i32, String, String) {
    words(&place.command("agent", changes).args(more).output().expect("the binary runs"))
}

fn check(place: &Place) -> (i32, String, String) {
    agent(place, &[], &["--check"])
}

#[test]
fn a_check_says_what_it_looked_at_and_leaves_nothing() {
    let place = Place::new();
    let (code, out, err) = check(&place);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    for wanted in ["everett.toml: ok\n", "oslo/edge-1", ", free\n", "state, will be made\n", "pid file"] {
        assert!(out.contains(wanted), "{wanted:?} is missing from\n{out}");
    }
    assert!(!place.path("state").exists() && !place.path("sock").exists() && !place.path("pid").exists());
}

#[test]
fn an_expired_certificate_is_a_warning() {
    let place = Place::new();
    let authority = Authority::create(&CaOptions::default()).unwrap();
    let profile = Profile::new("oslo", "edge-1").valid_for(Duration::ZERO);
    authority.issue(&profile).unwrap().save(&place.path("certs"), true).unwrap();
    let (code, out, err) = check(&place);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains(": ok") && err.starts_with("warning: the certificate has expired"), "{out}{err}");
}

#[test]
fn a_check_refuses_what_a_start_refuses_with_the_same_words_and_code() {
    let place = Place::new();
    fs::write(place.path("file"), "precious").unwrap();
    let long = "s".repeat(110);
    let cases: [(&str, &str, i32, &str); 7] = [
        ("\"certs\"", "\"nowhere\"", 3, "cannot be read"),
        ("path = \"sock\"", "path = \"sock\"\ngroup = \"no such group\"", 3, "no group \"no such group\""),
        ("\"sock\"", &format!("\"{long}\""), 3, "too long for a socket's path"),
        ("\"sock\"", "\"nowhere/sock\"", 3, "no such directory"),
        ("\"sock\"", "\"file\"", 3, "exists and is no socket"),
        ("\"sock\"", "\"certs\"", 3, "exists and is no socket"),
        ("\"state\"", "\"file/state\"", 4, "the store in "),
    ];
    for (from, to, expected, wanted) in cases {
        for more in [&["--check"][..], &[]] {
            let (code, out, err) = agent(&place, &[(from, to)], more);
            assert_eq!((code, out.as_str()), (expected, ""), "{to} {more:?}: {err}");
            assert!(err.contains(wanted) && err.contains("\n\nhint: "), "{to} {more:?}: {err}");
        }
    }
    assert_eq!(fs::read(place.path("file")).unwrap(), b"precious");
    assert!(!place.path("state").exists(), "a refused start makes no store");
}

#[test]
fn a_second_agent_is_refused_and_the_first_does_not_notice() {
    let place = Place::new();
    let first = place.running();
    let named = fs::read_to_string(place.path("pid")).unwrap();
    let port = place.port.to_string();
    let other = free_port().to_string();
    let (code, _, err) = agent(&place, &[], &[]);
    assert_eq!(code, 3, "{err}");
    assert!(err.contains(&format!("cannot listen on udp 127.0.0.1:{port}")) && err.contains("hint: "), "{err}");
    let (code, _, err) = agent(&place, &[(&port, &other)], &[]);
    assert_eq!(code, 3, "{err}");
    assert!(err.contains("another process answers on this socket"), "{err}");
    let elsewhere = [(port.as_str(), other.as_str()), ("\"sock\"", "\"sock2\""), ("\"pid\"", "\"pid2\"")];
    let (code, _, err) = agent(&place, &elsewhere, &[]);
    assert_eq!(code, 4, "{err}");
    assert!(err.contains("in use by another agent") && err.contains("hint: "), "{err}");
    assert_eq!(fs::read_to_string(place.path("pid")).unwrap(), named);
    assert!(!place.path("sock2").exists() && !place.path("pid2").exists());
    let (code, out, _) = check(&place);
    assert_eq!(code, 0);
    assert!(out.contains("in use now") && out.contains("an agent answers there now"), "{out}");
    UnixStream::connect(place.path("sock")).unwrap();
    stop(first);
    assert!(!place.path("pid").exists() && !place.path("sock").exists());
}

#[test]
fn a_killed_agents_socket_is_replaced() {
    let place = Place::new();
    drop(UnixListener::bind(place.path("sock")).unwrap());
    let (_, out, _) = check(&place);
    assert!(out.contains("left by an agent that was killed"), "{out}");
    let mut agent = place.running();
    agent.kill().unwrap();
    agent.wait().unwrap();
    stop(place.running());
}
