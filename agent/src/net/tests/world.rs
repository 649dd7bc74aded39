//! Nets to test with: bundles in temporary directories, port 0, short timeouts, and waiting on conditions.

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use everett_certs::{Authority, CaOptions, Mtls, Profile};
use everett_mesh_proto::id::{NodeId, ReplicaId};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::net::{
    Command, DataEvent, DownReason, Inboxes, Limits, LinkMeter, Local, MemberEvent, Net, Refusal, SessionEvent, Setup,
    Target, bind, start,
};

/// Longer than anything takes on a busy machine; a condition that does not come is a failure.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// One start of a node.
#[derive(Clone, Copy)]
pub(super) struct Start {
    pub(super) boot_epoch: u64,
    pub(super) nonce: u64,
}

pub(super) const FIRST: Start = Start { boot_epoch: 5, nonce: 100 };

pub(super) fn authority() -> Authority {
    Authority::create(&CaOptions::default()).unwrap()
}

/// A bundle on disk.
pub(super) fn bundle(authority: &Authority, node: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    authority.issue(&Profile::new("fra", node)).unwrap().save(dir.path(), false).unwrap();
    dir
}

pub(super) fn mtls(dir: &Path) -> Arc<Mtls> {
    Arc::new(Mtls::load(dir).unwrap())
}

pub(super) fn quick() -> Limits {
    Limits {
        keep_alive: Duration::from_millis(100),
        idle_timeout: Duration::from_secs(10),
        dial_backoff_max: Duration::from_millis(300),
        ..Limits::default()
    }
}

pub(super) fn local(start: Start) -> Local {
    Local {
        boot_epoch: start.boot_epoch,
        nonce: start.nonce,
        features: 0,
        replica: ReplicaId([9; 16]),
        spaces: Vec::new(),
        lives: Vec::new(),
    }
}

pub(super) fn setup(mtls: &Arc<Mtls>, limits: Limits, local: watch::Receiver<Arc<Local>>) -> Setup {
    Setup {
        socket: bind("127.0.0.1:0".parse().unwrap()).unwrap(),
        mtls: Arc::clone(mtls),
        limits,
        local,
        wake_data: Arc::new(|| {}),
        wake_sessions: Arc::new(|| {}),
    }
}

/// A running net with all that comes out of it.
pub(super) struct Agent {
    pub(super) net: Net,
    pub(super) inboxes: Inboxes,
    pub(super) hub: JoinHandle<()>,
    pub(super) local: watch::Sender<Arc<Local>>,
}

impl Agent {
    /// Starts on any port with a bundle of its own.
    pub(super) fn new(authority: &Authority, node: &str) -> Self {
        Self::with(&mtls(bundle(authority, node).path()), FIRST, quick())
    }

    pub(super) fn with(mtls: &Arc<Mtls>, start_of: Start, limits: Limits) -> Self {
        let (local, following) = watch::channel(Arc::new(local(start_of)));
        let setup = setup(mtls, limits, following);
        let (net, inboxes, hub) = start(&setup).unwrap();
        Self { net, inboxes, hub, local }
    }

    pub(super) fn id(&self) -> NodeId {
        self.net.me().id
    }

    /// This agent as a seed.
    pub(super) fn seed(&self) -> Target {
        Target::Seed(self.net.local_address().to_string())
    }

    pub(super) async fn command(&self, command: Command) {
        self.net.command(command).await.unwrap();
    }

    pub(super) async fn dial(&self, other: &Agent) {
        self.command(Command::Connect { target: other.seed(), addresses: Vec::new() }).await;
    }

    pub(super) async fn data(&mut self) -> DataEvent {
        patient(self.inboxes.data.next()).await.unwrap()
    }

    /// The next data event that `wanted` makes something of; others are skipped.
    pub(super) async fn data_that<T>(&mut self, mut wanted: impl FnMut(DataEvent) -> Option<T>) -> T {
        loop {
            let event = self.data().await;
            if let Some(found) = wanted(event) {
                return found;
            }
        }
    }

    pub(super) async fn member_that<T>(&mut self, mut wanted: impl FnMut(MemberEvent) -> Option<T>) -> T {
        loop {
            let event = patient(self.inboxes.members.next()).await.unwrap();
            if let Some(found) = wanted(event) {
                return found;
            }
        }
    }

    pub(super) async fn session(&mut self) -> SessionEvent {
        patient(self.inboxes.sessions.next()).await.unwrap()
    }

    pub(super) async fn up(&mut self) -> (NodeId, LinkMeter) {
        self.data_that(
            |event| if let DataEvent::Up { peer, meter, .. } = event { Some((peer.id, meter)) } else { None },
        )
        .await
    }

    pub(super) async fn down(&mut self) -> (NodeId, DownReason) {
        self.data_that(|event| if let DataEvent::Down { peer, reason } = event { Some((peer, reason)) } else { None })
            .await
    }

    pub(super) async fn drained(&mut self) {
        self.data_that(|event| matches!(event, DataEvent::Drained { .. }).then_some(())).await;
    }

    pub(super) async fn clash(&mut self) -> bool {
        self.member_that(|event| if let MemberEvent::Clash { fenced, .. } = event { Some(fenced) } else { None }).await
    }

    pub(super) fn refused(&self, cause: Refusal) -> u64 {
        self.net.counters().refused(cause)
    }

    pub(super) async fn until_refused(&self, cause: Refusal) {
        until(|| self.refused(cause) > 0).await;
    }

    /// Whether nothing came out for the ledger or for repair.
    pub(super) fn heard_nothing(&mut self) -> bool {
        self.inboxes.data.next_now().is_none() && self.inboxes.sessions.next_now().is_none()
    }
}

/// Two agents with a link between them, dialed by the first.
pub(super) async fn pair(authority: &Authority) -> (Agent, Agent) {
    let (mut a, mut b) = (Agent::new(authority, "a"), Agent::new(authority, "b"));
    a.dial(&b).await;
    assert_eq!(a.up().await.0, b.id());
    assert_eq!(b.up().await.0, a.id());
    (a, b)
}

pub(super) async fn patient<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("did not come")
}

/// Looks again and again until `condition` holds.
pub(super) async fn until(mut condition: impl FnMut() -> bool) {
    let mut looks = tokio::time::interval(Duration::from_millis(1));
    patient(async {
        while !condition() {
            looks.tick().await;
        }
    })
    .await;
}
