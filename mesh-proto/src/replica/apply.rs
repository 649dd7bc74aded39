//! Applying: the one path by which an op changes rows, whether it is our own, a peer's, or read back at a start.

use std::time::Duration;

use bytes::Bytes;

use super::closing::closed_by;
use super::{Alarm, Effect, Group, Observed, Op, Output, Payload, Replica, Signal};
use crate::clock::Stamp;
use crate::crdt::{Raise, Register, Scalar, Seen, Sibling};
use crate::id::{Dot, NodeId, Space};
use crate::rows::{Cut, Kind, Position, Row, RowKey, Rows};
use crate::time::Now;
use crate::vector::Vector;
use crate::wire;

/// One op's coordinates while it is applied.
#[derive(Clone, Copy)]
pub(super) struct Mint {
    pub(super) dot: Dot,
    pub(super) stamp: Stamp,
    pub(super) at: Position,
}

impl Effect {
    /// The kind of row that it changes.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Set { .. } | Self::Reset { .. } | Self::Raise { .. } | Self::Drop { .. } => Kind::Scalar,
            Self::Expire { .. } | Self::Unexpire { .. } => Kind::Expiry,
        }
    }

    fn apply(&self, row: &mut Row, dot: Dot, stamp: Stamp) {
        match row {
            Row::Scalar(scalar) => self.apply_to_scalar(scalar, dot, stamp),
            Row::Expiry(register) => self.apply_to_register(register, dot),
        }
    }

    /// What the write `dot` at `stamp` does to a string or counter.
    pub(super) fn apply_to_scalar(&self, scalar: &mut Scalar, dot: Dot, stamp: Stamp) {
        match self {
            Self::Set { seen, value, deadline_ms } => {
                reset(scalar, dot, seen);
                scalar.insert(Sibling { dot, stamp, bytes: value.clone(), deadline_ms: *deadline_ms });
            }
            Self::Reset { seen } => reset(scalar, dot, seen),
            &Self::Raise { generation, up, down, deadline_ms } => {
                let presence = Dot { replica: dot.replica, seq: generation };
                scalar.raise(presence, Raise { seq: dot.seq, stamp, up, down, deadline_ms });
            }
            Self::Drop { presence } => scalar.drop_entry(*presence),
            Self::Expire { .. } | Self::Unexpire { .. } => unreachable!("an effect is applied to a row of its kind"),
        }
    }

    /// What the write `dot` does to a key's deadline.
    pub(super) fn apply_to_register(&self, register: &mut Register, dot: Dot) {
        match self {
            Self::Expire { removed, deadline_ms } => {
                register.remove(removed);
                register.insert(dot, *deadline_ms);
            }
            Self::Unexpire { removed } => register.remove(removed),
            Self::Set { .. } | Self::Reset { .. } | Self::Raise { .. } | Self::Drop { .. } => {
                unreachable!("an effect is applied to a row of its kind")
            }
        }
    }

    fn resets(&self) -> &[Seen] {
        match self {
            Self::Set { seen, .. } | Self::Reset { seen } => &seen.entries,
            Self::Raise { .. } | Self::Drop { .. } | Self::Expire { .. } | Self::Unexpire { .. } => &[],
        }
    }
}

fn reset(scalar: &mut Scalar, dot: Dot, seen: &Observed) {
    scalar.remove(&seen.siblings);
    for entry in &seen.entries {
        // An entry that is not here was dropped by its owner since: causal delivery brought the drop first.
        scalar.reset(dot, entry);
    }
}

impl Replica {
    /// A group came from a peer.
    pub(super) fn receive<R: Rows>(
        &mut self,
        now: Now,
        rows: &mut R,
        from: NodeId,
        payload: Bytes,
    ) -> Result<(), R::Error> {
        let Ok(Payload::Group(group)) = wire::decode_payload(&payload) else {
            self.signals.push_back(Signal::Broke { from });
            return Ok(());
        };
        let known = self.spaces.get(&group.space).map_or(0, |keyspace| keyspace.vector.seq(group.author));
        if known >= group.last().seq {
            return Ok(());
        }
        if group.author == self.config.id {
            let dot = group.dot(0);
            self.signals.push_back(Signal::Alarm(Alarm::Fork { from, dot }));
            return Ok(());
        }
        if known >= group.first {
            // Groups are applied whole everywhere, so nobody can honestly have seen half of one.
            self.signals.push_back(Signal::Broke { from });
            return Ok(());
        }
        self.absorb(now, group.stamp, group.dot(0));
        if self.is_ready(&group) {
            let space = group.space.clone();
            self.apply_remote(now, rows, &group, payload)?;
            self.tell_visible(group.stamp, None);
            return self.open_gate(now, rows, &space);
        }
        self.gate.hold(now.mono, from, group, payload);
        Ok(())
    }

    /// Applies every waiting group of `space` that has become ready.
    pub(super) fn open_gate<R: Rows>(&mut self, now: Now, rows: &mut R, space: &Space) -> Result<(), R::Error> {
        loop {
            let vector = self.spaces.get(space).map(|keyspace| &keyspace.vector);
            let ready = vector.and_then(|vector| self.gate.next_ready(space, vector));
            let Some((group, payload, since)) = ready else {
                return Ok(());
            };
            self.apply_remote(now, rows, &group, payload)?;
            self.tell_visible(group.stamp, Some(now.mono.saturating_since(since)));
        }
    }

    fn tell_visible(&mut self, stamp: Stamp, waited: Option<Duration>) {
        self.signals.push_back(Signal::Visible { stamp, waited });
    }

    /// A namespace comes to be with its first group that is applied, not with one that waits.
    fn is_ready(&self, group: &Group) -> bool {
        let nothing = Vector::new();
        group.is_ready(self.spaces.get(&group.space).map_or(&nothing, |keyspace| &keyspace.vector))
    }

    fn apply_remote<R: Rows>(&mut self, now: Now, rows: &mut R, group: &Group, payload: Bytes) -> Result<(), R::Error> {
        self.commit = self.commit.next();
        self.warn_of_reopening(&group.space, [group.last()]);
        self.apply_group(rows, group)?;
        self.keyspace(&group.space).unsaid.raise(group.last());
        self.note_resets(now, group);
        let mut outputs = vec![Output::Applied { space: group.space.clone(), dot: group.last() }];
        outputs.extend(closed_by(group));
        self.seal_bytes(payload, outputs);
        Ok(())
    }

    /// Changes the rows and the vector as `group` says, at the present commit.
    pub(super) fn apply_group<R: Rows>(&mut self, rows: &mut R, group: &Group) -> Result<(), R::Error> {
        for (index, op) in group.ops.iter().enumerate() {
            let mint = Mint { dot: group.dot(index), stamp: group.stamp_of(index), at: self.position(index) };
            self.apply_op(rows, &group.space, op, mint)?;
        }
        self.keyspace(&group.space).vector.raise(group.last());
        Ok(())
    }

    pub(super) fn apply_op<R: Rows>(
        &mut self,
        rows: &mut R,
        space: &Space,
        op: &Op,
        mint: Mint,
    ) -> Result<(), R::Error> {
        match op {
            Op::Key { key, effect } => self.apply_effect(rows, (space, key), effect, mint),
            Op::Cut { context, resets } => {
                self.pins.touch_all(rows, space)?;
                rows.cut(Cut { space: space.clone(), context: context.clone() }, mint.at);
                self.keyspace(space).cut = mint.at.commit;
                for (key, entries) in resets {
                    let seen = Observed { siblings: Vec::new(), entries: entries.clone() };
                    self.apply_effect(rows, (space, key), &Effect::Reset { seen }, mint)?;
                }
                Ok(())
            }
            Op::Close { last } => {
                self.keyspace(space).vector.close(*last, mint.dot);
                Ok(())
            }
        }
    }

    fn apply_effect<R: Rows>(
        &mut self,
        rows: &mut R,
        (space, key): (&Space, &[u8]),
        effect: &Effect,
        mint: Mint,
    ) -> Result<(), R::Error> {
        let row_key = RowKey::new(space, self.config.placer.place(key), key, effect.kind());
        let found = rows.row(&row_key)?;
        if found.at >= mint.at {
            return Ok(());
        }
        let mut row = found.row.map_or_else(|| Row::empty(effect.kind()), std::borrow::Cow::into_owned);
        effect.apply(&mut row, mint.dot, mint.stamp);
        self.put(rows, row_key, row, mint.at);
        Ok(())
    }

    /// Puts a row that an op has changed.
    pub(super) fn put<R: Rows>(&mut self, rows: &mut R, key: RowKey, row: Row, at: Position) {
        self.pins.touch(&key);
        rows.put(key, row, at);
    }

    /// Notes the own counter entries that a remote group has killed, to drop them soon.
    fn note_resets(&mut self, now: Now, group: &Group) {
        let own = self.config.id;
        let mut killed: Vec<Bytes> = Vec::new();
        for op in &group.ops {
            let mine = |seen: &[Seen]| seen.iter().any(|seen| seen.presence.replica == own);
            match op {
                Op::Key { key, effect } if mine(effect.resets()) => killed.push(key.clone()),
                Op::Key { .. } | Op::Close { .. } => {}
                Op::Cut { resets, .. } => {
                    killed.extend(resets.iter().filter(|(_, seen)| mine(seen)).map(|(key, _)| key.clone()));
                }
            }
        }
        for key in killed {
            let place = self.config.placer.place(&key);
            self.note_dead(now, RowKey::new(&group.space, place, &key, Kind::Scalar));
        }
    }
}
