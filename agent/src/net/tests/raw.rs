//! A peer without a net behind it: a bare QUIC dialer that says what the test wants.

use std::net::SocketAddr;

use everett_certs::mtls::DIAL_NAME;
use everett_mesh_proto::wire::{Hello, Protocol, Ready, StreamKind, Welcome, encode_frame};
use quinn::{Connection, ConnectionError, Endpoint, SendStream, TransportConfig, VarInt};
use serde::Serialize;

use super::world::{FIRST, local, patient};
use crate::net::refusal::Close;
use crate::net::stream::StreamReader;

pub(super) struct Raw {
    pub(super) connection: Connection,
    _endpoint: Endpoint,
}

impl Raw {
    /// Dials; under TLS 1.3 this succeeds before the other side has judged anything.
    pub(super) async fn dial(address: SocketAddr, client: quinn::ClientConfig) -> Result<Self, ConnectionError> {
        let endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
        let connecting = endpoint.connect_with(client, address, DIAL_NAME).unwrap();
        let connection = patient(connecting).await?;
        Ok(Self { connection, _endpoint: endpoint })
    }

    /// Says `hello` as a dialer would; returns the stream and what is answered.
    pub(super) async fn hello(&self, hello: &Hello) -> (SendStream, StreamReader) {
        let (mut send, recv) = self.connection.open_bi().await.unwrap();
        say(&mut send, &StreamKind::Hello).await;
        say(&mut send, hello).await;
        (send, StreamReader::new(recv))
    }

    /// Becomes a link, whoever decides.
    pub(super) async fn link(&self, hello: &Hello) {
        let (mut send, mut reader) = self.hello(hello).await;
        let welcome: Welcome = patient(reader.expect()).await.unwrap();
        let ordinal = u64::from(welcome.ordinal == 0);
        // An acceptor that decides does not wait for it.
        let _ = send.write_chunk(encode_frame(&Ready { ordinal }).unwrap().into_bytes()).await;
    }

    /// Why the other side closed, if it said so.
    pub(super) async fn closed(&self) -> Option<Close> {
        crate::net::greet::by_peer(&patient(self.connection.closed()).await)
    }

    /// Frames of streams and datagrams that the other side has sent so far.
    pub(super) fn heard(&self) -> u64 {
        let frames = self.connection.stats().frame_rx;
        frames.stream + frames.datagram
    }
}

/// Writes one message.
pub(super) async fn say<T: Serialize>(send: &mut SendStream, message: &T) {
    send.write_chunk(encode_frame(message).unwrap().into_bytes()).await.unwrap();
}

/// A HELLO that fits a cluster with this place key.
pub(super) fn hello(place: [u8; 16]) -> Hello {
    let local = local(FIRST);
    Hello {
        protocol: Protocol::OURS,
        features: 0,
        place,
        boot_epoch: local.boot_epoch,
        nonce: 77,
        replica: local.replica,
        wall_ms: 0,
        newest_start_of_yours_ms: 0,
        spaces: Vec::new(),
    }
}

/// Takes almost nothing before it is read.
pub(super) fn narrow(mut client: quinn::ClientConfig) -> quinn::ClientConfig {
    let mut transport = TransportConfig::default();
    transport.stream_receive_window(VarInt::from_u32(4096)).receive_window(VarInt::from_u32(16 << 10));
    transport.keep_alive_interval(Some(std::time::Duration::from_secs(1)));
    client.transport_config(std::sync::Arc::new(transport));
    client
}
