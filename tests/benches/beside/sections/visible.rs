//! From a write here to its being visible there, three nodes of each system, one writer, one reader.
//!
//! A time begins before the write is sent and ends with the first read that shows it; the reader begins to ask when the
//! write is acknowledged, and asks again at once. *Back to back* writes follow each other at once, *paced* ones come a
//! hundred a second. What an acknowledgement means differs: Everett's is on disk, etcd's at a quorum and on disk, Redis
//! (which keeps nothing here) and the bare stream promise nothing.

use std::path::Path;
use std::time::{Duration, Instant};

use everett_tests::cluster::{Cluster, PATIENCE, Router, wait};

use super::agree;
use super::etcd::Etcd;
use super::quic::BareQuic;
use everett_tests::resp::encode;

use crate::client::{Client, Reply};
use crate::load::{self, Times};
use crate::redis_server::RedisServer;
use crate::report::{Asked, Report};
use crate::{Args, agents, machine};

/// Writes of one sample, back to back and paced.
const WRITES: u64 = 2_000;
const PACED: u32 = 300;
const PACE: Duration = Duration::from_millis(10);

/// The same far away, where one takes longer.
const FAR_PACED: u32 = 200;
const FAR_PACE: Duration = Duration::from_millis(50);

/// Half a round trip of 80 ms.
const FAR_DELAY: Duration = Duration::from_millis(40);

/// Nothing can be there before, and asking all the time takes the processor from those who carry it.
const FAR_PATIENCE: Duration = Duration::from_millis(39);

/// The value of that number: with its key a row of 110 bytes.
pub(super) fn value(number: u64) -> Vec<u8> {
    format!("{number:0103}").into_bytes()
}

/// One key of one system: written at one node, read at another.
pub(super) trait Pair {
    /// Writes the value of that number and waits for the acknowledgement.
    fn write(&mut self, number: u64);
    /// Whether the other node shows it.
    fn sees(&mut self, number: u64) -> bool;
}

/// Two nodes that speak RESP.
struct RespPair {
    writer: Client,
    reader: Client,
    get: Vec<u8>,
}

impl RespPair {
    fn new(writer: &Path, reader: &Path) -> Self {
        Self { writer: Client::of(writer), reader: Client::of(reader), get: encode(&[b"GET", b"visible"]) }
    }
}

impl Pair for RespPair {
    fn write(&mut self, number: u64) {
        self.writer.clock(&encode(&[b"SET", b"visible", &value(number)]));
    }

    fn sees(&mut self, number: u64) -> bool {
        self.reader.ask(&self.get) == Reply::Text(value(number))
    }
}

/// What was measured of one system in one round.
struct Sample {
    back_to_back: Times,
    paced: Times,
}

/// How writes follow each other.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rhythm {
    BackToBack,
    Paced,
}

impl Rhythm {
    const ALL: [Self; 2] = [Self::BackToBack, Self::Paced];

    fn name(self) -> &'static str {
        match self {
            Self::BackToBack => "back to back",
            Self::Paced => "paced",
        }
    }

    fn of(self, sample: &Sample) -> &Times {
        match self {
            Self::BackToBack => &sample.back_to_back,
            Self::Paced => &sample.paced,
        }
    }
}

/// One system, and the next number that it has not seen.
struct Contestant {
    name: &'static str,
    pair: Box<dyn Pair>,
    next: u64,
    samples: Vec<Sample>,
}

impl Contestant {
    fn new(name: &'static str, pair: impl Pair + 'static) -> Self {
        Self { name, pair: Box::new(pair), next: 1, samples: Vec::new() }
    }

    /// One write until it is visible; the reader does not ask before `patience` is over.
    fn once(&mut self, patience: Duration) -> Duration {
        let (number, begun) = (self.next, Instant::now());
        self.next += 1;
        self.pair.write(number);
        wait::pause_until(begun + patience);
        while !self.pair.sees(number) {
            assert!(begun.elapsed() < PATIENCE, "{}: a write is not seen", self.name);
        }
        begun.elapsed()
    }

    fn round(&mut self) {
        // The first ones find cold connections.
        for _ in 0..100 {
            self.once(Duration::ZERO);
        }
        let back_to_back = Times::new((0..WRITES).map(|_| self.once(Duration::ZERO)).collect());
        let paced = load::at_pace(PACE, PACED, |_| self.once(Duration::ZERO));
        self.samples.push(Sample { back_to_back, paced });
    }

    fn figures(&self, rhythm: Rhythm, percent: usize) -> Vec<f64> {
        self.samples.iter().map(|sample| rhythm.of(sample).percentile_ms(percent)).collect()
    }
}

/// On loopback.
pub(super) fn near(args: &Args, report: &mut Report) {
    let mut mesh = agents::mesh();
    let replicas = Replicas::start();
    let bare = BareQuic::start(&mesh);
    let sockets = [0, 1].map(|index| mesh.agent(index).socket());
    let mut everett = Contestant::new("everett", RespPair::new(&sockets[0], &sockets[1]));
    let mut quic = Contestant::new("bare quic", RespPair::new(&bare.socket(0), &bare.socket(1)));
    let mut redis =
        Contestant::new("redis", RespPair::new(&replicas.servers[0].socket(), &replicas.servers[1].socket()));
    for _ in 0..args.rounds {
        [&mut everett, &mut quic, &mut redis].into_iter().for_each(Contestant::round);
    }
    tell(report, &everett);
    let commit = agree::reported(mesh.agent(0), "commit", "p50_us") / 1e3;
    report.single("  of which the writer's log, p50 ms", commit, Asked::Nothing);
    tell(report, &quic);
    tell(report, &redis);
    compare(report, &everett, &quic, Asked::AtMost(1.5));
    compare(report, &everett, &redis, Asked::Nothing);
    drop((quic, redis, bare, replicas));
    if !machine::has_program("etcd") {
        eprintln!("no etcd here: apt-get install etcd-server");
        return;
    }
    let etcd = Etcd::start();
    let mut beside = Contestant::new("etcd", etcd.pair());
    everett.samples.clear();
    for _ in 0..args.rounds {
        [&mut everett, &mut beside].into_iter().for_each(Contestant::round);
    }
    tell(report, &beside);
    compare(report, &everett, &beside, Asked::Nothing);
}

/// Prints what one system took.
fn tell(report: &mut Report, who: &Contestant) {
    for rhythm in Rhythm::ALL {
        let is_asked = who.name == "everett" && rhythm == Rhythm::BackToBack;
        let median = if is_asked { Asked::AtMost(0.5) } else { Asked::Nothing };
        let name = format!("{}, {}", who.name, rhythm.name());
        report.figure(&format!("{name}, p50 ms"), &who.figures(rhythm, 50), median);
        report.figure(&format!("{name}, p99 ms"), &who.figures(rhythm, 99), Asked::Nothing);
    }
}

/// Prints the ratios of one system to another, round by round; `p99` is asked of the 99th percentile back to back.
fn compare(report: &mut Report, own: &Contestant, other: &Contestant, p99: Asked) {
    for rhythm in Rhythm::ALL {
        for percent in [50, 99] {
            let (own, beside) = (own.figures(rhythm, percent), other.figures(rhythm, percent));
            let ratios: Vec<_> = own.iter().zip(&beside).map(|(own, beside)| own / beside).collect();
            let asked = if rhythm == Rhythm::Paced || percent < 99 { Asked::Nothing } else { p99 };
            report.figure(&format!("{}, p{percent} / {}", rhythm.name(), other.name), &ratios, asked);
        }
    }
}

/// At a round trip of 80 ms.
pub(super) fn far(args: &Args, report: &mut Report) {
    let mut mesh: Cluster = agents::laid_out(3);
    let _router = Router::with_delay(&mut mesh, 3, 0.0, FAR_DELAY);
    (0..3).for_each(|index| mesh.agent(index).start());
    mesh.wait_until_whole();
    let sockets = [0, 1].map(|index| mesh.agent(index).socket());
    let mut everett = Contestant::new("everett", RespPair::new(&sockets[0], &sockets[1]));
    let (mut p50, mut p99) = (Vec::new(), Vec::new());
    for _ in 0..args.rounds {
        let times = load::at_pace(FAR_PACE, FAR_PACED, |_| everett.once(FAR_PATIENCE));
        p50.push(times.percentile_ms(50));
        p99.push(times.percentile_ms(99));
    }
    report.figure("80 ms round trip, paced, p50 ms", &p50, Asked::AtMost(41.0));
    report.figure("80 ms round trip, paced, p99 ms", &p99, Asked::AtMost(44.0));
}

/// A redis-server with two replicas, none of which keeps anything.
struct Replicas {
    servers: [RedisServer; 3],
}

impl Replicas {
    fn start() -> Self {
        let port = free_port().to_string();
        let common = ["--appendonly", "no", "--repl-diskless-sync-delay", "0"];
        let first = RedisServer::start_with(&[&common[..], &["--port", &port, "--bind", "127.0.0.1"]].concat());
        let replica = || {
            let own = free_port().to_string();
            let of = ["--port", &own, "--bind", "127.0.0.1", "--replicaof", "127.0.0.1", &port];
            RedisServer::start_with(&[&common[..], &of[..]].concat())
        };
        let servers = [first, replica(), replica()];
        for replica in &servers[1..] {
            let mut client = redis::Client::open(format!("redis+unix://{}", replica.socket().display()))
                .and_then(|client| client.get_connection())
                .expect("redis-server answers");
            wait::until("the replica is linked", PATIENCE, || {
                let info: String = redis::cmd("INFO").arg("replication").query(&mut client).unwrap_or_default();
                info.contains("master_link_status:up")
            });
        }
        Self { servers }
    }
}

/// A TCP port on loopback that nobody has.
pub(super) fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("loopback has free ports");
    listener.local_addr().expect("a bound socket has an address").port()
}
