//! Simulated worlds: one thread, one seed, virtual time.
//!
//! Nothing here waits or asks the machine it runs on for anything; a seed is a bug report.

mod agenda;
pub mod checks;
pub mod field;
pub mod members;
pub mod net;

pub use agenda::Clockwork;
