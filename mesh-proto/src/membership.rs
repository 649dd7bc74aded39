//! Who is here: a machine that keeps, on every node, the same roster of members.
//!
//! SWIM's frame (probes, relayed probes, incarnations, news that rides along; Das, Gupta, Motivala 2002) with fixed
//! observers and verdicts by corroboration (Rapid, Suresh et al. 2018), timeouts from each path's measured round trip, and
//! a node that suspects itself first (Lifeguard, Dadgar et al. 2018). It stands apart from the data because a probe answered
//! late is a false suspicion: it is memory only, cannot fail, and never waits.
//!
//! The machine reads no clock and opens no socket: hand it inputs and the time, drain its outputs, wake it at its
//! deadline. The same seed and the same inputs give the same outputs, bit for bit.
//!
//! Invariants: one writer per incarnation, the subject; nobody who left comes back within an epoch; equal view hashes mean
//! equal views; nobody is declared unreachable on one node's word, nor by a view that was merely compared. It never
//! decides what data may be dropped, and its verdict never keeps anybody from dialling.

mod bridge;
mod case;
mod change;
mod compare;
pub mod config;
pub mod event;
mod fate;
mod favour;
mod flap;
mod gossip;
mod inquest;
mod links;
pub mod message;
mod own;
mod pace;
pub mod record;
mod rings;
mod roster;
mod send;
mod tend;
mod timers;
mod watch;

use std::collections::VecDeque;
use std::time::Duration;

use rand::SeedableRng;
use rand_pcg::Pcg64;

pub use config::Config;
pub use event::{Cmd, Event, Input, Output, Transport};
pub use message::{Datagram, StreamMessage};
pub use record::{Card, Fact, Life, Record, Standing, State};
pub use roster::{MemberState, MemberView};
pub use timers::Timer;

use crate::id::NodeId;
use crate::time::{Deadline, Now};
use change::Source;
use favour::Favour;
use own::Phase;

/// The machine. Mutate with [`handle_input`](Self::handle_input) and [`handle_timeout`](Self::handle_timeout), then drain
/// [`poll_output`](Self::poll_output), then sleep until [`poll_timeout`](Self::poll_timeout). Everything else only reads.
#[derive(Debug)]
pub struct Membership {
    config: Config,
    me: own::Own,
    rng: Pcg64,
    timers: timers::Timers,
    roster: roster::Roster,
    rings: rings::Rings,
    links: links::Links,
    watch: watch::Watch,
    court: case::Court,
    gossip: gossip::Gossip,
    tend: tend::Tend,
    outputs: VecDeque<Output>,
}

impl Membership {
    /// A life of the node that `record` introduces. `seed` is all the randomness it will have.
    pub fn new(now: Now, config: Config, record: Record, seed: u64) -> Self {
        let mut machine = Self {
            config,
            me: own::Own::new(record),
            rng: Pcg64::seed_from_u64(seed),
            timers: timers::Timers::default(),
            roster: roster::Roster::default(),
            rings: rings::Rings::default(),
            links: links::Links::default(),
            watch: watch::Watch::default(),
            court: case::Court::default(),
            gossip: gossip::Gossip::default(),
            tend: tend::Tend::default(),
            outputs: VecDeque::new(),
        };
        machine.timers.advance(now.mono);
        machine.roster.put(now.mono, machine.me.standing, Some(machine.me.card.clone()));
        machine.rings.insert(machine.me.id());
        machine
    }

    /// Takes one input.
    pub fn handle_input(&mut self, now: Now, input: Input) {
        self.step(now);
        match self.me.phase {
            Phase::Running => self.on_input(input),
            Phase::Leaving { .. } => {
                if let Input::Datagram { from, message: Datagram::Farewell } = input {
                    self.on_farewell(from);
                }
            }
            Phase::Left | Phase::Fenced => {}
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Now) {
        self.step(now);
        while let Some(timer) = self.timers.pop_due() {
            match timer {
                Timer::Probe(id) => self.probe(id),
                Timer::Case(id) => self.step_case(id),
                Timer::Inquest(id) => self.step_inquest(id),
                Timer::Fate(id) => self.fate(id),
                Timer::Flush => self.flush(),
                Timer::Join => self.retry_join(),
                Timer::Greet => self.greet_strangers(),
                Timer::FollowUp => self.follow_up(),
                Timer::Heal => self.heal(),
                Timer::Bridge => self.cross_bridge(),
                Timer::Leave => self.step_leave(),
                Timer::Isolation => self.check_isolation(),
            }
        }
    }

    /// What is to be done outside, in order; `None` until the next step.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout), and what for.
    pub fn poll_timeout(&self) -> Option<Deadline<Timer>> {
        self.timers.next()
    }

    /// How this life introduces itself.
    pub fn me(&self) -> Record {
        self.me.record()
    }

    /// Every member held, this node included, by id.
    pub fn members(&self) -> impl Iterator<Item = MemberView<'_>> {
        self.roster.iter().map(|(node, member)| self.view_of(node, member))
    }

    /// One member.
    pub fn member(&self, node: NodeId) -> Option<MemberView<'_>> {
        self.roster.get(node).map(|member| self.view_of(node, member))
    }

    /// Members believed to answer, this node included.
    pub fn alive(&self) -> usize {
        self.rings.len()
    }

    /// What a peer cache should keep: everybody but this node who has not left.
    pub fn known(&self) -> Vec<Record> {
        let kept =
            self.roster.iter().filter(|(id, member)| *id != self.me.id() && member.standing.state != State::Left);
        kept.map(|(_, member)| Record {
            life: member.standing.life,
            incarnation: member.standing.incarnation,
            card: member.card.clone(),
        })
        .collect()
    }

    /// The standing held about a node: what the mesh shares.
    pub fn standing(&self, node: NodeId) -> Option<Standing> {
        self.roster.standing(node)
    }

    /// All standings held, this node's included, by id.
    pub fn standings(&self) -> impl Iterator<Item = Standing> {
        self.roster.iter().map(|(_, member)| member.standing)
    }

    /// The hash of all standings held: equal on two nodes only if they hold the same.
    pub fn view(&self) -> u64 {
        self.roster.view()
    }

    /// Whether a later life of this node silenced this one.
    pub fn is_fenced(&self) -> bool {
        self.me.phase == Phase::Fenced
    }

    fn view_of<'a>(&'a self, node: NodeId, member: &'a roster::Member) -> MemberView<'a> {
        MemberView {
            node,
            name: &member.card.name,
            site: &member.card.site,
            state: member.state(),
            addrs: &member.card.addrs,
            boot_epoch: member.standing.life.boot_epoch,
            incarnation: member.standing.incarnation,
            rtt: self.links.rtt(node),
            since: member.since,
            degraded: self.watch.is_degraded(node),
        }
    }

    /// Moves the time on. A wake-up long overdue means that this process slept, and what it waited for proves nothing.
    fn step(&mut self, now: Now) {
        let overdue = self.timers.next().map(|deadline| now.mono.saturating_since(deadline.at));
        self.timers.advance(now.mono);
        if overdue.is_some_and(|late| late > self.config.stall) {
            self.void_probes();
            self.void_cases();
            self.forgive_silence();
        }
    }

    fn on_input(&mut self, input: Input) {
        match input {
            // Another process with this node's id: what is known of it comes through the others.
            Input::Datagram { from, .. } | Input::Stream { from, .. } if from == self.me.id() => {}
            Input::Datagram { from, message } => self.on_datagram(from, message),
            Input::Stream { from, message } => self.on_stream(from, message),
            Input::Transport(Transport::Connected { node, rtt }) => self.on_connected(node, rtt),
            Input::Transport(Transport::Rtt { node, rtt }) => {
                self.links.transport_measured(node, rtt);
                self.links.measured(node, self.roster.site(node), rtt);
            }
            Input::Transport(Transport::Limit { node, datagram_bytes_max }) => {
                self.links.set_limit(node, datagram_bytes_max);
            }
            Input::Transport(Transport::Closed { node }) => self.on_closed(node),
            Input::Cmd(Cmd::Join { known }) => self.join(known),
            Input::Cmd(Cmd::Drain) => self.drain(),
            Input::Cmd(Cmd::Leave) => self.leave(),
            Input::Cmd(Cmd::Forget(node)) => self.forget(node),
            Input::Cmd(Cmd::BootEpoch(epoch)) => self.take_epoch(epoch),
        }
    }

    fn on_datagram(&mut self, from: NodeId, message: Datagram) {
        match message {
            Datagram::Ping { nonce, view, facts } => {
                self.absorb(facts, Source::News(from));
                self.on_ping(from, nonce);
                self.note_view(from, view);
            }
            Datagram::Ack { nonce, next_in_ms, view, facts } => {
                self.absorb(facts, Source::News(from));
                self.on_ack(from, nonce, Duration::from_millis(next_in_ms.into()));
                self.note_view(from, view);
            }
            Datagram::Relay { nonce, target } => self.on_relay(from, nonce, target),
            Datagram::Relayed { nonce, target } => self.on_relayed(from, nonce, target),
            Datagram::Inquire { target, ballot } => self.on_inquire(from, target, ballot),
            Datagram::Finding { target, ballot, alive } => self.on_finding(from, target, ballot, alive),
            Datagram::Gossip { facts } => self.absorb(facts, Source::News(from)),
            Datagram::Leaving { standing } => {
                if standing.life.id == from {
                    self.absorb(vec![Fact { standing, card: None }], Source::News(from));
                    self.send(from, Datagram::Farewell);
                }
            }
            Datagram::Farewell => {}
        }
    }

    fn on_stream(&mut self, from: NodeId, message: StreamMessage) {
        match message {
            StreamMessage::Join { record } => {
                if self.grants(from, Favour::Table) {
                    self.on_join(from, record);
                }
            }
            StreamMessage::Said { message } => self.on_datagram(from, message),
            StreamMessage::Table { .. }
            | StreamMessage::Sync { .. }
            | StreamMessage::SyncReply { .. }
            | StreamMessage::Facts { .. } => {
                if self.grants(from, Favour::Compare) {
                    self.on_view(from, message);
                }
            }
        }
    }

    /// A whole view, or much of one.
    fn on_view(&mut self, from: NodeId, message: StreamMessage) {
        match message {
            StreamMessage::Table { facts } => self.on_table(from, facts),
            StreamMessage::Sync { standings } => self.on_sync(from, &standings),
            StreamMessage::SyncReply { facts, wanted, forgotten } => {
                self.learn_forgotten(&forgotten);
                self.on_sync_reply(from, facts, &wanted);
            }
            StreamMessage::Facts { facts } => self.absorb(facts, Source::View),
            StreamMessage::Join { .. } | StreamMessage::Said { .. } => {}
        }
    }

    fn grants(&mut self, from: NodeId, favour: Favour) -> bool {
        self.links.favours.grant(self.timers.now(), from, favour)
    }
}

#[cfg(test)]
mod tests;
