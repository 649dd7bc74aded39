//! The kernels over x86-64's carry-less multiplication. A token proves that the CPU has it.

use archmage::{SimdToken, X64CryptoToken, arcane, rite};

use super::{add_odd_powers_with, add_scaled_with, combine_with, dot_with, mul_with, square_all_with};

/// The proof, if this CPU has carry-less multiplication.
pub(super) fn token() -> Option<X64CryptoToken> {
    X64CryptoToken::summon()
}

#[rite(import_intrinsics)]
fn wide(_token: X64CryptoToken, a: u64, b: u64) -> u128 {
    let product = _mm_clmulepi64_si128::<0>(_mm_cvtsi64_si128(a.cast_signed()), _mm_cvtsi64_si128(b.cast_signed()));
    let (low, high) = (_mm_cvtsi128_si64(product), _mm_extract_epi64::<1>(product));
    u128::from(high.cast_unsigned()) << 64 | u128::from(low.cast_unsigned())
}

#[arcane]
pub(super) fn mul(token: X64CryptoToken, a: u64, b: u64) -> u64 {
    mul_with(a, b, |a, b| wide(token, a, b))
}

#[arcane]
pub(super) fn dot(token: X64CryptoToken, a: &[u64], b: &[u64]) -> u64 {
    dot_with(a, b, |a, b| wide(token, a, b))
}

#[arcane]
pub(super) fn add_scaled(token: X64CryptoToken, to: &mut [u64], factor: u64, from: &[u64]) {
    add_scaled_with(to, factor, from, |a, b| wide(token, a, b));
}

#[arcane]
pub(super) fn combine(token: X64CryptoToken, out: &mut [u64], factors: &[u64], rows: &[u64]) {
    combine_with(out, factors, rows, |a, b| wide(token, a, b));
}

#[arcane]
pub(super) fn square_all(token: X64CryptoToken, elements: &mut [u64]) {
    square_all_with(elements, |a, b| wide(token, a, b));
}

#[arcane]
pub(super) fn add_odd_powers(token: X64CryptoToken, sums: &mut [u64], x: u64) {
    add_odd_powers_with(sums, x, |a, b| wide(token, a, b));
}
