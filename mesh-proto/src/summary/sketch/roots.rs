//! The roots of a polynomial over GF(2^64) that has as many as its degree, all different.
//!
//! After Berlekamp's trace algorithm (*Factoring polynomials over large finite fields*, Math. Comp. 1970). All powers
//! x^(2^i) modulo the polynomial are computed once; the trace of any multiple of x is then a combination of them. The trace
//! is linear and not zero everywhere, so between them the traces of the multiples by 64 basis elements tell any two roots
//! apart: the work is bounded whatever the polynomial, and no chance is needed.
//!
//! Polynomials are slices, lowest coefficient first; monic ones leave their leading coefficient out.

use super::super::field::{add_scaled, combine, inverse, mul, square_all};

/// Bits of the field.
const BITS: usize = 64;

/// The roots of the monic polynomial `f`; `None` if it has fewer than its degree.
pub(super) fn of(f: &[u64]) -> Option<Vec<u64>> {
    match f {
        [] => return Some(Vec::new()),
        &[root] => return Some(vec![root]),
        [..] => {}
    }
    let powers = frobenius(f)?;
    let mut roots = Vec::with_capacity(f.len());
    let mut factors = vec![f.to_vec()];
    for bit in 0..BITS {
        if factors.is_empty() {
            break;
        }
        let multiples: Vec<u64> = std::iter::successors(Some(1 << bit), |&b| Some(mul(b, b))).take(BITS).collect();
        let mut trace = vec![0; f.len()];
        combine(&mut trace, &multiples, &powers);
        for factor in std::mem::take(&mut factors) {
            split(factor, &trace, &mut factors, &mut roots);
        }
    }
    (factors.is_empty() && roots.len() == f.len()).then_some(roots)
}

/// Divides `factor` into those of its roots where the trace is zero and the others; what is down to a root is one.
fn split(factor: Vec<u64>, trace: &[u64], factors: &mut Vec<Vec<u64>>, roots: &mut Vec<u64>) {
    let mut rest = trace.to_vec();
    remainder(&mut rest, &factor);
    let zeros = common_divisor(factor.clone(), rest);
    let parts = if zeros.is_empty() || zeros.len() == factor.len() {
        vec![factor]
    } else {
        let ones = quotient(factor, &zeros);
        vec![zeros, ones]
    };
    for part in parts {
        match part.as_slice() {
            &[root] => roots.push(root),
            [..] => factors.push(part),
        }
    }
}

/// x^(2^i) modulo `f` for each i below 64, one after the other; `None` if x^(2^64) is not x: then `f` has other factors
/// than different roots.
fn frobenius(f: &[u64]) -> Option<Vec<u64>> {
    let degree = f.len();
    let highs = even_powers(f);
    let mut powers = vec![0; BITS * degree];
    powers[1] = 1;
    let mut power = powers[..degree].to_vec();
    for i in 1..=BITS {
        square_all(&mut power);
        // The square has even powers only: the lower half of them stay what they are, the others are reduced.
        let half = degree.div_ceil(2);
        let mut next = vec![0; degree];
        combine(&mut next, &power[half..], &highs);
        for (j, &square) in power[..half].iter().enumerate() {
            next[2 * j] ^= square;
        }
        power = next;
        if i < BITS {
            powers[i * degree..][..degree].copy_from_slice(&power);
        }
    }
    (power == powers[..degree]).then_some(powers)
}

/// The even powers of x from the degree of `f` up to twice that, modulo `f`.
fn even_powers(f: &[u64]) -> Vec<u64> {
    let degree = f.len();
    let mut rows = Vec::with_capacity(degree / 2 * degree);
    let mut power = f.to_vec();
    for exponent in degree..2 * degree - 1 {
        if exponent % 2 == 0 {
            rows.extend_from_slice(&power);
        }
        let carry = power[degree - 1];
        power.copy_within(..degree - 1, 1);
        power[0] = 0;
        add_scaled(&mut power, carry, f);
    }
    rows
}

/// Reduces `p` modulo the monic polynomial `f`.
fn remainder(p: &mut Vec<u64>, f: &[u64]) {
    while p.len() > f.len() {
        let leading = p.pop().expect("longer than another");
        let low = p.len() - f.len();
        if leading != 0 {
            add_scaled(&mut p[low..], leading, f);
        }
    }
}

/// The quotient of monic polynomials of which the second divides the first.
fn quotient(mut p: Vec<u64>, f: &[u64]) -> Vec<u64> {
    let degree = p.len() - f.len();
    let mut quotient = vec![0; degree];
    let mut leading = 1;
    for at in (0..=degree).rev() {
        if at < degree {
            quotient[at] = leading;
        }
        add_scaled(&mut p[at..at + f.len()], leading, f);
        leading = if at == 0 { 0 } else { p[at + f.len() - 1] };
    }
    quotient
}

/// The greatest common divisor of a monic polynomial and one with any leading coefficient, monic.
fn common_divisor(mut a: Vec<u64>, mut b: Vec<u64>) -> Vec<u64> {
    loop {
        while b.last() == Some(&0) {
            b.pop();
        }
        let Some(leading) = b.pop() else { return a };
        let factor = inverse(leading);
        for coefficient in &mut b {
            *coefficient = mul(*coefficient, factor);
        }
        // `a` less `b` times a power of x at each step, its own leading coefficient being one at first.
        a.push(1);
        remainder(&mut a, &b);
        (a, b) = (b, a);
    }
}
