//! What Prometheus collects from a real agent.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;

use crate::place::{Place, stop, words};

/// A request's whole answer, and its first line.
fn asked(port: u16, request: &str) -> (String, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the exporter listens");
    write!(stream, "{request} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n").expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers in text");
    let first = answer.lines().next().expect("an answer has a first line").to_owned();
    (first, answer)
}

/// A configuration's change that has figures on `port`.
fn on(port: u16) -> String {
    format!("[telemetry]\nmetrics = \"127.0.0.1:{port}\"\n[socket]")
}

#[test]
fn every_figure_of_the_agent_is_there_to_collect() {
    let place = Place::new();
    let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port is free").port();
    let change = on(port);
    let changes = [("[socket]", change.as_str())];
    let agent = place.answering(place.command("agent", &changes).stdout(Stdio::null()).stderr(Stdio::null()));
    let client = redis::Client::open(format!("unix://{}", place.path("sock").display())).expect("a path is an address");
    let mut connection = client.get_connection().expect("the agent answers");
    redis::cmd("SET").arg("k").arg("v").query::<()>(&mut connection).expect("the agent takes writes");

    let (status, shown) = asked(port, "GET /metrics");
    assert_eq!(status, "HTTP/1.1 200 OK");
    assert!(shown.contains("content-type: text/plain; version=0.0.4\r\n"), "{shown}");
    let says = |line: &str| assert!(shown.lines().any(|shown| shown.starts_with(line)), "no {line} in\n{shown}");
    says(r#"everett_command_latency_seconds_count{command="set"} 1"#);
    says(r#"everett_path_latency_seconds{path="commit",quantile="0.99"} "#);
    says(r#"everett_build_info{node="edge-1",site="oslo","#);
    let facts: BTreeMap<String, redis::Value> = redis::cmd("MESH.INFO").query(&mut connection).expect("it answers");
    let figures = facts.values().filter(|fact| matches!(fact, redis::Value::Int(_))).count();
    let samples = shown.lines().filter(|line| line.starts_with("everett_") && !line.contains('{')).count();
    assert!(figures > 20 && samples >= figures, "{samples} samples of {figures} figures:\n{shown}");

    assert_eq!(asked(port, "GET /").0, "HTTP/1.1 404 Not Found");
    assert_eq!(asked(port, "POST /metrics").0, "HTTP/1.1 405 Method Not Allowed");
    let held = TcpStream::connect(("127.0.0.1", port)).expect("the exporter listens");
    stop(agent);
    drop(held);
}

#[test]
fn a_port_that_is_taken_stops_a_start_and_not_a_check() {
    let place = Place::new();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let change = on(taken.local_addr().expect("a bound socket has an address").port());
    let changes = [("[socket]", change.as_str())];
    let (code, _, err) = words(&place.command("agent", &changes).output().expect("the binary runs"));
    assert_eq!(code, 3, "{err}");
    assert!(err.contains("for those who collect metrics") && err.contains("\n\nhint: "), "{err}");
    assert!(!place.path("state").exists(), "nothing was started");
    let (code, out, err) = words(&place.command("agent", &changes).arg("--check").output().expect("the binary runs"));
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("in use now"), "{out}");
}
