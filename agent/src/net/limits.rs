//! The net's knobs, each with its price.
//!
//! What a peer can make us hold or do is bounded here: a member with a valid certificate may misbehave, a stranger may
//! knock as often as it likes. Channel capacities stand in `channels`.

use std::time::Duration;

use everett_mesh_proto::wire::FRAME_LEN_MAX;

/// Bounds and paces of the links.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The dialer of an otherwise silent link sends a probe this often. Shorter finds dead links sooner and costs some
    /// 150 bytes each time.
    pub keep_alive: Duration,
    /// A link silent for this long is dead. Must be a few times `keep_alive`.
    pub idle_timeout: Duration,
    /// From the first packet of a connection to the end of HELLO; a stranger holds a slot for no longer.
    pub greeting_timeout: Duration,
    /// The longest pause between two attempts to reach a peer.
    pub dial_backoff_max: Duration,
    /// A refused peer is logged once in this time for each cause.
    pub log_interval: Duration,
    /// Links at most. Each costs the windows below in the worst case.
    pub links_max: usize,
    /// Connections being set up at most; beyond half of it unproven addresses are asked to prove themselves.
    pub greetings_max: usize,
    /// Bytes queued for one peer on the ops stream before it is cut to "behind"; one more frame may go beyond.
    pub lane_bytes_max: u64,
    /// Received bytes of all peers that wait for their consumer, for ops, for sessions and for membership each. Not less
    /// than a frame.
    pub inbound_bytes_max: u32,
    /// Bytes one peer may have in flight to us on one stream.
    pub stream_window_bytes: u32,
    /// Bytes one peer may have in flight to us on all streams.
    pub link_window_bytes: u32,
    /// Repair sessions that one peer may have open with us.
    pub sessions_per_link_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            keep_alive: Duration::from_secs(4),
            idle_timeout: Duration::from_secs(12),
            greeting_timeout: Duration::from_secs(5),
            dial_backoff_max: Duration::from_mins(1),
            log_interval: Duration::from_mins(1),
            links_max: 1024,
            greetings_max: 256,
            lane_bytes_max: 8 << 20,
            inbound_bytes_max: 2 * FRAME_LEN_MAX,
            stream_window_bytes: 2 << 20,
            link_window_bytes: 8 << 20,
            sessions_per_link_max: 8,
        }
    }
}
