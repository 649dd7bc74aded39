//! Worlds to test Everett in.
//!
//! [`sim`] holds the simulated ones: many machines, one thread, one seed, virtual time.
//! Worlds to test Everett in: simulated meshes, reference models, real agents, house rules.

pub mod house;
pub mod sim;
