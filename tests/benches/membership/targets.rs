//! The figures that membership is held to, line by line: what each may be at most, and what it is.
//!
//! The other tables show how a figure comes about; this one is what a change of the protocol must not spoil. The settings
//! as they come are judged, the saving profile and other protocols only shown.

use std::time::Duration;

use crate::contest::{Contestant, Plan, rate};
use crate::faults::{Crash, Deaf, Flap, Heal};
use crate::joins::{Doing, MassJoin, One};
use crate::losses::{self, Calm, Trouble, WORLD};
use crate::table::{self, percentile_of, seconds};

/// What one line shows of one protocol: the text, and the figures with what they may be at most.
struct Shown {
    text: String,
    held: bool,
}

/// Figures and their limits, as a line shows them.
fn times(figures: &[(Option<Duration>, f64)]) -> Shown {
    let text: Vec<_> = figures.iter().map(|&(time, _)| seconds(time)).collect();
    let held = figures.iter().all(|&(time, limit)| time.is_some_and(|time| time.as_secs_f64() <= limit));
    Shown { text: text.join(" / "), held }
}

fn count(count: usize, at_most: usize) -> Shown {
    Shown { text: count.to_string(), held: count <= at_most }
}

type Measure<'a> = Box<dyn Fn(Contestant) -> Shown + 'a>;

struct Line<'a> {
    figure: String,
    at_most: &'static str,
    measure: Measure<'a>,
}

impl<'a> Line<'a> {
    fn new(figure: String, at_most: &'static str, measure: impl Fn(Contestant) -> Shown + 'a) -> Self {
        Self { figure, at_most, measure: Box::new(measure) }
    }
}

fn deaths(plan: &Plan) -> Vec<Line<'_>> {
    let calm = move |trouble: Trouble, name: &str| {
        let figure = format!("healthy members declared dead in {} min, n=128: {name}", plan.minutes);
        Line::new(figure, "0", move |who: Contestant| {
            let came = losses::calm(plan, who, 128, trouble);
            let (messages, bytes) = rate(losses::sent(&came), 128 * came.len(), WORLD);
            let deaths = losses::total(&came, |came| came.deaths);
            let frugal = trouble != Trouble::Loss(0.3) || (messages <= 16.0 && bytes <= 2_000.0);
            let text = format!("{deaths} ({messages:.2} messages/s, {bytes:.0} B/s)");
            Shown { text, held: deaths == 0 && frugal }
        })
    };
    vec![
        calm(Trouble::Loss(0.0), "no loss"),
        calm(Trouble::Loss(0.05), "5 % loss"),
        calm(Trouble::Loss(0.2), "20 % loss"),
        calm(Trouble::Loss(0.3), "30 % loss (16 messages/s, 2 kB/s)"),
        calm(Trouble::Blocked(16, Duration::from_secs(30)), "16 blocked for 30 s"),
        calm(Trouble::Cut(0.25), "25 % of the pairs of sites cut"),
    ]
}

fn crashes(plan: &Plan) -> Vec<Line<'_>> {
    let crash = move |nodes: usize, loss: f64| {
        move |who: Contestant| {
            let scene = Crash { nodes, loss, count: 10 };
            let known: Vec<_> = who.play(plan, &scene, plan.trials.div_ceil(10)).into_iter().flatten().collect();
            let first: Vec<_> = known.iter().map(|known| known.0).collect();
            let all: Vec<_> = known.iter().map(|known| known.1).collect();
            (first, all)
        }
    };
    let mut lines = Vec::new();
    for &nodes in &plan.nodes {
        let figure = format!("crash: first p50 / p99, all know p50 / p99, n={nodes}");
        lines.push(Line::new(figure, "2.0 / 3.5 / 2.5 / 4.0 s", move |who| {
            let (first, all) = crash(nodes, 0.0)(who);
            let [first_half, first_most] = [50, 99].map(|percent| percentile_of(&first, percent));
            let [all_half, all_most] = [50, 99].map(|percent| percentile_of(&all, percent));
            times(&[(first_half, 2.0), (first_most, 3.5), (all_half, 2.5), (all_most, 4.0)])
        }));
    }
    lines.push(Line::new("crash at 20 % loss: all know p99, n=128".into(), "5.0 s", move |who| {
        times(&[(percentile_of(&crash(128, 0.2)(who).1, 99), 5.0)])
    }));
    lines
}

fn idle(plan: &Plan) -> Vec<Line<'_>> {
    let idle = move |nodes: usize, who: Contestant| {
        let time = Duration::from_mins(2);
        let came = who.play(plan, &Calm { nodes, trouble: Trouble::None, time }, 2);
        let (messages, bytes) = rate(losses::sent(&came), nodes * came.len(), time);
        let (messages_max, bytes_max) = if who == Contestant::EverettEco { (0.55, 45.0) } else { (2.1, 170.0) };
        let held = messages <= messages_max && bytes <= bytes_max;
        Shown { text: format!("{messages:.2} / {bytes:.0}"), held }
    };
    let line = move |&nodes: &usize| {
        let figure = format!("idle: messages/s / B/s per node, n={nodes}");
        Line::new(figure, "2.1 / 170 (saving: 0.55 / 45)", move |who| idle(nodes, who))
    };
    plan.nodes.iter().map(line).collect()
}

fn comings(plan: &Plan) -> Vec<Line<'_>> {
    let one = move |doing: Doing, who: Contestant| {
        let done = who.play(plan, &One { nodes: 128, doing }, plan.trials);
        done.iter().map(|done| done.known).collect::<Vec<_>>()
    };
    let mut lines = vec![
        Line::new("newcomer known by all, p99, n=128".into(), "0.7 s", move |who| {
            times(&[(percentile_of(&one(Doing::Joins, who), 99), 0.7)])
        }),
        Line::new("leave known by all, p99, n=128".into(), "0.5 s", move |who| {
            times(&[(percentile_of(&one(Doing::Leaves, who), 99), 0.5)])
        }),
    ];
    let limits = [(128, 1.0, "1 s", 3.0, "3 s; 0"), (1024, 3.0, "3 s", 6.0, "6 s; 0")];
    for (nodes, join_max, join_text, heal_max, heal_text) in limits {
        if !plan.nodes.contains(&nodes) {
            continue;
        }
        let worlds = if nodes > 500 { 3 } else { 20 };
        lines.push(Line::new(format!("all start at once: full view, max, n={nodes}"), join_text, move |who| {
            times(&[(percentile_of(&who.play(plan, &MassJoin { nodes }, worlds), 100), join_max)])
        }));
        let figure = format!("halves meet: all hold all, max; Downs of the own half, n={nodes}");
        lines.push(Line::new(figure, heal_text, move |who| {
            let healed = who.play(plan, &Heal { nodes }, worlds.div_ceil(2));
            let took: Vec<_> = healed.iter().map(|healed| healed.took).collect();
            let own_half: usize = healed.iter().map(|healed| healed.own_half).sum();
            let shown = times(&[(percentile_of(&took, 100), heal_max)]);
            Shown { text: format!("{}; {own_half}", shown.text), held: shown.held && own_half == 0 }
        }));
    }
    lines
}

fn oddities(plan: &Plan) -> Vec<Line<'_>> {
    vec![
        Line::new("flip-flop 20/20 s for 10 min: Ups shown by one observer, n=16".into(), "3", move |who| {
            count(who.play(plan, &Flap, 10).into_iter().max().unwrap_or(0), 3)
        }),
        Line::new("deaf node first noticed, max, n=128".into(), "4 s", move |who| {
            let noticed = who.play(plan, &Deaf { nodes: 128, share: 1.0 }, plan.trials.div_ceil(5));
            let first: Vec<_> = noticed.iter().map(|noticed| noticed.known.0).collect();
            times(&[(percentile_of(&first, 100), 4.0)])
        }),
    ]
}

/// Prints all of them; whether Everett holds each.
pub(crate) fn all(plan: &Plan) -> bool {
    let mut held = true;
    let lines = crashes(plan).into_iter().chain(deaths(plan)).chain(idle(plan));
    let rows: Vec<_> = lines
        .chain(comings(plan))
        .chain(oddities(plan))
        .filter(|line| plan.lines.is_empty() || plan.lines.iter().any(|text| line.figure.contains(text)))
        .map(|line| {
            let shown = |&who: &Contestant| {
                let shown = (line.measure)(who);
                held &= shown.held || who != Contestant::Everett;
                shown.text + if shown.held { "" } else { " (missed)" }
            };
            let shown: Vec<_> = plan.peers.iter().map(shown).collect();
            table::progress(&line.figure, &shown);
            [line.figure, line.at_most.to_owned()].into_iter().chain(shown).collect()
        })
        .collect();
    let names = plan.peers.iter().map(|who| who.name());
    let columns: Vec<_> = ["figure", "at most"].into_iter().chain(names).collect();
    table::print("What membership is held to", &columns, &rows);
    held
}
