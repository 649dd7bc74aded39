//! Sketches: a few sums over a set of ids, from two of which the ids in only one of the sets can be read.
//!
//! A sketch of capacity c is the sums of the first c odd powers of the ids over GF(2^64) (PinSketch; Dodis, Ostrovsky,
//! Reyzin and Smith, *Fuzzy Extractors*, SIAM J. Comput. 2008). It is linear: the sum of two sets' sketches is the sketch
//! of their difference, and a shorter sketch is a prefix of a longer one. Up to c − 2 ids are decoded; the two sums that are
//! left over make a wrong decoding of a larger difference as likely as 2^-128.
//!
//! A sketch proves nothing: whoever knows the secret behind the ids can make sets that cancel in it. The tree says whether
//! a difference is all there is.

mod roots;

use super::field::{add_odd_powers, add_scaled, dot, inverse, mul};

/// The longest sketch, in sums.
pub const CAPACITY_MAX: usize = 256;

/// How many sums are spent on not decoding wrongly.
const SPARE: usize = 2;

/// The sums of odd powers of a set's ids; `Default` is that of the empty set without any capacity.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Sketch(Vec<u64>);

impl Sketch {
    /// The sketch of the empty set, with so many sums.
    pub fn new(capacity: usize) -> Self {
        Self(vec![0; capacity.min(CAPACITY_MAX)])
    }

    /// A sketch of these sums; `None` if they are more than a sketch may have.
    pub fn from_sums(sums: Vec<u64>) -> Option<Self> {
        (sums.len() <= CAPACITY_MAX).then_some(Self(sums))
    }

    /// The sums.
    pub fn sums(&self) -> &[u64] {
        &self.0
    }

    /// Puts `id`, which is not zero, into the set, or takes it out.
    pub fn toggle(&mut self, id: u64) {
        add_odd_powers(&mut self.0, id);
    }

    /// Makes it the sketch of the ids that are in one of the two sets only; it is then as long as the shorter one.
    pub fn merge(&mut self, other: &Self) {
        self.0.truncate(other.0.len());
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            *mine ^= theirs;
        }
    }

    /// The shorter sketch of the same set.
    pub fn prefix(&self, capacity: usize) -> Self {
        Self(self.0[..capacity.min(self.0.len())].to_vec())
    }

    /// Whether all sums are zero, as those of the empty set are.
    pub fn is_zero(&self) -> bool {
        self.0.iter().all(|&sum| sum == 0)
    }

    /// The ids of the set, in order, if they are few enough.
    pub fn decode(&self) -> Option<Vec<u64>> {
        let locator = self.locator()?;
        let mut ids = roots::of(&locator)?;
        ids.sort_unstable();
        Some(ids)
    }

    /// The monic polynomial whose roots are the ids, lowest coefficient first, its leading one left out.
    fn locator(&self) -> Option<Vec<u64>> {
        let (mut current, degree) = recurrence(&self.power_sums());
        current.truncate(degree + 1);
        let fits = degree + SPARE <= self.0.len() || degree == 0;
        let leading = current.pop().filter(|&leading| fits && leading != 0)?;
        // The recurrence has the inverses for roots: read backwards it has the ids.
        debug_assert!(degree == 0 || current[0] == 1, "a connection polynomial begins with one");
        if degree == 0 {
            return Some(Vec::new());
        }
        let mut locator = vec![leading];
        locator.extend(current.into_iter().skip(1).rev());
        Some(locator)
    }

    /// The sums of the first 2c powers: those of even powers are squares.
    fn power_sums(&self) -> Vec<u64> {
        let mut sums = vec![0; 2 * self.0.len()];
        for power in 1..=sums.len() {
            sums[power - 1] = if power % 2 == 1 {
                self.0[power / 2]
            } else {
                let half = sums[power / 2 - 1];
                mul(half, half)
            };
        }
        sums
    }
}

/// The shortest linear recurrence of `sums`, as its connection polynomial, and its length (Massey 1969). In characteristic
/// two every other discrepancy is zero.
fn recurrence(sums: &[u64]) -> (Vec<u64>, usize) {
    let backwards: Vec<u64> = sums.iter().rev().copied().collect();
    let mut current = vec![0; sums.len() + 1];
    current[0] = 1;
    let mut previous = current.clone();
    let (mut length, mut shift, mut inverted) = (0, 1, 1);
    for at in (0..sums.len()).step_by(2) {
        let discrepancy = dot(&current[..=length], &backwards[sums.len() - 1 - at..]);
        if discrepancy == 0 {
            shift += 2;
            continue;
        }
        let factor = mul(discrepancy, inverted);
        if 2 * length <= at {
            let before = current.clone();
            let reach = sums.len() + 1 - shift;
            add_scaled(&mut current[shift..], factor, &previous[..reach]);
            (previous, inverted) = (before, inverse(discrepancy));
            length = at + 1 - length;
            shift = 2;
        } else {
            add_scaled(&mut current[shift..=length], factor, &previous[..=length - shift]);
            shift += 2;
        }
    }
    (current, length)
}

#[cfg(test)]
mod tests;
