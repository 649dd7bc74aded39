//! The ledger's side of the mesh: what it tells its peers of the data, and what it hears.
//!
//! Fresh groups, acknowledgements, questions and catch-up are decided by [`Push`]; here they become commands for the net
//! and orders for the courier, and what peers say becomes inputs for the replica. Everything happens on the ledger
//! thread, so what is broadcast and who takes part in it never race.
//!
//! Invariant: nothing here waits. A command that the net does not take makes the peer fall behind, and catch-up brings it.

mod links;

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use crossbeam_channel::Sender;
use everett_mesh_proto::id::{Dot, NodeId, Space};
use everett_mesh_proto::log::{Commit, Durable};
use everett_mesh_proto::push::{self, Piece, Push, Vectors};
use everett_mesh_proto::replica::{Alarm, Input, Output, Outputs, Replica, Signal};
use everett_mesh_proto::rows::Rows;
use everett_mesh_proto::time::{Deadline, Now};
use everett_mesh_proto::vector::Vector;
use everett_mesh_proto::wire::{Frame, GROUPS_MAX, Hello, OpsFrame, decode_span, encode_frame};

use crate::courier;
use crate::mesh::Listed;
use crate::metrics::{Metrics, Path, PeerPath};
use crate::net::{Command, DataEvent, Inbox, Lane};

pub use links::{PeerLink, PeerReport};

use links::PeerLinks;

/// A frame of groups is closed after so many bytes.
const FRAME_BYTES: usize = 1 << 20;

/// What peers may say in one turn of the loop before clients have theirs.
const EVENTS_PER_TURN: usize = 1_024;

/// What the keeper is told of the mesh.
#[derive(Debug)]
pub enum Word {
    /// A link is up.
    Up(NodeId),
    /// A link is gone.
    Down(NodeId),
    /// The peer's log does not reach down to what is here: repair with it.
    BelowLog(NodeId, Space),
    /// The peer pushed a summary.
    Summary(NodeId, Bytes),
}

/// The ways out of the exchange.
pub struct Ways {
    /// To the net; false if it did not take the command.
    pub net: Box<dyn FnMut(Command) -> bool + Send>,
    /// To the courier. Full: the reading is lost, and asked for again when the link says that it has room.
    pub courier: Sender<courier::Order>,
    /// To the keeper; must not wait.
    pub keeper: Box<dyn FnMut(Word) + Send>,
    /// What peers say.
    pub inbox: Option<Inbox<DataEvent>>,
}

impl fmt::Debug for Ways {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ways").field("inbox", &self.inbox).finish_non_exhaustive()
    }
}

/// What was counted since the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Groups of ours sent, once per peer.
    pub groups_sent: u64,
    /// Groups received, duplicates included.
    pub groups_received: u64,
    /// Stamps found too far ahead.
    pub skewed: u64,
    /// Rows found with equal dots and different bytes, and other divergence.
    pub divergences: u64,
    /// Peers that held more of our living id than we do.
    pub forks: u64,
    /// Times that a peer broke the protocol of data.
    pub broken: u64,
}

/// The ledger's side of the mesh.
#[derive(Debug)]
pub struct Exchange {
    push: Push,
    ways: Ways,
    links: PeerLinks,
    roster: Arc<Vec<Listed>>,
    durable: Vectors,
    durable_upto: Durable,
    /// Counters for reports.
    pub counts: Counts,
}

impl Exchange {
    /// A start, with what the log held.
    pub fn new(durable: Durable, vectors: Vectors, ways: Ways) -> Self {
        Self {
            push: Push::new(durable.upto()),
            ways,
            links: PeerLinks::default(),
            roster: Arc::default(),
            durable: vectors,
            durable_upto: durable,
            counts: Counts::default(),
        }
    }

    /// Takes what peers said; true if some may be left.
    pub fn listen<R: Rows>(
        &mut self,
        now: Now,
        (replica, rows): (&mut Replica, &mut R),
        metrics: &mut Metrics,
    ) -> Result<bool, R::Error> {
        for _ in 0..EVENTS_PER_TURN {
            let Some(event) = self.ways.inbox.as_mut().and_then(Inbox::next_now) else { return Ok(false) };
            match event {
                DataEvent::Ops { peer, frame, credit } => {
                    self.hear(now, (replica, rows), metrics, peer, frame)?;
                    drop(credit);
                }
                DataEvent::Up { peer, hello, meter } => {
                    let has = vectors_of(&hello);
                    self.push.handle_input(now.mono, push::Input::Up { peer: peer.id, life: hello.replica, has });
                    (self.ways.keeper)(Word::Up(peer.id));
                    self.links.up(PeerLink::new(peer, &hello, meter, now));
                }
                DataEvent::Behind { peer } => self.push.handle_input(now.mono, push::Input::Behind { peer }),
                DataEvent::Drained { peer } => self.push.handle_input(now.mono, push::Input::Drained { peer }),
                DataEvent::Down { peer, reason } => {
                    tracing::info!(peer = self.links.name(peer), ?reason, "link is gone");
                    self.links.down(peer);
                    self.push.handle_input(now.mono, push::Input::Down { peer });
                    (self.ways.keeper)(Word::Down(peer));
                }
            }
        }
        Ok(true)
    }

    fn hear<R: Rows>(
        &mut self,
        now: Now,
        (replica, rows): (&mut Replica, &mut R),
        metrics: &mut Metrics,
        peer: NodeId,
        frame: OpsFrame,
    ) -> Result<(), R::Error> {
        match frame {
            OpsFrame::Groups(groups) => {
                self.counts.groups_received += groups.len() as u64;
                for payload in groups {
                    replica.handle_input(now, rows, Input::Remote { from: peer, payload })?;
                }
            }
            OpsFrame::Ack { space, vector } => {
                self.links.acked(now.mono, (peer, &space, vector.seq(replica.id())), |name, took| {
                    metrics.record_peer(PeerPath::DurableAt, name, took);
                });
                self.push.handle_input(now.mono, push::Input::Acked { peer, space, vector });
            }
            OpsFrame::Has { space, vector } => {
                self.push.handle_input(now.mono, push::Input::Has { peer, space, vector });
            }
            OpsFrame::Ask { space, vector } => {
                self.push.handle_input(now.mono, push::Input::Asked { peer, space, vector });
            }
            OpsFrame::BelowLog { space } => (self.ways.keeper)(Word::BelowLog(peer, space)),
            OpsFrame::Summary(summary) => (self.ways.keeper)(Word::Summary(peer, summary)),
        }
        Ok(())
    }

    /// Commits have become durable, and what they had to say may be said.
    pub fn durable(&mut self, now: Now, upto: Durable, outputs: Vec<(Commit, Outputs)>) {
        let mut pushes = Vec::new();
        let mut applied: Vec<(Space, Dot)> = Vec::new();
        for (commit, outputs) in outputs {
            for output in outputs {
                match output {
                    Output::Push { payload, .. } => pushes.push((commit, payload)),
                    Output::Applied { space, dots } => {
                        let vector = self.durable.entry(space.clone()).or_default();
                        for dot in dots {
                            vector.raise(dot);
                            applied.push((space.clone(), dot));
                        }
                    }
                }
            }
        }
        self.durable_upto = self.durable_upto.max(upto);
        let upto = upto.upto();
        self.push.handle_input(now.mono, push::Input::Durable { upto, pushes, applied });
    }

    /// The courier has read a piece of the log.
    pub fn read(&mut self, now: Now, piece: Piece) {
        self.push.handle_input(now.mono, push::Input::Read(piece));
    }

    /// A peer's summary told what it has.
    pub fn has(&mut self, now: Now, peer: NodeId, space: Space, vector: Vector) {
        self.push.handle_input(now.mono, push::Input::Has { peer, space, vector });
    }

    /// Whether summaries of the peer and of this agent were equal when last compared.
    pub fn compared(&mut self, now: Now, peer: NodeId, equal: bool) {
        self.links.compared(now, peer, equal);
    }

    /// Membership says who is here.
    pub fn listed(&mut self, roster: Arc<Vec<Listed>>) {
        self.roster = roster;
    }

    /// Membership says who is here.
    pub fn roster(&self) -> &Arc<Vec<Listed>> {
        &self.roster
    }

    /// A probe was answered.
    pub fn probed(&self, node: NodeId, rtt: Duration, metrics: &mut Metrics) {
        if let Some(listed) = self.roster.iter().find(|listed| listed.node == node) {
            metrics.record_peer(PeerPath::Probe, &listed.name, rtt);
        }
    }

    /// Deals with what the replica wants to ask or tell.
    pub fn signal(&mut self, now: Now, replica: &Replica, metrics: &mut Metrics, signal: Signal) {
        match signal {
            Signal::Visible { stamp, waited } => {
                let age_ms = now.wall_ms.saturating_sub(stamp.ms());
                metrics.record(Path::VisibleHere, Duration::from_millis(age_ms));
                if let Some(waited) = waited {
                    metrics.record(Path::GateWait, waited);
                }
            }
            Signal::Pull { to, space } => self.ask(replica, to, space),
            Signal::Broke { from } => {
                self.counts.broken += 1;
                tracing::warn!(peer = self.links.name(from), "a peer sent bytes that are no group");
                self.command(Command::Disconnect { peer: from });
            }
            Signal::Alarm(alarm) => self.alarm(&alarm),
        }
    }

    fn alarm(&mut self, alarm: &Alarm) {
        match alarm {
            Alarm::Skew { author, ahead } => {
                self.counts.skewed += 1;
                if self.counts.skewed.is_power_of_two() {
                    tracing::warn!(%author, ?ahead, times = self.counts.skewed, "stamps lie ahead of this host's clock");
                }
            }
            Alarm::Fork { from, dot } => {
                self.counts.forks += 1;
                tracing::error!(
                    peer = self.links.name(*from),
                    ?dot,
                    "a peer holds writes of this life that it never made"
                );
            }
            Alarm::Divergence { space, key } => {
                self.counts.divergences += 1;
                tracing::error!(%space, key = %key.escape_ascii(), "divergence: equal dots, different bytes");
            }
        }
    }

    /// Does what push has decided.
    pub fn drive(&mut self, now: Now, replica: &Replica) {
        while let Some(output) = self.push.poll_output() {
            match output {
                push::Output::Broadcast { groups } => self.broadcast(now, replica, groups),
                push::Output::Send { peer, groups } => {
                    self.links.sent(now.mono, peer, last_own(replica, &groups));
                    self.counts.groups_sent += groups.len() as u64;
                    for frame in frames(groups) {
                        self.send(peer, frame);
                    }
                }
                push::Output::Ack { peer, space, vector } => {
                    self.tell(peer, &OpsFrame::Ack { space, vector });
                }
                push::Output::Resume { peer } => self.command(Command::Resume { peer }),
                push::Output::Read(reading) => self.order(reading),
                push::Output::Ask { peer, space } => self.ask(replica, peer, space),
                push::Output::BelowLog { peer, space } => self.tell(peer, &OpsFrame::BelowLog { space }),
            }
        }
    }

    /// Looks for what peers have had for a while.
    pub fn handle_timeout(&mut self, now: Now, replica: &Replica) {
        if self.push.poll_timeout().is_some_and(|deadline| deadline.at <= now.mono) {
            self.push.handle_timeout(now.mono, &replica.settled().vectors);
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub fn poll_timeout(&self) -> Option<Deadline<&'static str>> {
        self.push.poll_timeout()
    }

    /// What is known of each peer, for reports.
    pub fn report(&self, now: Now, replica: &Replica) -> Vec<PeerReport> {
        self.links.report(now, &self.roster, |peer| self.lag_ops(peer, replica))
    }

    /// How many linked peers hold `dot` durably.
    pub fn copies(&self, space: &Space, dot: Dot) -> usize {
        self.push.copies(space, dot)
    }

    /// What is durable here.
    pub fn durable_vectors(&self) -> &Vectors {
        &self.durable
    }

    /// What a linked peer holds durably in a namespace.
    pub fn durable_at(&self, peer: NodeId, space: &Space) -> Option<&Vector> {
        self.push.durable_at(peer, space)
    }

    fn lag_ops(&self, peer: NodeId, replica: &Replica) -> u64 {
        let own = replica.id();
        let lag = |(space, vector): (&Space, &Vector)| {
            let there = self.push.known_at(peer, space).map_or(0, |known| known.seq(own));
            vector.seq(own).saturating_sub(there)
        };
        self.durable.iter().map(lag).sum()
    }

    fn broadcast(&mut self, now: Now, replica: &Replica, groups: Vec<Bytes>) {
        let last = last_own(replica, &groups);
        let live: Vec<NodeId> = self.push.peers().filter(|&(_, live)| live).map(|(peer, _)| peer).collect();
        self.counts.groups_sent += groups.len() as u64 * live.len() as u64;
        for peer in live {
            self.links.sent(now.mono, peer, last.clone());
        }
        for frame in frames(groups) {
            if !(self.ways.net)(Command::Broadcast { frame }) {
                tracing::debug!("the net did not take a broadcast: all peers fall behind");
            }
        }
    }

    fn ask(&mut self, replica: &Replica, peer: NodeId, space: Space) {
        let vector = replica.vector(&space);
        self.tell(peer, &OpsFrame::Ask { space, vector });
    }

    fn order(&mut self, reading: push::Reading) {
        let order = courier::Order::Read { reading, mine: self.durable.clone(), durable: self.durable_upto };
        if self.ways.courier.try_send(order).is_err() {
            tracing::debug!("the courier is busy: the reading is asked for again later");
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
        if !(self.ways.net)(command) {
            tracing::debug!("the net did not take a command");
        }
    }
}

/// What a HELLO says that its speaker has.
fn vectors_of(hello: &Hello) -> Vectors {
    hello.spaces.iter().map(|said| (said.space.clone(), said.vector.clone())).collect()
}

/// The last own dot among `groups`.
fn last_own(replica: &Replica, groups: &[Bytes]) -> Option<(Space, u64)> {
    let span = groups
        .iter()
        .rev()
        .find_map(|payload| decode_span(payload).ok().flatten().filter(|span| span.author == replica.id()))?;
    Some((span.space, span.last))
}

/// Groups packed into frames.
fn frames(groups: Vec<Bytes>) -> Vec<Frame> {
    let mut queue = VecDeque::from(groups);
    let mut frames = Vec::new();
    while !queue.is_empty() {
        let mut batch = Vec::new();
        let mut bytes = 0;
        while batch.len() < GROUPS_MAX && bytes < FRAME_BYTES {
            let Some(group) = queue.pop_front() else { break };
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
