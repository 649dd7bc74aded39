//! The wide product without the CPU's help: integer products of every fourth bit, between which carries have room.
//!
//! Each column of the low half is a sum of at most sixteen bits, of which only the last can need a fifth bit, and that one
//! lies beyond the half. The high half is the low half of the mirrored numbers, mirrored. The technique is the one of
//! constant-time GHASH in software (Pornin, BearSSL).

/// Every fourth bit.
const LANES: [u64; 4] = [0x1111_1111_1111_1111, 0x2222_2222_2222_2222, 0x4444_4444_4444_4444, 0x8888_8888_8888_8888];

/// The product as polynomials, of up to 127 bits.
pub(super) fn wide(a: u64, b: u64) -> u128 {
    let high = low_half(a.reverse_bits(), b.reverse_bits()).reverse_bits() >> 1;
    u128::from(high) << 64 | u128::from(low_half(a, b))
}

fn low_half(a: u64, b: u64) -> u64 {
    let (a, b) = (LANES.map(|lane| a & lane), LANES.map(|lane| b & lane));
    let mut product = 0;
    for (lane, mask) in LANES.into_iter().enumerate() {
        let mut sum = 0;
        for (i, &a) in a.iter().enumerate() {
            sum ^= a.wrapping_mul(b[(lane + 4 - i) % 4]);
        }
        product |= sum & mask;
    }
    product
}
