//! Nodes that come, come back, and take their leave.

use std::time::Duration;

use everett_tests::sim::Clockwork;
use everett_tests::sim::field::{Field, Peer, Sight};

use crate::contest::{Contestant, Plan, SITES_MAX, Scene};
use crate::table::{self, percentile};

const SEEDS: [usize; 3] = [0, 1, 2];

/// What one member does while all others know each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Doing {
    Joins,
    Restarts,
    Leaves,
}

pub(crate) struct One {
    pub(crate) nodes: usize,
    pub(crate) doing: Doing,
}

pub(crate) struct Done {
    pub(crate) known: Option<Duration>,
    wrong: usize,
}

impl Scene for One {
    type Result = Done;

    fn nodes(&self) -> usize {
        self.nodes
    }

    fn play<P: Peer>(&self, who: Contestant, seed: u64, settings: P::Settings) -> Done {
        let one = self.nodes - 1;
        let mut field: Field<P> = Field::new(seed, self.nodes, self.nodes.min(SITES_MAX), settings);
        field.form(if self.doing == Doing::Joins { one } else { self.nodes });
        if self.doing == Doing::Restarts {
            field.crash(one);
            field.run_for(Duration::from_millis(500));
        }
        let start = field.now();
        let sights: &[Sight] = match self.doing {
            Doing::Joins | Doing::Restarts => {
                field.start(one, &SEEDS);
                &[Sight::Up]
            }
            Doing::Leaves => {
                field.leave(one);
                &[Sight::Left, Sight::Down]
            }
        };
        field.run_for(who.patience());
        let others: Vec<_> = (0..one).collect();
        let known = sights.iter().filter_map(|&sight| field.views.known(start, one, sight, &others).1).min();
        let down = field.views.seen.iter().filter(|seen| seen.sight == Sight::Down);
        let wrong = down.filter(|seen| seen.node != one || self.doing == Doing::Restarts).count();
        Done { known, wrong }
    }
}

fn one(plan: &Plan, doing: Doing, title: &str) {
    let row = |who: &Contestant, nodes: usize| {
        let worlds = if nodes > 500 { plan.trials.div_ceil(10) } else { plan.trials };
        let done = who.play(plan, &One { nodes, doing }, worlds);
        let known: Vec<_> = done.iter().map(|done| done.known).collect();
        let wrong: usize = done.iter().map(|done| done.wrong).sum();
        let mut row = vec![who.name().to_owned()];
        row.extend([percentile(&known, 50), percentile(&known, 99), percentile(&known, 100), wrong.to_string()]);
        row
    };
    for nodes in plan.sizes(&[16, 128, 1024]) {
        let rows: Vec<_> = plan.peers.iter().map(|who| row(who, nodes)).collect();
        let title = format!("{title}, n={nodes} (s until all others know)");
        table::print(&title, &["protocol", "p50", "p99", "max", "views of healthy members as dead"], &rows);
    }
}

/// One newcomer.
pub(crate) fn join(plan: &Plan) {
    one(plan, Doing::Joins, "A newcomer");
}

/// One restarts within half a second.
pub(crate) fn restart(plan: &Plan) {
    one(plan, Doing::Restarts, "A member restarts after half a second");
}

/// One takes its leave.
pub(crate) fn leave(plan: &Plan) {
    one(plan, Doing::Leaves, "A member leaves");
}

pub(crate) struct MassJoin {
    pub(crate) nodes: usize,
}

impl Scene for MassJoin {
    type Result = Option<Duration>;

    fn nodes(&self) -> usize {
        self.nodes
    }

    fn play<P: Peer>(&self, _: Contestant, seed: u64, settings: P::Settings) -> Option<Duration> {
        let mut field: Field<P> = Field::new(seed, self.nodes, self.nodes.min(SITES_MAX), settings);
        field.form(SEEDS.len());
        (SEEDS.len()..self.nodes).for_each(|node| field.start(node, &SEEDS));
        let all = |field: &Field<P>| (0..field.len()).all(|by| field.views.count(by) == field.len());
        field.run_until_seen(Duration::from_secs(200), Duration::from_millis(10), all)
    }
}

/// All start at once.
pub(crate) fn mass_join(plan: &Plan) {
    for nodes in plan.sizes(&[16, 128, 1024]) {
        let row = |who: &Contestant| {
            let took = who.play(plan, &MassJoin { nodes }, if nodes > 500 { 3 } else { 20 });
            vec![who.name().into(), percentile(&took, 50), percentile(&took, 100)]
        };
        let rows: Vec<_> = plan.peers.iter().map(row).collect();
        let title = format!("All start at once with three seeds, n={nodes} (s until all hold all)");
        table::print(&title, &["protocol", "p50", "max"], &rows);
    }
}
