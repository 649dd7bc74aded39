//! Estimates how many ids two sets do not share, from 192 bytes of each.
//!
//! Tug of war (Alon, Matias and Szegedy, *The space complexity of approximating the frequency moments*, STOC 1996): each of
//! 128 counters adds one for half of all ids, chosen by hash, and takes one away for the others. The difference of two
//! sets' counters is that of their difference, and its square is expected to be as many as that has ids; the mean over the
//! counters strays by an eighth. Counters are of 12 bits, and wrap: only their differences matter, which stay near the root
//! of the number. Beyond some million differences the estimate grows no further.

/// How many counters.
const COUNTERS: usize = 128;

/// Bits of a counter.
const BITS: u32 = 12;

/// The greatest counter.
const MASK: u16 = (1 << BITS) - 1;

/// Bytes of the stored and sent form: three for two counters.
pub const ESTIMATOR_BYTES: usize = COUNTERS * 3 / 2;

/// The counters of a set.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Estimator(Box<[u16; COUNTERS]>);

impl Default for Estimator {
    fn default() -> Self {
        Self(Box::new([0; COUNTERS]))
    }
}

impl Estimator {
    /// Puts `id` into the set.
    pub fn add(&mut self, id: u64) {
        self.pull(id, 1);
    }

    /// Takes `id` out of the set.
    pub fn remove(&mut self, id: u64) {
        self.pull(id, u16::MAX);
    }

    /// About how many ids are in one of the two sets only.
    pub fn difference(&self, other: &Self) -> u64 {
        let pairs = self.0.iter().zip(other.0.iter());
        let squares = pairs.map(|(mine, theirs)| {
            // Shifted up, so that its sign is that of twelve bits.
            let apart = (mine.wrapping_sub(*theirs) << (u16::BITS - BITS)).cast_signed() >> (u16::BITS - BITS);
            u64::from(apart.unsigned_abs()).pow(2)
        });
        squares.sum::<u64>().div_ceil(COUNTERS as u64)
    }

    /// Adds the counters of a set that shares no id with this one.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0.iter()) {
            *mine = mine.wrapping_add(*theirs) & MASK;
        }
    }

    /// The stored and sent form.
    pub fn to_bytes(&self) -> [u8; ESTIMATOR_BYTES] {
        let mut bytes = [0; ESTIMATOR_BYTES];
        for (bytes, [first, second]) in bytes.as_chunks_mut().0.iter_mut().zip(self.0.as_chunks().0) {
            let [low, middle, high, _] = (u32::from(*first) | u32::from(*second) << BITS).to_le_bytes();
            *bytes = [low, middle, high];
        }
        bytes
    }

    /// Reads the stored and sent form.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; ESTIMATOR_BYTES] = bytes.try_into().ok()?;
        let mut estimator = Self::default();
        for (counters, [low, middle, high]) in estimator.0.as_chunks_mut().0.iter_mut().zip(bytes.as_chunks().0) {
            let first = u16::from_le_bytes([*low, middle & 0xf]);
            *counters = [first, u16::from_le_bytes([middle >> 4 | high << 4, high >> 4])];
        }
        Some(estimator)
    }

    /// Adds `step` where the id's bit is set, and takes it away elsewhere.
    fn pull(&mut self, id: u64, step: u16) {
        let halves = self.0.as_chunks_mut::<64>().0;
        for (counters, salt) in halves.iter_mut().zip([0x9e37_79b9_7f4a_7c15, 0xd1b5_4a32_d192_ed03]) {
            let signs = mixed(id ^ salt);
            for (bit, counter) in counters.iter_mut().enumerate() {
                // One or minus one, without a branch.
                let side = u16::from(signs >> bit & 1 == 1).wrapping_mul(2).wrapping_sub(1);
                *counter = counter.wrapping_add(step.wrapping_mul(side)) & MASK;
            }
        }
    }
}

/// Every bit of the result depends on every bit of `x` (the finisher of splitmix64, Steele, Lea and Flood 2014).
fn mixed(x: u64) -> u64 {
    let x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ x >> 31
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_pcg::Pcg64;

    use super::*;

    #[test]
    fn estimates_stray_by_an_eighth() {
        let mut rng = Pcg64::seed_from_u64(1);
        for size in [0_u32, 1, 10, 100, 1_000, 20_000, 100_000] {
            let (mut strays, rounds) = (0.0, 40);
            for _ in 0..rounds {
                let (mut a, mut b) = (Estimator::default(), Estimator::default());
                for _ in 0..100 {
                    let id = rng.random();
                    a.add(id);
                    b.add(id);
                }
                for _ in 0..size {
                    if rng.random() { a.add(rng.random()) } else { b.add(rng.random()) }
                }
                let estimate = f64::from(u32::try_from(a.difference(&b)).expect("small"));
                strays += (estimate - f64::from(size)).powi(2);
            }
            let stray = (strays / f64::from(rounds)).sqrt();
            assert!(stray <= 0.17 * f64::from(size), "{size} ids are estimated with an error of {stray}");
        }
    }

    #[test]
    fn a_set_is_what_was_added_and_not_removed_in_any_order() {
        let (mut a, mut b, mut c) = (Estimator::default(), Estimator::default(), Estimator::default());
        (1..500).for_each(|id| a.add(id));
        (1..900).rev().for_each(|id| b.add(id));
        (500..900).for_each(|id| b.remove(id));
        (500..900).for_each(|id| c.add(id));
        assert_eq!(a, b);
        assert_eq!(Estimator::from_bytes(&a.to_bytes()), Some(a.clone()));
        assert_eq!(Estimator::from_bytes(&[0; 3]), None);
        a.merge(&c);
        (500..900).for_each(|id| b.add(id));
        assert_eq!(a, b);
    }
}
