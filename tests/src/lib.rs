//! Worlds to test Everett in.
//!
//! [`sim`] holds the simulated ones: many machines, one thread, one seed, virtual time. [`house`] holds the rules that the
//! tree itself must keep. [`disk`] is a disk whose power fails.

pub mod disk;
pub mod house;
pub mod sim;
