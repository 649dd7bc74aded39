//! One repair session of the keeper: how far it has come, and on what it works.

use everett_mesh_proto::id::{NodeId, Space};
use everett_mesh_proto::repair::{Limits, Open, Session};
use everett_mesh_proto::time::Instant;
use everett_mesh_proto::wire::Frame;

use super::Pinned;
use crate::net::{NotSent, SessionSender};
use crate::peers::{Cause, Question, Talked};

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
    pub(super) cause: Cause,
    pub(super) talked: Talked,
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

    /// How many rows of the peer it holds, and how many the peer has.
    pub(super) fn progress(&self) -> Option<(u64, u64)> {
        match &self.stage {
            Stage::Running(talk) => Some(talk.session.progress()),
            Stage::Silent | Stage::Settling(_) => None,
        }
    }

    /// Whether it has something to decode.
    pub(super) fn is_working(&self) -> bool {
        matches!(&self.stage, Stage::Running(talk) if talk.session.is_working())
    }
}

/// Sends a frame to a session's peer.
pub(super) fn say(sender: &SessionSender, talked: &mut Talked, frame: Frame) -> Result<(), NotSent> {
    talked.messages += 1;
    talked.sent_bytes += frame.as_bytes().len() as u64;
    sender.send(frame)
}
