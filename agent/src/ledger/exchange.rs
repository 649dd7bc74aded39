//! The ledger's side of the mesh: what peers say becomes inputs for the replica, and what [`Push`] decides becomes commands.
//!
//! Fresh groups, acknowledgements, questions and catch-up all pass here, on the ledger thread, so what is broadcast and
//! who takes part in it never race. Nothing here waits: a command that the net does not take makes the peer fall behind,
//! and catch-up brings what it missed.
//!
//! [`Push`]: everett_mesh_proto::push::Push

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use crossbeam_channel::TrySendError;
use everett_mesh_proto::id::{Dot, NodeId, ReplicaId, Space};
use everett_mesh_proto::push::{self, Vectors};
use everett_mesh_proto::replica::{Input, Replica, Signal};
use everett_mesh_proto::vector::Vector;
use everett_mesh_proto::wire::{Frame, GROUPS_MAX, Hello, OpsFrame, SpaceHello, decode_span, encode_frame};

use super::{Ledger, LedgerError};
use crate::courier::Order;
use crate::keeper::Task;
use crate::metrics::Path;
use crate::net::{Command, DataEvent, Inbox, Lane, Local};
use crate::peers::{Acked, PeerLink};

/// A frame of groups is closed after so many bytes.
const FRAME_BYTES: usize = 1 << 20;

/// How often what HELLO says is brought up to date, while the loop turns.
const HELLO_PERIOD: Duration = Duration::from_secs(1);

/// What peers may say in one turn of the loop before clients have theirs.
const EVENTS_PER_TURN: usize = 1_024;

impl Ledger {
    /// How far data goes that `vectors` describe, as HELLO says it; `own` is this life.
    pub fn hello_spaces(own: ReplicaId, vectors: &Vectors) -> Vec<SpaceHello> {
        let said = |(space, vector): (&Space, &Vector)| SpaceHello {
            space: space.clone(),
            last_seq: vector.seq(own),
            running_hash: 0,
            vector: vector.named(),
        };
        vectors.iter().map(said).collect()
    }

    /// Every life in `vectors`.
    pub fn lives(vectors: &Vectors) -> Vec<ReplicaId> {
        let lives: BTreeSet<_> = vectors.values().flat_map(|vector| vector.dots().map(|dot| dot.replica)).collect();
        lives.into_iter().collect()
    }

    /// Keeps what HELLO says of this agent current: what is durable here. It may lag, a peer then sends what is here already.
    pub(super) fn refresh_hello(&mut self) {
        if self.now.mono < self.mesh.hello_at {
            return;
        }
        self.mesh.hello_at = self.now.mono + HELLO_PERIOD;
        let (own, vectors) = (self.host.data.replica.id(), self.host.peers.vectors());
        self.ports.hello.send_modify(|local| {
            let (spaces, lives) = (Self::hello_spaces(own, vectors), Self::lives(vectors));
            *local = Arc::new(Local { spaces, lives, ..Local::clone(local) });
        });
    }

    /// Takes what peers said; what is left after a turn's share is taken in the next.
    pub(super) fn listen(&mut self) -> Result<(), LedgerError> {
        // What peers send waits in the net, and with it in their links, like what clients send.
        self.mesh.unheard = self.is_stalled() || self.is_paced();
        if self.mesh.unheard {
            return Ok(());
        }
        for _ in 0..EVENTS_PER_TURN {
            let Some(event) = self.ports.peers.as_mut().and_then(Inbox::next_now) else { return Ok(()) };
            self.take_event(event)?;
        }
        self.mesh.unheard = true;
        Ok(())
    }

    fn take_event(&mut self, event: DataEvent) -> Result<(), LedgerError> {
        let (mono, peers) = (self.now.mono, &mut self.host.peers);
        match event {
            DataEvent::Ops { peer, frame, credit } => {
                self.hear(peer, frame)?;
                drop(credit);
            }
            DataEvent::Up { peer, hello, meter } => {
                tracing::info!(%peer, "link is up");
                let id = peer.id;
                let has = vectors_of(&hello, &self.host.data.replica);
                peers.push.handle_input(mono, push::Input::Up { peer: id, life: hello.replica, has });
                peers.links.up(PeerLink::new(peer, &hello, meter, self.now));
                self.owe_up(id);
            }
            DataEvent::Behind { peer } => peers.push.handle_input(mono, push::Input::Behind { peer }),
            DataEvent::Drained { peer } => peers.push.handle_input(mono, push::Input::Drained { peer }),
            DataEvent::Down { peer, reason } => {
                tracing::info!(peer = peers.links.name(peer), ?reason, "link is gone");
                peers.links.down(peer);
                peers.push.handle_input(mono, push::Input::Down { peer });
                self.owe_down(peer);
            }
        }
        Ok(())
    }

    fn hear(&mut self, peer: NodeId, frame: OpsFrame) -> Result<(), LedgerError> {
        let peers = &mut self.host.peers;
        match frame {
            OpsFrame::Groups(groups) => {
                self.watch_changes();
                self.host.peers.counts.groups_received += groups.len() as u64;
                let data = &mut self.host.data;
                for payload in groups {
                    data.replica.handle_input(self.now, &mut data.rows, Input::Remote { from: peer, payload })?;
                }
                // Their authors wait to hear that they are durable here.
                self.log.want(self.host.data.replica.commit());
                self.tell_changes()?;
            }
            OpsFrame::Ack { space, seq } => {
                let dot = Dot { replica: self.host.data.replica.id(), seq };
                peers.acked(self.now, Acked { peer, space, dot }, &mut self.host.metrics);
                self.answer_waiters()?;
            }
            OpsFrame::Has { space, vector } => {
                let vector = self.host.data.replica.resolve(&space, &vector);
                peers.push.handle_input(self.now.mono, push::Input::Has { peer, space, vector });
            }
            OpsFrame::Ask { space, vector } => {
                let vector = self.host.data.replica.resolve(&space, &vector);
                peers.push.handle_input(self.now.mono, push::Input::Asked { peer, space, vector });
            }
            OpsFrame::BelowLog { space } => self.tell_keeper(Task::BelowLog(peer, space)),
            OpsFrame::Summary(summary) => self.tell_keeper(Task::Summary(peer, summary)),
        }
        Ok(())
    }

    /// Deals with what the replica wants to ask or tell.
    pub(super) fn heed_signals(&mut self) {
        while let Some(signal) = self.host.data.replica.poll_signal() {
            match signal {
                Signal::Visible { stamp, waited } => {
                    let age_ms = self.now.wall_ms.saturating_sub(stamp.ms());
                    self.host.metrics.record(Path::VisibleHere, Duration::from_millis(age_ms));
                    if let Some(waited) = waited {
                        self.host.metrics.record(Path::GateWait, waited);
                    }
                }
                Signal::Pull { to, space } => self.ask(to, space),
                Signal::Broke { from } => {
                    self.host.peers.counts.broken += 1;
                    let peer = self.host.peers.links.name(from);
                    tracing::warn!(peer, "a peer sent bytes that are no group");
                    self.command(Command::Disconnect { peer: from });
                }
                Signal::Alarm(alarm) => self.host.peers.alarm(&alarm),
            }
        }
    }

    /// Looks for what peers have had for a while, and does what push has decided.
    pub(super) fn drive_push(&mut self) {
        let peers = &mut self.host.peers;
        if peers.push.poll_timeout().is_some_and(|deadline| deadline.at <= self.now.mono) {
            let (replica, leaving) = (&self.host.data.replica, peers.leaving());
            peers.push.handle_timeout(self.now.mono, &replica.vectors(), replica.id(), &leaving);
        }
        while let Some(output) = self.host.peers.push.poll_output() {
            match output {
                push::Output::Broadcast { groups } => self.broadcast(groups),
                push::Output::Send { peer, groups } => {
                    self.note_sent(peer, &groups);
                    for frame in frames(groups) {
                        self.send(peer, frame);
                    }
                }
                push::Output::Ack { peer, space, seq } => self.tell(peer, &OpsFrame::Ack { space, seq }),
                push::Output::Resume { peer } => self.command(Command::Resume { peer }),
                push::Output::Await { peer } => self.command(Command::Await { peer }),
                push::Output::Read(reading) => self.mesh.readings.push_back(reading),
                push::Output::Ask { peer, space } => self.ask(peer, space),
                push::Output::BelowLog { peer, space } => self.tell(peer, &OpsFrame::BelowLog { space }),
            }
        }
        self.order_readings();
    }

    fn broadcast(&mut self, groups: Vec<Bytes>) {
        let push = &self.host.peers.push;
        let live: Vec<NodeId> = push.peers().filter(|&(_, live)| live).map(|(peer, _)| peer).collect();
        for peer in live {
            self.note_sent(peer, &groups);
        }
        for frame in frames(groups) {
            self.command(Command::Broadcast { frame });
        }
    }

    fn note_sent(&mut self, peer: NodeId, groups: &[Bytes]) {
        let last = last_own(&self.host.data.replica, groups);
        let peers = &mut self.host.peers;
        peers.counts.groups_sent += groups.len() as u64;
        peers.links.sent(self.now.mono, peer, last);
    }

    fn ask(&mut self, peer: NodeId, space: Space) {
        // What is applied and not durable yet may be lost again, and nobody is to count on it.
        let vector = self.host.peers.vectors().get(&space).map(Vector::named).unwrap_or_default();
        self.tell(peer, &OpsFrame::Ask { space, vector });
    }

    /// Hands readings to the courier, as many as it takes; the rest in a later turn. One that has become void by then is
    /// answered in vain.
    fn order_readings(&mut self) {
        while let Some(reading) = self.mesh.readings.pop_front() {
            let peers = &self.host.peers;
            let order = Order::Read { reading, mine: peers.vectors().clone(), durable: peers.durable() };
            match self.ports.courier.try_send(order) {
                Ok(()) => {}
                Err(TrySendError::Full(Order::Read { reading, .. })) => {
                    self.mesh.readings.push_front(reading);
                    return;
                }
                // The process is ending.
                Err(TrySendError::Full(Order::Forget(_)) | TrySendError::Disconnected(_)) => return,
            }
        }
    }

    fn tell(&mut self, peer: NodeId, message: &OpsFrame) {
        match encode_frame(message) {
            Ok(frame) => self.send(peer, frame),
            Err(error) => tracing::error!(%error, "a message to a peer does not fit a frame"),
        }
    }

    fn send(&mut self, peer: NodeId, frame: Frame) {
        self.command(Command::Send { peer, lane: Lane::Ops, frame });
    }

    fn command(&mut self, command: Command) {
        if !(self.ports.net)(command) {
            tracing::debug!("the net did not take a command");
        }
    }
}

/// What a HELLO says that its speaker has; the lives that are closed there it does not name.
fn vectors_of(hello: &Hello, mine: &Replica) -> Vectors {
    hello.spaces.iter().map(|said| (said.space.clone(), mine.resolve(&said.space, &said.vector))).collect()
}

/// The last own dot among `groups`.
fn last_own(replica: &Replica, groups: &[Bytes]) -> Option<(Space, u64)> {
    let spans = groups.iter().rev().filter_map(|payload| decode_span(payload).ok().flatten());
    spans.filter(|span| span.author == replica.id()).map(|span| (span.space, span.last)).next()
}

/// Groups packed into frames.
fn frames(groups: Vec<Bytes>) -> Vec<Frame> {
    let mut queue = VecDeque::from(groups);
    let mut frames = Vec::new();
    while !queue.is_empty() {
        let mut batch = Vec::new();
        let mut bytes = 0;
        // A group that does not fit beside others has a frame of its own.
        while batch.len() < GROUPS_MAX
            && let Some(group) = queue.pop_front_if(|group| bytes == 0 || bytes + group.len() <= FRAME_BYTES)
        {
            bytes += group.len();
            batch.push(group);
        }
        match encode_frame(&OpsFrame::Groups(batch)) {
            Ok(frame) => frames.push(frame),
            Err(error) => tracing::error!(%error, "a group does not fit a frame"),
        }
    }
    frames
}
