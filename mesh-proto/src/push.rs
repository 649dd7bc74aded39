//! `Push` knows what each peer has, and sees that it gets the rest: fresh ops at once, missed ones from the log.
//!
//! A peer is *live* (it gets every own group as soon as that is durable) or *behind* (it is being read to from the log, at
//! the pace at which it takes). A fresh link is behind; a live peer that does not keep up is cut to behind by the net, so
//! it costs the others nothing. The step from behind to live loses nothing: what became durable while the last piece was
//! being read is sent from a short memory of recent pushes, or read once more.
//!
//! One hop, no echo: an author sends to all it can reach. On a new link each side first sends what *it* wrote; what is
//! then still missing for a while, because its author is unreachable, is asked of whoever has it. What lies below a
//! peer's log is for range repair ([`Output::BelowLog`] tells the peer so).
//!
//! It deliberately knows no rows, no sockets and no files: it speaks of commits and payloads.

mod closing;
mod message;
mod peer;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;

use crate::id::{Dot, NodeId, ReplicaId, Space};
use crate::log::Commit;
use crate::time::{Deadline, Instant};
use crate::vector::Vector;

pub use message::{Input, Output, Piece, Reading, Vectors, Whose};

use peer::Peer;

/// How many bytes of recent own groups are remembered for the step from behind to live.
const RECENT_BYTES_MAX: usize = 4 << 20;

/// How often what peers have is compared with what is here: what has been missing for a whole period is asked for.
const ASK_PERIOD: Duration = Duration::from_secs(1);

/// The state of pushing to all peers.
#[derive(Debug, Default)]
pub struct Push {
    peers: BTreeMap<NodeId, Peer>,
    recent: VecDeque<(Commit, Bytes)>,
    recent_bytes: usize,
    /// Every own group after this commit is in `recent`.
    recent_after: Commit,
    durable: Commit,
    /// The last dot of each author and namespace that has become durable here.
    applied_last: Vec<(Space, Dot)>,
    ticket: u64,
    ask_at: Option<Instant>,
    /// Whom each namespace was last asked of.
    asked: BTreeMap<Space, NodeId>,
    outputs: VecDeque<Output>,
}

impl Push {
    /// A start: everything up to `durable` was read back from the log.
    pub fn new(durable: Commit) -> Self {
        Self { durable, recent_after: durable, ..Self::default() }
    }

    /// Takes one input.
    pub fn handle_input(&mut self, now: Instant, input: Input) {
        match input {
            Input::Up { peer, life, has } => self.up(now, peer, life, has),
            Input::Down { peer } => drop(self.peers.remove(&peer)),
            Input::Behind { peer } => {
                self.with(peer, Peer::lost_what_was_queued);
                self.read_on(peer);
            }
            Input::Drained { peer } => {
                self.ack_all(peer);
                if self.peers.get(&peer).is_some_and(Peer::awaits_room) {
                    self.read_on(peer);
                }
                self.answer_on(peer);
            }
            Input::Acked { peer, space, vector } => self.with(peer, |peer| peer.acked(&space, &vector)),
            Input::Has { peer, space, vector } => self.with(peer, |peer| peer.has(&space, &vector)),
            Input::Asked { peer, space, vector } => {
                self.with(peer, |peer| peer.asked(space, vector));
                self.read_for_asker(peer);
            }
            Input::Durable { upto, pushes, applied } => self.durable(upto, pushes, &applied),
            Input::Read(piece) => self.piece(piece),
        }
    }

    /// Looks for what peers have had for a whole period and this agent still lacks; `mine` is what was applied here, by
    /// the life `own` and others. Of several peers that have it each is asked in turn: one of them may not have it in its
    /// log. Who is `leaving` is asked only if nobody else has it.
    pub fn handle_timeout(&mut self, now: Instant, mine: &Vectors, own: ReplicaId, leaving: &BTreeSet<NodeId>) {
        if self.ask_at.is_none_or(|at| at > now) {
            return;
        }
        self.ask_at = (!self.peers.is_empty()).then_some(now + ASK_PERIOD);
        // No author waits to hear of a life that is over.
        let is_over =
            |(space, dot): &(Space, Dot)| mine.get(space).is_some_and(|mine| mine.closed().seq(dot.replica) > 0);
        self.applied_last.retain(|applied| !is_over(applied));
        let mut ahead: BTreeMap<Space, Vec<NodeId>> = BTreeMap::new();
        for (&id, peer) in &mut self.peers {
            for space in peer.still_ahead_of(mine, own) {
                ahead.entry(space).or_default().push(id);
            }
        }
        self.asked.retain(|space, _| ahead.contains_key(space));
        for (space, mut peers) in ahead {
            if peers.iter().any(|peer| !leaving.contains(peer)) {
                peers.retain(|peer| !leaving.contains(peer));
            }
            let last = self.asked.get(&space);
            let next = peers.iter().find(|peer| last.is_none_or(|last| *peer > last)).or(peers.first());
            let Some(&peer) = next else { continue };
            self.asked.insert(space.clone(), peer);
            self.outputs.push_back(Output::Ask { peer, space });
        }
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) next.
    pub fn poll_timeout(&self) -> Option<Deadline<&'static str>> {
        self.ask_at.map(|at| Deadline { at, why: "ask for what peers have had for a while" })
    }

    /// What a linked peer holds durably in `space`, as far as it has said.
    pub fn durable_at(&self, peer: NodeId, space: &Space) -> Option<&Vector> {
        self.peers.get(&peer)?.durable_in(space)
    }

    /// How many linked peers hold `dot` of `space` durably.
    pub fn copies(&self, space: &Space, dot: Dot) -> usize {
        let has = |peer: &&Peer| peer.durable_in(space).is_some_and(|vector| vector.covers(dot));
        self.peers.values().filter(has).count()
    }

    /// What a linked peer has applied in `space`, as far as it has said.
    pub fn known_at(&self, peer: NodeId, space: &Space) -> Option<&Vector> {
        self.peers.get(&peer)?.known_in(space)
    }

    /// Whether a linked peer is known to have something that `mine` lacks.
    pub fn is_ahead(&self, peer: NodeId, mine: &Vectors) -> bool {
        self.peers.get(&peer).is_some_and(|peer| peer.is_ahead_of(mine))
    }

    /// The linked peers, and whether each is live.
    pub fn peers(&self) -> impl Iterator<Item = (NodeId, bool)> + '_ {
        self.peers.iter().map(|(&id, peer)| (id, peer.is_live()))
    }

    fn up(&mut self, now: Instant, peer: NodeId, life: ReplicaId, has: Vectors) {
        self.ask_at.get_or_insert(now + ASK_PERIOD);
        self.peers.insert(peer, Peer::new(life, has));
        self.read_on(peer);
    }

    fn with(&mut self, peer: NodeId, change: impl FnOnce(&mut Peer)) {
        if let Some(peer) = self.peers.get_mut(&peer) {
            change(peer);
        }
    }

    /// The peer is behind and takes more: read on for it.
    fn read_on(&mut self, id: NodeId) {
        self.ticket += 1;
        let ticket = self.ticket;
        let Some(peer) = self.peers.get_mut(&id) else { return };
        peer.fall_behind(ticket);
        self.outputs.push_back(Output::Read(peer.reading(id, ticket, Whose::Own)));
    }

    /// Acknowledgements may have been lost with what was queued: the peer hears all that is durable here of its own.
    fn ack_all(&mut self, id: NodeId) {
        let Some(peer) = self.peers.get_mut(&id).filter(|peer| peer.lacks_acks()) else { return };
        peer.has_acks();
        for (space, seq) in peer.acks_due(&self.applied_last) {
            self.outputs.push_back(Output::Ack { peer: id, space, seq });
        }
    }

    /// A peer that asked is read to as well, beside what it gets anyway.
    fn read_for_asker(&mut self, id: NodeId) {
        self.ticket += 1;
        let ticket = self.ticket;
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if peer.begin_answer(ticket, self.durable) {
            self.outputs.push_back(Output::Read(peer.reading(id, ticket, Whose::All)));
        }
    }

    fn durable(&mut self, upto: Commit, pushes: Vec<(Commit, Bytes)>, applied: &[(Space, Dot)]) {
        self.durable = self.durable.max(upto);
        let any_live = self.peers.values().any(Peer::is_live);
        if any_live && !pushes.is_empty() {
            let groups = pushes.iter().map(|(_, payload)| payload.clone()).collect();
            self.outputs.push_back(Output::Broadcast { groups });
        }
        for (commit, payload) in pushes {
            self.recent_bytes += payload.len();
            self.recent.push_back((commit, payload));
        }
        while self.recent_bytes > RECENT_BYTES_MAX {
            let Some((commit, payload)) = self.recent.pop_front() else { break };
            self.recent_bytes -= payload.len();
            self.recent_after = commit;
        }
        self.remember_applied(applied);
        for (&id, peer) in &mut self.peers {
            for (space, seq) in peer.acks_due(applied) {
                self.outputs.push_back(Output::Ack { peer: id, space, seq });
            }
        }
    }

    fn remember_applied(&mut self, applied: &[(Space, Dot)]) {
        for (space, dot) in applied {
            let same = |entry: &&mut (Space, Dot)| entry.1.replica == dot.replica && entry.0 == *space;
            match self.applied_last.iter_mut().find(same) {
                Some((_, last)) => last.seq = last.seq.max(dot.seq),
                None => self.applied_last.push((space.clone(), *dot)),
            }
        }
    }

    fn piece(&mut self, piece: Piece) {
        let Piece { peer: id, ticket, groups, upto, below } = piece;
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if peer.is_answer(ticket) {
            self.outputs.extend(below.into_iter().map(|space| Output::BelowLog { peer: id, space }));
            let (sent, goes_on) = (!groups.is_empty(), peer.answered_upto(upto));
            self.send(id, groups);
            match (goes_on, sent) {
                (true, true) => self.outputs.push_back(Output::Await { peer: id }),
                (true, false) => self.answer_on(id),
                (false, _) => {}
            }
            return;
        }
        if !peer.read_upto(ticket, upto) {
            return;
        }
        self.outputs.extend(below.into_iter().map(|space| Output::BelowLog { peer: id, space }));
        let sent = !groups.is_empty();
        self.send(id, groups);
        if !self.try_resume(id, upto) && !sent {
            // Nothing was sent that the net could report as taken.
            self.read_on(id);
        }
    }

    fn send(&mut self, peer: NodeId, groups: Vec<Bytes>) {
        if !groups.is_empty() {
            self.outputs.push_back(Output::Send { peer, groups });
        }
    }

    /// Everything up to `upto` was sent: if recent memory holds all that came after, send that and go live.
    fn try_resume(&mut self, id: NodeId, upto: Commit) -> bool {
        if upto >= self.recent_after || upto >= self.durable {
            let missed = self.recent.iter().filter(|(commit, _)| *commit > upto);
            let rest = missed.map(|(_, payload)| payload.clone()).collect();
            self.send(id, rest);
            self.with(id, Peer::go_live);
            self.outputs.push_back(Output::Resume { peer: id });
            return true;
        }
        // The net says when the peer has taken this piece, and the next one is read.
        false
    }

    /// The peer has taken a piece of an answer, or got nothing of it: read the next one, if it waits for that.
    fn answer_on(&mut self, id: NodeId) {
        let ticket = self.ticket + 1;
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if peer.continue_answer(ticket) {
            self.ticket = ticket;
            self.outputs.push_back(Output::Read(peer.reading(id, ticket, Whose::All)));
        }
    }
}

#[cfg(test)]
mod tests;
