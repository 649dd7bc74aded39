//! The agent: the hallway between the protocol machines and this host's sockets, clocks, disk and threads.

pub mod api;
pub mod cli;
pub mod client;
pub mod clock;
pub mod config;
pub mod courier;
pub mod durability;
pub mod exit;
pub mod exporter;
pub mod identity;
pub mod keeper;
pub mod ledger;
pub mod mesh;
pub mod metrics;
pub mod net;
pub mod peers;
pub mod pid_file;
pub mod report;
pub mod store;
pub mod systemd;
pub mod telemetry;
pub mod wiring;
