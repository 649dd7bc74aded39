//! The UDP socket under QUIC, and the runtime quinn runs on: all that quinn asks of the system.
//!
//! Apart because it is what changes when quinn reshapes its runtime interface, or when packets go through memory instead.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

use quinn::{Endpoint, EndpointConfig, Runtime, ServerConfig, TokioRuntime};
use socket2::{Domain, Protocol, Socket, Type};

/// What the kernel is asked to hold for the mesh thread while it is busy, each way; it may grant less.
const SOCKET_BUFFER_BYTES: usize = 2 << 20;

/// An endpoint on `socket`, accepting with `server`. Must be called on the runtime that will drive it.
pub(super) fn open(socket: &UdpSocket, config: EndpointConfig, server: ServerConfig) -> io::Result<Endpoint> {
    let runtime: Arc<dyn Runtime> = Arc::new(TokioRuntime);
    Endpoint::new(config, Some(server), socket.try_clone()?, runtime)
}

/// A socket of this process alone on `listen`.
pub(super) fn bind(listen: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(listen), Type::DGRAM, Some(Protocol::UDP))?;
    if listen.is_ipv6() {
        // "All addresses" means those of both families.
        socket.set_only_v6(false)?;
    }
    // A smaller buffer only loses packets earlier, so a refusal is no error.
    let _ = socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES);
    let _ = socket.set_send_buffer_size(SOCKET_BUFFER_BYTES);
    socket.bind(&listen.into())?;
    Ok(socket.into())
}
