//! The cluster's 32-byte secret for `place`, tree hashes and digests.
//!
//! It is drawn once, with the cluster's first authority, is the same on every node, and never rotates: every stored
//! row is ordered by it. It stands apart from certificates because it outlives them all. It never appears in a log or
//! an error; what may be shown, stored and compared over the wire is its fingerprint.

use std::fmt;

use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};

use crate::error::Error;

/// What the fingerprint is made over; a change of this text is a change of every stored fingerprint.
const FINGERPRINT_OF: &[u8] = b"everett place key fingerprint 1";

/// The cluster's secret.
#[derive(Clone, PartialEq, Eq)]
pub struct PlaceKey([u8; PlaceKey::LEN]);

impl PlaceKey {
    /// How many bytes it has.
    pub const LEN: usize = 32;

    /// Draws a new one, for a new cluster.
    pub(crate) fn draw() -> Result<Self, Error> {
        let mut bytes = [0; Self::LEN];
        fill_random(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// The secret itself, for whoever orders rows by it.
    pub fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    /// What may be shown and compared in its stead: a keyed hash that tells nothing about the key.
    pub fn fingerprint(&self) -> [u8; 16] {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &self.0), FINGERPRINT_OF);
        let mut fingerprint = [0; 16];
        fingerprint.copy_from_slice(&tag.as_ref()[..16]);
        fingerprint
    }
}

impl From<[u8; PlaceKey::LEN]> for PlaceKey {
    fn from(bytes: [u8; PlaceKey::LEN]) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for PlaceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PlaceKey({})", crate::identity::hex(&self.fingerprint()))
    }
}

/// Fills `bytes` from the system's generator; every secret and every id of this crate comes through here.
pub(crate) fn fill_random(bytes: &mut [u8]) -> Result<(), Error> {
    SystemRandom::new().fill(bytes).map_err(|_| Error::Random)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_the_fingerprint_and_never_the_key() {
        let key = PlaceKey::from([0xab; 32]);
        let shown = format!("{key:?}");
        assert!(!shown.contains("abab") && !shown.contains("171"), "{shown}");
        assert!(shown.contains(&crate::identity::hex(&key.fingerprint())), "{shown}");
    }

    #[test]
    fn the_fingerprint_is_frozen_because_stores_remember_it() {
        let key = PlaceKey::from([7; 32]);
        assert_eq!(crate::identity::hex(&key.fingerprint()), "73c33e65a2530736f09e8d4576f27f34");
    }

    #[test]
    fn two_draws_differ() {
        assert_ne!(PlaceKey::draw().unwrap(), PlaceKey::draw().unwrap());
    }
}
