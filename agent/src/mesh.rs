//! Membership, driven: the task beside the net that feeds the machine with datagrams, streams, links and time.
//!
//! It runs on the mesh thread, where nothing waits for a disk, so that a probe is answered at once. It dials the seeds, and
//! every member that it learns of: data links are a full mesh, and a verdict never keeps anybody from dialing. What the
//! rest of the agent may want to know (who is here, how far away, whether this node is fenced) leaves as [`News`].
//!
//! Invariant: news is bounded and never waited for; the roster is told again until it was taken.

mod address;
mod change;
mod known;
mod tally;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use everett_mesh_proto::id::NodeId;
use everett_mesh_proto::membership::{
    Cmd, Datagram, Event, Input, MemberState, Membership, Output, Record, StreamMessage, Transport,
};
use everett_mesh_proto::time::Instant;
use everett_mesh_proto::wire::{decode_datagram, encode_datagram, encode_frame};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use crate::clock::Clock;
use crate::net::{Command, Inbox, Lane, LinkMeter, MemberEvent, Net, Target};

pub use address::advertised;
pub use change::{Change, Kind as ChangeKind};
pub use known::{decode_known, encode_known};
pub use tally::Tally;

use change::{About, Changes};
use known::Known;

/// How often round trips are read off the links, and the roster is told if it is due.
const TICK: Duration = Duration::from_secs(1);
/// Between two tellings of the roster: each costs as much as there are members, and news may come in thousands.
const ROSTER_PAUSE: Duration = Duration::from_millis(50);

/// A member as the rest of the agent sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listed {
    /// Its handle.
    pub node: NodeId,
    /// Its name.
    pub name: String,
    /// Its site.
    pub site: String,
    /// Its state.
    pub state: MemberState,
    /// Where it can be dialed.
    pub addresses: Vec<SocketAddr>,
    /// The round trip, if it was ever measured.
    pub rtt: Option<Duration>,
    /// Whether most first probes of it go unanswered, though it lives.
    pub degraded: bool,
    /// Whether this is the node itself.
    pub own: bool,
}

/// What membership tells the rest of the agent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum News {
    /// Who is here, and the figures of membership.
    Roster(Arc<Vec<Listed>>, Tally),
    /// Something changed about who is here.
    Changed(Change),
    /// A probe of this node was answered.
    Probed {
        /// Who.
        node: NodeId,
        /// After how long.
        rtt: Duration,
    },
    /// A later life of this node speaks in the mesh: this process is silent from now on.
    Fenced,
    /// The mesh knows a later boot epoch of this node: make one above it durable and say [`Order::BootEpoch`].
    EpochBehind {
        /// The epoch known.
        known: u64,
    },
    /// A seed was dialed in vain.
    SeedUnreached,
    /// The mesh knows that this node leaves.
    LeaveDone,
}

/// What the rest of the agent wants of membership.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// This boot epoch is durable.
    BootEpoch(u64),
    /// Say that this node is about to leave.
    Drain,
    /// Take leave.
    Leave,
}

/// Orders that may queue.
pub const ORDERS: usize = 16;

/// Takes news or refuses it at once; what is refused is told again if it matters.
pub type Tell = Box<dyn FnMut(News) -> bool + Send>;

/// Takes the members to keep on disk, or refuses at once; what is refused is said again.
pub type Remember = Box<dyn FnMut(Vec<Record>) -> bool + Send>;

/// What the task needs to start.
pub struct Setup {
    /// Membership's knobs.
    pub config: everett_mesh_proto::membership::Config,
    /// How this life introduces itself.
    pub record: Record,
    /// `host:port` of the configuration.
    pub seeds: Vec<String>,
    /// Members that an earlier life knew.
    pub known: Vec<Record>,
    /// All the randomness that the machine will have.
    pub seed: u64,
    /// The process's clocks.
    pub clock: Clock,
    /// Orders from the rest of the agent.
    pub orders: mpsc::Receiver<Order>,
    /// Where news goes.
    pub tell: Tell,
    /// Keeps on disk whom the next start should know.
    pub remember: Remember,
}

impl std::fmt::Debug for Setup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Setup").field("record", &self.record).field("seeds", &self.seeds).finish_non_exhaustive()
    }
}

/// The task's state.
struct Mesh {
    machine: Membership,
    net: Net,
    clock: Clock,
    meters: BTreeMap<NodeId, LinkMeter>,
    tell: Tell,
    remember: Remember,
    roster_due: bool,
    roster_told: Option<Instant>,
    known: Known,
    tally: Tally,
    changes: Changes,
}

/// Drives membership until the net ends.
pub async fn run(setup: Setup, net: Net, mut inbox: Inbox<MemberEvent>) {
    let Setup { config, record, seeds, known, seed, clock, mut orders, tell, remember } = setup;
    let machine = Membership::new(clock.now(), config, record, seed);
    let mut mesh = Mesh {
        machine,
        net,
        clock,
        meters: BTreeMap::new(),
        tell,
        remember,
        roster_due: true,
        roster_told: None,
        known: Known::default(),
        tally: Tally::default(),
        changes: Changes::default(),
    };
    for seed in seeds {
        mesh.command(Command::Connect { target: Target::Seed(seed), addresses: Vec::new() }).await;
    }
    mesh.input(Input::Cmd(Cmd::Join { known })).await;
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let sleep = mesh.sleep();
        tokio::select! {
            biased;
            event = inbox.next() => match event {
                Some(event) => mesh.hear(event).await,
                None => return,
            },
            Some(order) = orders.recv() => mesh.obey(order).await,
            // After what has come: an answer that waits must not lose to its own timeout.
            () = tokio::time::sleep(sleep) => mesh.machine.handle_timeout(mesh.clock.now()),
            _ = tick.tick() => mesh.measure().await,
        }
        mesh.drain().await;
    }
}

impl Mesh {
    /// Until the machine's next deadline, or until the roster may be told again.
    fn sleep(&self) -> Duration {
        let deadline = self.machine.poll_timeout().map(|deadline| deadline.at);
        let roster = self.roster_told.filter(|_| self.roster_due).map(|told| told + ROSTER_PAUSE);
        let next = deadline.into_iter().chain(roster).min();
        next.map_or(TICK, |at| at.saturating_since(self.clock.now().mono))
    }

    async fn input(&mut self, input: Input) {
        self.machine.handle_input(self.clock.now(), input);
        self.drain().await;
    }

    async fn hear(&mut self, event: MemberEvent) {
        match event {
            MemberEvent::Up { peer, meter, .. } => {
                let (node, rtt, datagram_bytes_max) = (peer.id, meter.rtt(), meter.datagram_bytes_max());
                self.meters.insert(node, meter);
                self.input(Input::Transport(Transport::Connected { node, rtt })).await;
                self.input(Input::Transport(Transport::Limit { node, datagram_bytes_max })).await;
            }
            MemberEvent::Datagram { peer, bytes } => match decode_datagram::<Datagram>(&bytes) {
                Ok(message) => {
                    self.tally.datagrams_received += 1;
                    self.input(Input::Datagram { from: peer, message }).await;
                }
                Err(error) => tracing::debug!(%peer, %error, "a datagram that is none of membership's"),
            },
            MemberEvent::Frame { peer, frame, credit } => {
                match frame.decode::<StreamMessage>() {
                    Ok(message) => self.input(Input::Stream { from: peer, message }).await,
                    Err(error) => {
                        tracing::warn!(%peer, %error, "a peer broke the membership protocol");
                        self.command(Command::Disconnect { peer }).await;
                    }
                }
                drop(credit);
            }
            MemberEvent::Down { peer, .. } => {
                self.meters.remove(&peer);
                self.input(Input::Transport(Transport::Closed { node: peer })).await;
            }
            MemberEvent::Clash { boot_epoch, fenced } => {
                tracing::error!(?boot_epoch, fenced, "another process bears this node's name");
                if fenced {
                    (self.tell)(News::Fenced);
                    let about = About { boot_epoch, ..self.about(self.net.me().id) };
                    self.changes.note(ChangeKind::Fenced, about, self.clock.now().wall_ms);
                }
            }
            MemberEvent::Unreached { target: Target::Seed(seed) } => {
                tracing::info!(seed, "seed not reached, trying again");
                (self.tell)(News::SeedUnreached);
            }
            MemberEvent::Unreached { target: Target::Member(node) } => tracing::debug!(%node, "member not reached"),
        }
    }

    async fn obey(&mut self, order: Order) {
        let cmd = match order {
            Order::BootEpoch(epoch) => Cmd::BootEpoch(epoch),
            Order::Drain => Cmd::Drain,
            Order::Leave => Cmd::Leave,
        };
        self.input(Input::Cmd(cmd)).await;
    }

    /// Tells the machine what the links measure, and the agent who is here.
    async fn measure(&mut self) {
        let now = self.clock.now();
        for (&node, meter) in &self.meters {
            let (rtt, datagram_bytes_max) = (meter.rtt(), meter.datagram_bytes_max());
            self.machine.handle_input(now, Input::Transport(Transport::Rtt { node, rtt }));
            self.machine.handle_input(now, Input::Transport(Transport::Limit { node, datagram_bytes_max }));
        }
        self.roster_due = true;
        self.drain().await;
        self.known.tell(|| self.machine.known(), &mut self.remember);
    }

    async fn drain(&mut self) {
        while let Some(output) = self.machine.poll_output() {
            match output {
                Output::Datagram { to, message } => {
                    let bytes = encode_datagram(&message);
                    self.tally.datagrams_sent += 1;
                    self.command(Command::Datagram { peer: to, bytes }).await;
                }
                Output::Stream { to, message } => match encode_frame(&message) {
                    Ok(frame) => self.command(Command::Send { peer: to, lane: Lane::Membership, frame }).await,
                    Err(error) => tracing::warn!(%to, %error, "a membership message does not fit a frame"),
                },
                Output::Dial { node, addrs } => self.dial(node, addrs).await,
                Output::Event(event) => self.tell_of(event).await,
            }
        }
        let Self { changes, tell, .. } = self;
        changes.tell(|change| tell(News::Changed(change)));
        let now = self.clock.now().mono;
        let rested = self.roster_told.is_none_or(|told| now.saturating_since(told) >= ROSTER_PAUSE);
        if self.roster_due && rested {
            self.roster_told = Some(now);
            let roster = Arc::new(self.roster());
            self.roster_due = !(self.tell)(News::Roster(roster, self.tally.of(&self.machine)));
        }
    }

    async fn tell_of(&mut self, event: Event) {
        if !matches!(event, Event::Probed { .. }) {
            self.roster_due = true;
            self.known.changed();
        }
        self.tally.count(&event);
        self.note_change(&event);
        match event {
            Event::Up { life } | Event::Returned { life } => {
                tracing::info!(member = self.name(life.id), "member is here");
                self.dial_member(life.id).await;
            }
            Event::Unreachable { life } => tracing::warn!(member = self.name(life.id), "member is unreachable"),
            Event::Draining { life } => tracing::info!(member = self.name(life.id), "member is about to leave"),
            Event::Dead { life } => tracing::warn!(member = self.name(life.id), "member is dead"),
            Event::Left { life } => {
                tracing::info!(member = self.name(life.id), "member left");
                self.command(Command::Disconnect { peer: life.id }).await;
            }
            Event::Forgotten { node } => {
                tracing::info!(%node, "member is forgotten");
                self.command(Command::Disconnect { peer: node }).await;
            }
            Event::Probed { node, rtt } => drop((self.tell)(News::Probed { node, rtt })),
            Event::Fenced { by } => {
                tracing::error!(boot_epoch = by.boot_epoch, "a later life of this node speaks in the mesh: silent now");
                (self.tell)(News::Fenced);
            }
            Event::EpochBehind { known } => drop((self.tell)(News::EpochBehind { known })),
            Event::LeaveDone => drop((self.tell)(News::LeaveDone)),
            Event::Joined { members } => {
                tracing::info!(members, "joined the mesh");
                self.known.joined();
            }
            Event::SiteUnreachable { site } => tracing::warn!(site, "a whole site is unreachable"),
            Event::Degraded { node, degraded } => {
                tracing::info!(member = self.name(node), degraded, "member's answers");
            }
            Event::SelfIsolated => tracing::warn!("nobody answers: this node is cut off"),
            Event::IsolationEnded => tracing::info!("somebody answers again"),
        }
    }

    /// Data links are a full mesh: every member is dialed, and dialed again until it is there or has left.
    async fn dial_member(&mut self, node: NodeId) {
        let Some(member) = self.machine.member(node) else { return };
        let addresses = member.addrs.to_vec();
        if node != self.net.me().id {
            self.dial(node, addresses).await;
        }
    }

    async fn dial(&mut self, node: NodeId, addresses: Vec<SocketAddr>) {
        self.command(Command::Connect { target: Target::Member(node), addresses }).await;
    }

    async fn command(&mut self, command: Command) {
        if self.net.command(command).await.is_err() {
            tracing::debug!("the net has ended");
        }
    }

    fn name(&self, node: NodeId) -> String {
        self.machine.member(node).map_or_else(|| node.to_string(), |member| member.name.to_owned())
    }

    fn roster(&self) -> Vec<Listed> {
        let own = self.net.me().id;
        let listed = self.machine.members().map(|member| Listed {
            node: member.node,
            name: member.name.to_owned(),
            site: member.site.to_owned(),
            state: member.state,
            addresses: member.addrs.to_vec(),
            rtt: member.rtt,
            degraded: member.degraded,
            own: member.node == own,
        });
        listed.collect()
    }
}
