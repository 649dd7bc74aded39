//! The agent: the hallway between the protocol machines and this host's sockets, clocks, disk and threads.

pub mod config;
pub mod store;
