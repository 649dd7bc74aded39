//! Worlds to test Everett in.
//!
//! [`sim`] holds the simulated ones: many machines, one thread, one seed, virtual time. [`house`] holds the rules that the
//! tree itself must keep. [`model`] runs the data path on random schedules against an event graph.

pub mod house;
pub mod model;
pub mod sim;
