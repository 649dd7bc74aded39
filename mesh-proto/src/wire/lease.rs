//! What a lease's row holds as its value: the parts of the key that it found.
//!
//! A value like any other to the replica; a format of its own, because every agent reads what another one wrote.

use bytes::Bytes;

use super::{Malformed, Writer};
use crate::id::Dot;

/// The version of the encoding of leases; the first byte of each.
pub const LEASE_FORMAT: u8 = 1;

/// Encodes the parts that a lease found.
pub fn encode_lease(found: &[Dot]) -> Bytes {
    Writer::versioned(LEASE_FORMAT).value(&found)
}

/// Decodes the parts that a lease found.
pub fn decode_lease(bytes: &[u8]) -> Result<Vec<Dot>, Malformed> {
    super::versioned(LEASE_FORMAT, bytes)
}
