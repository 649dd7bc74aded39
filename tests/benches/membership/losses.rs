//! Nobody dies, whatever the network does: what it costs to stay calm, and who does not.

use std::collections::BTreeSet;
use std::time::Duration;

use everett_tests::sim::Clockwork;
use everett_tests::sim::field::{Field, Peer, Sent, Sight};
use rand::RngExt;

use crate::contest::{Contestant, Plan, Scene, rate};
use crate::table;

const WORLD_MINUTES: usize = 10;
pub(crate) const WORLD: Duration = Duration::from_mins(10);

/// What is wrong with the network, or with the nodes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Trouble {
    None,
    Loss(f64),
    /// So many processes are blocked for so long, again and again with half a minute between.
    Blocked(usize, Duration),
    /// This share of the pairs of sites is cut.
    Cut(f64),
    /// This share of the pairs of sites is cut in one direction.
    CutOneWay(f64),
    /// Another share of this size every ten seconds, for five of them.
    Flapping(f64),
}

pub(crate) struct Calm {
    pub(crate) nodes: usize,
    pub(crate) trouble: Trouble,
    pub(crate) time: Duration,
}

/// What came of it.
pub(crate) struct Came {
    sent: Sent,
    /// Views of healthy members as dead, one per observer and time.
    events: usize,
    /// Such views held by healthy members.
    at_healthy: usize,
    /// Healthy members so viewed.
    pub(crate) deaths: usize,
}

impl Scene for Calm {
    type Result = Came;

    fn nodes(&self) -> usize {
        self.nodes
    }

    fn play<P: Peer>(&self, _: Contestant, seed: u64, settings: P::Settings) -> Came {
        let mut field: Field<P> = self.formed(seed, settings);
        let sick = self.suffer(&mut field);
        let down = field.views.seen.iter().filter(|seen| seen.sight == Sight::Down && !sick.contains(&seen.node));
        let at_healthy = down.clone().filter(|seen| !sick.contains(&seen.by)).count();
        // One death is one member, however many saw it within the same minute.
        let deaths: BTreeSet<_> = down.clone().map(|seen| (seen.node, seen.at.since_start().as_secs() / 60)).collect();
        Came { sent: field.sent, events: down.count(), at_healthy, deaths: deaths.len() }
    }
}

impl Calm {
    /// Lets the trouble have its time; whom it struck.
    fn suffer<P: Peer>(&self, field: &mut Field<P>) -> BTreeSet<usize> {
        let mut sick = BTreeSet::new();
        let end = field.now() + self.time;
        match self.trouble {
            Trouble::None => field.run_for(self.time),
            Trouble::Loss(share) => {
                field.net.loss = share;
                field.run_for(self.time);
            }
            Trouble::Cut(share) => {
                field.net.cut_sites(share);
                field.run_for(self.time);
            }
            Trouble::CutOneWay(share) => {
                field.net.cut_sites_one_way(share);
                field.run_for(self.time);
            }
            Trouble::Flapping(share) => {
                while field.now() < end {
                    field.net.cut_sites(share);
                    field.run_for(Duration::from_secs(5));
                    field.net.mend_sites();
                    field.run_for(Duration::from_secs(5));
                }
            }
            Trouble::Blocked(count, time) => {
                let first = field.dice.random_range(0..self.nodes);
                sick = (0..count).map(|nth| (first + nth * self.nodes / count) % self.nodes).collect();
                while field.now() < end {
                    sick.iter().for_each(|&node| field.block(node, time));
                    field.run_for(time + Duration::from_secs(30));
                }
            }
        }
        sick
    }
}

pub(crate) fn total(came: &[Came], of: impl Fn(&Came) -> usize) -> usize {
    came.iter().map(of).sum()
}

pub(crate) fn sent(came: &[Came]) -> Sent {
    let sum = |of: fn(&Sent) -> u64| came.iter().map(|came| of(&came.sent)).sum();
    Sent { messages: sum(|sent| sent.messages), bytes: sum(|sent| sent.bytes) }
}

/// Nothing happens.
pub(crate) fn steady(plan: &Plan) {
    let time = Duration::from_mins(2);
    let cell = |who: Contestant, nodes: usize| {
        let came = who.play(plan, &Calm { nodes, trouble: Trouble::None, time }, 2);
        let (messages, bytes) = rate(sent(&came), nodes * came.len(), time);
        format!("{messages:.2} / {bytes:.0}")
    };
    let row = |who: &Contestant| {
        let cells = plan.nodes.iter().map(|&nodes| cell(*who, nodes));
        std::iter::once(who.name().to_owned()).chain(cells).collect::<Vec<_>>()
    };
    let rows: Vec<_> = plan.peers.iter().map(row).collect();
    let sizes: Vec<_> = plan.nodes.iter().map(|nodes| format!("n={nodes}")).collect();
    let columns: Vec<_> = std::iter::once("messages/s / bytes/s").chain(sizes.iter().map(String::as_str)).collect();
    table::print("Steady state, per node, with 28 bytes of IP and UDP a message", &columns, &rows);
}

/// One trouble for as long as the plan says, ten minutes a world.
pub(crate) fn calm(plan: &Plan, who: Contestant, nodes: usize, trouble: Trouble) -> Vec<Came> {
    who.play(plan, &Calm { nodes, trouble, time: WORLD }, plan.minutes.div_ceil(WORLD_MINUTES))
}

/// Rows of one size over several troubles.
fn rows(plan: &Plan, nodes: usize, troubles: &[Trouble], cell: impl Fn(&[Came]) -> String) -> Vec<Vec<String>> {
    let row = |who: &Contestant| {
        let cells = troubles.iter().map(|&trouble| cell(&calm(plan, *who, nodes, trouble)));
        std::iter::once(who.name().to_owned()).chain(cells).collect()
    };
    plan.peers.iter().map(row).collect()
}

/// Loss for hours.
pub(crate) fn loss(plan: &Plan) {
    for nodes in plan.sizes(&[16, 128]) {
        let cell = |came: &[Came]| {
            let (messages, bytes) = rate(sent(came), nodes * came.len(), WORLD);
            let (deaths, events) = (total(came, |came| came.deaths), total(came, |came| came.events));
            format!("{deaths} / {events} / {messages:.2} / {bytes:.0}")
        };
        let troubles = [0.0, 0.05, 0.2, 0.3].map(Trouble::Loss);
        let rows = rows(plan, nodes, &troubles, cell);
        let title = format!(
            "Loss, n={nodes}, {} min: healthy members declared dead / views of them as dead / messages/s / bytes/s",
            plan.minutes
        );
        table::print(&title, &["protocol", "0 %", "5 %", "20 %", "30 %"], &rows);
    }
}

/// Blocked processes.
pub(crate) fn blocked(plan: &Plan) {
    let seconds = Duration::from_secs;
    let counts = [1, 4, 16];
    let troubles: Vec<_> =
        counts.iter().flat_map(|&count| [5, 15, 30].map(|time| Trouble::Blocked(count, seconds(time)))).collect();
    let cell = |came: &[Came]| {
        let total = |of: fn(&Came) -> usize| total(came, of);
        format!("{} / {} / {}", total(|came| came.deaths), total(|came| came.events), total(|came| came.at_healthy))
    };
    let rows = rows(plan, 128, &troubles, cell);
    let title = format!(
        "C members blocked for D s, 30 s between, n=128, {} min: healthy members declared dead / views / at healthy members",
        plan.minutes
    );
    let names = counts.iter().flat_map(|count| [5, 15, 30].map(|time| format!("C={count} D={time}")));
    let columns: Vec<_> = std::iter::once("protocol".to_owned()).chain(names).collect();
    let columns: Vec<_> = columns.iter().map(String::as_str).collect();
    table::print(&title, &columns, &rows);
}

/// Broken routes.
pub(crate) fn routes(plan: &Plan) {
    let troubles = [Trouble::Cut(0.25), Trouble::CutOneWay(0.25), Trouble::Flapping(0.25)];
    let cell = |came: &[Came]| {
        let (messages, bytes) = rate(sent(came), 128 * came.len(), WORLD);
        format!(
            "{} / {} / {messages:.2} / {bytes:.0}",
            total(came, |came| came.deaths),
            total(came, |came| came.events)
        )
    };
    let rows = rows(plan, 128, &troubles, cell);
    let title = format!(
        "25 % of the pairs of sites, n=128, {} min: healthy members declared dead / views / messages/s / bytes/s",
        plan.minutes
    );
    table::print(&title, &["protocol", "cut", "cut one way", "cut for 5 s of 10, others each time"], &rows);
}
