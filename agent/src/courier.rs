//! The courier thread: reads the log for peers that are behind.
//!
//! It is work on files that nobody's reply waits for, so it has a thread of its own beside the log's. It answers in the
//! order in which it was asked; what a peer lacks is decided by the store's [`Courier`].

use crossbeam_channel::{Receiver, Sender, bounded};
use everett_mesh_proto::id::NodeId;
use everett_mesh_proto::log::Durable;
use everett_mesh_proto::push::{Piece, Reading, Vectors};

use crate::store::{Courier, Known, LogRequest, StoreError};

/// Orders that may queue. Full: the ledger keeps the reading for a later turn.
pub const ORDERS: usize = 256;

/// What the courier is to do.
#[derive(Debug)]
pub enum Order {
    /// Read a piece of the log for a peer.
    Read {
        /// What the peer lacks.
        reading: Reading,
        /// What is durable here.
        mine: Vectors,
        /// Up to where the log may be read.
        durable: Durable,
    },
    /// The peer is gone: let go of its place in the log.
    Forget(NodeId),
}

/// Serves orders until nobody can give one any more.
pub fn run(
    mut courier: Courier,
    orders: &Receiver<Order>,
    log: &Sender<LogRequest>,
    mut answer: impl FnMut(Piece) -> bool,
) -> Result<(), StoreError> {
    for order in orders {
        let (reading, mine, durable) = match order {
            Order::Read { reading, mine, durable } => (reading, mine, durable),
            Order::Forget(peer) => {
                courier.forget(peer);
                continue;
            }
        };
        let (reply, index) = bounded(1);
        let asked = log.send(LogRequest::Index(reply)).is_ok();
        let Some(index) = index.recv().ok().filter(|_| asked) else { return Ok(()) };
        let known = Known { index: &index, durable, vectors: &mine };
        if !answer(courier.read(&reading, &known)?) {
            return Ok(());
        }
    }
    Ok(())
}
