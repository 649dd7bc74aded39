//! The ledger thread: clients' sockets, their commands, the replica and its rows, in one poll loop without locks.
//!
//! A turn of the loop: take what other threads sent, read and execute what clients sent, hand the commits it made to the
//! log, send the replies that may be sent, accept who is waiting. A reply leaves when the greatest local commit that it
//! reflects is durable, in order within its connection; a reply that reflects only durable rows leaves in the same turn.
//! Each connection gets at most one write per turn.
//!
//! Bounds: requests ([`resp::Limits`](crate::api::resp::Limits)), connections, unread replies (the connection is cut),
//! replies that wait for the disk (the connection is not read meanwhile), notices (their senders wait), commits not yet
//! taken by the log (no client is served meanwhile). The loop never waits for another thread.

mod closing;
mod drain;
mod exchange;
mod flush;
mod inbox;
mod leases;
mod link;
mod links;
mod listener;
mod loading;
mod log_side;
mod notice;
mod output;
mod owed;
mod pace;
mod post;
mod serve;
mod settings;
mod wait;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::time::Duration;

use everett_mesh_proto::lease::Warden;
use everett_mesh_proto::push::Reading;
use everett_mesh_proto::time::{Instant, Now};
use mio::event::Event;
use mio::{Events, Interest, Token};

use crate::api::host::{Host, Phase};
use crate::clock::Clock;
use crate::store::StoreError;

use drain::Drain;
use flush::Flushing;
use link::Link;
use links::Links;
use listener::Listener;
use log_side::LogSide;
use owed::Owed;
use pace::Pace;

pub use inbox::{Door, Doorway, Ended};
pub use listener::{Claim, Found, SocketError, SocketSettings, directory_of};
pub use notice::Notice;
pub use settings::{FlushSettings, Ports, Settings};

const LISTENER: Token = Token(0);
const WAKER: Token = Token(1);
const FIRST_SLOT: usize = 2;

/// How much one read takes from a socket at most.
const READ_BYTES: usize = 64 << 10;

/// How long to wait with the next connection after the operating system could not give this one.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why the ledger ended without being told to.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The clients' socket cannot be opened.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The operating system refused to poll.
    #[error("the poll loop failed")]
    Poll(#[source] io::Error),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The log thread has ended.
    #[error("the log has ended")]
    LogEnded,
}

/// The loop and all it owns.
#[derive(Debug)]
pub struct Ledger {
    doorway: Doorway,
    listener: Option<Listener>,
    links: Links,
    host: Host,
    settings: Settings,
    ports: Ports,
    log: LogSide,
    mesh: MeshSide,
    flushing: Flushing,
    timers: Timers,
    clock: Clock,
    now: Now,
}

/// Where the loop stands with the mesh.
#[derive(Debug)]
struct MeshSide {
    /// Peers said more than one turn takes.
    unheard: bool,
    /// Membership has taken leave.
    left: bool,
    /// When what HELLO says is brought up to date.
    hello_at: Instant,
    /// When earlier lives are looked at.
    close_at: Instant,
    /// Readings of the log that the courier has not taken yet.
    readings: VecDeque<Reading>,
    /// What others have not taken yet and must hear.
    owed: Owed,
    /// Whose leases are given up.
    warden: Warden,
}

impl MeshSide {
    fn new(warden: Warden) -> Self {
        let (hello_at, close_at) = (Instant::ZERO, Instant::ZERO);
        let (readings, owed) = (VecDeque::new(), Owed::default());
        Self { unheard: false, left: false, hello_at, close_at, readings, owed, warden }
    }
}

/// When the loop has something to do by itself.
#[derive(Debug, Default)]
struct Timers {
    /// Let writers go on.
    pace: Pace,
    /// Accept again.
    accept: Option<Instant>,
    /// End.
    drain: Option<Drain>,
}

impl Ledger {
    /// Opens the socket behind a doorway, through which other threads may have sent notices already.
    pub fn open(
        doorway: Doorway,
        settings: Settings,
        mut ports: Ports,
        host: Host,
        clock: Clock,
    ) -> Result<Self, LedgerError> {
        let mut listener = ports.clients.take().map(Claim::open).transpose()?;
        if let Some(listener) = &mut listener {
            let registry = doorway.poll.registry();
            registry.register(&mut listener.socket, LISTENER, Interest::READABLE).map_err(LedgerError::Poll)?;
        }
        Ok(Self {
            doorway,
            listener,
            links: Links::default(),
            log: LogSide::new(host.peers.durable().upto(), settings.backlog_bytes_max, host.sessions.levels().interval),
            mesh: MeshSide::new(Warden::new(host.about.node.clone(), settings.restart_grace)),
            flushing: Flushing::default(),
            timers: Timers::default(),
            now: clock.now(),
            host,
            settings,
            ports,
            clock,
        })
    }

    /// Runs until told to drain; gives back what it owned of the data.
    pub fn run(mut self) -> Result<Host, LedgerError> {
        let mut events = Events::with_capacity(1_024);
        let mut scratch = vec![0; READ_BYTES].into_boxed_slice();
        loop {
            self.sleep(&mut events)?;
            self.ports.pulse.waiting(true);
            self.now = self.clock.now();
            self.take_notices()?;
            self.listen()?;
            let mut knock = self.timers.accept.take_if(|at| *at <= self.now.mono).is_some();
            for event in &events {
                match event.token() {
                    LISTENER => knock = true,
                    WAKER => {}
                    Token(token) => self.note(token - FIRST_SLOT, event),
                }
            }
            self.serve_ready(&mut scratch)?;
            self.end_killed();
            if self.host.phase == Phase::Leaving {
                self.begin_drain()?;
            }
            self.handle_timeouts()?;
            self.heed_signals();
            self.consider_closing()?;
            self.seal()?;
            self.drive_push();
            self.step_drain();
            self.pay();
            self.refresh_hello();
            self.consider_serving();
            self.consider_flush();
            self.keep_pace();
            self.log.hand_over(&self.ports.log)?;
            self.flush();
            if knock {
                self.accept();
            }
            self.ports.pulse.finished();
            self.ports.pulse.waiting(false);
            self.ports.log_pulse.waiting(self.log.durable < self.host.data.replica.commit());
            if self.is_drained() {
                return Ok(self.host);
            }
        }
    }

    fn sleep(&mut self, events: &mut Events) -> Result<(), LedgerError> {
        let unheard = self.mesh.unheard && !self.is_paced();
        let busy = (unheard || self.links.has_ready()) && !self.is_stalled();
        let timeout = if busy { Some(Duration::ZERO) } else { self.timeout() };
        match self.doorway.poll.poll(events, timeout) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {
                events.clear();
                Ok(())
            }
            polled => polled.map_err(LedgerError::Poll),
        }
    }

    fn timeout(&self) -> Option<Duration> {
        let replica = self.host.data.replica.poll_timeout().map(|deadline| deadline.at);
        let drain = self.timers.drain.map(|drain| drain.next(self.now.mono));
        let wait = self.links.waits().filter_map(|(_, wait)| wait.until()).min();
        let push = self.host.peers.push.poll_timeout().map(|deadline| deadline.at);
        let pace = self.timers.pace.resume_at(self.now.mono);
        let next =
            [replica, push, self.flush_at(), drain, wait, pace, self.timers.accept].into_iter().flatten().min()?;
        Some(next.saturating_since(self.clock.now().mono))
    }

    /// The log or the keeper does not keep up: until it does, clients wait.
    pub(super) fn is_stalled(&self) -> bool {
        self.log.is_full() || self.is_memory_full()
    }

    fn note(&mut self, slot: usize, event: &Event) {
        let Some(link) = self.links.get(slot) else { return };
        if event.is_write_closed() && link.waiting.is_some() {
            // Nobody is there to be answered, and perhaps nothing would ever end the waiting.
            self.close(slot);
            return;
        }
        link.hung_up |= event.is_read_closed();
        if event.is_readable() || event.is_read_closed() {
            link.readable = true;
            self.links.mark_ready(slot);
        }
        if event.is_writable() {
            self.links.mark_dirty(slot);
        }
    }

    fn handle_timeouts(&mut self) -> Result<(), LedgerError> {
        self.answer_waiters()?;
        let data = &mut self.host.data;
        if data.replica.poll_timeout().is_some_and(|deadline| deadline.at <= self.now.mono) {
            data.replica.handle_timeout(self.now, &mut data.rows)?;
        }
        Ok(())
    }

    /// Hands the log what this turn committed.
    fn seal(&mut self) -> Result<(), LedgerError> {
        while let Some(sealed) = self.host.data.replica.seal() {
            self.flushing.logged_bytes += sealed.0.payload.len();
            self.flushing.changed = Some(self.now.mono);
            self.log.push(self.now.mono, sealed);
        }
        self.log.hand_over(&self.ports.log)
    }

    fn flush(&mut self) {
        // Replies leave now, not when the turn began.
        let now = self.clock.now().mono;
        while let Some(slot) = self.links.pop_dirty() {
            let Some(link) = self.links.get(slot) else { continue };
            let metrics = &mut self.host.metrics;
            let flushed = link.flush(self.log.durable, |reply| {
                if let Some(command) = reply.command {
                    metrics.record_command(command, now.saturating_since(reply.arrived));
                }
            });
            match flushed {
                Ok(sent) => self.host.stats.output_bytes += sent as u64,
                Err(error) => {
                    tracing::debug!(slot, %error, "a client went away with replies unsent");
                    self.close(slot);
                    continue;
                }
            }
            if link.ending && link.output.is_empty() {
                self.close(slot);
                continue;
            }
            let waits = link.output.held_bytes() > 0;
            let goes_on =
                link.may_execute(self.settings.held_bytes_max) && (link.readable || link.requests.may_follow());
            if waits {
                self.links.mark_holding(slot);
            }
            if goes_on {
                self.links.mark_ready(slot);
            }
        }
    }

    fn accept(&mut self) {
        while let Some(listener) = &self.listener {
            match listener.socket.accept() {
                Ok((stream, _)) => self.admit(stream),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionAborted) => {}
                Err(error) => {
                    tracing::warn!(%error, "no connection can be accepted at present");
                    self.timers.accept = Some(self.now.mono + ACCEPT_PAUSE);
                    return;
                }
            }
        }
    }

    fn admit(&mut self, mut stream: mio::net::UnixStream) {
        if self.links.len() >= self.settings.clients_max {
            self.host.stats.connections_rejected += 1;
            let text = b"-ERR max number of clients reached\r\n";
            if let Err(error) = io::Write::write(&mut stream, text) {
                tracing::debug!(%error, "a client turned away did not learn why");
            }
            return;
        }
        let slot = self.links.vacant();
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Err(error) = self.doorway.poll.registry().register(&mut stream, Token(FIRST_SLOT + slot), interest) {
            tracing::warn!(%error, "a connection cannot be polled");
            return;
        }
        self.links.insert(Link::new(stream));
        self.host.sessions.open(slot, self.now.mono);
        self.host.stats.connections += 1;
        self.links.mark_ready(slot);
    }

    /// Ends a connection; dropping its socket takes it out of the poll.
    fn close(&mut self, slot: usize) {
        if self.links.remove(slot).is_some() {
            self.host.sessions.close(slot);
        }
    }

    /// Ends the connections that clients have asked to end.
    fn end_killed(&mut self) {
        for slot in self.host.sessions.take_killed() {
            self.close(slot);
        }
    }
}
