//! Nodes that die, part, flap or go deaf: how soon is it known?

use std::time::Duration;

use everett_tests::sim::Clockwork;
use everett_tests::sim::field::{Field, Peer, Sight};

use crate::contest::{Contestant, Plan, Scene};
use crate::table::{self, percentile};

/// First, then last observer.
type Known = (Option<Duration>, Option<Duration>);

pub(crate) struct Crash {
    pub(crate) nodes: usize,
    pub(crate) loss: f64,
    /// Crashes in one world, one after another.
    pub(crate) count: usize,
}

impl Scene for Crash {
    type Result = Vec<Known>;

    fn nodes(&self) -> usize {
        self.nodes
    }

    fn play<P: Peer>(&self, who: Contestant, seed: u64, settings: P::Settings) -> Vec<Known> {
        let mut field: Field<P> = self.formed(seed, settings);
        field.net.loss = self.loss;
        let crash = |_| {
            field.run_for(Duration::from_secs(20));
            let node = field.any();
            field.reset();
            let start = field.now();
            field.crash(node);
            let observers = field.running();
            let all_know = |field: &Field<P>| observers.iter().all(|&by| !field.views.holds(by, node));
            field.run_until_seen(who.patience(), Duration::from_millis(100), all_know);
            let known = field.views.known(start, node, Sight::Down, &observers);
            field.start(node, &observers[..observers.len().min(3)]);
            known
        };
        (0..self.count).map(crash).collect()
    }
}

/// Crash of one member.
pub(crate) fn crash(plan: &Plan, loss: f64) {
    let sizes = if loss > 0.0 { plan.sizes(&[128]) } else { plan.nodes.clone() };
    for nodes in sizes {
        let scene = Crash { nodes, loss, count: 10 };
        let row = |who: &Contestant| {
            let known: Vec<_> = who.play(plan, &scene, plan.trials.div_ceil(10)).into_iter().flatten().collect();
            let first: Vec<_> = known.iter().map(|known| known.0).collect();
            let all: Vec<_> = known.iter().map(|known| known.1).collect();
            let mut row = vec![who.name().to_owned()];
            row.extend([percentile(&first, 50), percentile(&first, 99)]);
            row.extend([percentile(&all, 50), percentile(&all, 99), percentile(&all, 100)]);
            row
        };
        let rows: Vec<_> = plan.peers.iter().map(row).collect();
        let title = format!("Crash of one member, n={nodes}, {:.0} % loss (s)", loss * 100.0);
        table::print(&title, &["protocol", "first p50", "first p99", "all p50", "all p99", "max"], &rows);
    }
}

pub(crate) struct Heal {
    pub(crate) nodes: usize,
}

pub(crate) struct Healed {
    pub(crate) took: Option<Duration>,
    pub(crate) own_half: usize,
}

impl Scene for Heal {
    type Result = Healed;

    fn nodes(&self) -> usize {
        self.nodes
    }

    fn play<P: Peer>(&self, who: Contestant, seed: u64, settings: P::Settings) -> Healed {
        let mut field: Field<P> = self.formed(seed, settings);
        let half = |node: usize| node % 2;
        (0..self.nodes).filter(|&node| half(node) == 1).for_each(|node| field.net.put_into_group(node, 1));
        field.run_for(Duration::from_secs(20) + who.patience());
        (0..self.nodes).for_each(|node| field.net.put_into_group(node, 0));
        let own_half = |field: &Field<P>| {
            let down = field.views.seen.iter().filter(|seen| seen.sight == Sight::Down);
            down.filter(|seen| half(seen.by) == half(seen.node)).count()
        };
        let before = own_half(&field);
        field.reset();
        let all = |field: &Field<P>| (0..field.len()).all(|by| field.views.count(by) == field.len());
        let took = field.run_until_seen(Duration::from_secs(400), Duration::from_millis(50), all);
        field.run_for(Duration::from_secs(30));
        Healed { took, own_half: before + own_half(&field) }
    }
}

/// Partition and heal.
pub(crate) fn heal(plan: &Plan) {
    for nodes in plan.sizes(&[16, 128, 1024]) {
        let row = |who: &Contestant| {
            let healed = who.play(plan, &Heal { nodes }, if nodes > 500 { 2 } else { 10 });
            let took: Vec<_> = healed.iter().map(|healed| healed.took).collect();
            let own_half: usize = healed.iter().map(|healed| healed.own_half).sum();
            vec![who.name().into(), percentile(&took, 50), percentile(&took, 100), own_half.to_string()]
        };
        let rows: Vec<_> = plan.peers.iter().map(row).collect();
        let title = format!("Partition into halves and heal, n={nodes} (s until all hold all)");
        table::print(&title, &["protocol", "p50", "max", "Downs of the own half"], &rows);
    }
}

pub(crate) struct Flap;

impl Scene for Flap {
    type Result = usize;

    fn nodes(&self) -> usize {
        16
    }

    /// The most Ups that any observer showed.
    fn play<P: Peer>(&self, _: Contestant, seed: u64, settings: P::Settings) -> usize {
        let mut field: Field<P> = self.formed(seed, settings);
        for _ in 0..15 {
            field.net.put_into_group(5, 1);
            field.run_for(Duration::from_secs(20));
            field.net.put_into_group(5, 0);
            field.run_for(Duration::from_secs(20));
        }
        let ups = |observer: usize| {
            let ups = field.views.seen.iter().filter(|seen| seen.sight == Sight::Up && seen.node == 5);
            ups.filter(|seen| seen.by == observer).count()
        };
        (0..self.nodes()).filter(|&observer| observer != 5).map(ups).max().unwrap_or(0)
    }
}

/// A member unreachable for 20 s, here for 20 s, for ten minutes.
pub(crate) fn flap(plan: &Plan) {
    let row = |who: &Contestant| {
        let ups = who.play(plan, &Flap, 10).into_iter().max().unwrap_or(0);
        vec![who.name().into(), ups.to_string()]
    };
    let rows: Vec<_> = plan.peers.iter().map(row).collect();
    table::print("Flip-flop 20/20 s for 10 min, n=16", &["protocol", "Ups shown by one observer, at most"], &rows);
}

/// What a deaf node loses of what is sent to it.
pub(crate) struct Deaf {
    pub(crate) nodes: usize,
    pub(crate) share: f64,
}

#[derive(Default)]
pub(crate) struct Noticed {
    pub(crate) known: Known,
    degraded: Option<Duration>,
    wrong: usize,
}

impl Scene for Deaf {
    type Result = Noticed;

    fn nodes(&self) -> usize {
        self.nodes
    }

    fn play<P: Peer>(&self, who: Contestant, seed: u64, settings: P::Settings) -> Noticed {
        let mut field: Field<P> = self.formed(seed, settings);
        let node = field.any();
        let start = field.now();
        field.net.lose_towards(node, self.share);
        field.run_for(who.patience() + Duration::from_secs(90));
        let observers: Vec<_> = (0..self.nodes).filter(|&observer| observer != node).collect();
        let down = field.views.seen.iter().filter(|seen| seen.sight == Sight::Down);
        let wrong = down.filter(|seen| seen.node != node).count();
        let (degraded, _) = field.views.known(start, node, Sight::Degraded, &observers);
        Noticed { known: field.views.known(start, node, Sight::Down, &observers), degraded, wrong }
    }
}

/// A node that hears nothing, or a fifth.
pub(crate) fn deaf(plan: &Plan) {
    for share in [1.0, 0.8] {
        let row = |who: &Contestant| {
            let noticed = who.play(plan, &Deaf { nodes: 128, share }, plan.trials.div_ceil(5));
            let times = |of: &dyn Fn(&Noticed) -> Option<Duration>| noticed.iter().map(of).collect::<Vec<_>>();
            let (first, all) = (times(&|noticed| noticed.known.0), times(&|noticed| noticed.known.1));
            let degraded = times(&|noticed| noticed.degraded);
            let wrong: usize = noticed.iter().map(|noticed| noticed.wrong).sum();
            let mut row = vec![who.name().to_owned()];
            row.extend([percentile(&first, 50), percentile(&first, 100)]);
            row.extend([percentile(&all, 50), percentile(&all, 100)]);
            row.extend([percentile(&degraded, 50), percentile(&degraded, 100), wrong.to_string()]);
            row
        };
        let rows: Vec<_> = plan.peers.iter().map(row).collect();
        let title = format!("One node loses {:.0} % of what is sent to it, n=128 (s)", share * 100.0);
        let columns = ["protocol", "first Down p50", "max", "all p50", "max", "advisory p50", "max", "Downs of others"];
        table::print(&title, &columns, &rows);
    }
}
