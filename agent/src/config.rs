//! What an operator may choose, and what happens when nothing is chosen.
//!
//! One TOML file, read once at start. It holds what one agent may decide for itself; what all agents must agree on
//! (wire versions, the cluster's id and its placement key) is in the code or in the certificates, never here. Every knob
//! stands with its unit, default and price in `everett.example.toml`, and a test keeps that file equal to the defaults.
//!
//! Invariants: an unknown key is an error; a value that parses is in range; relations between values are checked before
//! anything starts; relative paths are relative to the file they stand in. What this does not do: it resolves no names,
//! opens no socket and does not look into the certificates.

mod error;
mod memory;
mod units;

#[cfg(test)]
mod tests;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use everett_mesh_proto::membership;
use serde::Deserialize;

pub use error::{ConfigError, Place, Relation};
pub use units::{Letters, Mode, Namespaces, Seed, Share};

use crate::durability::{Durability, Levels};

/// The documented example that ships with the agent; its values are the defaults.
pub const EXAMPLE: &str = include_str!("../everett.example.toml");

/// The largest configuration file that is read at all.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Everything one agent may choose for itself.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Directory of the bundle that `everett certs issue` writes: `ca.pem`, `node.pem`, `node.key`, `place.key`.
    pub certificates: PathBuf,
    /// Where to find the mesh; empty for the first agent of a cluster.
    pub seeds: Vec<Seed>,
    /// UDP address that the mesh is spoken on.
    #[serde(default = "default_listen")]
    pub listen: SocketAddr,
    /// UDP address that others are told to reach this agent on, where it differs from `listen`.
    #[serde(default)]
    pub advertise: Option<SocketAddr>,
    /// Directory of the log segments and of `rows.redb`.
    #[serde(default = "default_state")]
    pub state: PathBuf,
    /// File that names the agent's process while it runs; none by default, since a service manager knows.
    #[serde(default)]
    pub pid_file: Option<PathBuf>,
    /// The socket that local clients connect to.
    #[serde(default)]
    pub socket: SocketConfig,
    /// Memory and disk of the store.
    #[serde(default)]
    pub store: StoreConfig,
    /// What a client or a peer may ask for at most.
    #[serde(default)]
    pub limits: LimitsConfig,
    /// How far clocks may disagree.
    #[serde(default)]
    pub clock: ClockConfig,
    /// What knowing who is here may cost.
    #[serde(default)]
    pub membership: MembershipConfig,
    /// What is told to those who watch the agent.
    #[serde(default, alias = "log")]
    pub telemetry: TelemetryConfig,
}

/// The Unix socket that local clients connect to.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SocketConfig {
    /// Where it is bound.
    pub path: PathBuf,
    /// Its file mode: who may connect.
    pub mode: Mode,
    /// Its group, by name or number; the process's own where absent.
    pub group: Option<String>,
    /// Which changes of keys its clients may listen for.
    pub notify_keyspace_events: Letters,
}

/// Memory and disk of the store.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoreConfig {
    /// Memory for rows not flushed yet.
    pub memtable_bytes: Share,
    /// Memory for what is in `rows.redb`: its pages, and rows that were read or written lately.
    pub cache_bytes: Share,
    /// Disk for operations that some member has not acknowledged yet.
    #[serde(deserialize_with = "units::size")]
    pub log_bytes: u64,
    /// Size of one log segment.
    #[serde(deserialize_with = "units::size")]
    pub segment_bytes: u64,
    /// When writes are answered where nobody chose another level.
    pub durability: Durability,
    /// Namespaces that have another level.
    pub durability_namespaces: Namespaces,
    /// The most that lies between an answer and the disk at the level `interval`.
    #[serde(deserialize_with = "units::duration")]
    pub durability_interval: Duration,
    /// From the end of one reading of all rows, which compares them with the tree, to the next.
    #[serde(deserialize_with = "units::duration")]
    pub verify_period: Duration,
    /// Whether the summary tree is kept. No file can say that it is not: only a measurement of its price leaves it out.
    #[serde(skip)]
    pub keeps_tree: bool,
}

impl StoreConfig {
    /// When writes are answered, by namespace.
    pub fn levels(&self) -> Levels {
        Levels::new(self.durability_interval, self.durability, &self.durability_namespaces.0)
    }

    /// When a sync begins that nobody waits for: what is left of the interval is for the disk.
    pub fn sync_after(&self) -> Duration {
        self.durability_interval / 2
    }
}

/// What a client or a peer may ask for at most.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// Largest value that a client may store.
    #[serde(deserialize_with = "units::size")]
    pub value_max: u64,
    /// Connections on the socket at one time.
    pub clients_max: u32,
    /// Replies that wait for one client to read them.
    #[serde(deserialize_with = "units::size")]
    pub output_buffer_bytes: u64,
}

/// How far clocks may disagree.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClockConfig {
    /// Largest distance from the median clock, and the furthest that a remote stamp moves the own clock ahead.
    #[serde(deserialize_with = "units::duration")]
    pub max_skew: Duration,
}

/// What knowing who is here may cost.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MembershipConfig {
    /// Sooner, or for less. Agents of one mesh may differ in it.
    pub profile: MembershipProfile,
    /// How long a node may be gone and keep what it holds on lease.
    #[serde(deserialize_with = "units::duration")]
    pub restart_grace: Duration,
}

impl MembershipConfig {
    /// The protocol's knobs.
    pub fn knobs(&self) -> membership::Config {
        match self.profile {
            MembershipProfile::Standard => membership::Config::default(),
            MembershipProfile::Saving => membership::Config::eco(),
        }
    }
}

/// How membership weighs traffic against the time to find a dead member.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MembershipProfile {
    /// About two seconds, for two small datagrams a second.
    #[default]
    Standard,
    /// About twice that, for a quarter of the traffic.
    Saving,
}

/// What is told to those who watch the agent: logs on stderr, figures over HTTP.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TelemetryConfig {
    /// A level, or `target=level` pairs separated by commas; the environment's `EVERETT_LOG` goes before it.
    pub filter: String,
    /// For people or for programs.
    pub format: LogFormat,
    /// TCP address on which Prometheus may collect figures; nowhere by default.
    pub metrics: Option<SocketAddr>,
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One line for a person.
    Human,
    /// One JSON object a line.
    Json,
}

impl Config {
    /// Reads, parses and checks the file at `path`.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = read(path)?;
        Self::parse(&text, path)
    }

    /// Parses and checks `text` as if it stood in the file `path`.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let document = toml::Deserializer::parse(text).map_err(|e| ConfigError::syntax(path, text, &e))?;
        let mut config: Self =
            serde_path_to_error::deserialize(document).map_err(|e| ConfigError::value(path, text, &e))?;
        config.check(path, text)?;
        if let Some(directory) = path.parent() {
            config.anchor(directory);
        }
        Ok(config)
    }

    /// What an agent with these certificates and seeds runs with when nothing else is chosen.
    pub fn with_defaults(certificates: PathBuf, seeds: Vec<Seed>) -> Self {
        Self {
            certificates,
            seeds,
            listen: default_listen(),
            advertise: None,
            state: default_state(),
            pid_file: None,
            socket: SocketConfig::default(),
            store: StoreConfig::default(),
            limits: LimitsConfig::default(),
            clock: ClockConfig::default(),
            membership: MembershipConfig::default(),
            telemetry: TelemetryConfig::default(),
        }
    }

    fn check(&self, path: &Path, text: &str) -> Result<(), ConfigError> {
        let Some(relation) = Relation::ALL.into_iter().find(|r| !r.holds(self)) else {
            return Ok(());
        };
        Err(ConfigError::relation(path, text, relation))
    }

    fn anchor(&mut self, directory: &Path) {
        let paths = [&mut self.certificates, &mut self.state, &mut self.socket.path];
        for path in paths.into_iter().chain(&mut self.pid_file) {
            if path.is_relative() {
                *path = joined(directory, path);
            }
        }
    }
}

/// `path` from `directory` on; leading `..` are followed where the directory can be looked at, so that what is shown, and
/// bound, is short.
fn joined(directory: &Path, path: &Path) -> PathBuf {
    if !path.starts_with("..") {
        return directory.join(path);
    }
    let Ok(mut base) = directory.canonicalize() else { return directory.join(path) };
    let mut rest = path;
    while let Ok(below) = rest.strip_prefix("..") {
        base.pop();
        rest = below;
    }
    base.join(rest)
}

fn read(path: &Path) -> Result<String, ConfigError> {
    let unreadable = |source| ConfigError::Read { path: path.to_owned(), source };
    if fs::metadata(path).map_err(unreadable)?.len() > FILE_BYTES_MAX {
        return Err(ConfigError::TooLarge { path: path.to_owned(), bytes_max: FILE_BYTES_MAX });
    }
    fs::read_to_string(path).map_err(unreadable)
}

fn default_listen() -> SocketAddr {
    (Ipv4Addr::UNSPECIFIED, 7117).into()
}

fn default_state() -> PathBuf {
    "/var/lib/everett".into()
}

impl Default for SocketConfig {
    fn default() -> Self {
        Self {
            path: "/run/everett/everett.sock".into(),
            mode: Mode(0o660),
            group: None,
            notify_keyspace_events: Letters::default(),
        }
    }
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            memtable_bytes: Share::Auto,
            cache_bytes: Share::Auto,
            log_bytes: 1 << 30,
            segment_bytes: 64 << 20,
            durability: Durability::Commit,
            durability_namespaces: Namespaces::default(),
            durability_interval: Duration::from_secs(1),
            verify_period: Duration::from_hours(12),
            keeps_tree: true,
        }
    }
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self { value_max: 4 << 20, clients_max: 10_000, output_buffer_bytes: 32 << 20 }
    }
}

impl Default for ClockConfig {
    fn default() -> Self {
        Self { max_skew: Duration::from_millis(500) }
    }
}

impl Default for MembershipConfig {
    fn default() -> Self {
        Self { profile: MembershipProfile::default(), restart_grace: Duration::from_secs(30) }
    }
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        Self { filter: "info".into(), format: LogFormat::Human, metrics: None }
    }
}
