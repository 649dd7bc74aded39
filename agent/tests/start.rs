//! What stops an agent before it begins, and what `--check` says of it; with real files, ports, sockets and processes.

use std::fs;
use std::net::UdpSocket;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use everett_certs::{Authority, CaOptions, Profile};
use rustix::process::{Pid, Signal, kill_process};

/// One agent's files.
struct Place {
    directory: tempfile::TempDir,
    port: u16,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("there is room for files");
        let authority = Authority::create(&CaOptions::default()).expect("an authority can be made");
        let bundle = authority.issue(&Profile::new("oslo", "edge-1")).expect("a bundle can be issued");
        bundle.save(&directory.path().join("certs"), false).expect("the bundle can be written");
        Self { directory, port: free_port() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A configuration with these values in the place of the usual ones.
    fn config(&self, changes: &[(&str, &str)]) -> PathBuf {
        let mut text = format!(
            "certificates = \"certs\"\nseeds = []\nlisten = \"127.0.0.1:{}\"\nstate = \"state\"\npid_file = \"pid\"\n\
             [socket]\npath = \"sock\"\n[store]\nmemtable_bytes = \"16MiB\"\ncache_bytes = \"16MiB\"\n",
            self.port
        );
        for (from, to) in changes {
            assert!(text.contains(from), "the configuration has no {from}");
            text = text.replace(from, to);
        }
        let path = self.path("everett.toml");
        fs::write(&path, text).expect("the configuration can be written");
        path
    }

    fn agent(&self, changes: &[(&str, &str)], more: &[&str]) -> (i32, String, String) {
        words(&command(&self.config(changes)).args(more).output().expect("the binary runs"))
    }

    fn check(&self, changes: &[(&str, &str)]) -> (i32, String, String) {
        self.agent(changes, &["--check"])
    }

    /// An agent that answers.
    fn running(&self) -> Child {
        let mut child =
            command(&self.config(&[])).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary runs");
        let deadline = Instant::now() + Duration::from_mins(1);
        while UnixStream::connect(self.path("sock")).is_err() {
            assert!(
                child.try_wait().expect("a child can be waited for").is_none() && Instant::now() < deadline,
                "the agent does not answer"
            );
            std::thread::yield_now();
        }
        child
    }
}

fn command(config: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_everett"));
    command.args(["agent", "--config"]).arg(config).env_remove("EVERETT_LOG").env_remove("NOTIFY_SOCKET");
    command
}

fn words(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().expect("it ends by itself"), text(&output.stdout), text(&output.stderr))
}

fn free_port() -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
    socket.local_addr().expect("a bound socket has an address").port()
}

#[test]
fn a_check_says_what_it_looked_at_and_leaves_nothing() {
    let place = Place::new();
    let (code, out, err) = place.check(&[]);
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
    let (code, out, err) = place.check(&[]);
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
            let (code, out, err) = place.agent(&[(from, to)], more);
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
    let mut first = place.running();
    let named = fs::read_to_string(place.path("pid")).unwrap();
    let port = place.port.to_string();
    let other = free_port().to_string();
    let (code, _, err) = place.agent(&[], &[]);
    assert_eq!(code, 3, "{err}");
    assert!(err.contains(&format!("cannot listen on udp 127.0.0.1:{port}")) && err.contains("hint: "), "{err}");
    let (code, _, err) = place.agent(&[(&port, &other)], &[]);
    assert_eq!(code, 3, "{err}");
    assert!(err.contains("another process answers on this socket"), "{err}");
    let elsewhere = [(port.as_str(), other.as_str()), ("\"sock\"", "\"sock2\""), ("\"pid\"", "\"pid2\"")];
    let (code, _, err) = place.agent(&elsewhere, &[]);
    assert_eq!(code, 4, "{err}");
    assert!(err.contains("in use by another agent") && err.contains("hint: "), "{err}");
    assert_eq!(fs::read_to_string(place.path("pid")).unwrap(), named);
    assert!(!place.path("sock2").exists() && !place.path("pid2").exists());
    let (code, out, _) = place.check(&[]);
    assert_eq!(code, 0);
    assert!(out.contains("in use now") && out.contains("an agent answers there now"), "{out}");
    UnixStream::connect(place.path("sock")).unwrap();
    kill_process(Pid::from_child(&first), Signal::TERM).unwrap();
    assert!(first.wait().unwrap().success());
    assert!(!place.path("pid").exists() && !place.path("sock").exists());
}

#[test]
fn a_killed_agents_socket_is_replaced() {
    let place = Place::new();
    drop(UnixListener::bind(place.path("sock")).unwrap());
    let (_, out, _) = place.check(&[]);
    assert!(out.contains("left by an agent that was killed"), "{out}");
    let mut agent = place.running();
    agent.kill().unwrap();
    agent.wait().unwrap();
    let mut next = place.running();
    kill_process(Pid::from_child(&next), Signal::TERM).unwrap();
    assert!(next.wait().unwrap().success());
}
