//! A network with the distances, the jitter and the losses of a real one.
//!
//! Sites lie at random on a globe; the round trip between two grows with their distance, from 1 ms within a site to 250 ms.
//! Each packet is delayed by half of that plus jitter, now and then by much more, and lost on its own. Pairs of nodes or of
//! sites can be cut, in one direction too.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

const FARTHEST: f64 = 248.0;
const WITHIN_SITE_MS: f64 = 1.0;
const SPIKES: f64 = 0.005;
const SPIKE_MS_MAX: f64 = 150.0;

/// The network. Nodes are numbered; each stands in a site.
#[derive(Debug)]
pub struct Net {
    rng: Pcg64,
    /// Round trips between sites.
    trips: Vec<Vec<Duration>>,
    site_of: Vec<usize>,
    groups: Vec<u32>,
    /// Nodes that are not in the first group.
    apart: usize,
    cut: BTreeSet<(usize, usize)>,
    /// Ways between sites that nothing passes.
    cut_ways: BTreeSet<(usize, usize)>,
    lossy: BTreeMap<usize, f64>,
    /// The share of packets lost.
    pub loss: f64,
}

impl Net {
    /// `sites` places on a globe, nobody there yet.
    pub fn new(seed: u64, sites: usize) -> Self {
        let mut rng = Pcg64::seed_from_u64(seed);
        let places: Vec<_> = (0..sites).map(|_| on_a_globe(&mut rng)).collect();
        let trips = places.iter().map(|&a| places.iter().map(|&b| trip(a, b)).collect()).collect();
        Self {
            rng,
            trips,
            site_of: Vec::new(),
            groups: Vec::new(),
            apart: 0,
            cut: BTreeSet::new(),
            cut_ways: BTreeSet::new(),
            lossy: BTreeMap::new(),
            loss: 0.0,
        }
    }

    /// A further node; sites are filled in turn. Returns its site.
    pub fn add(&mut self) -> usize {
        let site = self.site_of.len() % self.trips.len();
        self.site_of.push(site);
        self.groups.push(0);
        site
    }

    /// The round trip without jitter.
    pub fn rtt(&self, a: usize, b: usize) -> Duration {
        self.trips[self.site_of[a]][self.site_of[b]]
    }

    /// Puts a node into a group; only nodes of one group reach each other.
    pub fn put_into_group(&mut self, node: usize, group: u32) {
        self.apart -= usize::from(self.groups[node] != 0);
        self.apart += usize::from(group != 0);
        self.groups[node] = group;
    }

    /// Cuts, or mends, the way from one node to another.
    pub fn cut(&mut self, from: usize, to: usize, cut: bool) {
        if cut {
            self.cut.insert((from, to));
        } else {
            self.cut.remove(&(from, to));
        }
    }

    /// Loses this share of the packets that a node should receive.
    pub fn lose_towards(&mut self, node: usize, share: f64) {
        self.lossy.insert(node, share);
    }

    /// Cuts this share of the pairs of sites, both ways.
    pub fn cut_sites(&mut self, share: f64) {
        for (a, b) in self.pairs() {
            if self.rng.random_bool(share) {
                self.cut_ways.extend([(a, b), (b, a)]);
            }
        }
    }

    /// Cuts this share of the pairs of sites, each in one direction.
    pub fn cut_sites_one_way(&mut self, share: f64) {
        for (a, b) in self.pairs() {
            if self.rng.random_bool(share) {
                self.cut_ways.insert(if self.rng.random_bool(0.5) { (a, b) } else { (b, a) });
            }
        }
    }

    /// Mends all ways between sites.
    pub fn mend_sites(&mut self) {
        self.cut_ways.clear();
    }

    /// Whether everything sent arrives.
    pub fn is_whole(&self) -> bool {
        let cut = !self.cut.is_empty() || !self.cut_ways.is_empty();
        self.apart == 0 && !cut && self.lossy.is_empty() && self.loss <= 0.0
    }

    fn pairs(&self) -> Vec<(usize, usize)> {
        (0..self.trips.len()).flat_map(|a| (0..a).map(move |b| (a, b))).collect()
    }

    /// Whether packets can pass at all.
    pub fn reaches(&self, from: usize, to: usize) -> bool {
        let way = (self.site_of[from], self.site_of[to]);
        self.groups[from] == self.groups[to] && !self.cut.contains(&(from, to)) && !self.cut_ways.contains(&way)
    }

    /// How long one packet takes, or `None` if it is lost.
    pub fn datagram(&mut self, from: usize, to: usize) -> Option<Duration> {
        let lost = self.rng.random_bool(self.lossy.get(&to).copied().unwrap_or(self.loss));
        let delay = self.one_way(from, to);
        (self.reaches(from, to) && !lost).then_some(delay)
    }

    /// How long a message on a stream takes, or `None` if the way is cut.
    pub fn stream(&mut self, from: usize, to: usize) -> Option<Duration> {
        let mut delay = self.one_way(from, to);
        while self.rng.random_bool(self.loss) {
            delay += self.rtt(from, to) + Duration::from_millis(20);
        }
        (self.reaches(from, to) && self.reaches(to, from)).then_some(delay)
    }

    fn one_way(&mut self, from: usize, to: usize) -> Duration {
        let half = self.rtt(from, to) / 2;
        let spike = if self.rng.random_bool(SPIKES) { SPIKE_MS_MAX } else { 0.0 };
        let jitter_ms: f64 = self.rng.random_range(0.0..2.0) + self.rng.random_range(0.0..=spike);
        half.mul_f64(self.rng.random_range(1.0..1.06)) + Duration::from_secs_f64(jitter_ms / 1_000.0)
    }
}

fn trip(a: [f64; 3], b: [f64; 3]) -> Duration {
    let cosine: f64 = a.iter().zip(b).map(|(x, y)| x * y).sum();
    let turn = cosine.clamp(-1.0, 1.0).acos() / std::f64::consts::PI;
    Duration::from_secs_f64((WITHIN_SITE_MS + FARTHEST * turn) / 1_000.0)
}

fn on_a_globe(rng: &mut Pcg64) -> [f64; 3] {
    loop {
        let point: [f64; 3] = std::array::from_fn(|_| rng.random_range(-1.0..1.0));
        let length = point.iter().map(|x| x * x).sum::<f64>().sqrt();
        if (0.1..=1.0).contains(&length) {
            return point.map(|x| x / length);
        }
    }
}
