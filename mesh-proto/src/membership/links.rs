//! What the paths to the others are like: round trips, losses, whether a link stands.
//!
//! A probe's timeout comes from the measured round trip of its own path, so that a far member is not suspected for being
//! far, nor a near one given time it does not need (the estimator of RFC 6298, section 2). A member never measured borrows
//! from its site.

use std::collections::BTreeMap;
use std::time::Duration;

use super::config::Config;
use super::favour::Favours;
use crate::id::NodeId;
use crate::time::Instant;

/// Between two wishes for a link to the same node.
const DIAL_PAUSE: Duration = Duration::from_secs(5);
/// Sites whose round trip is remembered.
const SITES_MAX: usize = 4_096;
/// What an answer may take beyond twice the path's round trip.
const LATE: Duration = Duration::from_millis(250);

#[derive(Debug, Default, Clone, Copy)]
struct Path {
    trip: Option<Trip>,
    /// The round trip as the transport measures it, without the peer's process.
    transport: Option<Duration>,
    datagram_bytes_max: Option<usize>,
    connected: bool,
    dialled: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Trip {
    smooth: Duration,
    spread: Duration,
}

#[derive(Debug, Default)]
pub(super) struct Links {
    paths: BTreeMap<NodeId, Path>,
    sites: BTreeMap<String, Duration>,
    /// What this node has done for whom lately.
    pub(super) favours: Favours,
}

impl Links {
    pub(super) fn measured(&mut self, node: NodeId, site: Option<&str>, rtt: Duration) {
        let path = self.paths.entry(node).or_default();
        path.trip = Some(path.trip.map_or(Trip { smooth: rtt, spread: rtt / 2 }, |old| Trip {
            smooth: (old.smooth * 7 + rtt) / 8,
            spread: (old.spread * 3 + old.smooth.abs_diff(rtt)) / 4,
        }));
        if let Some(site) = site {
            if let Some(smooth) = self.sites.get_mut(site) {
                *smooth = (*smooth * 7 + rtt) / 8;
            } else if self.sites.len() < SITES_MAX {
                self.sites.insert(site.to_owned(), rtt);
            }
        }
    }

    pub(super) fn transport_measured(&mut self, node: NodeId, rtt: Duration) {
        self.paths.entry(node).or_default().transport = Some(rtt);
    }

    /// Whether an answer after `rtt` came much later than the path alone explains: the peer's process is slow.
    pub(super) fn is_late(&self, node: NodeId, rtt: Duration) -> bool {
        let path = self.paths.get(&node).and_then(|path| path.transport);
        path.is_some_and(|path| rtt > path * 2 + LATE)
    }

    pub(super) fn set_limit(&mut self, node: NodeId, datagram_bytes_max: usize) {
        self.paths.entry(node).or_default().datagram_bytes_max = Some(datagram_bytes_max);
    }

    /// What a datagram to `node` may weigh, if its link has said.
    pub(super) fn limit(&self, node: NodeId) -> Option<usize> {
        self.paths.get(&node).and_then(|path| path.datagram_bytes_max)
    }

    /// How long to wait for an answer.
    pub(super) fn timeout(&self, node: NodeId, site: Option<&str>, config: &Config) -> Duration {
        let own = self.paths.get(&node).and_then(|path| path.trip);
        let wait = match own {
            Some(trip) => trip.smooth + trip.spread * 4 + Duration::from_millis(20),
            None => match site.and_then(|site| self.sites.get(site)) {
                Some(&smooth) => smooth * 2 + Duration::from_millis(20),
                None => config.timeout_unknown,
            },
        };
        wait.clamp(config.timeout_min, config.timeout_max)
    }

    pub(super) fn rtt(&self, node: NodeId) -> Option<Duration> {
        self.paths.get(&node).and_then(|path| path.trip).map(|trip| trip.smooth)
    }

    pub(super) fn set_connected(&mut self, node: NodeId, connected: bool) {
        let path = self.paths.entry(node).or_default();
        path.connected = connected;
        // The next link may take another way.
        (path.transport, path.datagram_bytes_max) = (None, None);
        path.dialled = None;
    }

    /// Whether to wish for a link to `node` now: none stands, and the last wish is a while ago.
    pub(super) fn wants_dial(&mut self, node: NodeId, now: Instant) -> bool {
        let path = self.paths.entry(node).or_default();
        let due = path.dialled.is_none_or(|at| now.saturating_since(at) >= DIAL_PAUSE);
        let wanted = !path.connected && due;
        if wanted {
            path.dialled = Some(now);
        }
        wanted
    }

    pub(super) fn forget(&mut self, node: NodeId) {
        self.paths.remove(&node);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_timeout_follows_the_path_then_the_site_then_the_default() {
        let (far, near) = (NodeId([1; 16]), NodeId([2; 16]));
        let config = Config::default();
        let mut links = Links::default();
        assert_eq!(links.timeout(far, Some("oslo"), &config), config.timeout_unknown);
        (0..50).for_each(|_| links.measured(far, Some("oslo"), Duration::from_millis(200)));
        assert!(links.timeout(far, Some("oslo"), &config) < Duration::from_millis(230));
        assert_eq!(links.timeout(near, Some("oslo"), &config), Duration::from_millis(420));
        (0..50).for_each(|_| links.measured(near, None, Duration::from_micros(80)));
        assert_eq!(links.timeout(near, Some("oslo"), &config), config.timeout_min);
    }
}
