//! News: what is passed on, to whom, how often.
//!
//! A rumour is an id whose standing changed; its content is read from the roster when it is sent, so that an overtaken
//! standing is never passed on. Each node sends each rumour about 2·log2(n) times, to its neighbours on the news rings at
//! once and with every probe that leaves anyway (SWIM section 4.1 and Karp et al. 2000 on the logarithmic budget).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand::RngExt;

use super::Membership;
use super::message::Datagram;
use super::record::Fact;
use super::roster::Roster;
use super::timers::Timer;
use crate::id::NodeId;

const RIDE_FACTS_MAX: usize = 12;
const FIRST_FLUSH_MS_MAX: u64 = 10;
const FLUSH: Duration = Duration::from_millis(50);
const FLUSH_OLD: Duration = Duration::from_millis(150);
/// Rounds after which a rumour is old.
const YOUNG_ROUNDS: u32 = 4;
/// Datagrams to one neighbour in one round.
const BURST: usize = 4;
/// Facts that one neighbour gets on a stream in one round, when there are more than fit its datagrams.
const OVERFLOW_BYTES: usize = 32 << 10;
/// The most that a message weighs without its facts: version, kind, nonce, turn, view, count.
const MESSAGE_BYTES: usize = 30;
/// The most that an accusation weighs.
const ACCUSATION_BYTES: usize = 43;

#[derive(Debug)]
struct Rumour {
    sends: u32,
    rounds: u32,
    with_card: bool,
    from: Option<NodeId>,
}

/// Rumours, and their order: the least told first.
#[derive(Debug, Default)]
pub(super) struct Gossip {
    rumours: BTreeMap<NodeId, Rumour>,
    order: BTreeSet<(u32, NodeId)>,
}

impl Gossip {
    fn start(&mut self, id: NodeId, rumour: Rumour) {
        self.order.insert((rumour.sends, id));
        if let Some(old) = self.rumours.insert(id, rumour)
            && old.sends > 0
        {
            self.order.remove(&(old.sends, id));
        }
    }

    /// Takes up to `count` facts for `to`, freshest first, within `bytes`.
    fn take(&mut self, roster: &Roster, to: NodeId, bytes: usize, count: usize) -> Vec<Fact> {
        if self.order.is_empty() {
            return Vec::new();
        }
        let (mut room, mut facts, mut taken) = (bytes, Vec::new(), Vec::new());
        for &(sends, id) in &self.order {
            let untold = self.rumours.get(&id).filter(|rumour| rumour.from != Some(to));
            let Some((rumour, member)) = untold.zip(roster.get(id)) else { continue };
            let fact = member.fact(rumour.with_card);
            if facts.len() == count || fact.bytes() > room {
                break;
            }
            room -= fact.bytes();
            facts.push(fact);
            taken.push((sends, id));
        }
        for (sends, id) in taken {
            self.order.remove(&(sends, id));
            self.order.insert((sends + 1, id));
            if let Some(rumour) = self.rumours.get_mut(&id) {
                rumour.sends += 1;
            }
        }
        facts
    }

    /// Drops what was told often enough.
    fn drop_spent(&mut self, budget: u32) {
        while let Some(&(sends, id)) = self.order.last()
            && sends >= budget
        {
            self.order.pop_last();
            self.rumours.remove(&id);
        }
    }

    pub(super) fn clear(&mut self) {
        self.rumours.clear();
        self.order.clear();
    }
}

impl Membership {
    /// Passes on what is now held about `id`; `from` told us and need not be told.
    pub(super) fn spread(&mut self, id: NodeId, with_card: bool, from: Option<NodeId>) {
        self.gossip.start(id, Rumour { sends: 0, rounds: 0, with_card, from });
        let wait = self.rng.random_range(0..=FIRST_FLUSH_MS_MAX);
        self.timers.set(Timer::Flush, Duration::from_millis(wait));
    }

    /// How often a rumour is told in a mesh as large as this one is by now.
    fn budget(&self) -> u32 {
        let others = self.rings.len().saturating_sub(1);
        (2 * usize::BITS - 2 * others.leading_zeros()).max(2)
    }

    /// One round of news to the neighbours.
    pub(super) fn flush(&mut self) {
        for to in self.rings.neighbours(self.me.id()) {
            self.flush_to(to);
        }
        self.gossip.drop_spent(self.budget());
        let rumours = self.gossip.rumours.values_mut();
        let youngest = rumours.map(|rumour| {
            rumour.rounds += 1;
            rumour.rounds
        });
        if let Some(rounds) = youngest.min() {
            let wait = if rounds < YOUNG_ROUNDS { FLUSH } else { FLUSH_OLD };
            self.timers.set(Timer::Flush, wait);
        }
    }

    /// What one neighbour gets in a round: a few datagrams, and what does not fit them on a stream.
    fn flush_to(&mut self, to: NodeId) {
        let datagram = self.room(to);
        for room in std::iter::repeat_n(datagram, BURST).chain([OVERFLOW_BYTES]) {
            let facts = self.gossip.take(&self.roster, to, room, usize::MAX);
            if facts.is_empty() {
                return;
            }
            let full = facts.iter().map(Fact::bytes).sum::<usize>() * 2 > room;
            self.send(to, Datagram::Gossip { facts });
            if !full {
                return;
            }
        }
    }

    /// What the facts in a datagram to `to` may weigh.
    fn room(&self, to: NodeId) -> usize {
        self.datagram_bytes_max(to).saturating_sub(MESSAGE_BYTES)
    }

    /// What rides along with a ping or its answer: first what the receiver is accused of, then news.
    pub(super) fn luggage(&mut self, to: NodeId) -> Vec<Fact> {
        let room = self.room(to);
        let mut facts: Vec<Fact> = self.accusation(to).into_iter().collect();
        facts.extend(self.gossip.take(&self.roster, to, room.saturating_sub(ACCUSATION_BYTES), RIDE_FACTS_MAX));
        self.gossip.drop_spent(self.budget());
        facts
    }

    /// What `to` must hear to refute it: that it is held to be gone.
    pub(super) fn accusation(&self, to: NodeId) -> Option<Fact> {
        let member = self.roster.get(to)?;
        (!member.standing.is_alive()).then(|| member.fact(false))
    }
}
