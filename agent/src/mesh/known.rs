//! Whom to dial after a restart, when there is no seed or none answers: the members that an earlier life knew.
//!
//! Membership says who they are, the keeper puts them on disk, and the next start dials them. It is a hint: whoever was
//! there is found again by any one address that still holds, and a list that is lost costs a seed.
//!
//! Invariant: a life that nobody has answered yet knows nobody, and does not forget whom the last one knew; nor does one
//! whom all others have left.

use bytes::Bytes;
use everett_mesh_proto::membership::{Card, Record};
use everett_mesh_proto::wire::{decode_datagram, encode_datagram};

/// Members kept; any of them leads to the others.
const KNOWN_MAX: usize = 256;

/// What was last put on disk, and whether that may have changed.
#[derive(Debug, Default)]
pub(super) struct Known {
    told: Vec<Card>,
    joined: bool,
    changed: bool,
}

impl Known {
    /// Somebody has answered this life: from now on its roster is the mesh's.
    pub(super) fn joined(&mut self) {
        self.joined = true;
        self.changed = true;
    }

    /// Somebody came, changed or went.
    pub(super) fn changed(&mut self) {
        self.changed = true;
    }

    /// Tells whom the next start should know, if that is news. What was not taken is told again.
    pub(super) fn tell(&mut self, known: impl FnOnce() -> Vec<Record>, tell: impl FnOnce(Vec<Record>) -> bool) {
        if !self.joined || !std::mem::take(&mut self.changed) {
            return;
        }
        let mut known = known();
        known.truncate(KNOWN_MAX);
        let cards: Vec<Card> = known.iter().map(|record| record.card.clone()).collect();
        if known.is_empty() || cards == self.told {
            return;
        }
        if tell(known) {
            self.told = cards;
        } else {
            self.changed = true;
        }
    }
}

/// The bytes to keep.
pub fn encode_known(known: &[Record]) -> Bytes {
    encode_datagram(&known)
}

/// Reads bytes that were kept; what cannot be read is as good as lost.
pub fn decode_known(bytes: &[u8]) -> Vec<Record> {
    decode_datagram(bytes).unwrap_or_else(|error| {
        tracing::warn!(%error, "the members that an earlier start knew cannot be read");
        Vec::new()
    })
}

#[cfg(test)]
mod tests {
    use everett_mesh_proto::id::NodeId;
    use everett_mesh_proto::membership::Life;

    use super::*;

    fn record(name: &str) -> Record {
        let life = Life { id: NodeId([1; 16]), boot_epoch: 3, nonce: 4 };
        let addrs = vec!["127.0.0.1:7117".parse().unwrap()];
        Record { life, incarnation: 0, card: Card { name: name.into(), site: "s".into(), addrs, caps: 0 } }
    }

    /// What is told of `known`, and taken.
    fn told(state: &mut Known, known: Vec<Record>) -> Option<Vec<Record>> {
        let mut told = None;
        state.tell(
            || known,
            |known| {
                told = Some(known);
                true
            },
        );
        told
    }

    #[test]
    fn what_is_kept_reads_back_and_other_bytes_are_nobody() {
        let known = vec![record("a"), record("b")];
        assert_eq!(decode_known(&encode_known(&known)), known);
        assert_eq!(decode_known(b"\xff\xff\xff"), []);
    }

    #[test]
    fn nobody_is_forgotten_before_somebody_has_answered_nor_when_all_have_left() {
        let mut state = Known::default();
        state.changed();
        assert_eq!(told(&mut state, vec![record("a")]), None);
        state.joined();
        assert_eq!(told(&mut state, vec![]), None);
    }

    #[test]
    fn only_news_is_told_and_again_until_it_is_taken() {
        let mut state = Known::default();
        state.joined();
        state.tell(|| vec![record("a")], |_| false);
        assert_eq!(told(&mut state, vec![record("a")]), Some(vec![record("a")]));
        state.changed();
        let refuted = Record { incarnation: 7, ..record("a") };
        assert_eq!(told(&mut state, vec![refuted]), None, "a refutation moves nobody");
        state.changed();
        assert_eq!(told(&mut state, vec![record("a"), record("b")]), Some(vec![record("a"), record("b")]));
    }

    #[test]
    fn no_more_are_kept_than_there_is_room_for() {
        let mut state = Known::default();
        state.joined();
        let crowd = (0..1_000).map(|n| record(&n.to_string())).collect();
        assert_eq!(told(&mut state, crowd).unwrap().len(), KNOWN_MAX);
    }
}
