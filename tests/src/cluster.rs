//! Clusters of real agents: real processes, real QUIC and mutual TLS, real disks, real `kill -9`.
//!
//! Every agent is the `everett` binary with a configuration, a bundle and a state directory of its own in one temporary
//! directory, reached by stock Redis client code over its Unix socket. Nothing is left behind, whatever a test does; a
//! failing test prints the end of each agent's log. What this does not do: delay between agents; loss there is
//! with a [`Router`] between them.

mod agent;
mod binary;
mod frozen;
mod listener;
mod router;
mod saved;
pub mod wait;
mod worn_disk;

use std::net::{Ipv4Addr, UdpSocket};
use std::path::Path;
use std::thread;
use std::time::Duration;

use everett_certs::{Authority, CaOptions, Profile};
use redis::Connection;
use tempfile::TempDir;

pub use agent::Agent;
pub use binary::path as binary;
pub use frozen::{Freeze, FrozenDisk};
pub use listener::Listener;
pub use router::Router;
pub use saved::copy_directory;
pub use worn_disk::worn_disk;

/// How long agents may take to find each other, and to hold the same, on a busy machine.
pub const PATIENCE: Duration = Duration::from_mins(2);

/// Some agents of one cluster.
#[derive(Debug)]
pub struct Cluster {
    authority: Authority,
    agents: Vec<Agent>,
    // Dropped last: the agents live in it.
    directory: TempDir,
}

impl Cluster {
    /// Lays `count` agents out, none of them started.
    pub fn laid_out(count: usize) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let authority = Authority::create(&CaOptions::default()).expect("an authority can be made");
        let ports = free_ports(count);
        let agents = (0..count).map(|index| Agent::lay_out(directory.path(), &authority, index, &ports)).collect();
        Self { authority, agents, directory }
    }

    /// A whole mesh of `count` agents: each serves and sees all others.
    pub fn of(count: usize) -> Self {
        let mut cluster = Self::laid_out(count);
        cluster.agents.iter_mut().for_each(Agent::start);
        cluster.wait_until_whole();
        cluster
    }

    /// The agent at this index.
    pub fn agent(&mut self, index: usize) -> &mut Agent {
        &mut self.agents[index]
    }

    /// Another process with the files of the agent at this index, started.
    pub fn second_process(&self, index: usize) -> Agent {
        let mut second = self.agents[index].twin();
        second.start();
        second
    }

    /// A new connection to the agent at this index.
    pub fn client(&self, index: usize) -> Connection {
        self.agents[index].client()
    }

    /// The cluster's authority, for bundles that no agent of it has.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The directory that everything is in.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Waits until every running agent takes data commands and sees all other running ones.
    pub fn wait_until_whole(&self) {
        let running: Vec<_> = self.agents.iter().filter(|agent| agent.is_running()).collect();
        wait::until("the mesh is whole", PATIENCE, || {
            running.iter().all(|agent| agent.serves() && agent.peers_alive().is_some_and(|n| n + 1 >= running.len()))
        });
    }

    /// Waits until all running agents report one digest, and returns it.
    pub fn wait_until_converged(&self) -> Vec<String> {
        let mut common = None;
        wait::until("all agents hold the same", PATIENCE, || {
            let running = self.agents.iter().filter(|agent| agent.is_running());
            let digests: Option<Vec<_>> = running.map(Agent::digest).collect();
            common =
                digests.filter(|all| all.windows(2).all(|two| two[0] == two[1])).and_then(|all| all.into_iter().next());
            common.is_some()
        });
        common.expect("the wait above ended with a digest")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if thread::panicking() {
            self.agents.iter().for_each(Agent::print_log_end);
        }
    }
}

/// A bundle of `authority` for a node that no cluster has, in `directory`.
pub fn strange_bundle(authority: &Authority, node: &str, directory: &Path) {
    let bundle = authority.issue(&Profile::new("elsewhere", node)).expect("a bundle can be issued");
    bundle.save(directory, false).expect("the bundle can be written");
}

fn free_ports(count: usize) -> Vec<u16> {
    // All are held until all are found, so that none is found twice.
    let sockets: Vec<_> =
        (0..count).map(|_| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has free ports")).collect();
    sockets.iter().map(|socket| socket.local_addr().expect("a bound socket has an address").port()).collect()
}
