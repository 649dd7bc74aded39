//! Who holds whom to be here, and since when: the measurements of a field.

use std::time::Duration;

use everett_mesh_proto::time::Instant;

use super::peer::Sight;

/// One change of one observer's view.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    /// When.
    pub at: Instant,
    /// By whom.
    pub by: usize,
    /// Of whom.
    pub node: usize,
    /// What.
    pub sight: Sight,
}

/// Everybody's view of everybody.
#[derive(Debug)]
pub struct Views {
    /// All changes since the last reset.
    pub seen: Vec<Seen>,
    here: Vec<Vec<bool>>,
    counts: Vec<usize>,
}

impl Views {
    pub(super) fn new(count: usize) -> Self {
        Self { seen: Vec::new(), here: vec![vec![false; count]; count], counts: vec![0; count] }
    }

    /// A new process holds nobody to be here but itself.
    pub(super) fn born(&mut self, node: usize) {
        self.here[node].fill(false);
        self.here[node][node] = true;
        self.counts[node] = 1;
    }

    pub(super) fn saw(&mut self, at: Instant, by: usize, node: usize, sight: Sight) {
        self.seen.push(Seen { at, by, node, sight });
        let held = &mut self.here[by][node];
        match sight {
            Sight::Up if !*held => {
                *held = true;
                self.counts[by] += 1;
            }
            Sight::Down | Sight::Left if *held => {
                *held = false;
                self.counts[by] -= 1;
            }
            Sight::Up | Sight::Down | Sight::Left | Sight::Degraded => {}
        }
    }

    /// How many `by` holds to be here, itself included.
    pub fn count(&self, by: usize) -> usize {
        self.counts[by]
    }

    /// Whether `by` holds `node` to be here.
    pub fn holds(&self, by: usize, node: usize) -> bool {
        self.here[by][node]
    }

    /// After `since`, when the first and when the last of `observers` saw this of `node`; none if one never did.
    pub fn known(
        &self,
        since: Instant,
        node: usize,
        sight: Sight,
        observers: &[usize],
    ) -> (Option<Duration>, Option<Duration>) {
        let mut first_by = vec![None; self.here.len()];
        for seen in self.seen.iter().filter(|seen| seen.at >= since && seen.node == node && seen.sight == sight) {
            first_by[seen.by].get_or_insert(seen.at.saturating_since(since));
        }
        let times = observers.iter().filter(|&&observer| observer != node).map(|&observer| first_by[observer]);
        let first = times.clone().flatten().min();
        let all: Option<Vec<_>> = times.collect();
        (first, all.and_then(|all| all.into_iter().max()))
    }
}
