//! `everett check` on the store of a real agent: sound, running, and with bytes flipped on the disk.

use std::fs;
use std::path::{Path, PathBuf};

use redis::{Client, Connection};

use crate::place::{Place, stop, words};

const KEYS: usize = 300;

fn client(place: &Place) -> Connection {
    let client = Client::open(format!("unix://{}", place.path("sock").display())).expect("a path is an address");
    client.get_connection().expect("the agent answers")
}

/// An agent's store with some keys in it, after the agent has ended.
fn written() -> Place {
    let place = Place::new();
    let agent = place.running();
    let mut writes = redis::pipe();
    for number in 0..KEYS {
        writes.set(format!("key:{number}"), format!("<value of {number}>")).ignore();
    }
    writes.query::<()>(&mut client(&place)).expect("the agent takes writes");
    stop(agent);
    place
}

fn check(place: &Place) -> (i32, String, String) {
    words(&place.command("check", &[]).output().expect("the binary runs"))
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
    let place = written();
    let (code, out, err) = check(&place);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(out.contains(&format!("state: ok\nrows  {KEYS}\nlog   ")), "{out}");
    let agent = place.running();
    let (code, _, err) = check(&place);
    assert_eq!(code, 4);
    assert!(err.contains("in use by another agent") && err.contains("\n\nhint: "), "{err}");
    stop(agent);
    assert_eq!(check(&place).0, 0);
}

#[test]
fn a_store_that_is_not_there_is_not_made() {
    let place = Place::new();
    let (code, _, err) = check(&place);
    assert_eq!(code, 4);
    assert!(err.contains("there is no rows.redb"), "{err}");
    assert!(!place.path("state").exists());
}

#[test]
fn a_flipped_bit_of_a_value_is_found_and_its_key_named() {
    let place = written();
    flip(&place.path("state/rows.redb"), b"<value of 123>");
    let (code, out, err) = check(&place);
    assert_eq!(code, 4, "{out}{err}");
    assert!(out.lines().any(|line| line == "  0 key:123"), "{out}");
    assert!(err.contains("is damaged: one fault found") && err.contains("\n\nhint: restore a backup"), "{err}");
}

#[test]
fn a_flipped_bit_is_found_by_an_agent_that_starts_on_it() {
    let place = written();
    let damaged = |place: &Place| {
        let facts: std::collections::BTreeMap<String, redis::Value> =
            redis::cmd("MESH.INFO").query(&mut client(place)).expect("the agent answers");
        redis::from_redis_value::<u64>(facts["damaged"].clone()).expect("a count is a number")
    };
    flip(&place.path("state/rows.redb"), b"<value of 123>");
    let log = place.path("log");
    let mut command = place.command("agent", &[]);
    let file = fs::File::create(&log).expect("a file can be made");
    let agent = place.answering(command.stdout(std::process::Stdio::null()).stderr(file));
    let deadline = std::time::Instant::now() + std::time::Duration::from_mins(1);
    while damaged(&place) == 0 {
        assert!(std::time::Instant::now() < deadline, "nothing was found");
        std::thread::yield_now();
    }
    stop(agent);
    let said = fs::read_to_string(&log).expect("the agent wrote its log");
    let named = said.lines().filter(|line| line.contains("damage: this row")).collect::<Vec<_>>();
    assert!(named.iter().any(|line| line.contains("key:123")) && named.len() <= 64, "{said}");
    assert_eq!(said.matches("the store was read through").count(), 1, "{said}");
}

#[test]
fn a_flipped_bit_of_a_key_is_found_and_named_by_what_it_became() {
    let place = written();
    flip(&place.path("state/rows.redb"), b"key:200\0");
    let (code, out, _) = check(&place);
    assert_eq!(code, 4, "{out}");
    assert!(out.lines().any(|line| line == "row 0 key:300: damaged"), "{out}");
}

#[test]
fn a_flipped_bit_of_a_record_before_others_is_found() {
    let place = written();
    let log = fs::read_dir(place.path("state/log")).expect("there is a log");
    let segments = log.map(|entry| entry.expect("the log can be listed").path());
    let holds = |path: &PathBuf| fs::read(path).is_ok_and(|bytes| bytes.windows(13).any(|w| w == b"<value of 12>"));
    let segment = segments.into_iter().find(holds).expect("a segment holds the write");
    // Something later, so that this is not a torn end.
    let agent = place.running();
    let mut connection = client(&place);
    redis::cmd("SET").arg("later").arg("1").query::<()>(&mut connection).expect("the agent takes writes");
    redis::cmd("SET").arg("later").arg("2").query::<()>(&mut connection).expect("the agent takes writes");
    stop(agent);
    flip(&segment, b"<value of 12>");
    let (code, _, err) = check(&place);
    assert_eq!(code, 4, "{err}");
    assert!(err.contains("log: commit ") && err.contains("is damaged"), "{err}");
}

#[test]
fn whatever_byte_is_damaged_the_answer_is_an_exit_code_and_not_a_panic() {
    let place = written();
    let path = place.path("state/rows.redb");
    let sound = fs::read(&path).expect("the file can be read");
    let mut found = 0;
    for step in 0..40 {
        // A walk through the file that meets headers, branches, leaves and free pages.
        let at = step * 7_919 * 31 % sound.len();
        let mut damaged = sound.clone();
        damaged[at..].iter_mut().take(64).for_each(|byte| *byte ^= 0xa5);
        fs::write(&path, damaged).expect("the file can be written");
        let (code, out, err) = check(&place);
        assert!(matches!(code, 0 | 4), "at {at}: {code}\n{out}{err}");
        assert!(!err.contains("panicked"), "at {at}: {err}");
        found += usize::from(code == 4);
    }
    assert!(found > 0, "some of it was in use");
}
