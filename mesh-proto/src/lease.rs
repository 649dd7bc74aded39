//! Leases: keys bound to a node, and who takes them away once that node is gone.
//!
//! A lease is a row of its own in a hidden namespace: which node holds which key, and which parts of the key it found there.
//! Every row has one writer, its holder, until whoever is to act withdraws it. What is withdrawn of the key is what the
//! lease found and what the holder wrote since, as far as the one who withdraws sees it: an observed reset like any other,
//! so a value that somebody else set meanwhile stays, and two who withdraw the same remove nothing twice.
//!
//! Apart from membership, which only says who is here, and from the replica, for which a withdrawal is one more edit.
//! Invariants: nobody withdraws for a node that may be on the larger side of a partition; a restart within the grace takes
//! nothing away. Deliberately no lock: the holder itself may be late to hear that it was given up.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};

use crate::id::{Dot, Space};
use crate::membership::MemberState;
use crate::time::Instant;

/// Between two nodes' turns to act: the next one finds what the first has done.
const TURN: Duration = Duration::from_secs(2);

/// A holder whom membership does not list at all is looked for as long as one that is unreachable.
const UNLISTED_MIN: Duration = Duration::from_mins(1);

const BETWEEN: u8 = b'/';

/// The hidden namespace that leases lie in.
pub fn space() -> Space {
    Space::new("leases").expect("a word is a name")
}

/// Which node holds which key.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LeaseKey {
    /// The name of the node.
    pub holder: String,
    /// The number of the key's namespace.
    pub space: u8,
    /// The client's key.
    pub key: Bytes,
}

impl LeaseKey {
    /// The key of the lease's row: `holder/namespace/key`.
    pub fn to_bytes(&self) -> Bytes {
        let space = self.space.to_string();
        let mut bytes = BytesMut::with_capacity(self.holder.len() + space.len() + self.key.len() + 2);
        for part in [self.holder.as_bytes(), space.as_bytes()] {
            bytes.put_slice(part);
            bytes.put_u8(BETWEEN);
        }
        bytes.put_slice(&self.key);
        bytes.freeze()
    }

    /// Reads the key of a lease's row; `None` if no lease has it.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut parts = bytes.splitn(3, |&byte| byte == BETWEEN);
        let mut text = || std::str::from_utf8(parts.next()?).ok().map(str::to_owned);
        let (holder, space) = (text()?, text()?.parse().ok()?);
        let lease = Self { holder, space, key: Bytes::copy_from_slice(parts.next()?) };
        // One spelling for one lease.
        (lease.to_bytes() == bytes).then_some(lease)
    }

    /// Which of a key's `parts` the lease binds: those that it `found`, and all that its holder wrote.
    pub fn bound(&self, found: &[Dot], parts: &[Dot]) -> Vec<Dot> {
        let binds = |part: &&Dot| found.contains(part) || part.replica.is_life_of(&self.holder);
        parts.iter().filter(binds).copied().collect()
    }
}

/// A member as far as leases depend on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Member<'a> {
    /// Its name.
    pub name: &'a str,
    /// What membership holds of it.
    pub state: MemberState,
}

/// Decides whose leases this node is to withdraw, and when.
#[derive(Debug)]
pub struct Warden {
    me: String,
    restart_grace: Duration,
    /// Holders that do not answer.
    silent: BTreeMap<String, Silence>,
}

/// How long a holder has not answered, as this node saw it.
#[derive(Clone, Copy, Debug)]
struct Silence {
    since: Instant,
    /// Since when it may be given up: from then on the living take turns.
    ripe: Option<Instant>,
}

impl Silence {
    /// Whether it is the turn of somebody who waits for so long; `given_up` if nothing but the grace speaks against it.
    fn is_due(&mut self, now: Instant, given_up: bool, grace: Duration, turn: Duration) -> bool {
        let is_ripe = given_up && now.saturating_since(self.since) >= grace;
        self.ripe = is_ripe.then(|| self.ripe.unwrap_or(now));
        self.ripe.is_some_and(|ripe| now.saturating_since(ripe) >= turn)
    }
}

impl Warden {
    /// The warden at the node called `me`. A holder that is back within `restart_grace` keeps what it held.
    pub fn new(me: String, restart_grace: Duration) -> Self {
        Self { me, restart_grace, silent: BTreeMap::new() }
    }

    /// The `holders` of leases that are given up now, as far as it is this node's turn: the living act in the order of
    /// their names, two seconds apart. Ask again whenever the roster is told; what is still due is returned again.
    ///
    /// Who took its leave is given up after the grace, by anybody. Who is dead, or not listed at all, is given up only by
    /// a side that holds more than half of the members, or half of them with the first by name, or one of two.
    pub fn due<'a>(
        &mut self,
        now: Instant,
        members: &[Member<'a>],
        holders: impl IntoIterator<Item = &'a str>,
    ) -> Vec<&'a str> {
        let listed: BTreeMap<&str, Member<'_>> = members.iter().map(|member| (member.name, *member)).collect();
        let mut gone = BTreeSet::new();
        for holder in holders {
            if holder != self.me && listed.get(holder).is_none_or(|member| !member.state.answers()) {
                gone.insert(holder);
            }
        }
        self.silent.retain(|holder, _| gone.contains(holder.as_str()));
        let living = || members.iter().filter(|member| member.state.answers());
        let turn = living().filter(|member| member.name < self.me.as_str()).count();
        let turn = TURN.saturating_mul(u32::try_from(turn).unwrap_or(u32::MAX));
        let may_bury = is_larger_side(&listed, &gone);
        let unlisted_grace = self.restart_grace.max(UNLISTED_MIN);
        let (silent, restart_grace) = (&mut self.silent, self.restart_grace);
        gone.retain(|&holder| {
            let silence = silent.entry(holder.to_owned()).or_insert(Silence { since: now, ripe: None });
            let state = listed.get(holder).map(|member| member.state);
            let (given_up, grace) = match state {
                Some(MemberState::Left) => (true, restart_grace),
                Some(MemberState::Dead) => (may_bury, restart_grace),
                // After a restart of the whole mesh the first to be back must not bury the others.
                None => (may_bury && living().count() > 1, unlisted_grace),
                Some(
                    MemberState::Alive | MemberState::Probation | MemberState::Draining | MemberState::Unreachable,
                ) => (false, restart_grace),
            };
            silence.is_due(now, given_up, grace, turn)
        });
        gone.into_iter().collect()
    }
}

/// Whether those who answer may speak for the mesh; who holds a lease is a member, listed or not, and who left is none.
fn is_larger_side(listed: &BTreeMap<&str, Member<'_>>, holders: &BTreeSet<&str>) -> bool {
    let stayed = listed.values().filter(|member| member.state != MemberState::Left).map(|member| member.name);
    let unlisted = holders.iter().copied().filter(|&holder| !listed.contains_key(holder));
    let members: BTreeSet<&str> = stayed.chain(unlisted).collect();
    let answers = |name: &&str| listed.get(*name).is_some_and(|member| member.state.answers());
    let living = members.iter().filter(|name| answers(name)).count();
    let first = members.first().is_some_and(answers);
    living * 2 > members.len() || (living * 2 == members.len() && (first || members.len() == 2))
}

#[cfg(test)]
mod tests;
