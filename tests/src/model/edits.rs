//! What clients do: random groups of edits over a few keys.

use std::sync::LazyLock;

use bytes::Bytes;
use everett_mesh_proto::crdt::NEVER_MS;
use everett_mesh_proto::replica::{Edit, Expiry};
use everett_mesh_proto::rows::RowKey;
use rand::RngExt;
use rand_pcg::Pcg64;

use super::check::row_keys;
use super::node::{Node, space};
use super::plan::{Ingredient, Plan};

const KEYS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

static ROW_KEYS: LazyLock<Vec<(Bytes, [RowKey; 2])>> =
    LazyLock::new(|| KEYS.iter().map(|key| (Bytes::from_static(key.as_bytes()), row_keys(key.as_bytes()))).collect());

/// Every key with the keys of its rows.
pub(super) fn keys() -> impl Iterator<Item = (&'static Bytes, &'static [RowKey; 2])> {
    ROW_KEYS.iter().map(|(key, rows)| (key, rows))
}

/// Every row that a node can hold.
pub(super) fn all_rows() -> impl Iterator<Item = &'static RowKey> {
    keys().flat_map(|(_, rows)| rows)
}

/// Values: numbers, things that are none, and things that nearly are.
const VALUES: [&str; 8] = ["0", "7", "-3", "40", "x", "", "007", "9223372036854775807"];

/// Increments, small ones mostly.
const AMOUNTS: [i64; 10] = [1, 1, 2, 5, -1, -2, -4, 0, i64::MAX, i64::MIN];

/// A client's group at `node`.
pub(super) fn random(rng: &mut Pcg64, plan: Plan, node: &Node, ms: u64) -> Vec<Edit> {
    let count = *pick(rng, &[1, 1, 1, 2, 3]);
    (0..count).filter_map(|_| edit(rng, plan, node, ms)).collect()
}

fn edit(rng: &mut Pcg64, plan: Plan, node: &Node, ms: u64) -> Option<Edit> {
    let key = Bytes::from_static(pick(rng, &KEYS[..plan.keys()]).as_bytes());
    let now_ms = node.replica.now_ms(node.now(ms));
    let soon_ms = now_ms + rng.random_range(0..900);
    let choice = rng.random_range(0..100);
    Some(match choice {
        0..30 => {
            let value = Bytes::from_static(pick(rng, &VALUES).as_bytes());
            let expiry = match rng.random_range(0..6) {
                0 => Expiry::Keep,
                1 if plan.with(Ingredient::Expiry) => Expiry::At(soon_ms),
                _ => Expiry::Clear,
            };
            Edit::Set { key, value, expiry }
        }
        30..41 => Edit::Delete { key },
        41..45 => {
            let Ok(parts) = node.replica.parts(node.now(ms), &node.store, &space(), &key);
            Edit::Withdraw { key, parts: parts.into_iter().filter(|_| rng.random_bool(0.6)).collect() }
        }
        45..84 => {
            let Ok(view) = node.replica.view(node.now(ms), &node.store, &space(), &key);
            let countable = view.value.is_none_or(|value| value.integer().is_some());
            if !countable && rng.random_bool(0.9) {
                return None;
            }
            Edit::Add { key, by: *pick(rng, &AMOUNTS) }
        }
        84..93 if plan.with(Ingredient::Expiry) => Edit::Expire { key, deadline_ms: soon_ms },
        93..96 if plan.with(Ingredient::Expiry) => Edit::Expire { key, deadline_ms: NEVER_MS },
        96..100 if plan.with(Ingredient::Cuts) => Edit::Flush,
        _ => Edit::Add { key, by: 1 },
    })
}

/// One of `choices`.
pub(super) fn pick<'a, T>(rng: &mut Pcg64, choices: &'a [T]) -> &'a T {
    &choices[rng.random_range(0..choices.len())]
}
