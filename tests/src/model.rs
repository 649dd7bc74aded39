//! A reference model for the data path: real replicas on simulated stores and a hostile network, and an event graph that
//! says after every step what each of them must show.
//!
//! A *schedule* is a seed: three to five nodes, one namespace, six keys, some two hundred steps. Edits, lost and reordered
//! pushes, log trims, catch-up, repair sessions in small steps, aborts, crashes at any point, disks put back, nodes that
//! go and return, clocks that disagree. The replicas, the log's types and the wire are the real ones; the store below them
//! is [`store::Store`], which has all the moving parts of the agent's (memtable, cuts, chunked flush, watermark, replay).
//!
//! The [`oracle`] knows nothing of rows: it computes values, siblings, sums, existence and deadlines from the set of
//! visible events and from what the author of each had seen. [`check`] compares, and holds on top that equal vectors
//! mean equal bytes, that no dot is visible without its past, and that groups are whole. At the end everything must
//! converge.
//!
//! A [`plan::Flaw`] breaks one rule of the design in the harness; the run must then report faults, or the model proves
//! nothing.

mod by_hand;
mod by_machine;
mod chaos;
pub mod check;
mod closings;
mod edits;
mod node;
pub mod oracle;
pub mod plan;
mod sessions;
mod settle;
pub mod store;
mod world;

pub use check::{Failure, Fault};
pub use plan::{Flaw, Ingredient, Plan};
pub use world::{Stats, World};

/// Runs one schedule to its end.
pub fn run(seed: u64, plan: Plan) -> Result<Stats, Failure> {
    World::new(seed, plan).run()
}
