//! The QUIC endpoint and what its connections may use.
//!
//! Windows, stream counts and datagram buffers bound what one peer can make us hold; the dialer alone keeps a silent link
//! alive, which costs half of what both would. Streams are served by priority, and a stream that is blocked by its peer
//! holds up no other.

use std::sync::Arc;

use quinn::{ClientConfig, Endpoint, IdleTimeout, TransportConfig, VarInt};

use super::limits::Limits;
use super::{Setup, StartError, reset, socket, tls};

/// Streams of one direction that a peer may have open: ops, membership, and one of each while they are replaced.
const UNI_STREAMS_MAX: u32 = 4;
/// Datagrams received and not yet taken, per link.
const DATAGRAM_RECEIVE_BYTES: usize = 64 << 10;
/// Datagrams queued to be sent, per link; the oldest give way.
const DATAGRAM_SEND_BYTES: usize = 64 << 10;
/// Bytes sent and not yet acknowledged, per link.
const SEND_WINDOW_BYTES: u64 = 8 << 20;
/// Handshakes that wait to be looked at.
const INCOMING_MAX: usize = 256;
/// Bytes that a handshake not yet looked at may send ahead.
const INCOMING_BYTES: u64 = 16 << 10;

/// Opens the endpoint, and makes the configuration to dial with.
pub(super) fn open(setup: &Setup) -> Result<(Endpoint, ClientConfig), StartError> {
    let mut server = tls::server(&setup.mtls)?;
    server
        .transport_config(Arc::new(transport(&setup.limits, false)?))
        .max_incoming(INCOMING_MAX)
        .incoming_buffer_size(INCOMING_BYTES)
        .incoming_buffer_size_total(INCOMING_BYTES * INCOMING_MAX as u64);
    let mut client = tls::client(&setup.mtls)?;
    client.transport_config(Arc::new(transport(&setup.limits, true)?));
    let endpoint = socket::open(&setup.socket, reset::config(&setup.mtls), server).map_err(StartError::Socket)?;
    Ok((endpoint, client))
}

fn transport(limits: &Limits, dialing: bool) -> Result<TransportConfig, StartError> {
    let idle = IdleTimeout::try_from(limits.idle_timeout).map_err(|_| StartError::Limits)?;
    let mut transport = TransportConfig::default();
    transport
        .max_idle_timeout(Some(idle))
        .keep_alive_interval(dialing.then_some(limits.keep_alive))
        // One for the greeting.
        .max_concurrent_bidi_streams(VarInt::from_u32(limits.sessions_per_link_max + 1))
        .max_concurrent_uni_streams(VarInt::from_u32(UNI_STREAMS_MAX))
        .stream_receive_window(VarInt::from_u32(limits.stream_window_bytes))
        .receive_window(VarInt::from_u32(limits.link_window_bytes))
        .send_window(SEND_WINDOW_BYTES)
        .datagram_receive_buffer_size(Some(DATAGRAM_RECEIVE_BYTES))
        .datagram_send_buffer_size(DATAGRAM_SEND_BYTES);
    Ok(transport)
}
