//! The agent's figures for Prometheus: text exposition format 0.0.4 over HTTP/1.1, on an address that the operator opts into.
//!
//! It is a client of the agent's own socket, on a thread of its own: a scrape costs the ledger three commands, and what it
//! shows is what any client could ask for. One scrape at a time is asked for; others wait their turn, and beyond eight to be
//! accepted. There is no TLS and no password: whoever reaches the address may read the figures, and no more.

mod families;

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::runtime;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::client::{Client, ClientError};

/// Connections served at one time; more wait to be accepted.
const CONNECTIONS_MAX: usize = 8;

/// How long a connection may last, and its request take to arrive.
const CONNECTION_TIMEOUT: Duration = Duration::from_mins(1);
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// How long nothing is accepted after the system refused to: most often there are no file descriptors.
const REFUSED_PAUSE: Duration = Duration::from_millis(100);

/// Where the figures are.
const PATH: &str = "/metrics";

/// The address could not be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on tcp {listen} for those who collect metrics")]
pub struct BindError {
    /// The address.
    pub listen: SocketAddr,
    /// What the system said.
    pub source: io::Error,
}

/// Takes `listen` for this process.
pub fn bind(listen: SocketAddr) -> Result<TcpListener, BindError> {
    let bound = TcpListener::bind(listen).and_then(|listener| listener.set_nonblocking(true).map(|()| listener));
    bound.map_err(|source| BindError { listen, source })
}

/// A running exporter.
#[derive(Debug)]
pub struct Exporter {
    thread: JoinHandle<()>,
    stop: oneshot::Sender<()>,
}

impl Exporter {
    /// Serves on `listener` what the agent behind `socket` tells.
    pub fn start(listener: TcpListener, socket: PathBuf) -> io::Result<Self> {
        let (stop, stopped) = oneshot::channel();
        let runtime = runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build()?;
        let thread = Builder::new().name("exporter".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    served = serve(listener, socket.into()) => {
                        if let Err(error) = served {
                            tracing::error!(%error, "metrics are no longer served");
                        }
                    }
                    _ = stopped => {}
                }
            });
            // A scrape under way ends with the socket that it asks.
            runtime.shutdown_background();
        })?;
        Ok(Self { thread, stop })
    }

    /// Ends it; whoever is being answered is cut off.
    pub fn end(self) {
        // It may have ended by itself.
        let _ = self.stop.send(());
        if self.thread.join().is_err() {
            tracing::error!("the exporter panicked");
        }
    }
}

async fn serve(listener: TcpListener, socket: Arc<Path>) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return Ok(()) };
        match listener.accept().await {
            Ok((stream, _)) => {
                let socket = Arc::clone(&socket);
                tokio::spawn(async move {
                    // Whatever ends it, the next connection begins anew.
                    let _ = timeout(CONNECTION_TIMEOUT, connection(stream, socket)).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::debug!(%error, "a connection for metrics could not be accepted");
                tokio::time::sleep(REFUSED_PAUSE).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, socket: Arc<Path>) -> hyper::Result<()> {
    let answering = service_fn(move |request| {
        let socket = Arc::clone(&socket);
        async move { Ok::<_, Infallible>(answer(&request, socket).await) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    http.serve_connection(TokioIo::new(stream), answering).await
}

async fn answer(request: &Request<Incoming>, socket: Arc<Path>) -> Response<Full<Bytes>> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut refused = words(StatusCode::METHOD_NOT_ALLOWED, "metrics are only read: GET, HEAD\n");
        refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    if request.uri().path() != PATH {
        return words(StatusCode::NOT_FOUND, "metrics are at /metrics\n");
    }
    match spawn_blocking(move || scrape(&socket)).await {
        Ok(Ok(text)) => {
            let mut figures = words(StatusCode::OK, text);
            figures.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(families::CONTENT_TYPE));
            figures
        }
        Ok(Err(error)) => words(StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")),
        Err(error) => words(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    }
}

fn words(status: StatusCode, text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    response
}

fn scrape(socket: &Path) -> Result<String, ClientError> {
    let mut client = Client::connect(socket)?;
    let told = families::Told {
        info: client.object("MESH.INFO")?,
        peers: client.objects("MESH.PEERS")?,
        histograms: client.object("MESH.HISTOGRAM")?,
        stats: client.call(&["INFO", "all"])?.text().unwrap_or_default().to_owned(),
    };
    Ok(told.exposition())
}
