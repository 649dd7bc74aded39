//! Assembles one agent: who owns what on which thread, and through which bounded channels they talk.
//!
//! | thread | runs | is told through |
//! |---|---|---|
//! | main | the ledger ([`crate::ledger`]) | `Notice`s, 4,096; full: the sender waits |
//! | log | [`crate::store::log_thread`] | batches of commits, 64; full: no client is served; requests, handed over |
//! | keeper | [`crate::keeper`] | `Task`s, 1,024; full: the word is said again |
//! | exporter | [`crate::exporter`], if asked for | nobody: it is a client of the socket |
//! | courier | [`crate::courier`] | `Order`s, 256; full: the ledger keeps it |
//! | mesh | tokio: the net ([`crate::net`]), membership ([`crate::mesh`]), signals | the net's own channels |
//!
//! The order of a start: certificates, claims on the UDP port and the clients' socket, store, replay, threads, socket. So a
//! second agent is refused before it touches a store, and the socket answers only when everything does.
//! The order of an end: clients drain, peers take what was written, membership leaves, the net closes, the threads end, the rest is flushed.

mod signals;
mod threads;

use std::net::{TcpListener, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;

use everett_certs::Mtls;
use everett_mesh_proto::id::ReplicaId;
use everett_mesh_proto::log::{Commit, Durable};
use everett_mesh_proto::replica::{self, Replica};
use everett_mesh_proto::rows::Placer;
use everett_mesh_proto::time::Now;
use everett_mesh_proto::vector::Vector;
use rand::rngs::SysRng;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

use crate::api::about::About;
use crate::api::data::Data;
use crate::api::host::{Host, Phase};
use crate::clock::Clock;
use crate::config::Config;
use crate::durability::Durability;
use crate::exporter;
use crate::identity::NodeIdentity;
use crate::ledger::{Claim, LedgerError, SocketError, SocketSettings};
use crate::net::{self, StartError};
use crate::peers::Peers;
use crate::pid_file::PidFile;
use crate::store::{ChunkLimit, LogSettings, Store, StoreConfig, StoreError, StoreId};
use crate::systemd;

/// How many bytes of remote groups may wait for what they depend on.
const GATE_BYTES_MAX: usize = 64 << 20;

/// Why an agent ended without being told to, or did not start.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// A certificate or key is missing or bad; nothing was started.
    #[error(transparent)]
    Certificates(#[from] everett_certs::Error),
    /// The store is bad, or its disk.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The mesh's socket cannot be had, or its thread.
    #[error(transparent)]
    Net(#[from] StartError),
    /// The address for those who collect metrics cannot be had.
    #[error(transparent)]
    Exporter(#[from] exporter::BindError),
    /// The clients' socket cannot be made.
    #[error(transparent)]
    Socket(SocketError),
    /// The file that names the process cannot be written.
    #[error("{}: cannot write the pid file", path.display())]
    PidFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Signals cannot be taken over.
    #[error("cannot take signals over")]
    Signals(#[source] std::io::Error),
    /// The poll loop failed.
    #[error(transparent)]
    Ledger(LedgerError),
    /// The system gives no randomness.
    #[error("the system gives no randomness")]
    Random,
    /// A thread cannot be started.
    #[error("cannot start the {name} thread")]
    Thread {
        /// Which.
        name: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
}

impl From<LedgerError> for AgentError {
    fn from(error: LedgerError) -> Self {
        match error {
            LedgerError::Store(error) => Self::Store(error),
            LedgerError::Socket(error) => Self::Socket(error),
            error @ (LedgerError::Poll(_) | LedgerError::LogEnded) => Self::Ledger(error),
        }
    }
}

/// What a reload reads again besides the certificates; called on a thread that may wait.
pub type Reread = Arc<dyn Fn() + Send + Sync>;

/// An agent that has read all it needs and started nothing.
struct Prepared {
    clock: Clock,
    random: Pcg64,
    mtls: Arc<Mtls>,
    claimed: Claimed,
    me: NodeIdentity,
    store: Store,
    replica: Replica,
}

/// What only one process can have, and what tells others who has it.
struct Claimed {
    udp: Arc<UdpSocket>,
    metrics: Option<TcpListener>,
    clients: Claim,
    pid_file: Option<PidFile>,
}

impl Claimed {
    fn make(config: &Config) -> Result<Self, AgentError> {
        let udp = net::bind(config.listen)?;
        let metrics = config.telemetry.metrics.map(exporter::bind).transpose()?;
        let clients = Claim::make(&socket_settings(config)).map_err(AgentError::Socket)?;
        let named = config
            .pid_file
            .as_deref()
            .map(|path| PidFile::write(path).map_err(|source| AgentError::PidFile { path: path.to_owned(), source }));
        Ok(Self { udp, metrics, clients, pid_file: named.transpose()? })
    }
}

/// The clients' socket as `config` wants it.
pub fn socket_settings(config: &Config) -> SocketSettings {
    let socket = &config.socket;
    SocketSettings { path: socket.path.clone(), mode: socket.mode.0, group: socket.group.clone() }
}

/// Runs an agent until it is told to stop; returns when everything is on disk.
pub fn run(config: &Config, reread: Reread) -> Result<(), AgentError> {
    let mut prepared = prepare(config)?;
    let _pid_file = prepared.claimed.pid_file.take();
    let (ledger, running) = threads::start(config, prepared, reread)?;
    systemd::ready("serving");
    tracing::info!(socket = %config.socket.path.display(), "serving");
    let host = ledger.run()?;
    systemd::stopping();
    let file = running.end();
    finish(host)?;
    file.note_clean_stop()?;
    tracing::info!("stopped");
    Ok(())
}

fn prepare(config: &Config) -> Result<Prepared, AgentError> {
    let clock = Clock::start();
    let mut random = Pcg64::try_from_rng(&mut SysRng).map_err(|_| AgentError::Random)?;
    let mtls = Arc::new(Mtls::load(&config.certificates)?);
    let claimed = Claimed::make(config)?;
    let me = NodeIdentity::from(&mtls.identity());
    let placer = Placer::new(mtls.place_key().as_bytes());
    let mut store = Store::open(&StoreConfig {
        path: config.state.clone(),
        cluster: me.cluster,
        place_fingerprint: mtls.place_key().fingerprint(),
        placer: placer.clone(),
        log: LogSettings { segment_bytes: config.store.segment_bytes, ..LogSettings::default() },
        cache_bytes: usize::try_from(config.store.cache_bytes.resolve()).unwrap_or(usize::MAX),
        new_id: StoreId(random.random()),
        salt_seed: random.random(),
    })?;
    if !config.store.keeps_tree {
        store.memtable = store.memtable.without_tree();
    }
    let replica_config = replica::Config {
        id: new_life(&store, &me.node, clock.now(), random.random()),
        placer,
        max_skew: config.clock.max_skew,
        gate_bytes_max: GATE_BYTES_MAX,
    };
    let mut replica = Replica::resume(replica_config, store.settled.clone());
    let replayed = store.replay(&mut replica)?;
    tracing::info!(node = %me, life = %replica.id(), replayed, clean = store.stopped_cleanly, "store is open");
    Ok(Prepared { clock, random, mtls, claimed, me, store, replica })
}

/// A new life's id, later than every life of this node that the store knows of, flushed or not, whatever the clock says.
fn new_life(store: &Store, node: &str, now: Now, random: u64) -> ReplicaId {
    let flushed = store.settled.vectors.values().flat_map(Vector::dots).map(|dot| dot.replica);
    let index = store.log.medium().index();
    let lives = flushed.chain(index.authors()).filter(|life| life.is_life_of(node));
    let last_ms = lives.map(ReplicaId::start_ms).max().unwrap_or(0);
    ReplicaId::new(now.wall_ms.max(last_ms + 1), node, random)
}

/// The server as commands see it.
fn host(config: &Config, data: Data, durable: Durable, about: About, seed: u64) -> Host {
    let peers = Peers::new(durable, data.replica.vectors());
    let mut host = Host::new(data, peers, seed);
    host.value_bytes_max = usize::try_from(config.limits.value_max).unwrap_or(usize::MAX);
    host.about = about;
    host.settings = shown_settings(config);
    host.sessions.set_levels(config.store.levels());
    host.set_classes(config.socket.notify_keyspace_events.0);
    let is_new = host.data.replica.commit() == Commit(0) && !config.seeds.is_empty();
    host.phase = if is_new { Phase::Loading } else { Phase::Serving };
    host
}

/// What comes nearest in Redis.
fn appendfsync(level: Durability) -> &'static str {
    match level {
        Durability::Commit => "always",
        Durability::Interval => "everysec",
    }
}

/// The configuration under the names that clients of Redis ask for.
fn shown_settings(config: &Config) -> Vec<(&'static str, String)> {
    let text = |text: &str| text.to_owned();
    vec![
        ("appendfsync", text(appendfsync(config.store.durability))),
        ("appendonly", text("yes")),
        ("databases", text("16")),
        ("maxclients", config.limits.clients_max.to_string()),
        ("maxmemory", text("0")),
        ("maxmemory-policy", text("noeviction")),
        ("port", text("0")),
        ("proto-max-bulk-len", config.limits.value_max.to_string()),
        ("save", String::new()),
        ("timeout", text("0")),
        ("unixsocket", config.socket.path.display().to_string()),
        ("unixsocketperm", format!("{:o}", config.socket.mode.0)),
    ]
}

/// Carries out what is still in memory.
fn finish(mut host: Host) -> Result<(), StoreError> {
    let Some(held) = host.data.rows.freeze(host.data.replica.settled()) else { return Ok(()) };
    if let Ok(job) = held.release(host.peers.durable()) {
        drop(host.data.rows.settle(job.run(ChunkLimit::default())?));
    } else {
        tracing::warn!("the last commits did not become durable before the end; the next start replays them");
    }
    Ok(())
}
