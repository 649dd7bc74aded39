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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ReplicaId;

    #[test]
    fn a_lease_keeps_its_bytes_and_damage_is_refused() {
        let found =
            vec![Dot { replica: ReplicaId([0xaa; 16]), seq: 7 }, Dot { replica: ReplicaId([0xbb; 16]), seq: 300 }];
        let bytes = encode_lease(&found);
        let expected = [&[1, 2][..], &[0xaa; 16], &[7], &[0xbb; 16], &[0xac, 2]].concat();
        assert_eq!(*bytes, *expected);
        assert_eq!(decode_lease(&bytes), Ok(found));
        for end in 0..bytes.len() {
            assert_eq!(decode_lease(&bytes[..end]), Err(Malformed));
        }
        assert_eq!(decode_lease(&[&[2], &expected[1..]].concat()), Err(Malformed), "another version");
        assert_eq!(decode_lease(&[1, 0xff, 0xff, 0xff, 0xff, 0x0f]), Err(Malformed), "a count beyond what came");
    }
}
