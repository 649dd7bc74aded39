//! What QUIC itself takes: three nodes that hand on 110 bytes over a stream and keep nothing.
//!
//! The same quinn, the same certificates and mutual TLS as between agents, one thread and one Unix socket a node; what a
//! client asks is parsed as an agent parses it. The first node writes what it is told to SET to a stream to each of the
//! others, and answers at once; the others show the last that came.

use std::cell::RefCell;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use everett_agent::api::resp::{Limits, RequestParser};
use everett_certs::Mtls;
use everett_tests::cluster::{Cluster, PATIENCE, strange_bundle, wait};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, Endpoint, RecvStream, SendStream, ServerConfig, TransportConfig};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::oneshot;
use tokio::task::LocalSet;

use super::visible::value;

/// Sent so often that a link without writes is not given up.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// The last value that a node has, as it came over the wire.
type Last = Rc<RefCell<Vec<u8>>>;

/// Three running nodes; they end when dropped.
#[derive(Debug)]
pub(super) struct BareQuic {
    running: Vec<oneshot::Sender<()>>,
    threads: Vec<JoinHandle<()>>,
    directory: TempDir,
}

impl BareQuic {
    /// Nodes with certificates of the cluster's authority, linked.
    pub(super) fn start(cluster: &Cluster) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let (mut running, mut threads) = (Vec::new(), Vec::new());
        let mut others = Vec::new();
        // The first node dials the others, so it comes last.
        for index in [1, 2, 0] {
            let folder = directory.path().join(format!("q{index}"));
            strange_bundle(cluster.authority(), &format!("q{index}"), &folder);
            let mtls = Mtls::load(&folder).expect("a bundle that was just issued can be loaded");
            let name = mtls.identity().dns_name();
            let listen = free_address();
            let node = Node { mtls, listen, socket: directory.path().join(format!("{index}.sock")) };
            let peers = if index == 0 { std::mem::take(&mut others) } else { Vec::new() };
            others.push((listen, name));
            let (end, ended) = oneshot::channel();
            running.push(end);
            threads.push(thread::spawn(move || node.run(peers, ended)));
        }
        let nodes = Self { running, threads, directory };
        wait::until("the bare nodes are linked", PATIENCE, || (0..3).all(|index| nodes.socket(index).exists()));
        nodes
    }

    /// The socket of the node at this index.
    pub(super) fn socket(&self, index: usize) -> PathBuf {
        self.directory.path().join(format!("{index}.sock"))
    }
}

impl Drop for BareQuic {
    fn drop(&mut self) {
        self.running.clear();
        for thread in self.threads.drain(..) {
            // A panic there has been reported there.
            let _ = thread.join();
        }
    }
}

struct Node {
    mtls: Mtls,
    listen: SocketAddr,
    socket: PathBuf,
}

impl Node {
    fn run(self, peers: Vec<(SocketAddr, String)>, ended: oneshot::Receiver<()>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime can be made");
        LocalSet::new().block_on(&runtime, async {
            let last = Last::default();
            let endpoint = self.endpoint();
            let mut streams = Vec::new();
            for (address, name) in peers {
                let dialed = endpoint.connect(address, &name).expect("the address and the name are valid");
                let connection = dialed.await.expect("the other node lets it in");
                streams.push(connection.open_uni().await.expect("a fresh link takes a stream"));
            }
            let streams = Rc::new(tokio::sync::Mutex::new(streams));
            tokio::task::spawn_local(take_links(endpoint.clone(), Rc::clone(&last)));
            tokio::task::spawn_local(take_clients(self.socket.clone(), streams, last));
            // An error means dropped, which is what ends it.
            let _ = ended.await;
        });
    }

    fn endpoint(&self) -> Endpoint {
        let mut transport = TransportConfig::default();
        transport.keep_alive_interval(Some(KEEP_ALIVE));
        let transport = Arc::new(transport);
        let server = QuicServerConfig::try_from(self.mtls.server_config()).expect("TLS 1.3 suits QUIC");
        let mut server = ServerConfig::with_crypto(Arc::new(server));
        server.transport_config(Arc::clone(&transport));
        let client = QuicClientConfig::try_from(self.mtls.client_config()).expect("TLS 1.3 suits QUIC");
        let mut client = ClientConfig::new(Arc::new(client));
        client.transport_config(transport);
        let mut endpoint = Endpoint::server(server, self.listen).expect("loopback has free ports");
        endpoint.set_default_client_config(client);
        endpoint
    }
}

fn free_address() -> SocketAddr {
    let socket = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has free ports");
    socket.local_addr().expect("a bound socket has an address")
}

async fn take_links(endpoint: Endpoint, last: Last) {
    while let Some(incoming) = endpoint.accept().await {
        let last = Rc::clone(&last);
        tokio::task::spawn_local(async move {
            let connection = incoming.await.expect("only nodes dial");
            if let Ok(stream) = connection.accept_uni().await {
                take_values(stream, last).await;
            }
        });
    }
}

async fn take_values(mut stream: RecvStream, last: Last) {
    let mut bytes = value(0);
    // It ends with the node at the other end.
    while stream.read_exact(&mut bytes).await.is_ok() {
        last.borrow_mut().clone_from(&bytes);
    }
}

type Streams = Rc<tokio::sync::Mutex<Vec<SendStream>>>;

async fn take_clients(socket: PathBuf, streams: Streams, last: Last) {
    let listener = UnixListener::bind(&socket).expect("the socket's folder is there");
    while let Ok((client, _)) = listener.accept().await {
        tokio::task::spawn_local(serve(client, Rc::clone(&streams), Rc::clone(&last)));
    }
}

/// One client: `SET key value` and `GET key`, one request at a time.
async fn serve(mut client: UnixStream, streams: Streams, last: Last) {
    let (mut input, mut parser) = (Vec::new(), RequestParser::new());
    while client.read_buf(&mut input).await.is_ok_and(|length| length > 0) {
        let parsed = parser.parse(&input, &Limits::default()).expect("a client of ours follows the protocol");
        let Some(length) = parsed else { continue };
        let args = parser.args(&input);
        let reply = if let Some(value) = args.get(2) {
            for stream in streams.lock().await.iter_mut() {
                stream.write_all(value).await.expect("the other nodes are there");
            }
            b"+OK\r\n".to_vec()
        } else {
            let last = last.borrow();
            [format!("${}\r\n", last.len()).as_bytes(), &last[..], b"\r\n"].concat()
        };
        input.drain(..length);
        if client.write_all(&reply).await.is_err() {
            return;
        }
    }
}
