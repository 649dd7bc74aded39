//! Which of several connections between two nodes is the link: a decision without side effects.
//!
//! Two agents may dial each other at once, restart, lose a link at different moments, or bear one name by mistake. Of two
//! nodes the one with the lower id decides, one connection at a time, and numbers what it grants; the other follows the
//! highest number. So both always end on one connection, in whatever order the packets come, and no clock is compared.
//!
//! A process is known by its nonce; its boot epoch may rise while it runs, when it learns that the mesh knew a later one.
//! A later start of the peer's node takes over at once. An earlier or equal one, while the old link still answers, is
//! fenced; whether it answers takes a moment to see, and until then the newcomer is told to come again.

use everett_mesh_proto::wire::Hello;

/// The link that stands, as far as the decision needs it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Standing {
    pub(super) process: Process,
    /// The number it was granted under.
    pub(super) ordinal: u64,
    /// Whether its connection is over already.
    pub(super) is_closed: bool,
    /// Datagrams received on it so far.
    pub(super) received: u64,
    /// The same count when another process first claimed the peer's name.
    pub(super) received_when_doubted: Option<u64>,
}

/// One start of a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Process {
    pub(super) boot_epoch: u64,
    pub(super) nonce: u64,
}

impl Process {
    /// The one that says this HELLO.
    pub(super) fn of(hello: &Hello) -> Self {
        Self { boot_epoch: hello.boot_epoch, nonce: hello.nonce }
    }
}

/// Who decides between this node and the peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Decider {
    /// This node.
    Us,
    /// The peer, which numbered the connection so.
    Peer {
        /// The number.
        ordinal: u64,
    },
}

/// The decision on a new connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// It becomes the link; a standing one ends as replaced.
    Take,
    /// It becomes the link of a later start; the standing one is fenced.
    TakeOver,
    /// There is a link already.
    Duplicate,
    /// Another process claims the name; see whether the standing link still answers.
    Doubt,
    /// Another process claims the name while the standing link answers.
    Fence,
    /// The peer decides and gave no number.
    Unnumbered,
}

/// Decides on a new connection of `newcomer`.
pub(super) fn decide(standing: Option<&Standing>, newcomer: Process, decider: Decider) -> Verdict {
    if decider == (Decider::Peer { ordinal: 0 }) {
        return Verdict::Unnumbered;
    }
    let Some(standing) = standing else {
        return Verdict::Take;
    };
    if standing.is_closed {
        return Verdict::Take;
    }
    if standing.process.nonce != newcomer.nonce {
        return between_processes(standing, newcomer);
    }
    match decider {
        Decider::Peer { ordinal } if ordinal > standing.ordinal => Verdict::Take,
        Decider::Us | Decider::Peer { .. } => Verdict::Duplicate,
    }
}

fn between_processes(standing: &Standing, newcomer: Process) -> Verdict {
    if newcomer.boot_epoch > standing.process.boot_epoch {
        return Verdict::TakeOver;
    }
    match standing.received_when_doubted {
        Some(count) if standing.received > count => Verdict::Fence,
        Some(_) | None => Verdict::Doubt,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROCESS: Process = Process { boot_epoch: 5, nonce: 1 };

    fn standing() -> Standing {
        Standing { process: PROCESS, ordinal: 3, is_closed: false, received: 10, received_when_doubted: None }
    }

    #[test]
    fn the_first_connection_is_taken() {
        assert_eq!(decide(None, PROCESS, Decider::Us), Verdict::Take);
        let numbered = Decider::Peer { ordinal: 1 };
        assert_eq!(decide(None, PROCESS, numbered), Verdict::Take);
    }

    #[test]
    fn who_decides_keeps_the_link_that_stands() {
        assert_eq!(decide(Some(&standing()), PROCESS, Decider::Us), Verdict::Duplicate);
    }

    #[test]
    fn who_follows_takes_the_highest_number() {
        let numbered = |ordinal| decide(Some(&standing()), PROCESS, Decider::Peer { ordinal });
        assert_eq!(numbered(4), Verdict::Take);
        assert_eq!(numbered(3), Verdict::Duplicate);
        assert_eq!(numbered(2), Verdict::Duplicate);
        assert_eq!(numbered(0), Verdict::Unnumbered);
    }

    #[test]
    fn a_process_whose_epoch_rose_is_still_the_same() {
        let risen = Process { boot_epoch: 9, ..PROCESS };
        assert_eq!(decide(Some(&standing()), risen, Decider::Us), Verdict::Duplicate);
        assert_eq!(decide(Some(&standing()), risen, Decider::Peer { ordinal: 4 }), Verdict::Take);
    }

    #[test]
    fn a_closed_link_gives_way() {
        let closed = Standing { is_closed: true, ..standing() };
        assert_eq!(decide(Some(&closed), PROCESS, Decider::Us), Verdict::Take);
    }

    #[test]
    fn a_later_start_takes_over() {
        let later = Process { boot_epoch: 6, nonce: 2 };
        assert_eq!(decide(Some(&standing()), later, Decider::Us), Verdict::TakeOver);
    }

    #[test]
    fn an_earlier_start_is_fenced_only_when_the_standing_link_answers() {
        for boot_epoch in [4, 5] {
            let earlier = Process { boot_epoch, nonce: 2 };
            let doubted = |count| Standing { received_when_doubted: count, ..standing() };
            assert_eq!(decide(Some(&doubted(None)), earlier, Decider::Us), Verdict::Doubt);
            assert_eq!(decide(Some(&doubted(Some(10))), earlier, Decider::Us), Verdict::Doubt);
            assert_eq!(decide(Some(&doubted(Some(9))), earlier, Decider::Us), Verdict::Fence);
        }
    }
}
