//! Starts the threads with their channels, and ends them in the order in which they depend on each other.

use std::io;
use std::net::UdpSocket;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use everett_certs::Mtls;
use everett_mesh_proto::membership::{self, Card, Life, Record};
use everett_mesh_proto::push;
use everett_mesh_proto::replica::Replica;
use everett_mesh_proto::time::Now;
use rand::RngExt;
use tokio::sync::{mpsc, watch};

use super::signals::Heeding;
use super::{AgentError, Prepared, Reread, host};
use crate::api::about::About;
use crate::api::data::Data;
use crate::config::Config;
use crate::courier;
use crate::exporter::Exporter;
use crate::identity::NodeIdentity;
use crate::keeper::{self, Task};
use crate::ledger::{Door, Doorway, FlushSettings, Ledger, Notice, Ports, Settings};
use crate::mesh;
use crate::net::{self, Command, Limits, Local, MeshThread, Net, NotTaken};
use crate::store::{
    self, Batch, Committed, Courier, Folder, LogDir, LogError, LogInbox, LogRequest, LogSink, RowsFile, SpareRequest,
};
use crate::systemd::{Pulse, Watchdog};

/// Batches of commits that may queue for the log; each is what one turn of the ledger made.
const COMMITS: usize = 64;

/// Requests other than commits are handed to the log, never queued: one that lay in a queue when the log ended would keep
/// the one who asked waiting for its answer, and the process from ending.
const LOG_REQUESTS: usize = 0;

/// Notices that may queue for the ledger.
const NOTICES: usize = 4_096;

/// The threads beside the ledger's.
pub(super) struct Running {
    net: Net,
    mesh: JoinHandle<()>,
    others: Vec<JoinHandle<()>>,
    exporter: Option<Exporter>,
    file: RowsFile,
    /// The watchdog judges until this is dropped.
    watched: Sender<()>,
}

impl Running {
    /// Ends all threads, and gives back the rows' file, which nobody else writes to any more.
    pub(super) fn end(self) -> RowsFile {
        while let Err(NotTaken::Full(_)) = self.net.try_command(Command::Shutdown) {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        drop(self.net);
        if let Some(exporter) = self.exporter {
            exporter.end();
        }
        for thread in [self.mesh].into_iter().chain(self.others) {
            if thread.join().is_err() {
                tracing::error!("a thread panicked");
            }
        }
        drop(self.watched);
        self.file
    }
}

/// Both ends of every channel between the threads.
struct Lines {
    commits: (Sender<Batch>, Receiver<Batch>),
    log: (Sender<LogRequest>, Receiver<LogRequest>),
    tasks: (Sender<Task>, Receiver<Task>),
    orders: (Sender<courier::Order>, Receiver<courier::Order>),
    mesh: (mpsc::Sender<mesh::Order>, mpsc::Receiver<mesh::Order>),
}

impl Lines {
    fn lay() -> Self {
        Self {
            commits: bounded(COMMITS),
            log: bounded(LOG_REQUESTS),
            tasks: bounded(keeper::TASKS),
            orders: bounded(courier::ORDERS),
            mesh: mpsc::channel(mesh::ORDERS),
        }
    }
}

/// Starts everything but the ledger's loop, which is for the caller's thread.
pub(super) fn start(config: &Config, prepared: Prepared, reread: Reread) -> Result<(Ledger, Running), AgentError> {
    let Prepared { clock, mut random, mtls, claimed, me, store, replica } = prepared;
    let (doorway, door) = Doorway::open(NOTICES).map_err(|source| AgentError::Thread { name: "ledger", source })?;
    let Lines { commits, log, tasks, orders, mesh } = Lines::lay();
    let taken = bounded(1);
    let durable = store.log.durable();
    let life = Life { id: me.id, boot_epoch: store.boot_epoch, nonce: random.random() };
    let (hello, hello_receiver) = watch::channel(Arc::new(hello(life, &replica)));
    let about = about(config, &me, store.boot_epoch, clock.now());
    let membership = Membership {
        config: config.membership.knobs(),
        life,
        me: me.clone(),
        advertise: config.advertise,
        seeds: config.seeds.iter().map(ToString::to_string).collect(),
        known: store.file.peers()?.map_or_else(Vec::new, |kept| mesh::decode_known(&kept)),
        seed: random.random(),
        clock,
        orders: mesh.1,
        door: door.clone(),
        tasks: tasks.0.clone(),
        signals: Heeding { door: door.clone(), mtls: Arc::clone(&mtls), reread, taken: taken.0 },
    };
    let net = start_net((claimed.udp, mtls), hello_receiver, (door.clone(), tasks.0.clone()), membership)?;
    taken.1.recv().unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into())).map_err(AgentError::Signals)?;

    let keeper_tools = keeper::Tools {
        file: store.file.clone(),
        log_folder: reopen(&store.log_folder)?,
        log_bytes_max: config.store.log_bytes,
        verify_period: config.store.verify_period,
        ledger: door.clone(),
        log: log.0.clone(),
        mesh: mesh.0.clone(),
    };
    let mesh_tools = keeper::MeshTools { net: net.net.clone(), sessions: net.sessions, clock };
    let mut watchdog = Watchdog::new();
    let (pulse, log_pulse) = (watchdog.watch("ledger"), watchdog.watch("log"));
    let (watched, stop) = bounded(0);
    watchdog.start(stop).map_err(|source| AgentError::Thread { name: "watchdog", source })?;
    let sink = Sink { door: door.clone(), tasks: tasks.0.clone(), pulse: log_pulse.clone() };
    let inbox = LogInbox { appends: commits.1, requests: log.1, interval: config.store.sync_after() };
    let courier = Courier::new(store.log_folder, store.id, me.node.to_string());
    let others = vec![
        spawn("log", log_thread(store.log, inbox, sink))?,
        spawn("keeper", keeper_thread(keeper_tools, mesh_tools, tasks.1, door.clone()))?,
        spawn("courier", courier_thread(courier, orders.1, log.0, door))?,
    ];
    let (net_port, task_port, mesh_port) = (net.net.clone(), tasks.0, mesh.0);
    let ports = Ports {
        clients: Some(claimed.clients),
        log: commits.0,
        net: Box::new(move |command| net_port.tell(command)),
        courier: orders.0,
        keeper: Box::new(move |task| task_port.try_send(task).err().map(TrySendError::into_inner)),
        mesh: Box::new(move |order| {
            if mesh_port.try_send(order).is_err() {
                tracing::debug!("membership is gone or busy: an order to it was dropped");
            }
        }),
        hello,
        pulse,
        log_pulse,
        peers: Some(net.data),
    };
    let host = host(config, Data::new(replica, store.memtable), durable, about, random.random());
    let ledger = Ledger::open(doorway, settings(config), ports, host, clock)?;
    let exporter = claimed.metrics.map(|listener| Exporter::start(listener, config.socket.path.clone()));
    let exporter = exporter.transpose().map_err(|source| AgentError::Thread { name: "exporter", source })?;
    Ok((ledger, Running { net: net.net, mesh: net.thread, others, exporter, file: store.file, watched }))
}

/// What commands tell of this agent.
fn about(config: &Config, me: &NodeIdentity, boot_epoch: u64, started: Now) -> About {
    About {
        node: me.node.to_string(),
        site: me.site.to_string(),
        cluster: me.cluster.to_string(),
        address: config.advertise.unwrap_or(config.listen).to_string(),
        boot_epoch,
        started,
    }
}

/// What HELLO says at the start.
fn hello(life: Life, replica: &Replica) -> Local {
    // All of it was read back from the disk.
    let vectors = replica.vectors();
    Local {
        boot_epoch: life.boot_epoch,
        nonce: life.nonce,
        features: 0,
        replica: replica.id(),
        spaces: Ledger::hello_spaces(replica.id(), &vectors),
        lives: Ledger::lives(&vectors),
    }
}

fn start_net(
    (socket, mtls): (Arc<UdpSocket>, Arc<Mtls>),
    local: watch::Receiver<Arc<Local>>,
    (door, tasks): (Door<Notice>, Sender<Task>),
    membership: Membership,
) -> Result<MeshThread, AgentError> {
    let setup = net::Setup {
        socket,
        mtls,
        limits: Limits::default(),
        local,
        wake_data: Arc::new(move || door.ring()),
        // A full channel is being read, and the sessions with it.
        wake_sessions: Arc::new(move || drop(tasks.try_send(Task::Sessions))),
    };
    Ok(net::spawn(setup, move |net, inbox| membership.run(net, inbox))?)
}

fn settings(config: &Config) -> Settings {
    let bytes = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    Settings {
        clients_max: usize::try_from(config.limits.clients_max).unwrap_or(usize::MAX),
        output_bytes_max: bytes(config.limits.output_buffer_bytes),
        restart_grace: config.membership.restart_grace,
        flush: FlushSettings {
            memtable_bytes: bytes(config.store.memtable_bytes.resolve()),
            ..FlushSettings::default()
        },
        ..Settings::default()
    }
}

fn reopen(folder: &Folder) -> Result<Folder, AgentError> {
    folder.reopen().map_err(|source| AgentError::Store(store::StoreError::Folder(source)))
}

fn spawn(name: &'static str, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, AgentError> {
    Builder::new().name(name.to_owned()).spawn(body).map_err(|source| AgentError::Thread { name, source })
}

/// What the log thread has to say, and to whom.
struct Sink {
    door: Door<Notice>,
    tasks: Sender<Task>,
    pulse: Pulse,
}

impl LogSink for Sink {
    fn committed(&mut self, committed: Committed) {
        self.pulse.finished();
        // If the ledger has ended, nobody waits for it.
        let _ = self.door.send(Notice::Committed(committed));
    }

    fn drained(&mut self) {
        self.door.ring();
    }

    fn spare_wanted(&mut self, request: SpareRequest) -> bool {
        self.tasks.try_send(Task::Spare(request)).is_ok()
    }

    fn failed(&mut self, error: LogError) {
        let _ = self.door.send(Notice::Failed(error.into()));
    }
}

fn log_thread(log: everett_mesh_proto::log::Log<LogDir<Folder>>, inbox: LogInbox, mut sink: Sink) -> impl FnOnce() {
    move || drop(store::log_thread::run(log, &inbox, &mut sink))
}

fn keeper_thread(
    tools: keeper::Tools,
    mesh: keeper::MeshTools,
    tasks: Receiver<Task>,
    door: Door<Notice>,
) -> impl FnOnce() {
    move || {
        if let Err(error) = store::guarded(|| keeper::run(tools, mesh, &tasks)) {
            let _ = door.send(Notice::Failed(error));
        }
    }
}

fn courier_thread(
    courier: Courier,
    orders: Receiver<courier::Order>,
    log: Sender<LogRequest>,
    door: Door<Notice>,
) -> impl FnOnce() {
    move || {
        let answer = |piece| door.send(Notice::Push(push::Input::Read(piece))).is_ok();
        if let Err(error) = store::guarded(|| courier::run(courier, &orders, &log, answer)) {
            let _ = door.send(Notice::Failed(error));
        }
    }
}

/// What the membership task starts from, before the mesh's socket is bound.
struct Membership {
    config: membership::Config,
    life: Life,
    me: NodeIdentity,
    advertise: Option<std::net::SocketAddr>,
    seeds: Vec<String>,
    known: Vec<Record>,
    seed: u64,
    clock: crate::clock::Clock,
    orders: mpsc::Receiver<mesh::Order>,
    door: Door<Notice>,
    tasks: Sender<Task>,
    signals: Heeding,
}

impl Membership {
    async fn run(self, net: Net, inbox: net::Inbox<net::MemberEvent>) {
        let bound = net.local_address();
        let address = self.advertise.unwrap_or_else(|| mesh::advertised(bound, &self.seeds));
        let card =
            Card { name: self.me.node.to_string(), site: self.me.site.to_string(), addrs: vec![address], caps: 0 };
        let (door, tasks) = (self.door, self.tasks);
        let setup = mesh::Setup {
            config: self.config,
            record: Record { life: self.life, incarnation: 0, card },
            seeds: self.seeds,
            known: self.known,
            seed: self.seed,
            clock: self.clock,
            orders: self.orders,
            tell: Box::new(move |news| door.try_send(Notice::News(news)).is_ok()),
            remember: Box::new(move |known| tasks.try_send(Task::Remember(known)).is_ok()),
        };
        tokio::select! {
            () = mesh::run(setup, net.clone(), inbox) => {}
            () = self.signals.run(net) => {}
        }
    }
}
