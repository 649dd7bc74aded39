//! `everett check` on the store of a real agent: sound, running, and with bytes flipped on the disk.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use everett_certs::{Authority, CaOptions, Profile};
use redis::{Client, Connection};
use rustix::process::{Pid, Signal, kill_process};

const KEYS: usize = 300;

/// One agent's files.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("there is room for files");
        let authority = Authority::create(&CaOptions::default()).expect("an authority can be made");
        let bundle = authority.issue(&Profile::new("oslo", "edge-1")).expect("a bundle can be issued");
        bundle.save(&directory.path().join("certs"), false).expect("the bundle can be written");
        let text = "certificates = \"certs\"\nseeds = []\nlisten = \"127.0.0.1:0\"\nstate = \"state\"\n\
                    [socket]\npath = \"sock\"\n[store]\nmemtable_bytes = \"16MiB\"\ncache_bytes = \"16MiB\"\n\
                    log_bytes = \"64MiB\"\nsegment_bytes = \"16MiB\"\n";
        fs::write(directory.path().join("everett.toml"), text).expect("the configuration can be written");
        Self(directory)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, verb: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_everett"));
        command.arg(verb).arg("--config").arg(self.path("everett.toml"));
        command.env_remove("EVERETT_LOG").env_remove("NOTIFY_SOCKET");
        command
    }

    /// An agent that answers.
    fn running(&self) -> (Child, Connection) {
        let child = self.command("agent").stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let client = Client::open(format!("unix://{}", self.path("sock").display())).expect("a path is an address");
        let deadline = Instant::now() + Duration::from_mins(1);
        loop {
            if let Ok(connection) = client.get_connection() {
                return (child.expect("the binary runs"), connection);
            }
            assert!(Instant::now() < deadline, "the agent does not answer");
            std::thread::yield_now();
        }
    }

    /// An agent's store with some keys in it, after the agent has ended.
    fn written() -> Self {
        let place = Self::new();
        let (child, mut connection) = place.running();
        let mut writes = redis::pipe();
        for number in 0..KEYS {
            writes.set(format!("key:{number}"), format!("<value of {number}>")).ignore();
        }
        writes.query::<()>(&mut connection).expect("the agent takes writes");
        stop(child);
        place
    }

    fn check(&self) -> (Option<i32>, String, String) {
        let output = self.command("check").output().expect("the binary runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    }
}

fn stop(mut child: Child) {
    kill_process(Pid::from_child(&child), Signal::TERM).expect("the agent is there");
    assert!(child.wait().expect("a child can be waited for").success());
}

/// Flips a bit of every occurrence of `bytes` in the file.
fn flip(path: &Path, bytes: &[u8]) {
    let mut content = fs::read(path).expect("the file can be read");
    let places: Vec<_> = (0..=content.len() - bytes.len()).filter(|at| content[*at..].starts_with(bytes)).collect();
    assert!(!places.is_empty(), "the file does not hold {}", bytes.escape_ascii());
    for at in places {
        content[at + bytes.len() / 2] ^= 1;
    }
    fs::write(path, content).expect("the file can be written");
}

#[test]
fn a_sound_store_is_called_ok_and_a_running_one_is_refused() {
    let place = Place::written();
    let (code, out, err) = place.check();
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    assert!(out.contains(&format!("state: ok\nrows  {KEYS}\nlog   ")), "{out}");
    let (child, _connection) = place.running();
    let (code, _, err) = place.check();
    assert_eq!(code, Some(4));
    assert!(err.contains("in use by another agent") && err.contains("\n\nhint: "), "{err}");
    stop(child);
    assert_eq!(place.check().0, Some(0));
}

#[test]
fn a_store_that_is_not_there_is_not_made() {
    let place = Place::new();
    let (code, _, err) = place.check();
    assert_eq!(code, Some(4));
    assert!(err.contains("there is no rows.redb"), "{err}");
    assert!(!place.path("state").exists());
}

#[test]
fn a_flipped_bit_of_a_value_is_found_and_its_key_named() {
    let place = Place::written();
    flip(&place.path("state/rows.redb"), b"<value of 123>");
    let (code, out, err) = place.check();
    assert_eq!(code, Some(4), "{out}{err}");
    assert!(out.lines().any(|line| line == "  0 key:123"), "{out}");
    assert!(err.contains("is damaged: one fault found") && err.contains("\n\nhint: restore a backup"), "{err}");
}

#[test]
fn a_flipped_bit_of_a_key_is_found_and_named_by_what_it_became() {
    let place = Place::written();
    flip(&place.path("state/rows.redb"), b"key:200\0");
    let (code, out, _) = place.check();
    assert_eq!(code, Some(4), "{out}");
    assert!(out.lines().any(|line| line == "row 0 key:300: damaged"), "{out}");
}

#[test]
fn a_flipped_bit_of_a_record_before_others_is_found() {
    let place = Place::written();
    let log = fs::read_dir(place.path("state/log")).expect("there is a log");
    let segments = log.map(|entry| entry.expect("the log can be listed").path());
    let holds = |path: &PathBuf| fs::read(path).is_ok_and(|bytes| bytes.windows(13).any(|w| w == b"<value of 12>"));
    let segment = segments.into_iter().find(holds).expect("a segment holds the write");
    // Something later, so that this is not a torn end.
    let (child, mut connection) = place.running();
    redis::cmd("SET").arg("later").arg("1").query::<()>(&mut connection).expect("the agent takes writes");
    redis::cmd("SET").arg("later").arg("2").query::<()>(&mut connection).expect("the agent takes writes");
    stop(child);
    flip(&segment, b"<value of 12>");
    let (code, _, err) = place.check();
    assert_eq!(code, Some(4), "{err}");
    assert!(err.contains("log: commit ") && err.contains("is damaged"), "{err}");
}

#[test]
fn whatever_byte_is_damaged_the_answer_is_an_exit_code_and_not_a_panic() {
    let place = Place::written();
    let path = place.path("state/rows.redb");
    let sound = fs::read(&path).expect("the file can be read");
    let mut found = 0;
    for step in 0..40 {
        // A walk through the file that meets headers, branches, leaves and free pages.
        let at = step * 7_919 * 31 % sound.len();
        let mut damaged = sound.clone();
        damaged[at..].iter_mut().take(64).for_each(|byte| *byte ^= 0xa5);
        fs::write(&path, damaged).expect("the file can be written");
        let (code, out, err) = place.check();
        assert!(matches!(code, Some(0 | 4)), "at {at}: {code:?}\n{out}{err}");
        assert!(!err.contains("panicked"), "at {at}: {err}");
        found += usize::from(code == Some(4));
    }
    assert!(found > 0, "some of it was in use");
}
