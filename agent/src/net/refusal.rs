//! Why a peer is turned away: one cause each, with the code it is told, counted, and logged once in a while.
//!
//! Causes found by TLS (no certificate, another CA, expired) travel as TLS alerts, which rustls sends; all others as an
//! application close with a code from [`Close`]. A refusal touches nothing but the connection it concerns. The log is
//! bounded: a peer that knocks all day, or a thousand strangers, cost one line per cause and interval, and a table of
//! fixed size.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Entries of the table of what was logged lately; beyond it, causes are counted and not logged.
const LOGGED_MAX: usize = 1024;

/// A cause for turning a peer away.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Refusal {
    /// It showed no certificate.
    NoCertificate,
    /// Its certificate comes from another CA.
    UnknownCa,
    /// Its certificate has expired, or is not valid yet.
    Expired,
    /// Its certificate was revoked.
    Revoked,
    /// Its certificate is no good for another reason, or it broke off the TLS handshake.
    BadCertificate,
    /// Its certificate names no node.
    NoIdentity,
    /// It belongs to another cluster.
    OtherCluster,
    /// It holds another place key.
    OtherPlaceKey,
    /// It bears the name of this node and began later.
    NameClash,
    /// It bears the name of this node, or of a linked one, and began earlier.
    Fenced,
    /// It speaks no wire version that this agent speaks.
    Version,
    /// It said no HELLO in time.
    Silent,
    /// What it said was no HELLO, or no message of the protocol.
    Malformed,
    /// There are as many links or greetings as there may be.
    Crowded,
}

impl Refusal {
    /// All causes, in the order of their counters.
    pub const ALL: [Self; 14] = [
        Self::NoCertificate,
        Self::UnknownCa,
        Self::Expired,
        Self::Revoked,
        Self::BadCertificate,
        Self::NoIdentity,
        Self::OtherCluster,
        Self::OtherPlaceKey,
        Self::NameClash,
        Self::Fenced,
        Self::Version,
        Self::Silent,
        Self::Malformed,
        Self::Crowded,
    ];

    /// A stable name for reports and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoCertificate => "no_certificate",
            Self::UnknownCa => "unknown_ca",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::BadCertificate => "bad_certificate",
            Self::NoIdentity => "no_identity",
            Self::OtherCluster => "other_cluster",
            Self::OtherPlaceKey => "other_place_key",
            Self::NameClash => "name_clash",
            Self::Fenced => "fenced",
            Self::Version => "version",
            Self::Silent => "silent",
            Self::Malformed => "malformed",
            Self::Crowded => "crowded",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoCertificate => "no certificate",
            Self::UnknownCa => "certificate of another CA",
            Self::Expired => "certificate expired or not valid yet",
            Self::Revoked => "certificate revoked",
            Self::BadCertificate => "certificate not accepted",
            Self::NoIdentity => "certificate names no node",
            Self::OtherCluster => "certificate of another cluster",
            Self::OtherPlaceKey => "another place key",
            Self::NameClash => "this name is taken and you began later",
            Self::Fenced => "this name is taken by a later start",
            Self::Version => "no common protocol version",
            Self::Silent => "no hello in time",
            Self::Malformed => "malformed message",
            Self::Crowded => "too many connections",
        })
    }
}

/// Why a connection is closed, as the other side is told: a code and a text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Close {
    /// This agent leaves the mesh, or stops.
    Leaving,
    /// There is a link between the two already.
    Duplicate,
    /// A newer link between the two takes over.
    Replaced,
    /// The dialer reached itself.
    Itself,
    /// The roster has no place for the peer.
    Unwanted,
    /// The peer's certificate is no longer good.
    Untrusted,
    /// The peer is turned away.
    Refused(Refusal),
}

const LEAVING: u32 = 1;
const DUPLICATE: u32 = 2;
const REPLACED: u32 = 3;
const ITSELF: u32 = 4;
const UNWANTED: u32 = 5;
const UNTRUSTED: u32 = 6;
const REFUSED: u32 = 16;

impl Close {
    /// The code on the wire.
    pub fn code(self) -> u32 {
        match self {
            Self::Leaving => LEAVING,
            Self::Duplicate => DUPLICATE,
            Self::Replaced => REPLACED,
            Self::Itself => ITSELF,
            Self::Unwanted => UNWANTED,
            Self::Untrusted => UNTRUSTED,
            Self::Refused(refusal) => REFUSED + refusal as u32,
        }
    }

    /// The meaning of a code that the other side sent, if it has one.
    pub fn from_code(code: u64) -> Option<Self> {
        match u32::try_from(code).ok()? {
            LEAVING => Some(Self::Leaving),
            DUPLICATE => Some(Self::Duplicate),
            REPLACED => Some(Self::Replaced),
            ITSELF => Some(Self::Itself),
            UNWANTED => Some(Self::Unwanted),
            UNTRUSTED => Some(Self::Untrusted),
            other => {
                let index = usize::try_from(other.checked_sub(REFUSED)?).ok()?;
                Refusal::ALL.get(index).copied().map(Self::Refused)
            }
        }
    }
}

impl fmt::Display for Close {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Leaving => f.write_str("leaving"),
            Self::Duplicate => f.write_str("linked already"),
            Self::Replaced => f.write_str("replaced by a newer link"),
            Self::Itself => f.write_str("dialed itself"),
            Self::Unwanted => f.write_str("not in the roster"),
            Self::Untrusted => f.write_str("certificate no longer trusted"),
            Self::Refused(refusal) => refusal.fmt(f),
        }
    }
}

/// How often each cause occurred, readable from any thread.
#[derive(Debug, Default)]
pub struct Counters {
    refused: [AtomicU64; Refusal::ALL.len()],
    turned_away: AtomicU64,
    datagrams_dropped: AtomicU64,
}

impl Counters {
    /// Peers turned away for this cause.
    pub fn refused(&self, cause: Refusal) -> u64 {
        self.refused[cause as usize].load(Ordering::Relaxed)
    }

    /// How often a peer turned this agent away.
    pub fn turned_away(&self) -> u64 {
        self.turned_away.load(Ordering::Relaxed)
    }

    /// Received datagrams dropped because membership did not keep up.
    pub fn datagrams_dropped(&self) -> u64 {
        self.datagrams_dropped.load(Ordering::Relaxed)
    }

    pub(super) fn count_refused(&self, cause: Refusal) {
        self.refused[cause as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_turned_away(&self) {
        self.turned_away.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_datagram_dropped(&self) {
        self.datagrams_dropped.fetch_add(1, Ordering::Relaxed);
    }
}

/// Remembers what was logged lately.
#[derive(Debug)]
pub(super) struct LogOnce {
    interval: Duration,
    logged: BTreeMap<(String, String), Instant>,
}

impl LogOnce {
    /// Lets each (peer, cause) through once per `interval`.
    pub(super) fn new(interval: Duration) -> Self {
        Self { interval, logged: BTreeMap::new() }
    }

    /// Whether this may be logged at `now`.
    pub(super) fn permits(&mut self, peer: &str, cause: &str, now: Instant) -> bool {
        let key = (peer.to_owned(), cause.to_owned());
        let interval = self.interval;
        let fresh = |at: &Instant| now.saturating_duration_since(*at) < interval;
        if self.logged.get(&key).is_some_and(fresh) {
            return false;
        }
        if self.logged.len() >= LOGGED_MAX {
            self.logged.retain(|_, at| fresh(at));
        }
        if self.logged.len() >= LOGGED_MAX {
            return false;
        }
        self.logged.insert(key, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_reads_back() {
        let plain =
            [Close::Leaving, Close::Duplicate, Close::Replaced, Close::Itself, Close::Unwanted, Close::Untrusted];
        for close in plain.into_iter().chain(Refusal::ALL.map(Close::Refused)) {
            assert_eq!(Close::from_code(close.code().into()), Some(close));
        }
        assert_eq!(Close::from_code(0), None);
        assert_eq!(Close::from_code(u64::MAX), None);
    }

    #[test]
    fn a_cause_is_logged_once_per_peer_and_interval() {
        let mut log = LogOnce::new(Duration::from_mins(1));
        let start = Instant::now();
        assert!(log.permits("a", "expired", start));
        assert!(!log.permits("a", "expired", start + Duration::from_secs(59)));
        assert!(log.permits("b", "expired", start));
        assert!(log.permits("a", "revoked", start));
        assert!(log.permits("a", "expired", start + Duration::from_mins(1)));
    }

    #[test]
    fn the_log_table_does_not_grow_with_strangers() {
        let mut log = LogOnce::new(Duration::from_mins(1));
        let start = Instant::now();
        for stranger in 0..2 * LOGGED_MAX {
            log.permits(&stranger.to_string(), "silent", start);
        }
        assert_eq!(log.logged.len(), LOGGED_MAX);
        assert!(log.permits("late", "silent", start + Duration::from_secs(61)));
    }
}
