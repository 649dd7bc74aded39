//! Changes of who is here, as they are told to whoever listens: one JSON object each.
//!
//! Apart from [`News`](super::News) because of what happens when the ledger is busy: a roster is simply told again later,
//! but every change is told, in order. What does not fit the bound is lost, and the numbers show that it is.

use std::collections::VecDeque;

use everett_mesh_proto::id::NodeId;
use everett_mesh_proto::membership::{Event, Life};
use serde::Serialize;

use super::Mesh;

/// Changes that may wait for the ledger.
const WAITING_MAX: usize = 4_096;

/// One change of who is here.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Change {
    /// Its number: dense from 1 since the start.
    pub seq: u64,
    /// What happened.
    pub event: Kind,
    /// To which member, by name; by its id if the name is no longer known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// To which site, or in which.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
    /// The boot epoch of the life that it happened to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boot_epoch: Option<u64>,
    /// When this agent learned of it, in ms since 1970 by its clock.
    pub at_ms: u64,
}

/// What happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// This agent has joined the mesh.
    Joined,
    /// A life not seen before is here.
    Up,
    /// A member found silent has answered.
    Returned,
    /// Members together found it silent.
    Unreachable,
    /// It is about to leave.
    Draining,
    /// Unreachable for a minute.
    Dead,
    /// It took its leave.
    Left,
    /// Gone for so long that it is no longer listed.
    Forgotten,
    /// It lives, and most first probes of it go unanswered.
    Degraded,
    /// No longer degraded.
    Recovered,
    /// All members of a site fell at once.
    SiteUnreachable,
    /// Nobody answers this agent.
    Isolated,
    /// Somebody answers it again.
    IsolationEnded,
    /// A later life of this node speaks: this agent is silent from now on.
    Fenced,
}

impl Change {
    /// The channel on which changes are published.
    pub const CHANNEL: &[u8] = b"__mesh__:members";

    /// As it is published: one line.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("names and numbers are JSON")
    }
}

/// Whom a change is about.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct About {
    pub(super) node: Option<String>,
    pub(super) site: Option<String>,
    pub(super) boot_epoch: Option<u64>,
}

/// Changes on their way to the ledger.
#[derive(Debug, Default)]
pub(super) struct Changes {
    seq: u64,
    waiting: VecDeque<Change>,
}

impl Changes {
    /// Numbers a change; it waits until it is taken.
    pub(super) fn note(&mut self, event: Kind, about: About, at_ms: u64) {
        self.seq += 1;
        let About { node, site, boot_epoch } = about;
        if self.waiting.len() < WAITING_MAX {
            self.waiting.push_back(Change { seq: self.seq, event, node, site, boot_epoch, at_ms });
        }
    }

    /// Tells what waits, in order, as far as it is taken.
    pub(super) fn tell(&mut self, mut take: impl FnMut(Change) -> bool) {
        while let Some(change) = self.waiting.front() {
            if !take(change.clone()) {
                return;
            }
            self.waiting.pop_front();
        }
    }
}

impl Mesh {
    /// What an event changes about who is here, for those who listen.
    pub(super) fn note_change(&mut self, event: &Event) {
        let Some(kind) = kind_of(event) else { return };
        let life = |life: &Life| About { boot_epoch: Some(life.boot_epoch), ..self.about(life.id) };
        let about = match event {
            Event::Up { life: of }
            | Event::Returned { life: of }
            | Event::Unreachable { life: of }
            | Event::Draining { life: of }
            | Event::Dead { life: of }
            | Event::Left { life: of }
            | Event::Fenced { by: of } => life(of),
            Event::Forgotten { node } | Event::Degraded { node, .. } => self.about(*node),
            Event::LeaveDone => self.about(self.net.me().id),
            Event::SiteUnreachable { site } => About { site: Some(site.clone()), ..About::default() },
            Event::Joined { .. }
            | Event::SelfIsolated
            | Event::IsolationEnded
            | Event::EpochBehind { .. }
            | Event::Probed { .. } => About::default(),
        };
        self.changes.note(kind, about, self.clock.now().wall_ms);
    }

    pub(super) fn about(&self, node: NodeId) -> About {
        let site = self.machine.member(node).map(|member| member.site.to_owned());
        About { node: Some(self.name(node)), site, boot_epoch: None }
    }
}

/// What an event changes about who is here, if anything.
fn kind_of(event: &Event) -> Option<Kind> {
    match event {
        Event::Joined { .. } => Some(Kind::Joined),
        Event::Up { .. } => Some(Kind::Up),
        Event::Returned { .. } => Some(Kind::Returned),
        Event::Unreachable { .. } => Some(Kind::Unreachable),
        Event::Draining { .. } => Some(Kind::Draining),
        Event::Dead { .. } => Some(Kind::Dead),
        Event::Left { .. } | Event::LeaveDone => Some(Kind::Left),
        Event::Forgotten { .. } => Some(Kind::Forgotten),
        Event::SiteUnreachable { .. } => Some(Kind::SiteUnreachable),
        Event::Degraded { degraded, .. } => Some(if *degraded { Kind::Degraded } else { Kind::Recovered }),
        Event::SelfIsolated => Some(Kind::Isolated),
        Event::IsolationEnded => Some(Kind::IsolationEnded),
        Event::Fenced { .. } => Some(Kind::Fenced),
        Event::EpochBehind { .. } | Event::Probed { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(node: &str) -> About {
        About { node: Some(node.to_owned()), site: Some("oslo".to_owned()), boot_epoch: Some(3) }
    }

    #[test]
    fn a_change_is_one_line_with_what_is_known_of_it() {
        let mut changes = Changes::default();
        changes.note(Kind::Unreachable, about("b"), 7);
        changes.note(Kind::IsolationEnded, About::default(), 8);
        let mut lines = Vec::new();
        changes.tell(|change| {
            lines.push(change.to_json());
            true
        });
        let expected = [
            r#"{"seq":1,"event":"unreachable","node":"b","site":"oslo","boot_epoch":3,"at_ms":7}"#,
            r#"{"seq":2,"event":"isolation_ended","at_ms":8}"#,
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn what_is_not_taken_is_told_again_and_what_is_too_much_leaves_a_gap() {
        let mut changes = Changes::default();
        for at_ms in 0..=WAITING_MAX as u64 {
            changes.note(Kind::Up, about("b"), at_ms);
        }
        let mut seqs = Vec::new();
        changes.tell(|change| {
            seqs.push(change.seq);
            seqs.len() < 2
        });
        changes.tell(|change| {
            seqs.push(change.seq);
            true
        });
        changes.note(Kind::Dead, about("b"), 0);
        changes.tell(|change| {
            seqs.push(change.seq);
            true
        });
        assert_eq!(seqs[..3], [1, 2, 2], "told again until it was taken");
        let last = WAITING_MAX as u64;
        assert_eq!(seqs[seqs.len() - 2..], [last, last + 2], "the numbers show that one was lost");
    }
}
