//! The one task that owns what changes: links, dialers, counts.
//!
//! It never waits for a peer, a disk or a consumer, so a command is carried out as soon as it is read. Everything slow is
//! a task of its own that asks and tells by [`Ask`].

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use everett_mesh_proto::id::NodeId;
use quinn::VarInt;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinError, JoinSet};
use tokio::time::timeout;

use super::context::{Ask, Candidate, Context};
use super::messages::{Command, MemberEvent, SessionEvent, Target};
use super::refusal::{Close, LogOnce, Refusal};
use super::table::Table;
use super::{accept, dial, session};

/// Commands taken at once.
const COMMAND_BATCH: usize = 128;
/// What a shutdown waits for queued ops to reach their peers, and again for the last packets to leave.
const DRAIN: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Dialer {
    addresses: watch::Sender<Vec<SocketAddr>>,
    task: AbortHandle,
}

/// The hub's state.
#[derive(Debug)]
pub(super) struct Hub {
    context: Arc<Context>,
    table: Table,
    dialers: BTreeMap<Target, Dialer>,
    dialed: u64,
    log: LogOnce,
    links: JoinSet<()>,
    tasks: JoinSet<()>,
    overrun: Arc<AtomicBool>,
}

/// What the hub listens to.
#[derive(Debug)]
pub(super) struct Inputs {
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) asks: mpsc::Receiver<Ask>,
}

impl Hub {
    pub(super) fn new(context: Arc<Context>, overrun: Arc<AtomicBool>) -> Self {
        let log = LogOnce::new(context.limits.log_interval);
        Self {
            context,
            table: Table::new(),
            dialers: BTreeMap::new(),
            dialed: 0,
            log,
            links: JoinSet::new(),
            tasks: JoinSet::new(),
            overrun,
        }
    }

    /// Runs until told to shut down, or until nobody is left to command.
    pub(super) async fn run(mut self, mut inputs: Inputs) {
        self.tasks.spawn(accept::run(Arc::clone(&self.context)));
        let mut batch = Vec::with_capacity(COMMAND_BATCH);
        'serving: loop {
            tokio::select! {
                biased;
                Some(ask) = inputs.asks.recv() => self.answer(ask),
                taken = inputs.commands.recv_many(&mut batch, COMMAND_BATCH) => {
                    if taken == 0 {
                        break 'serving;
                    }
                    for command in batch.drain(..) {
                        if matches!(command, Command::Shutdown) {
                            break 'serving;
                        }
                        self.obey(command);
                    }
                }
                Some(done) = self.links.join_next() => surface(done),
                Some(done) = self.tasks.join_next() => surface(done),
            }
            if self.overrun.swap(false, Ordering::SeqCst) {
                self.table.all_fall_behind();
            }
        }
        self.shut_down(inputs).await;
    }

    fn answer(&mut self, ask: Ask) {
        match ask {
            Ask::MayGreet { peer, process, reply } => {
                // A greeting that has been given up needs no answer.
                let _ = reply.send(self.table.may_greet(peer, process));
            }
            Ask::Settle { candidate, reply } => {
                let _ = reply.send(self.settle(*candidate));
            }
            Ask::Refused { cause, who } => self.refused(cause, &who),
            Ask::TurnedAway { close, who } => self.turned_away(close, &who),
            Ask::Clash { boot_epoch, fenced } => {
                if self.log.permits("self", "clash", Instant::now()) {
                    tracing::error!(boot_epoch, fenced, "another process bears this node's name");
                }
                let clash = MemberEvent::Clash { boot_epoch, fenced };
                self.tell_members(clash);
            }
            Ask::Ended { peer, link } => self.table.ended(peer, link),
        }
    }

    fn settle(&mut self, candidate: Candidate) -> Result<u64, Close> {
        let peer = candidate.peer.clone();
        let address = candidate.connection.remote_address();
        let (ordinal, link) = self.table.settle(&self.context, candidate)?;
        tracing::info!(%peer, %address, "linked");
        self.links.spawn(link.run(Arc::clone(&self.context)));
        Ok(ordinal)
    }

    fn refused(&mut self, cause: Refusal, who: &str) {
        self.context.counters.count_refused(cause);
        if self.log.permits(who, cause.name(), Instant::now()) {
            tracing::warn!(peer = who, %cause, "peer refused");
        }
    }

    fn turned_away(&mut self, close: Close, who: &str) {
        let Close::Refused(cause) = close else {
            return;
        };
        self.context.counters.count_turned_away();
        if self.log.permits(who, &format!("turned away: {}", cause.name()), Instant::now()) {
            tracing::warn!(peer = who, %cause, "refused by peer");
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Connect { target, addresses } => self.connect(target, addresses),
            Command::Disconnect { peer } => self.disconnect(peer),
            Command::Send { peer, lane, frame } => self.table.send(peer, lane, frame.into_bytes()),
            Command::Broadcast { frame } => self.table.broadcast(frame.as_bytes()),
            Command::Resume { peer } => self.table.resume(peer),
            Command::Await { peer } => self.table.await_drained(peer),
            Command::Datagram { peer, bytes } => {
                if let Some(connection) = self.table.connection(peer) {
                    // Datagrams are lost without notice by their nature.
                    let _ = connection.send_datagram(bytes);
                }
            }
            Command::OpenSession { peer, ticket } => self.open_session(peer, ticket),
            Command::Recheck => {
                for (peer, cause) in self.table.recheck(&self.context) {
                    self.refused(cause, &peer.to_string());
                }
            }
            Command::Shutdown => {}
        }
    }

    fn connect(&mut self, target: Target, addresses: Vec<SocketAddr>) {
        if let Some(dialer) = self.dialers.get(&target)
            && !dialer.task.is_finished()
        {
            dialer.addresses.send_replace(addresses);
            return;
        }
        let (sender, receiver) = watch::channel(addresses);
        self.dialed += 1;
        let seed = self.context.local().nonce.wrapping_add(self.dialed);
        let dialing =
            dial::keep_reaching(Arc::clone(&self.context), target.clone(), receiver, self.table.linked(), seed);
        let task = self.tasks.spawn(dialing);
        let addresses = sender;
        self.dialers.insert(target, Dialer { addresses, task });
    }

    fn disconnect(&mut self, peer: NodeId) {
        if let Some(dialer) = self.dialers.remove(&Target::Member(peer)) {
            dialer.task.abort();
        }
        self.table.close(peer, Close::Unwanted);
    }

    fn open_session(&mut self, peer: NodeId, ticket: u64) {
        let context = Arc::clone(&self.context);
        match self.table.connection(peer) {
            Some(connection) => {
                self.tasks.spawn(session::open(context, connection.clone(), peer, ticket));
            }
            None => {
                self.tasks.spawn(async move {
                    // The consumer hears it unless the process is ending.
                    let _ = context.outlets.sessions.send(SessionEvent::Failed { ticket }).await;
                });
            }
        }
    }

    /// Passes on what must not be lost, without waiting here.
    fn tell_members(&mut self, event: MemberEvent) {
        let context = Arc::clone(&self.context);
        self.tasks.spawn(async move {
            // Nobody left to tell means that the process is ending.
            let _ = context.outlets.members.send(event).await;
        });
    }

    async fn shut_down(mut self, mut inputs: Inputs) {
        for dialer in self.dialers.values() {
            dialer.task.abort();
        }
        self.table.let_go();
        let links = &mut self.links;
        let draining = async {
            loop {
                tokio::select! {
                    done = links.join_next() => match done {
                        Some(done) => surface(done),
                        None => break,
                    },
                    // Dropping a question answers it: there is nobody here any more.
                    Some(_) = inputs.asks.recv() => {}
                }
            }
        };
        if timeout(DRAIN, draining).await.is_err() {
            tracing::debug!("left before every peer had everything");
        }
        let why = Close::Leaving;
        let endpoint = &self.context.endpoint;
        endpoint.close(VarInt::from_u32(why.code()), why.to_string().as_bytes());
        // Whoever misses the last packet finds out by its idle timeout.
        let _ = timeout(DRAIN, endpoint.wait_idle()).await;
    }
}

/// A panic in a task is one of the process.
fn surface(done: Result<(), JoinError>) {
    if let Err(error) = done
        && let Ok(panic) = error.try_into_panic()
    {
        std::panic::resume_unwind(panic);
    }
}
