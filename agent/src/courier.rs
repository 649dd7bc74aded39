//! The courier thread: reads the log for peers that are behind, and makes log files ready ahead of need.
//!
//! Both are work on files that nobody's reply waits for, so they have a thread of their own beside the log's. It answers
//! in the order in which it was asked; what a peer lacks is decided by the store's [`Courier`].

use crossbeam_channel::{Receiver, Sender, bounded};
use everett_mesh_proto::log::Durable;
use everett_mesh_proto::push::{Piece, Reading, Vectors};

use crate::store::{Courier, Folder, Known, LogRequest, SpareRequest, StoreError};

/// Orders that may queue. Full: the reading is asked for again when its peer has room.
pub const ORDERS: usize = 256;

/// What the courier is asked for.
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
    /// Make a log file ready.
    Spare(SpareRequest),
    /// End.
    End,
}

/// Serves orders until nobody can give one any more.
pub fn run(
    mut courier: Courier,
    folder: &Folder,
    orders: &Receiver<Order>,
    log: &Sender<LogRequest>,
    mut answer: impl FnMut(Piece) -> bool,
) -> Result<(), StoreError> {
    for order in orders {
        match order {
            Order::Read { reading, mine, durable } => {
                let (reply, index) = bounded(1);
                let asked = log.send(LogRequest::Index(reply)).is_ok();
                let Some(index) = index.recv().ok().filter(|_| asked) else { return Ok(()) };
                let known = Known { index: &index, durable, vectors: &mine };
                if !answer(courier.read(&reading, &known)?) {
                    return Ok(());
                }
            }
            Order::End => return Ok(()),
            Order::Spare(request) => {
                let spare = request.fulfil(folder)?;
                if log.send(LogRequest::Spare(spare)).is_err() {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}
