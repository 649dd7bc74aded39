//! Arithmetic in GF(2^64), as sketches need it: over whole slices, so that a multiplication costs little more than itself.
//!
//! The field is the polynomials over GF(2) modulo x^64 + x^4 + x^3 + x + 1. Addition is `^`. A product is first 128 bits
//! wide; sums of products are reduced once, at their end. The wide product comes from the CPU's carry-less multiplication
//! where it has one (x86-64 since 2010), else from integer multiplications between whose bits room is left for the
//! carries, which costs some twenty times as much. Both give the same bits.
//!
//! Not here: what the numbers mean. Nothing here is constant in time: what is multiplied is known to every member.

mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

/// Defines a kernel: over the CPU's own multiplication where there is one, else over the portable one.
macro_rules! kernels {
    ($($(#[$doc:meta])* $name:ident = $with:ident($($arg:ident: $type:ty),*) $(-> $result:ty)?;)*) => {$(
        $(#[$doc])*
        pub(super) fn $name($($arg: $type),*) $(-> $result)? {
            #[cfg(target_arch = "x86_64")]
            if let Some(token) = x86::token() {
                return x86::$name(token, $($arg),*);
            }
            $with($($arg,)* portable::wide)
        }
    )*};
}

kernels! {
    /// The product of two elements.
    mul = mul_with(a: u64, b: u64) -> u64;
    /// The sum of the products of two slices' elements, as far as the shorter one goes.
    dot = dot_with(a: &[u64], b: &[u64]) -> u64;
    /// Adds `factor` times `from` to `to`, element by element.
    add_scaled = add_scaled_with(to: &mut [u64], factor: u64, from: &[u64]);
    /// The combination of `rows`, each as long as `out`, with these factors.
    combine = combine_with(out: &mut [u64], factors: &[u64], rows: &[u64]);
    /// Squares every element.
    square_all = square_all_with(elements: &mut [u64]);
    /// Adds the odd powers of `x` to `sums`: x, x^3, x^5 and so on.
    add_odd_powers = add_odd_powers_with(sums: &mut [u64], x: u64);
}

/// The inverse of `a`; zero for zero.
pub(super) fn inverse(a: u64) -> u64 {
    // a^(2^64 - 2), by its 63 squares.
    let (mut square, mut product) = (a, 1);
    for _ in 1..64 {
        square = mul(square, square);
        product = mul(product, square);
    }
    product
}

/// The element of the field that a wide product stands for.
#[inline(always)]
#[expect(clippy::inline_always, clippy::cast_possible_truncation, reason = "part of every kernel; halves of 128 bits")]
fn reduce(wide: u128) -> u64 {
    let (low, high) = (wide as u64, (wide >> 64) as u64);
    // What x^64 = x^4 + x^3 + x + 1 lifts beyond 64 bits is four bits, and comes down once more.
    let beyond = (high >> 63) ^ (high >> 61) ^ (high >> 60);
    let high = high ^ beyond;
    low ^ high ^ (high << 1) ^ (high << 3) ^ (high << 4)
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "it must be compiled for the caller's CPU features")]
fn mul_with<F: Fn(u64, u64) -> u128>(a: u64, b: u64, wide: F) -> u64 {
    reduce(wide(a, b))
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "it must be compiled for the caller's CPU features")]
fn dot_with<F: Fn(u64, u64) -> u128>(a: &[u64], b: &[u64], wide: F) -> u64 {
    let mut sum = 0;
    for (&a, &b) in a.iter().zip(b) {
        sum ^= wide(a, b);
    }
    reduce(sum)
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "it must be compiled for the caller's CPU features")]
fn add_scaled_with<F: Fn(u64, u64) -> u128>(to: &mut [u64], factor: u64, from: &[u64], wide: F) {
    for (to, &from) in to.iter_mut().zip(from) {
        *to ^= reduce(wide(factor, from));
    }
}

#[inline(always)]
fn combine_with<F: Fn(u64, u64) -> u128>(out: &mut [u64], factors: &[u64], rows: &[u64], wide: F) {
    const COLUMNS: usize = 4;
    let width = out.len().max(1);
    let mut first = 0;
    for out in out.chunks_mut(COLUMNS) {
        let mut sums = [0; COLUMNS];
        for (&factor, row) in factors.iter().zip(rows.chunks_exact(width)) {
            if let Some(row) = row[first..].first_chunk::<COLUMNS>() {
                for (sum, &element) in sums.iter_mut().zip(row) {
                    *sum ^= wide(factor, element);
                }
            } else {
                for (sum, &element) in sums.iter_mut().zip(&row[first..]) {
                    *sum ^= wide(factor, element);
                }
            }
        }
        for (out, sum) in out.iter_mut().zip(sums) {
            *out = reduce(sum);
        }
        first += COLUMNS;
    }
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "it must be compiled for the caller's CPU features")]
fn square_all_with<F: Fn(u64, u64) -> u128>(elements: &mut [u64], wide: F) {
    for element in elements {
        *element = reduce(wide(*element, *element));
    }
}

/// Four chains of powers, so that one multiplication need not wait for another.
#[inline(always)]
#[expect(clippy::inline_always, reason = "it must be compiled for the caller's CPU features")]
fn add_odd_powers_with<F: Fn(u64, u64) -> u128>(sums: &mut [u64], x: u64, wide: F) {
    let mul = |a, b| reduce(wide(a, b));
    let square = mul(x, x);
    let fourth = mul(square, square);
    let eighth = mul(fourth, fourth);
    let cube = mul(x, square);
    let mut powers = [x, cube, mul(x, fourth), mul(cube, fourth)];
    for sums in sums.chunks_mut(4) {
        for (sum, power) in sums.iter_mut().zip(&mut powers) {
            *sum ^= *power;
            *power = mul(*power, eighth);
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_pcg::Pcg64;

    use super::*;

    /// Bit by bit, from the definition.
    fn slow(a: u64, b: u64) -> u64 {
        let mut product = 0;
        for bit in (0..64).rev() {
            let carry = product >> 63;
            product = (product << 1) ^ (carry * 0x1b);
            product ^= (b >> bit & 1) * a;
        }
        product
    }

    fn numbers(rng: &mut Pcg64, count: usize) -> Vec<u64> {
        (0..count).map(|_| rng.random()).collect()
    }

    #[test]
    fn products_are_those_of_the_definition_on_every_path() {
        let mut rng = Pcg64::seed_from_u64(1);
        let edges = [0, 1, 2, 3, 1 << 63, u64::MAX, 0xf << 60, 0x8888_8888_8888_8888];
        let pairs = edges.iter().flat_map(|&a| edges.map(|b| (a, b)));
        let random: Vec<_> = (0..1_000).map(|_| (rng.random(), rng.random())).collect();
        for (a, b) in pairs.chain(random) {
            assert_eq!((mul(a, b), mul_with(a, b, portable::wide)), (slow(a, b), slow(a, b)), "{a:x} * {b:x}");
        }
    }

    #[test]
    fn an_element_times_its_inverse_is_one() {
        let mut rng = Pcg64::seed_from_u64(2);
        assert_eq!(inverse(0), 0);
        for a in [1, 2, u64::MAX].into_iter().chain(numbers(&mut rng, 50)) {
            assert_eq!(mul(a, inverse(a)), 1);
        }
    }

    #[test]
    fn kernels_over_slices_are_sums_of_products() {
        let mut rng = Pcg64::seed_from_u64(3);
        for width in 0..20 {
            let (a, b, factor) = (numbers(&mut rng, width), numbers(&mut rng, width), rng.random());
            let products = a.iter().zip(&b).map(|(&a, &b)| slow(a, b));
            assert_eq!(dot(&a, &b), products.fold(0, |sum, product| sum ^ product));
            let mut scaled = a.clone();
            add_scaled(&mut scaled, factor, &b);
            assert!(scaled.iter().zip(a.iter().zip(&b)).all(|(&sum, (&a, &b))| sum == a ^ slow(factor, b)));
            let mut squares = a.clone();
            square_all(&mut squares);
            assert!(squares.iter().zip(&a).all(|(&square, &a)| square == slow(a, a)));
            let (factors, rows) = (numbers(&mut rng, 5), numbers(&mut rng, 5 * width));
            let mut combined = vec![0; width];
            combine(&mut combined, &factors, &rows);
            for (column, &sum) in combined.iter().enumerate() {
                let products = factors.iter().enumerate().map(|(row, &f)| slow(f, rows[row * width + column]));
                assert_eq!(sum, products.fold(0, |sum, product| sum ^ product));
            }
        }
    }

    #[test]
    fn odd_powers_are_each_the_last_times_the_square() {
        let mut rng = Pcg64::seed_from_u64(4);
        for count in 0..15 {
            let (x, mut sums) = (rng.random(), vec![0; count]);
            add_odd_powers(&mut sums, x);
            let powers = std::iter::successors(Some(x), |&power| Some(slow(power, slow(x, x))));
            assert_eq!(sums, powers.take(count).collect::<Vec<_>>());
        }
    }
}
