//! The loop with real sockets, rows in memory, and a log whose durability the test decides.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded};
use everett_mesh_proto::id::{Dot, NodeId, ReplicaId, Space};
use everett_mesh_proto::log::{Commit, Log, Medium, Record};

use everett_mesh_proto::push;
use everett_mesh_proto::vector::Vector;
use everett_mesh_proto::wire::decode_span;
use tokio::sync::watch;

use super::*;
use crate::api::tests::{OWN, host};
use crate::mesh::News;
use crate::net::Local;
use crate::store::{Batch, Committed, Sealed};
use crate::systemd::Pulse;

mod durability;
mod listeners;

/// A log in memory.
struct Memory;

impl Medium for Memory {
    type Error = std::convert::Infallible;

    fn append(&mut self, _: &[Record]) -> Result<(), Self::Error> {
        Ok(())
    }

    fn sync(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }
}

/// A ledger on a thread of its own.
struct Running {
    dir: tempfile::TempDir,
    door: Door<Notice>,
    log: Log<Memory>,
    batches: Receiver<Batch>,
    thread: JoinHandle<Result<Host, LedgerError>>,
}

fn start(adjust: impl FnOnce(&mut Settings)) -> Running {
    start_with(adjust, |_| {})
}

fn start_with(adjust: impl FnOnce(&mut Settings), connect: impl FnOnce(&mut Ports)) -> Running {
    start_host(adjust, connect, |_| {})
}

fn start_host(
    adjust: impl FnOnce(&mut Settings),
    connect: impl FnOnce(&mut Ports),
    prepare: impl FnOnce(&mut Host),
) -> Running {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("everett.sock");
    let mut settings = Settings::default();
    adjust(&mut settings);
    let (log_sender, batches) = bounded(4);
    let log = Log::resume(Memory, Commit(0));
    let (doorway, door) = Doorway::open(settings.inbox_max).unwrap();
    let left = door.clone();
    let mut ports = Ports {
        clients: Some(Claim::make(&SocketSettings { path, mode: 0o600, group: None }).unwrap()),
        log: log_sender,
        net: Box::new(|_| true),
        courier: bounded(1).0,
        keeper: Box::new(|_| None),
        mesh: Box::new(move |order| {
            if order == crate::mesh::Order::Leave {
                drop(left.try_send(Notice::News(News::LeaveDone)));
            }
        }),
        hello: watch::channel(Arc::new(hello())).0,
        pulse: Pulse::default(),
        log_pulse: Pulse::default(),
        peers: None,
    };
    connect(&mut ports);
    let mut host = host();
    prepare(&mut host);
    let ledger = Ledger::open(doorway, settings, ports, host, Clock::start()).unwrap();
    let thread = std::thread::spawn(move || ledger.run());
    Running { dir, door, log, batches, thread }
}

impl Running {
    fn path(&self) -> PathBuf {
        self.dir.path().join("everett.sock")
    }

    fn connect(&self) -> Client {
        let stream = UnixStream::connect(self.path()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Client { lines: BufReader::new(stream.try_clone().unwrap()), stream }
    }

    /// Makes the next batch durable; returns how many writes of clients were in it.
    fn commit(&mut self) -> usize {
        let batch = self.batch();
        self.append(batch)
    }

    /// The next batch, not yet durable.
    fn batch(&self) -> Vec<Sealed> {
        self.batches.recv_timeout(Duration::from_secs(20)).unwrap().sealed
    }

    fn append(&mut self, batch: Vec<Sealed>) -> usize {
        let spans = batch.iter().filter_map(|(record, _)| decode_span(&record.payload).unwrap());
        let writes: u64 = spans.map(|span| span.last - span.first + 1).sum();
        let records: Vec<Record> = batch.into_iter().map(|(record, _)| record).collect();
        let Ok(durable) = self.log.commit(&records);
        let durable = durable.expect("a batch is not empty");
        let committed = Committed { durable, said: Vec::new(), took: Duration::ZERO, log_bytes: 0 };
        self.door.send(Notice::Committed(committed)).unwrap();
        usize::try_from(writes).unwrap()
    }

    fn end(self) -> Host {
        self.door.send(Notice::Drain).unwrap();
        self.thread.join().unwrap().unwrap()
    }
}

/// What HELLO says of an agent that never speaks.
fn hello() -> Local {
    let (boot_epoch, nonce, features) = (1, 1, 0);
    Local { boot_epoch, nonce, features, replica: OWN, spaces: Vec::new(), lives: Vec::new() }
}

struct Client {
    stream: UnixStream,
    lines: BufReader<UnixStream>,
}

impl Client {
    fn say(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).unwrap();
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn ask(&mut self, text: &str) -> String {
        self.say(&format!("{text}\r\n"));
        self.line()
    }

    /// Asks until the reply's lines hold `word`, or do not.
    fn wait_for(&mut self, request: &str, word: &str, present: bool) {
        let until = std::time::Instant::now() + Duration::from_secs(20);
        loop {
            assert!(std::time::Instant::now() < until, "{request} never changed to have {word}: {present}");
            self.say(&format!("{request}PING\r\n"));
            let mut found = false;
            loop {
                let line = self.line();
                found |= line.contains(word);
                if line == "+PONG" {
                    break;
                }
            }
            if found == present {
                return;
            }
        }
    }

    /// The next lines, joined by spaces.
    fn lines(&mut self, count: usize) -> String {
        (0..count).map(|_| self.line()).collect::<Vec<_>>().join(" ")
    }

    /// Listens on a channel, and is told so.
    fn listen(&mut self, channel: &str) {
        self.say(&format!("SUBSCRIBE {channel}\r\n"));
        assert!(self.lines(6).contains("$9 subscribe"));
    }

    fn rest(&mut self) -> String {
        let mut rest = String::new();
        self.lines.read_to_string(&mut rest).unwrap();
        rest
    }

    fn has_nothing(&mut self) -> bool {
        self.stream.set_nonblocking(true).unwrap();
        let nothing = self.lines.fill_buf().is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
        self.stream.set_nonblocking(false).unwrap();
        nothing
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let running = start(|_| {});
    let mut client = running.connect();
    client.say("PING\r\n*2\r\n$4\r\nECHO\r\n$2\r\nhi\r\nNOSUCH a\r\nQUIT\r\nPING\r\n");
    let expected = "+PONG\r\n$2\r\nhi\r\n-ERR unknown command 'NOSUCH', with args beginning with: 'a' \r\n+OK\r\n";
    assert_eq!(client.rest(), expected);
    running.end();
}

#[test]
fn a_protocol_error_is_told_and_ends_the_connection_only() {
    let running = start(|_| {});
    let (mut bad, mut good) = (running.connect(), running.connect());
    assert_eq!(good.ask("PING"), "+PONG");
    bad.say("*1\r\n+PING\r\nPING\r\n");
    assert_eq!(bad.rest(), "-ERR Protocol error: expected '$', got '+'\r\n");
    assert_eq!(good.ask("PING"), "+PONG");
    assert_eq!(running.end().stats.cut_protocol, 1);
}

#[test]
fn one_client_too_many_is_told_so() {
    let running = start(|settings| settings.clients_max = 1);
    let mut first = running.connect();
    assert_eq!(first.ask("PING"), "+PONG");
    assert_eq!(running.connect().rest(), "-ERR max number of clients reached\r\n");
    first.say("QUIT\r\n");
    assert_eq!(first.rest(), "+OK\r\n");
    assert_eq!(running.connect().ask("PING"), "+PONG");
    assert_eq!(running.end().stats.connections_rejected, 1);
}

#[test]
fn a_client_that_does_not_read_is_cut_and_counted() {
    let running = start(|settings| settings.output_bytes_max = 1 << 20);
    let mut greedy = running.connect();
    let echo = format!("*2\r\n$4\r\nECHO\r\n$100000\r\n{}\r\n", "x".repeat(100_000));
    while greedy.stream.write_all(echo.as_bytes()).is_ok() {}
    assert_eq!(running.connect().ask("PING"), "+PONG");
    assert_eq!(running.end().stats.cut_output, 1);
}

#[test]
fn a_client_that_hangs_up_after_its_requests_still_gets_its_replies() {
    let running = start(|_| {});
    let mut client = running.connect();
    client.say("PING\r\nPING\r\n");
    client.stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(client.rest(), "+PONG\r\n+PONG\r\n");
    running.end();
}

#[test]
fn a_write_is_answered_when_its_commit_is_durable_and_reads_of_other_keys_at_once() {
    let mut running = start(|_| {});
    let (mut writer, mut reader) = (running.connect(), running.connect());
    writer.say("SET k v\r\nGET other\r\n");
    let batch = running.batch();
    assert_eq!(reader.ask("GET other"), "$-1");
    assert!(writer.has_nothing(), "neither the write's reply nor one behind it may leave before it is durable");
    reader.say("GET k\r\nPING\r\n");
    assert_eq!(running.connect().ask("PING"), "+PONG");
    assert!(reader.has_nothing(), "another client's read of what is not durable waits too");
    running.append(batch);
    assert_eq!([writer.line(), writer.line()], ["+OK", "$-1"]);
    assert_eq!([reader.line(), reader.line(), reader.line()], ["$1", "v", "+PONG"]);
    running.end();
}

#[test]
fn a_drain_answers_what_is_in_flight_and_refuses_what_is_new() {
    let mut running = start(|_| {});
    let (mut writer, mut late) = (running.connect(), running.connect());
    writer.say("INCR n\r\n");
    assert_eq!(late.ask("PING"), "+PONG");
    let batch = running.batch();
    running.door.send(Notice::Drain).unwrap();
    assert_eq!(late.ask("GET n"), "-ERR closing");
    assert!(UnixStream::connect(running.path()).is_err(), "nobody new is let in");
    running.append(batch);
    assert_eq!(writer.line(), ":1");
    assert_eq!(running.thread.join().unwrap().unwrap().phase, Phase::Draining);
}

#[test]
fn a_client_may_end_another_and_itself() {
    let running = start(|_| {});
    let (mut one, mut other) = (running.connect(), running.connect());
    let id = other.ask("CLIENT ID").trim_start_matches(':').to_owned();
    assert_eq!(one.ask(&format!("CLIENT KILL ID {id}")), ":1");
    assert_eq!(other.rest(), "");
    assert_eq!(one.ask("CLIENT KILL TYPE normal"), ":0", "it spares itself unless told otherwise");
    assert_eq!(one.ask("CLIENT KILL TYPE normal SKIPME no"), ":1");
    assert_eq!(one.rest(), "");
    running.end();
}

#[test]
fn a_client_may_make_the_agent_leave() {
    let running = start(|_| {});
    let mut client = running.connect();
    client.say("MESH.LEAVE\r\nGET n\r\n");
    assert_eq!([client.line(), client.line()], ["+OK", "-ERR closing"]);
    assert_eq!(running.thread.join().unwrap().unwrap().phase, Phase::Leaving);
}

#[test]
fn a_full_log_makes_clients_wait_and_loses_nothing() {
    let mut running = start(|settings| (settings.held_bytes_max, settings.backlog_bytes_max) = (16, 1));
    let mut clients: Vec<Client> = (0..20).map(|_| running.connect()).collect();
    for client in &mut clients {
        client.say(&"INCR n\r\n".repeat(10));
    }
    let mut committed = 0;
    while committed < 200 {
        committed += running.commit();
    }
    let mut answers: Vec<String> =
        clients.iter_mut().flat_map(|client| (0..10).map(|_| client.line()).collect::<Vec<_>>()).collect();
    answers.sort_by_key(std::string::String::len);
    answers.dedup();
    assert_eq!(answers.len(), 200, "every increment has an answer of its own");
    running.end();
}

#[test]
fn wait_counts_peers_that_hold_the_write_and_holds_back_what_follows() {
    let mut running = start(|_| {});
    let mut client = running.connect();
    assert_eq!(client.ask("WAIT 3 0"), ":0", "nothing was written");
    client.say("SET k v\r\nWAIT 1 0\r\nPING\r\n");
    running.commit();
    assert_eq!(client.line(), "+OK");
    assert_eq!(running.connect().ask("PING"), "+PONG");
    assert!(client.has_nothing());
    let (peer, space) = (NodeId([2; 16]), Space::numbered(0));
    let life = ReplicaId::new(1, "b", 1);
    running.door.send(Notice::Push(push::Input::Up { peer, life, has: push::Vectors::default() })).unwrap();
    let mut vector = Vector::default();
    vector.raise(Dot { replica: OWN, seq: 1 });
    running.door.send(Notice::Push(push::Input::Acked { peer, space, vector })).unwrap();
    assert_eq!([client.line(), client.line()], [":1", "+PONG"]);
    running.end();
}

#[test]
fn a_wait_ends_with_its_time_and_says_how_many_there_are() {
    let mut running = start(|_| {});
    let mut client = running.connect();
    client.say("SET k v\r\nWAIT 1 30\r\nPING\r\n");
    running.commit();
    assert_eq!([client.line(), client.line(), client.line()], ["+OK", ":0", "+PONG"]);
    running.end();
}

#[test]
fn a_client_that_goes_while_it_waits_is_forgotten() {
    let mut running = start(|_| {});
    let mut waiting = running.connect();
    waiting.say("SET k v\r\nWAIT 1 0\r\n");
    running.commit();
    assert_eq!(waiting.line(), "+OK");
    drop(waiting);
    let mut other = running.connect();
    other.wait_for("CLIENT LIST TYPE normal\r\n", "cmd=wait", false);
    running.end();
}

#[test]
fn what_a_busy_thread_did_not_take_and_must_hear_is_said_again() {
    let (heard_sender, heard) = bounded(16);
    let mut busy = 2;
    let running = start_with(
        |_| {},
        |ports| {
            ports.keeper = Box::new(move |task| {
                busy -= u32::from(busy > 0);
                if busy > 0 { Some(task) } else { heard_sender.try_send(format!("{task:?}")).err().map(|_| task) }
            });
        },
    );
    running.door.send(Notice::News(News::EpochBehind { known: 7 })).unwrap();
    // Any turn of the loop will do.
    assert_eq!(running.connect().ask("PING"), "+PONG");
    assert_eq!(heard.recv_timeout(Duration::from_secs(20)).unwrap(), "RaiseEpoch { known: 7 }");
    running.door.send(Notice::BootEpoch(8)).unwrap();
    assert_eq!(running.connect().ask("PING"), "+PONG");
    assert_eq!(running.end().about.boot_epoch, 8);
    assert!(heard.is_empty(), "once");
}
