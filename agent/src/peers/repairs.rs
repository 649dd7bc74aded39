//! What repair has cost and brought, in all and with each peer, since the start.

use std::collections::BTreeMap;

use everett_mesh_proto::id::NodeId;

/// Peers beyond so many are counted in the sum alone.
const PEERS_MAX: usize = 1_024;

/// Why rows had to be repaired.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Cause {
    /// Their writes would have come as ops, and had not yet.
    #[default]
    LateOp,
    /// This agent was away for longer than the peer's log reaches, or is new.
    LongAbsence,
    /// Equal dots stood for different bytes: a disk or a defect.
    Corruption,
}

impl Cause {
    /// All of them, in the order of their figures.
    pub const ALL: [Self; 3] = [Self::LateOp, Self::LongAbsence, Self::Corruption];

    /// The name of its figure.
    pub fn figure(self) -> &'static str {
        match self {
            Self::LateOp => "repaired_rows_late_op",
            Self::LongAbsence => "repaired_rows_long_absence",
            Self::Corruption => "repaired_rows_corruption",
        }
    }
}

/// What a session said and heard, whoever opened it and however it ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Talked {
    /// Bytes sent, frames and all.
    pub sent_bytes: u64,
    /// Bytes received.
    pub received_bytes: u64,
    /// Messages sent and received.
    pub messages: u64,
    /// Whether it came to nothing.
    pub failed: bool,
}

/// What came of sessions.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Repairs {
    /// Sessions that ended.
    pub sessions: u64,
    /// Of them, those that came to nothing.
    pub failed: u64,
    /// What was sent in them.
    pub sent_bytes: u64,
    /// What was received in them.
    pub received_bytes: u64,
    /// Messages in them, both ways.
    pub messages: u64,
    /// What they brought and was adopted.
    pub adopted: u64,
    /// Of that, what was nothing but a vector: the content had come as ops.
    pub of_vectors: u64,
    /// Of that, what found divergence.
    pub of_divergence: u64,
    /// Turns of all sessions that brought something.
    pub turns: u64,
    /// Rows in it, absences included, by cause.
    rows: [u64; 3],
}

impl Repairs {
    /// Rows repaired for this cause.
    pub fn rows_by(&self, cause: Cause) -> u64 {
        self.rows[cause as usize]
    }

    /// Rows repaired.
    pub fn rows(&self) -> u64 {
        self.rows.iter().sum()
    }

    fn talked(&mut self, talked: Talked) {
        self.sessions += 1;
        self.failed += u64::from(talked.failed);
        self.sent_bytes += talked.sent_bytes;
        self.received_bytes += talked.received_bytes;
        self.messages += talked.messages;
    }

    fn adopted(&mut self, adopted: Adopted) {
        let Adopted { cause, rows, diverged, turns } = adopted;
        self.adopted += 1;
        self.of_vectors += u64::from(rows == 0);
        self.of_divergence += u64::from(diverged > 0);
        self.turns += turns;
        let diverged = diverged.min(rows);
        self.rows[Cause::Corruption as usize] += diverged;
        self.rows[cause as usize] += rows - diverged;
    }
}

/// What a session brought and was adopted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Adopted {
    /// Why it was opened.
    pub cause: Cause,
    /// Rows, absences included.
    pub rows: u64,
    /// Of them, those with equal dots and different bytes, as far as they were named.
    pub diverged: u64,
    /// Turns of both sides.
    pub turns: u64,
}

/// What came of sessions, in all and by peer, and how far those have come that are under way.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RepairCounts {
    /// In all.
    pub all: Repairs,
    /// Rows that sessions under way have brought, and about how many the peers hold; none if there are none.
    pub under_way: Option<(u64, u64)>,
    by_peer: BTreeMap<NodeId, Repairs>,
}

impl RepairCounts {
    /// What came of sessions with a peer.
    pub fn with(&self, peer: NodeId) -> Repairs {
        self.by_peer.get(&peer).copied().unwrap_or_default()
    }

    /// A session has ended.
    pub fn talked(&mut self, peer: NodeId, talked: Talked) {
        self.each(peer, |repairs| repairs.talked(talked));
    }

    /// What a session brought was adopted.
    pub fn adopted(&mut self, peer: NodeId, adopted: Adopted) {
        self.each(peer, |repairs| repairs.adopted(adopted));
    }

    fn each(&mut self, peer: NodeId, count: impl Fn(&mut Repairs)) {
        count(&mut self.all);
        if self.by_peer.contains_key(&peer) || self.by_peer.len() < PEERS_MAX {
            count(self.by_peer.entry(peer).or_default());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_counted_by_cause_and_by_peer() {
        let mut counts = RepairCounts::default();
        let (a, b) = (NodeId([1; 16]), NodeId([2; 16]));
        counts.adopted(a, Adopted { cause: Cause::LongAbsence, rows: 10, diverged: 0, turns: 3 });
        counts.adopted(b, Adopted { cause: Cause::LateOp, rows: 5, diverged: 2, turns: 4 });
        counts.adopted(b, Adopted::default());
        counts.talked(b, Talked { sent_bytes: 7, received_bytes: 9, messages: 2, failed: true });
        assert_eq!(Cause::ALL.map(|cause| counts.all.rows_by(cause)), [3, 10, 2]);
        assert_eq!(Cause::ALL.map(|cause| counts.with(a).rows_by(cause)), [0, 10, 0]);
        assert_eq!((counts.all.adopted, counts.all.of_vectors, counts.all.of_divergence), (3, 1, 1));
        assert_eq!((counts.with(a).sessions, counts.with(b).sessions, counts.with(b).failed), (0, 1, 1));
        assert_eq!((counts.all.rows(), counts.with(b).received_bytes), (15, 9));
    }
}
