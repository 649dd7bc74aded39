//! One repair session of the keeper: how far it has come, and on what it works.

use everett_mesh_proto::id::{NodeId, Space};
use everett_mesh_proto::repair::{Limits, Open, Session};
use everett_mesh_proto::time::Instant;

use super::Pinned;
use crate::net::SessionSender;
use crate::peers::Question;

/// How far a session has come.
pub(super) enum Stage {
    /// The peer opened it and has not said what it is about.
    Silent,
    /// It waits for a settled snapshot.
    Settling(Role),
    /// It runs.
    Running(Talk),
}

/// A session that runs.
pub(super) struct Talk {
    pub(super) session: Box<Session>,
    pub(super) pinned: Pinned,
    /// Until the peer has said something, the session's own clock means nothing: the peer may be flushing.
    pub(super) heard: bool,
}

/// What this side's part is.
pub(super) enum Role {
    Initiator(Space, Limits),
    Responder(Open),
}

/// One session, from its stream's first moment on.
pub(super) struct Running {
    pub(super) peer: NodeId,
    pub(super) sender: SessionSender,
    pub(super) stage: Stage,
    pub(super) began: Instant,
    pub(super) own: bool,
    pub(super) asked: Option<Question>,
}

impl Running {
    /// Whether it waits for a settled snapshot.
    pub(super) fn is_settling(&self) -> bool {
        matches!(self.stage, Stage::Settling(_))
    }

    /// How many bytes of the peer's rows it holds.
    pub(super) fn stage_bytes(&self) -> usize {
        match &self.stage {
            Stage::Running(talk) => talk.session.stage_bytes(),
            Stage::Silent | Stage::Settling(_) => 0,
        }
    }

    /// Whether it has something to decode.
    pub(super) fn is_working(&self) -> bool {
        matches!(&self.stage, Stage::Running(talk) if talk.session.is_working())
    }
}
