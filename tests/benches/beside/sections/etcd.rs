//! Three members of Debian's etcd-server: written at the leader, read at a follower from what it has itself.
//!
//! They are asked in JSON over HTTP, which etcd translates for itself; that is part of what is measured, and some tenths
//! of a millisecond of it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use everett_tests::cluster::{PATIENCE, wait};
use tempfile::TempDir;

use super::visible::{Pair, free_port, value};

/// Running members; they end when dropped.
#[derive(Debug)]
pub(super) struct Etcd {
    members: Vec<Child>,
    ports: [u16; 3],
    _directory: TempDir,
}

impl Etcd {
    /// Three members with a leader.
    pub(super) fn start() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let (ports, peers) = ([0; 3].map(|_: u8| free_port()), [0; 3].map(|_: u8| free_port()));
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let cluster: Vec<_> = (0..3).map(|index| format!("m{index}={}", url(peers[index]))).collect();
        let member = |index: usize| {
            start_member(directory.path(), index, [&url(ports[index]), &url(peers[index])], &cluster.join(","))
        };
        let members = (0..3).map(member).collect();
        let etcd = Self { members, ports, _directory: directory };
        wait::until("etcd has a leader", PATIENCE, || etcd.leader().is_some());
        etcd
    }

    /// Leader and a follower.
    pub(super) fn pair(&self) -> impl Pair + use<> {
        let leader = self.leader().expect("the leader stays");
        let member = |index: usize| Http::connect(self.ports[index]).expect("a member that answered goes on answering");
        HttpPair { writer: member(leader), reader: member((leader + 1) % 3) }
    }

    fn leader(&self) -> Option<usize> {
        self.ports.iter().position(|&port| {
            let status = Http::connect(port).and_then(|mut http| http.post("/v3/maintenance/status", "{}"));
            let field = |text: &str, name: &str| {
                let (_, rest) = text.split_once(&format!("\"{name}\":\""))?;
                rest.split('"').next().map(str::to_owned)
            };
            status.is_some_and(|text| {
                let leader = field(&text, "leader");
                leader.is_some() && leader == field(&text, "member_id")
            })
        })
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        for member in &mut self.members {
            // Both fail only for a child that has ended.
            let _ = member.kill();
            let _ = member.wait();
        }
    }
}

fn start_member(directory: &Path, index: usize, [client, peer]: [&str; 2], cluster: &str) -> Child {
    let mut command = Command::new("etcd");
    command.args(["--name", &format!("m{index}"), "--data-dir"]).arg(directory.join(format!("m{index}")));
    command.args(["--listen-client-urls", client, "--advertise-client-urls", client]);
    command.args(["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]);
    command.args(["--initial-cluster", cluster, "--initial-cluster-state", "new", "--log-level", "error"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("etcd, which was found, runs")
}

struct HttpPair {
    writer: Http,
    reader: Http,
}

impl Pair for HttpPair {
    fn write(&mut self, number: u64) {
        let body = format!("{{\"key\":\"{}\",\"value\":\"{}\"}}", base64(b"visible"), base64(&value(number)));
        self.writer.post("/v3/kv/put", &body).expect("the leader answers");
    }

    fn sees(&mut self, number: u64) -> bool {
        let body = format!("{{\"key\":\"{}\",\"serializable\":true}}", base64(b"visible"));
        let text = self.reader.post("/v3/kv/range", &body).expect("the follower answers");
        text.contains(&base64(&value(number)))
    }
}

/// One connection that is kept open.
struct Http(BufReader<TcpStream>);

impl Http {
    fn connect(port: u16) -> Option<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
        stream.set_nodelay(true).ok()?;
        Some(Self(BufReader::new(stream)))
    }

    /// The body of the answer, if it came.
    fn post(&mut self, path: &str, body: &str) -> Option<String> {
        let head = format!("POST {path} HTTP/1.1\r\nHost: etcd\r\nContent-Length: {}\r\n\r\n", body.len());
        self.0.get_mut().write_all(format!("{head}{body}").as_bytes()).ok()?;
        let (mut length, mut line) = (0, String::new());
        loop {
            line.clear();
            self.0.read_line(&mut line).ok()?;
            let line = line.trim_end();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
        }
        let mut answer = vec![0; length];
        self.0.read_exact(&mut answer).ok()?;
        String::from_utf8(answer).ok()
    }
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let word = (0..3).fold(0, |word, at| word << 8 | usize::from(chunk.get(at).copied().unwrap_or(0)));
        for at in 0..4 {
            let digit = char::from(DIGITS[word >> (18 - 6 * at) & 63]);
            text.push(if at <= chunk.len() { digit } else { '=' });
        }
    }
    text
}
