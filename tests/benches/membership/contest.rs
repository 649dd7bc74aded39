//! Who takes part, and how their worlds are spread over threads.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use clap::ValueEnum;
use everett_mesh_proto::membership::Config;
use everett_tests::sim::field::{Everett, Field, Peer, Sent};

use crate::foca_peer::{FocaPeer, Profile};

/// The most sites; a smaller mesh has one node in each.
pub(crate) const SITES_MAX: usize = 42;

/// A protocol with its settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Contestant {
    /// As Everett comes
    Everett,
    /// Everett's saving profile
    EverettEco,
    /// foca as for a local network
    FocaLan,
    /// foca as for a wide one
    FocaWan,
}

impl Contestant {
    /// As the tables name it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Everett => "everett",
            Self::EverettEco => "everett-eco",
            Self::FocaLan => "foca-lan",
            Self::FocaWan => "foca-wan",
        }
    }

    /// How long after a fault it may need until all know.
    pub(crate) fn patience(self) -> Duration {
        Duration::from_secs(match self {
            Self::Everett => 15,
            Self::EverettEco => 25,
            Self::FocaLan => 100,
            Self::FocaWan => 250,
        })
    }

    /// Plays a scene in worlds of this contestant's kind, one for each of `worlds`, and collects what came of them.
    pub(crate) fn play<S: Scene>(self, plan: &Plan, scene: &S, worlds: usize) -> Vec<S::Result> {
        let size = u32::try_from(scene.nodes()).unwrap_or(u32::MAX);
        let spread = |play: &(dyn Fn(u64) -> S::Result + Sync)| plan.spread(worlds, play);
        match self {
            Self::Everett => spread(&|seed| scene.play::<Everett>(self, seed, Config::default())),
            Self::EverettEco => spread(&|seed| scene.play::<Everett>(self, seed, Config::eco())),
            Self::FocaLan => spread(&|seed| scene.play::<FocaPeer>(self, seed, Profile::Lan(size))),
            Self::FocaWan => spread(&|seed| scene.play::<FocaPeer>(self, seed, Profile::Wan(size))),
        }
    }
}

/// Something that happens to a mesh.
pub(crate) trait Scene: Sync {
    /// What is measured.
    type Result: Send;
    /// The size of the mesh.
    fn nodes(&self) -> usize;
    /// Plays it once.
    fn play<P: Peer>(&self, who: Contestant, seed: u64, settings: P::Settings) -> Self::Result;
    /// A formed mesh of its size.
    fn formed<P: Peer>(&self, seed: u64, settings: P::Settings) -> Field<P> {
        Field::formed(seed, self.nodes(), self.nodes().min(SITES_MAX), settings)
    }
}

/// What is to be measured, and how much.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Sizes.
    pub(crate) nodes: Vec<usize>,
    /// Protocols.
    pub(crate) peers: Vec<Contestant>,
    /// Simulated minutes of long rows.
    pub(crate) minutes: usize,
    /// Which targets; all if empty.
    pub(crate) lines: Vec<String>,
    /// Repetitions behind percentiles.
    pub(crate) trials: usize,
    /// The first seed.
    pub(crate) seed: u64,
    /// Worlds at once.
    pub(crate) threads: NonZeroUsize,
}

impl Plan {
    /// Sizes that a table of the two usual ones shows.
    pub(crate) fn sizes(&self, usual: &[usize]) -> Vec<usize> {
        self.nodes.iter().copied().filter(|size| usual.contains(size)).collect()
    }

    fn spread<T: Send>(&self, worlds: usize, play: &(dyn Fn(u64) -> T + Sync)) -> Vec<T> {
        let next = AtomicUsize::new(0);
        let work = || {
            let mut results = Vec::new();
            loop {
                let world = next.fetch_add(1, Ordering::Relaxed);
                if world >= worlds {
                    return results;
                }
                results.push((world, play(self.seed + world as u64)));
            }
        };
        let mut results: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..self.threads.get()).map(|_| scope.spawn(work)).collect();
            threads.into_iter().flat_map(|thread| thread.join().expect("a world broke")).collect()
        });
        results.sort_by_key(|(world, _)| *world);
        results.into_iter().map(|(_, result)| result).collect()
    }
}

/// Packets and bytes of one node in a second.
pub(crate) fn rate(sent: Sent, nodes: usize, time: Duration) -> (f64, f64) {
    let share = |count: u64| count as f64 / nodes as f64 / time.as_secs_f64();
    (share(sent.messages), share(sent.bytes))
}
