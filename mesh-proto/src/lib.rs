//! Everett's protocol machines, without input or output of their own.
//!
//! Three rooms: [`membership`] knows who is here, [`replica`] knows what we know, [`repair`] finds and mends differences.
//! They share ids, clocks, rows and the wire, and nothing else. This crate reads no clock, opens no socket, spawns
//! nothing, and builds for a target without an operating system; whoever drives it supplies time, bytes and rows.

pub mod clock;
pub mod crdt;
pub mod id;
pub mod lease;
pub mod log;
pub mod membership;
pub mod push;
pub mod repair;
pub mod replica;
pub mod rows;
pub mod summary;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod time;
pub mod vector;
pub mod wire;
