//! Worlds to test Everett in.
//!
//! [`sim`] holds the simulated ones: many machines, one thread, one seed, virtual time. [`model`] runs the data path on
//! random schedules against an event graph. [`disk`] is a disk whose power fails. [`cluster`] runs real agents as
//! processes, and [`resp`] speaks to them in bytes. [`house`] holds the rules that the tree itself must keep.

pub mod cluster;
pub mod disk;
pub mod house;
pub mod model;
pub mod resp;
pub mod sim;
