//! What a log record holds, and what travels of it: groups, adoptions and clock marks.
//!
//! A payload is a format byte and postcard. Inside a payload replica ids are numbered by a table of their own, so that a
//! dot costs two to four bytes and the payload needs no context: the bytes that the log holds are the bytes that every
//! peer gets. Decoders never allocate beyond the bytes they were given.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::bounded::First;
use super::group::encode_group;
use super::row::{decode_row, encode_row};
use super::{Malformed, Writer};
use crate::clock::Stamp;
use crate::crdt::{DeadlineMs, Seen};
use crate::id::{Dot, ReplicaId, Space};
use crate::replica::{Adoption, Effect, Group, Observed, Op, Payload};
use crate::rows::RowKey;
use crate::vector::{Closed, Vector};

/// The version of everything below; the first byte of each payload.
pub const PAYLOAD_FORMAT: u8 = 1;

/// A dot with its replica id as an index into the payload's table.
pub(super) type Short = (u32, u64);

#[derive(Serialize, Deserialize)]
enum Stored {
    Group(StoredGroup),
    Adoption(StoredAdoption),
    Clock { mark_ms: u64 },
    AdoptionOfClosed(StoredAdoption, Closed),
}

#[derive(Serialize, Deserialize)]
struct StoredGroup {
    space: Space,
    /// Index 0 is the author.
    ids: Vec<ReplicaId>,
    first: u64,
    stamp: Stamp,
    deps: Vec<Short>,
    ops: Vec<StoredOp>,
}

#[derive(Serialize, Deserialize)]
enum StoredOp {
    Set { key: Bytes, siblings: Vec<Short>, entries: Vec<StoredSeen>, value: Bytes, deadline_ms: Option<DeadlineMs> },
    Reset { key: Bytes, siblings: Vec<Short>, entries: Vec<StoredSeen> },
    Raise { key: Bytes, generation: u64, up: u128, down: u128, deadline_ms: Option<DeadlineMs> },
    Drop { key: Bytes, presence: Short },
    Expire { key: Bytes, removed: Vec<Short>, deadline_ms: Option<DeadlineMs> },
    Unexpire { key: Bytes, removed: Vec<Short> },
    Cut { context: Vec<Short>, resets: Vec<(Bytes, Vec<StoredSeen>)> },
    Close { last: Short },
}

#[derive(Serialize, Deserialize)]
struct StoredSeen {
    presence: Short,
    /// Counted from the generation on: small where the raise is recent.
    seq: u64,
    up: u128,
    down: u128,
}

#[derive(Serialize, Deserialize)]
struct StoredAdoption {
    space: Space,
    vector: Vector,
    rows: Vec<(RowKey, Option<Bytes>)>,
}

/// Encodes a payload.
pub fn encode_payload(payload: &Payload) -> Bytes {
    let writer = Writer::versioned(PAYLOAD_FORMAT);
    match payload {
        Payload::Group(group) => encode_group(writer, group),
        Payload::Adoption(adoption) => {
            let stored = StoredAdoption {
                space: adoption.space.clone(),
                vector: adoption.vector.named(),
                rows: adoption.rows.iter().map(|(key, row)| (key.clone(), row.as_ref().map(encode_row))).collect(),
            };
            let closed = adoption.vector.closed();
            writer.value(&if closed.is_empty() {
                Stored::Adoption(stored)
            } else {
                Stored::AdoptionOfClosed(stored, closed.clone())
            })
        }
        Payload::Clock { mark_ms } => writer.value(&Stored::Clock { mark_ms: *mark_ms }),
    }
}

/// Decodes a payload; refuses what no encoder wrote.
pub fn decode_payload(bytes: &[u8]) -> Result<Payload, Malformed> {
    Ok(match super::versioned(PAYLOAD_FORMAT, bytes)? {
        Stored::Group(group) => Payload::Group(lengthen(group)?),
        Stored::Adoption(stored) => Payload::Adoption(adoption(stored, Closed::new())?),
        Stored::AdoptionOfClosed(stored, closed) => Payload::Adoption(adoption(stored, closed)?),
        Stored::Clock { mark_ms } => Payload::Clock { mark_ms },
    })
}

fn adoption(StoredAdoption { space, vector, rows }: StoredAdoption, closed: Closed) -> Result<Adoption, Malformed> {
    let row = |(key, row): (RowKey, Option<Bytes>)| {
        let key = RowKey::from_bytes(key.as_bytes().clone()).filter(|key| key.is_in(&space)).ok_or(Malformed)?;
        let row = row.map(|bytes| decode_row(key.kind(), &bytes)).transpose()?;
        Ok((key, row))
    };
    let rows = rows.into_iter().map(row).collect::<Result<_, Malformed>>()?;
    Ok(Adoption { space, vector: Vector::assemble(vector, closed), rows })
}

/// Which ops a payload carries; enough to decide whether somebody needs it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Span {
    /// The namespace.
    pub space: Space,
    /// The life that wrote them.
    pub author: ReplicaId,
    /// The first seq.
    pub first: u64,
    /// The last seq.
    pub last: u64,
}

/// The same of borrowed bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SpanRef<'a> {
    /// The namespace's name.
    pub space: &'a str,
    /// The life that wrote them.
    pub author: ReplicaId,
    /// The first seq.
    pub first: u64,
    /// The last seq.
    pub last: u64,
}

/// The fields of [`StoredGroup`] up to the number of its ops.
#[derive(Deserialize)]
struct Head<'a> {
    space: &'a str,
    ids: First<ReplicaId>,
    first: u64,
    _stamp: Stamp,
    _deps: First<Short>,
    ops: u64,
}

/// Reads which ops a payload carries without decoding them; `None` for payloads that are no group.
pub fn decode_span(bytes: &[u8]) -> Result<Option<Span>, Malformed> {
    let owned = |SpanRef { space, author, first, last }| {
        let space = Space::new(space).map_err(|_| Malformed)?;
        Ok(Span { space, author, first, last })
    };
    peek_span(bytes)?.map(owned).transpose()
}

/// The same without taking anything out of the bytes.
pub fn peek_span(bytes: &[u8]) -> Result<Option<SpanRef<'_>>, Malformed> {
    let (&[format, variant], rest) = bytes.split_first_chunk::<2>().ok_or(Malformed)?;
    if format != PAYLOAD_FORMAT {
        return Err(Malformed);
    }
    if variant != 0 {
        return Ok(None);
    }
    let (head, _ops): (Head<'_>, _) = postcard::take_from_bytes(rest).map_err(|_| Malformed)?;
    let author = head.ids.0.filter(|_| Space::is_name(head.space.as_bytes())).ok_or(Malformed)?;
    let last = head.first.checked_add(head.ops).and_then(|end| end.checked_sub(1)).ok_or(Malformed)?;
    Ok(Some(SpanRef { space: head.space, author, first: head.first, last }))
}

/// The ids of a payload that is being decoded.
struct Ids(Vec<ReplicaId>);

impl Ids {
    fn dot(&self, (number, seq): Short) -> Result<Dot, Malformed> {
        let replica = usize::try_from(number).ok().and_then(|index| self.0.get(index)).ok_or(Malformed)?;
        Ok(Dot { replica: *replica, seq })
    }

    fn dots(&self, dots: Vec<Short>) -> Result<Vec<Dot>, Malformed> {
        dots.into_iter().map(|dot| self.dot(dot)).collect()
    }

    fn seen(&self, seen: Vec<StoredSeen>) -> Result<Vec<Seen>, Malformed> {
        let one = |StoredSeen { presence, seq, up, down }| {
            let presence = self.dot(presence)?;
            Ok(Seen { presence, seq: seq.wrapping_add(presence.seq), up, down })
        };
        seen.into_iter().map(one).collect()
    }

    fn observed(&self, siblings: Vec<Short>, entries: Vec<StoredSeen>) -> Result<Observed, Malformed> {
        Ok(Observed { siblings: self.dots(siblings)?, entries: self.seen(entries)? })
    }

    fn op(&self, op: StoredOp) -> Result<Op, Malformed> {
        let (key, effect) = match op {
            StoredOp::Set { key, siblings, entries, value, deadline_ms } => {
                let seen = self.observed(siblings, entries)?;
                (key, Effect::Set { seen, value, deadline_ms: infinite(deadline_ms) })
            }
            StoredOp::Reset { key, siblings, entries } => {
                (key, Effect::Reset { seen: self.observed(siblings, entries)? })
            }
            StoredOp::Raise { key, generation, up, down, deadline_ms } => {
                (key, Effect::Raise { generation, up, down, deadline_ms: infinite(deadline_ms) })
            }
            StoredOp::Drop { key, presence } => (key, Effect::Drop { presence: self.dot(presence)? }),
            StoredOp::Expire { key, removed, deadline_ms } => {
                (key, Effect::Expire { removed: self.dots(removed)?, deadline_ms: infinite(deadline_ms) })
            }
            StoredOp::Unexpire { key, removed } => (key, Effect::Unexpire { removed: self.dots(removed)? }),
            StoredOp::Close { last } => return Ok(Op::Close { last: self.dot(last)? }),
            StoredOp::Cut { context, resets } => {
                let context = self.dots(context)?.into_iter().collect();
                let resets = resets.into_iter().map(|(key, seen)| Ok((key, self.seen(seen)?)));
                return Ok(Op::Cut { context, resets: resets.collect::<Result<_, Malformed>>()? });
            }
        };
        Ok(Op::Key { key, effect })
    }
}

fn lengthen(stored: StoredGroup) -> Result<Group, Malformed> {
    let ids = Ids(stored.ids);
    let author = *ids.0.first().ok_or(Malformed)?;
    let last = stored.first.checked_add(stored.ops.len() as u64).ok_or(Malformed)?;
    if stored.first == 0 || stored.ops.is_empty() || last == u64::MAX {
        return Err(Malformed);
    }
    Ok(Group {
        space: stored.space,
        author,
        first: stored.first,
        stamp: stored.stamp,
        deps: ids.dots(stored.deps)?,
        ops: stored.ops.into_iter().map(|op| ids.op(op)).collect::<Result<_, _>>()?,
    })
}

fn infinite(deadline_ms: Option<DeadlineMs>) -> DeadlineMs {
    deadline_ms.unwrap_or(crate::crdt::NEVER_MS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crdt::NEVER_MS;

    fn group() -> Group {
        let other = Dot { replica: ReplicaId([2; 16]), seq: 9 };
        let set = Effect::Set {
            seen: Observed { siblings: vec![other], entries: vec![] },
            value: "v".into(),
            deadline_ms: NEVER_MS,
        };
        let cut = Op::Cut {
            context: [other].into_iter().collect(),
            resets: vec![("k".into(), vec![Seen { presence: other, seq: 12, up: 3, down: 1 }])],
        };
        Group {
            space: Space::numbered(0),
            author: ReplicaId([1; 16]),
            first: 7,
            stamp: Stamp::at_ms(1_000),
            deps: vec![other],
            ops: vec![Op::Key { key: "k".into(), effect: set }, cut],
        }
    }

    #[test]
    fn a_payload_comes_back_as_it_went() {
        for payload in [Payload::Group(group()), Payload::Clock { mark_ms: 5 }] {
            assert_eq!(decode_payload(&encode_payload(&payload)), Ok(payload));
        }
    }

    #[test]
    fn a_span_is_read_without_the_ops() {
        let bytes = encode_payload(&Payload::Group(group()));
        let group = group();
        let span = Span { space: group.space.clone(), author: group.author, first: 7, last: group.last().seq };
        assert_eq!(decode_span(&bytes), Ok(Some(span)));
        assert_eq!(decode_span(&encode_payload(&Payload::Clock { mark_ms: 5 })), Ok(None));
        assert_eq!(decode_span(&bytes[..1]), Err(Malformed));
    }
}
