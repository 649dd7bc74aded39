//! Worlds to test Everett in.
//!
//! [`sim`] holds the simulated ones: many machines, one thread, one seed, virtual time. [`house`] holds the rules that the
//! tree itself must keep.

pub mod house;
pub mod sim;
