//! The knobs of membership: what each costs, and what nodes should agree on.
//!
//! Apart from the machine so that a reader finds every number of the protocol in one place. Nodes of one mesh may differ
//! in all of them and still agree on who is here; only detection times and traffic change.

use std::time::Duration;

/// How one node takes part in membership.
#[derive(Clone, Debug)]
pub struct Config {
    /// A node arranges to be probed exactly once in this time by its observers together. Half of it is the mean share of
    /// the detection time; each node sends two datagrams per period.
    pub probe_period: Duration,
    /// The shortest wait for an answer, whatever the measured round trip says: a busy peer is not a dead one.
    pub timeout_min: Duration,
    /// The longest wait for an answer.
    pub timeout_max: Duration,
    /// The wait for an answer from a peer and a site never measured.
    pub timeout_unknown: Duration,
    /// Unreachable for this long is Dead. Local time, no message.
    pub dead_after: Duration,
    /// Dead or Left for this long is Forgotten: the member costs memory until then.
    pub forget_after: Duration,
    /// How often a node thinks of looking for a lost member.
    pub heal_period: Duration,
    /// No answer from anybody for this long: it is me.
    pub isolated_after: Duration,
    /// A wake-up later than this voids every running probe: this process, not its peers, was asleep.
    pub stall: Duration,
    /// What a datagram may weigh on a link that has not said how much it takes; smaller than any path's limit.
    pub datagram_bytes_unknown: usize,
    /// The most members remembered, of any state. About 200 bytes each.
    pub members_max: usize,
}

impl Config {
    /// The saving profile: a quarter of the traffic for about twice the detection time.
    pub fn eco() -> Self {
        Self { probe_period: Duration::from_secs(4), ..Self::default() }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            probe_period: Duration::from_secs(1),
            timeout_min: Duration::from_millis(50),
            timeout_max: Duration::from_millis(1_500),
            timeout_unknown: Duration::from_millis(400),
            dead_after: Duration::from_mins(1),
            forget_after: Duration::from_hours(72),
            heal_period: Duration::from_secs(5),
            isolated_after: Duration::from_secs(10),
            stall: Duration::from_millis(500),
            datagram_bytes_unknown: 1_100,
            members_max: 16_384,
        }
    }
}
