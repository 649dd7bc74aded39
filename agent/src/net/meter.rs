//! The figures of one link, readable from any thread without asking the mesh thread.
//!
//! A meter outlives its link and then shows the last figures. It can only look.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use super::lane::Gauge;

/// Shows one link's figures. Cheap to clone.
#[derive(Clone)]
pub struct LinkMeter {
    connection: quinn::Connection,
    queue: Gauge,
}

impl fmt::Debug for LinkMeter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinkMeter").field("address", &self.connection.remote_address()).finish_non_exhaustive()
    }
}

/// A link's figures at one moment, since it came up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LinkFigures {
    /// Where the peer is now.
    pub address: SocketAddr,
    /// QUIC's estimate of the round trip.
    pub rtt: Duration,
    /// UDP payload bytes sent.
    pub sent_bytes: u64,
    /// UDP payload bytes received.
    pub received_bytes: u64,
    /// UDP datagrams sent.
    pub sent_datagrams: u64,
    /// UDP datagrams received.
    pub received_datagrams: u64,
    /// Packets sent and lost.
    pub lost_packets: u64,
    /// Bytes queued on the ops stream.
    pub queued_bytes: u64,
    /// The largest membership datagram that fits now, 0 if the peer takes none.
    pub datagram_bytes_max: u64,
}

impl LinkMeter {
    pub(super) fn new(connection: quinn::Connection, queue: Gauge) -> Self {
        Self { connection, queue }
    }

    /// The figures now.
    pub fn read(&self) -> LinkFigures {
        let stats = self.connection.stats();
        LinkFigures {
            address: self.connection.remote_address(),
            rtt: stats.path.rtt,
            sent_bytes: stats.udp_tx.bytes,
            received_bytes: stats.udp_rx.bytes,
            sent_datagrams: stats.udp_tx.datagrams,
            received_datagrams: stats.udp_rx.datagrams,
            lost_packets: stats.path.lost_packets,
            queued_bytes: self.queue.bytes(),
            datagram_bytes_max: self.datagram_bytes_max() as u64,
        }
    }

    /// The largest membership datagram that fits now, 0 if the peer takes none.
    pub fn datagram_bytes_max(&self) -> usize {
        self.connection.max_datagram_size().unwrap_or(0)
    }

    /// QUIC's estimate of the round trip.
    pub fn rtt(&self) -> Duration {
        self.connection.rtt()
    }
}
