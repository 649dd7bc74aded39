//! The agent: sockets, clocks, disk and threads around the protocol machines.

pub mod api;
pub mod clock;
pub mod ledger;
pub mod metrics;
pub mod store;
