//! Commands that keep their connection waiting: for peers, or for another thread's answer.

use everett_mesh_proto::time::Instant;

/// What a connection waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Wait {
    /// When it stops waiting; never if none.
    pub(super) until: Option<Instant>,
}
