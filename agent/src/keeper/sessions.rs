//! Repair sessions, driven: each side's snapshot and pin, the messages, and what comes of them.
//!
//! A session needs a settled snapshot of its own commit on: the ledger is asked for one, and until the flush that makes it
//! has finished, the session waits. Several sessions may wait for the same flush and share its pin.
//!
//! Invariants: one session at a time that this side opened with a peer, a few in all, and a few that peers opened; a
//! session that fails is tried again with growing patience; a pin is closed when its last session ends.

mod partners;
mod running;
mod told;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use everett_mesh_proto::id::NodeId;
use everett_mesh_proto::repair::{Limits, Message, Outcome, Output, Relation, Session};
use everett_mesh_proto::replica::PinId;
use everett_mesh_proto::rows::Placer;
use everett_mesh_proto::time::Instant;
use everett_mesh_proto::wire::{Received, encode_frame};

use crate::clock::Clock;
use crate::ledger::{Door, Notice};
use crate::metrics::Path;
use crate::net::{Command, Net, SessionEvent, SessionId};
use crate::peers::{Cause, Found, Question, Talked};
use crate::store::{Snapshot, StoreError};

use super::summaries::Wanted;
use partners::Partners;
use running::{Role, Running, Stage, Talk, say};
use told::{Told, found};

/// How long a session may wait for the net, for the flush, for the peer's first word, which waits for a flush there.
const PATIENCE: Duration = Duration::from_mins(1);

/// Sessions that this side opened, at most: each may hold a stage.
const OWN_MAX: usize = 4;

/// Sessions that peers opened, at most.
const PEERS_MAX: usize = 8;

/// Bytes of peers' rows that all sessions together may hold until adoption.
const STAGES_BYTES_MAX: usize = 2 << 30;

/// A settled snapshot, and the ledger's note of what changed since.
#[derive(Clone, Debug)]
pub(super) struct Pinned {
    pub(super) pin: PinId,
    pub(super) snapshot: Arc<Snapshot>,
}

/// What a repair session brought to this side.
#[derive(Debug)]
pub struct Brought {
    /// The session's other side.
    pub from: NodeId,
    /// Why it was opened.
    pub cause: Cause,
    /// What it brought.
    pub outcome: Outcome,
    /// The pin it worked on.
    pub pin: PinId,
    /// The snapshot it worked on.
    pub snapshot: Arc<Snapshot>,
}

/// All sessions of this agent.
pub(super) struct Sessions {
    placer: Placer,
    net: Net,
    ledger: Door<Notice>,
    opening: BTreeMap<u64, (Wanted, Instant)>,
    running: BTreeMap<SessionId, Running>,
    partners: Partners,
    ticket: u64,
    /// Which session was last given a stretch of work.
    worked: Option<SessionId>,
    told: Told,
    clock: Clock,
}

impl Sessions {
    pub(super) fn new(placer: Placer, net: Net, ledger: Door<Notice>, clock: Clock) -> Self {
        Self {
            placer,
            net,
            ledger,
            opening: BTreeMap::new(),
            running: BTreeMap::new(),
            partners: Partners::default(),
            ticket: 0,
            worked: None,
            told: Told::default(),
            clock,
        }
    }

    /// Opens a session with `peer`, unless one is under way or the last ones failed too recently.
    pub(super) fn open(&mut self, now: Instant, wanted: Wanted) {
        let peer = wanted.peer;
        let busy = self.opening.values().any(|(opening, _)| opening.peer == peer)
            || self.running.values().any(|running| running.own && running.peer == peer);
        let full = self.opening.len() + self.count(true) >= OWN_MAX;
        if busy || full || (self.partners.is_paused(now, peer) && wanted.asked.is_none()) {
            self.answer(wanted.asked, None);
            return;
        }
        self.ticket += 1;
        if self.net.tell(Command::OpenSession { peer, ticket: self.ticket }) {
            tracing::info!(%peer, space = %wanted.space, "repair session");
            self.opening.insert(self.ticket, (wanted, now));
        } else {
            self.answer(wanted.asked, None);
        }
    }

    /// Tells whoever asked what was found, if anything came of it.
    fn answer(&self, asked: Option<Question>, found: Option<Found>) {
        let Some(question) = asked else { return };
        // If the ledger has ended, nobody waits.
        let _ = self.ledger.send(Notice::Verified(question, found));
    }

    /// Takes an event of the net.
    pub(super) fn heed(&mut self, now: Instant, event: SessionEvent) -> Result<(), StoreError> {
        match event {
            SessionEvent::Opened { session, peer, ticket, sender } => {
                let opened = ticket.map(|ticket| self.opening.remove(&ticket));
                let wanted = opened.as_ref().and_then(Option::as_ref).map(|(wanted, _)| wanted);
                let (asked, cause) = wanted.map_or_else(Default::default, |wanted| (wanted.asked, wanted.cause));
                let (stage, own) = match opened {
                    // It took too long, and was given up.
                    Some(None) => return Ok(()),
                    // Dropping the sender ends it, and the peer tries again later.
                    None if self.count(false) >= PEERS_MAX || !self.partners.has_time(now, peer) => return Ok(()),
                    Some(Some((Wanted { space, relation, .. }, _))) => {
                        (Stage::Settling(Role::Initiator(space, limits_for(relation))), true)
                    }
                    None => (Stage::Silent, false),
                };
                if own {
                    self.settle();
                }
                let talked = Talked::default();
                let running = Running { peer, sender, stage, began: now, own, asked, cause, talked };
                self.running.insert(session, running);
            }
            SessionEvent::Failed { ticket } => {
                if let Some((wanted, _)) = self.opening.remove(&ticket) {
                    self.answer(wanted.asked, None);
                    self.partners.failed(now, wanted.peer);
                }
            }
            SessionEvent::Frame { session, frame, credit } => {
                let peer = self.running.get(&session).map(|running| running.peer);
                self.timed(now, peer, |sessions| sessions.hear(now, session, &frame))?;
                drop(credit);
            }
            SessionEvent::Closed { session } => {
                if let Some(running) = self.running.remove(&session) {
                    tracing::debug!(peer = %running.peer, "the peer ended a repair session");
                    self.retire(now, running, false);
                }
            }
        }
        Ok(())
    }

    fn hear(&mut self, now: Instant, id: SessionId, frame: &Received) -> Result<(), StoreError> {
        let Some(running) = self.running.get_mut(&id) else { return Ok(()) };
        running.talked.messages += 1;
        running.talked.received_bytes += frame.body().len() as u64;
        let message = frame.decode::<Message>();
        match (&mut running.stage, message) {
            (Stage::Silent, Ok(Message::Open(open))) => {
                running.stage = Stage::Settling(Role::Responder(open));
                self.settle();
            }
            (Stage::Running(talk), Ok(message)) => {
                talk.heard = true;
                talk.session.handle_input(now, &*talk.pinned.snapshot, message)?;
                self.drain(now, id)?;
                self.bound_stages(now, id);
            }
            (Stage::Silent | Stage::Settling(_), Ok(_)) | (_, Err(_)) => {
                tracing::warn!(peer = %running.peer, "a peer broke the protocol of repair");
                if let Some(running) = self.running.remove(&id) {
                    self.retire(now, running, false);
                }
            }
        }
        Ok(())
    }

    /// Ends a session with which all stages together would outgrow their bound; it is tried again later.
    fn bound_stages(&mut self, now: Instant, id: SessionId) {
        let staged: usize = self.running.values().map(Running::stage_bytes).sum();
        if staged > STAGES_BYTES_MAX
            && let Some(running) = self.running.remove(&id)
        {
            tracing::warn!(peer = %running.peer, staged, "too much is staged by all sessions together: this one is given up");
            self.retire(now, running, false);
        }
    }

    /// A flush has finished at whose commit a pin was opened: what waited for it begins.
    pub(super) fn settled(&mut self, now: Instant, pinned: &Pinned) -> Result<(), StoreError> {
        let waiting: Vec<SessionId> =
            self.running.iter().filter(|(_, running)| running.is_settling()).map(|(&id, _)| id).collect();
        for id in &waiting {
            let Some(running) = self.running.get_mut(id) else { continue };
            let Stage::Settling(role) = std::mem::replace(&mut running.stage, Stage::Silent) else { continue };
            let (placer, pin) = (self.placer.clone(), &*pinned.snapshot);
            let (peer, began) = (running.peer, self.clock.now().mono);
            let (session, heard) = match role {
                Role::Initiator(space, limits) => (Session::initiate(now, limits, placer, space, pin)?, false),
                Role::Responder(open) => (Session::respond(now, Limits::default(), placer, open, pin)?, true),
            };
            let talk = Talk { session: Box::new(session), pinned: pinned.clone(), heard };
            running.stage = Stage::Running(talk);
            self.partners.took(now, peer, self.clock.now().mono.saturating_since(began));
        }
        // All of them use the pin before the first one may end.
        for id in waiting {
            self.drain(now, id)?;
        }
        self.unpin(pinned.pin);
        Ok(())
    }

    /// Does what a session wants done.
    fn drain(&mut self, now: Instant, id: SessionId) -> Result<(), StoreError> {
        let Some(running) = self.running.get_mut(&id) else { return Ok(()) };
        let Stage::Running(talk) = &mut running.stage else { return Ok(()) };
        while let Some(output) = talk.session.poll_output() {
            let ended = match output {
                Output::Send(message) => {
                    match encode_frame(&message).map(|frame| say(&running.sender, &mut running.talked, frame)) {
                        Ok(Ok(())) => continue,
                        Ok(Err(error)) => {
                            tracing::debug!(peer = %running.peer, %error, "a repair session broke");
                            None
                        }
                        Err(error) => {
                            tracing::error!(%error, "a turn of a repair session does not fit a frame");
                            None
                        }
                    }
                }
                Output::Done(outcome) => Some(*outcome),
                Output::Failed(failure) => {
                    tracing::warn!(peer = %running.peer, %failure, "a repair session failed");
                    None
                }
            };
            let (from, cause, pinned) = (running.peer, running.cause, talk.pinned.clone());
            let (asked, well) = (running.asked.take(), ended.is_some());
            if asked.is_some() {
                self.answer(asked, ended.as_ref().map(|outcome| found(outcome, &pinned.snapshot)).transpose()?);
            }
            if let Some(outcome) = ended {
                let brought = Brought { from, cause, outcome, pin: pinned.pin, snapshot: pinned.snapshot };
                // If the ledger has ended, nobody adopts.
                let _ = self.ledger.send(Notice::Brought(Box::new(brought)));
            }
            if let Some(running) = self.running.remove(&id) {
                let took = now.saturating_since(running.began);
                let _ = self.ledger.send(Notice::Measured(Path::Session, took));
                self.retire(now, running, well);
            }
            return Ok(());
        }
        Ok(())
    }

    /// Does something for a peer, at the cost of its time.
    fn timed<T>(&mut self, now: Instant, peer: Option<NodeId>, work: impl FnOnce(&mut Self) -> T) -> T {
        let began = self.clock.now().mono;
        let done = work(self);
        if let Some(peer) = peer {
            self.partners.took(now, peer, self.clock.now().mono.saturating_since(began));
        }
        done
    }

    /// Does a stretch of what sessions have to decode; they take turns.
    pub(super) fn work(&mut self, now: Instant) -> Result<(), StoreError> {
        let after = self.worked.map_or(Bound::Unbounded, Bound::Excluded);
        let mut round = self.running.range((after, Bound::Unbounded)).chain(&self.running);
        let next = round.find(|(_, running)| self.may_work(now, running)).map(|(&id, running)| (id, running.peer));
        let Some((id, peer)) = next else { return Ok(()) };
        self.worked = Some(id);
        self.timed(now, Some(peer), |sessions| {
            if let Some(Running { stage: Stage::Running(talk), .. }) = sessions.running.get_mut(&id) {
                talk.session.work(&*talk.pinned.snapshot)?;
            }
            sessions.drain(now, id)
        })
    }

    /// Whether a session has something to decode, and its peer time for it.
    pub(super) fn is_working(&self, now: Instant) -> bool {
        self.running.values().any(|running| self.may_work(now, running))
    }

    fn may_work(&self, now: Instant, running: &Running) -> bool {
        running.is_working() && self.partners.has_time(now, running.peer)
    }

    /// Ends what has taken too long.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Result<(), StoreError> {
        self.tell_under_way(now);
        let late = |(_, began): &(Wanted, Instant)| now.saturating_since(*began) >= PATIENCE;
        for (wanted, _) in
            self.opening.extract_if(.., |_, opening| late(opening)).map(|(_, opening)| opening).collect::<Vec<_>>()
        {
            self.answer(wanted.asked, None);
        }
        let ids: Vec<SessionId> = self.running.keys().copied().collect();
        for id in ids {
            let Some(running) = self.running.get_mut(&id) else { continue };
            if let Stage::Running(talk) = &mut running.stage
                && talk.heard
            {
                talk.session.handle_timeout(now);
                self.drain(now, id)?;
            } else if now.saturating_since(running.began) >= PATIENCE
                && let Some(running) = self.running.remove(&id)
            {
                self.retire(now, running, false);
            }
        }
        Ok(())
    }

    /// Tells how many rows have come, if it is time.
    fn tell_under_way(&mut self, now: Instant) {
        let progress = self.running.values().filter_map(Running::progress);
        let rows = progress
            .filter(|(staged, _)| *staged > 0)
            .reduce(|a, b| (a.0.saturating_add(b.0), a.1.saturating_add(b.1)));
        if self.told.is_news(now, rows) {
            // If the ledger has ended, nobody asks.
            let _ = self.ledger.send(Notice::UnderWay(rows));
        }
    }

    /// How many are under way that this side opened, or peers did.
    fn count(&self, own: bool) -> usize {
        self.running.values().filter(|running| running.own == own).count()
    }

    /// Whether anything here may time out.
    pub(super) fn is_idle(&self) -> bool {
        self.opening.is_empty() && self.running.is_empty()
    }

    fn retire(&mut self, now: Instant, running: Running, well: bool) {
        let Running { peer, stage, own, asked, talked, .. } = running;
        self.answer(asked, None);
        if well {
            self.partners.ended_well(peer);
        } else if own {
            self.partners.failed(now, peer);
        }
        // If the ledger has ended, nobody counts.
        let _ = self.ledger.send(Notice::Talked(peer, Talked { failed: !well, ..talked }));
        self.tell_under_way(now);
        if let Stage::Running(talk) = stage {
            self.unpin(talk.pinned.pin);
        }
    }

    /// Closes a pin that no session works on.
    fn unpin(&self, pin: PinId) {
        let in_use = |running: &Running| matches!(&running.stage, Stage::Running(talk) if talk.pinned.pin == pin);
        if !self.running.values().any(in_use) {
            // If the ledger has ended, so have its pins.
            let _ = self.ledger.send(Notice::Unpin(pin));
        }
    }

    fn settle(&self) {
        // If the ledger has ended, nobody settles.
        let _ = self.ledger.send(Notice::Settle { pin: true });
    }
}

/// What a session may cost that is opened because the two sides stand like this to each other.
fn limits_for(relation: Relation) -> Limits {
    match relation {
        // The first word says that the roots are equal, or that there is nothing to be found by a glance.
        Relation::Equal | Relation::SameContent | Relation::Diverged => Limits::blind(),
        Relation::Apart => Limits::default(),
    }
}
