//! Range repair measured: Everett's sessions beside the published crates that find differences between sets.
//!
//! `just bench-repair`, or `cargo bench -p everett-tests --bench repair -- --help`. Keys of 32 bytes in two real stores of
//! equal content, which are made to differ for each cell and equal again after it. Everett's messages go through their
//! frames; the crates' through their own encodings. Bytes are both ways, without values, keys that stand with a value, and
//! version vectors, which the crates do not have; messages are without those that carry nothing but values.
#![expect(clippy::print_stdout, reason = "its tables are what it is for")]

mod cost;
mod everett;
mod peers;
mod sets;
mod writes;

use std::sync::Arc;

use clap::{Parser, ValueEnum};

use cost::{Cost, measured};
use everett::Stores;
use peers::{Held, Ids, Maps, Order, Trees};
use sets::{Difference, Key, Shape};

/// Tables of what a reconciliation costs.
#[derive(Debug, Parser)]
struct Args {
    /// How many keys
    #[arg(long, value_delimiter = ',', default_value = "10000,100000,1000000")]
    keys: Vec<usize>,
    /// How many of them differ
    #[arg(long, value_delimiter = ',', default_value = "0,1,10,100,1000,10000")]
    differ: Vec<usize>,
    /// How they lie
    #[arg(long, value_delimiter = ',', default_value = "random,clustered,block,empty")]
    shapes: Vec<Shape>,
    /// Only these
    #[arg(long, value_delimiter = ',', default_value = "everett,negentropy,rbsr,mst")]
    only: Vec<Contestant>,
    /// Keys beyond which Merkle search trees are left out: they are built anew for every cell
    #[arg(long, default_value_t = 100_000)]
    mst_keys: usize,
    /// Instead: flushes of so many overwritten rows, with the tree kept and without
    #[arg(long)]
    upkeep: Option<usize>,
    /// Instead: whole agents that take so many SETs a round, with the tree kept and without
    #[arg(long)]
    writes: Option<u64>,
    /// For that: this process becomes an agent with this configuration that keeps no tree
    #[arg(long, hide = true)]
    agent_without_tree: Option<std::path::PathBuf>,
    /// What reproduces a run
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Given by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

/// Who reconciles.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Contestant {
    /// This one
    Everett,
    /// Range-based set reconciliation by the negentropy crate, over hashed ids and in the order of keys
    Negentropy,
    /// Range-based set reconciliation by the rbsr crate, in the order of keys
    Rbsr,
    /// Merkle search trees
    Mst,
}

fn main() {
    let args = Args::parse();
    if let Some(path) = &args.agent_without_tree {
        return writes::run_without_tree(path);
    }
    for &count in &args.keys {
        if let Some(writes) = args.writes {
            writes::compare(writes, count);
            continue;
        }
        let keys = Arc::new(sets::keys(count));
        let mut stores = args.only.contains(&Contestant::Everett).then(|| Stores::new(Arc::clone(&keys)));
        if let (Some(rows), Some(stores)) = (args.upkeep, stores.as_mut()) {
            upkeep(stores, rows);
            continue;
        }
        println!("\n#### {count} keys");
        println!("| differ | who | bytes | messages | all bytes | CPU ms | memory MB |\n|---|---|---|---|---|---|---|");
        for &shape in &args.shapes {
            let cells: Vec<usize> = match shape {
                Shape::Empty => vec![count],
                Shape::Random => args.differ.iter().copied().filter(|&differ| differ <= count).collect(),
                Shape::Clustered | Shape::Block => {
                    args.differ.iter().copied().filter(|&differ| (1..=count).contains(&differ)).collect()
                }
            };
            for differ in cells {
                let differences = sets::differences(shape, count, differ, args.seed);
                let cell = Cell { keys: &keys, shape, differences: &differences };
                cell.run(&args, stores.as_mut());
            }
        }
    }
}

/// Rows a second, with the tree kept and without, in turns.
fn upkeep(stores: &mut Stores, rows: usize) {
    println!("| rows flushed | per second with the tree | without | ratio |\n|---|---|---|---|");
    for round in 1..=4 {
        let [with, without] = stores.upkeep(rows, round);
        let rate = |took: std::time::Duration| rows as f64 / took.as_secs_f64();
        println!("| {rows} | {:.0} | {:.0} | {:.2} |", rate(with), rate(without), rate(with) / rate(without));
    }
}

/// One cell of the table, several lines.
struct Cell<'a> {
    keys: &'a [Key],
    shape: Shape,
    differences: &'a [Difference],
}

impl Cell<'_> {
    fn run(&self, args: &Args, stores: Option<&mut Stores>) {
        if let Some(stores) = stores {
            self.print("Everett", &self.everett(stores));
        }
        let held = [0, 1].map(|side| sets::held(self.keys.len(), self.differences, side));
        let sides: [&Held; 2] = [&held[0], &held[1]];
        assert_eq!(peers::differing(sides), self.differences.len());
        if args.only.contains(&Contestant::Negentropy) {
            for (name, order) in [("negentropy, ids hashed", Order::Hashed), ("negentropy, by key", Order::Keys)] {
                let ids = Ids::new(self.keys, sides, order);
                self.print(name, &measured(|| ids.reconcile()));
            }
        }
        if args.only.contains(&Contestant::Rbsr) {
            let maps = Maps::new(self.keys, sides);
            self.print("rbsr", &measured(|| maps.reconcile()));
        }
        if args.only.contains(&Contestant::Mst) && self.keys.len() <= args.mst_keys {
            let trees = Trees::new(self.keys, sides);
            self.print("merkle-search-tree", &measured(|| trees.reconcile()));
        }
    }

    /// The session must find what differs, and nothing else.
    fn everett(&self, stores: &mut Stores) -> Cost {
        let is_empty = self.shape == Shape::Empty;
        if !is_empty {
            stores.change(self.differences, false);
        }
        let mut outcomes = None;
        let cost = measured(|| {
            let (cost, both) = stores.reconcile(is_empty);
            outcomes = Some(both);
            cost
        });
        let staged = |versions: fn([Option<u8>; 2]) -> bool| {
            self.differences.iter().filter(|difference| versions(difference.versions)).count()
        };
        let [left, right] = outcomes.expect("the session was measured");
        for (stage, wanted) in [
            (left.stage.len(), staged(|versions| versions[1].is_some())),
            (right.stage.len(), staged(|versions| versions[0].is_some())),
        ] {
            // An equal row in the cell of one that differs is named with it.
            assert!((wanted..=wanted + wanted / 100).contains(&stage), "{stage} rows staged of {wanted}");
        }
        if !is_empty {
            stores.change(self.differences, true);
        }
        cost
    }

    fn print(&self, who: &str, cost: &Cost) {
        let shape = self.shape.to_possible_value().expect("every shape has a name");
        let differ = format!("{} {}", self.differences.len(), shape.get_name());
        println!(
            "| {differ} | {who} | {} | {} | {} | {:.1} | {:.1} |",
            cost.bytes,
            cost.messages,
            cost.whole_bytes,
            cost.cpu.as_secs_f64() * 1e3,
            cost.memory_bytes as f64 / 1e6,
        );
    }
}
