//! The tree is a function of the content: whatever the history, an update gives what a rebuild gives.

use std::collections::BTreeMap;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

use super::*;
use crate::crdt::Register;
use crate::id::{Dot, ReplicaId};
use crate::rows::{Kind, Row};
use crate::testing::{MemoryChange, MemoryContent};
use crate::vector::Vector;
use crate::wire::encode_row;

fn placer() -> Placer {
    Placer::new(&[7; 32])
}

fn space() -> Space {
    Space::numbered(0)
}

fn row(seq: u64) -> Row {
    let mut register = Register::default();
    register.insert(Dot { replica: ReplicaId([1; 16]), seq }, seq);
    Row::Expiry(register)
}

/// Brings the tree up to date with rows that were put.
fn updated(
    content: &mut MemoryContent,
    before: &MemoryContent,
    changed: &[u64],
) -> Result<Hash, std::convert::Infallible> {
    let after = content.clone();
    let change = MemoryChange { before, after: &after, space: &space() };
    update(content.tree_mut(), &change, &placer(), &space(), changed)
}

#[test]
fn paths_divide_the_places_without_gap_or_overlap() {
    let mut next = 0;
    for child in Path::ROOT.children().flat_map(Path::children) {
        assert_eq!(child.first(), next);
        next = child.last().wrapping_add(1);
    }
    assert_eq!(next, 0);
    assert_eq!(Path::try_from((5, 16)), Ok(Path::of_place(5)));
    assert_eq!(Path::try_from((0, 0)), Ok(Path::ROOT));
    assert!(Path::try_from((16, 1)).is_err() && Path::try_from((1, 0)).is_err() && Path::try_from((0, 17)).is_err());
}

#[test]
fn a_path_knows_its_parent_and_survives_the_wire() {
    let mut path = Path::ROOT;
    assert_eq!(path.parent(), None);
    for digit in (0..16).rev() {
        let child = path.children().nth(digit).unwrap();
        assert_eq!(child.parent(), Some((path, u8::try_from(digit).unwrap())));
        assert_eq!(Path::try_from(<(u64, u8)>::from(child)), Ok(child));
        path = child;
    }
    assert_eq!((path, path.children().count()), (Path::of_place(0xfedc_ba98_7654_3210), 0));
}

#[test]
fn an_empty_namespace_has_the_zero_root() {
    let content = MemoryContent::settled(&placer(), &space(), &BTreeMap::new(), Vector::new());
    assert_eq!(root(&content, &space()), Ok(Hash::default()));
}

#[test]
fn random_histories_end_in_the_tree_of_their_content() {
    let mut rng = Pcg64::seed_from_u64(1);
    for _ in 0..20 {
        let mut content = MemoryContent::settled(&placer(), &space(), &BTreeMap::new(), Vector::new());
        let mut rows: BTreeMap<RowKey, Row> = BTreeMap::new();
        for step in 0..30 {
            let before = content.clone();
            let mut changed = Vec::new();
            // Few leading digits, so that nodes split and collapse often.
            let narrow = rng.random_bool(0.5);
            for n in 0..rng.random_range(1..120) {
                let place = if narrow { rng.random_range(0..400) } else { rng.random_range(0..400) << 50 };
                let key = RowKey::new(&space(), place, b"k", Kind::Expiry);
                if rng.random_bool(0.55) {
                    content.put(key.clone(), Some(encode_row(&row(step * 1_000 + n))));
                    rows.insert(key, row(step * 1_000 + n));
                } else {
                    content.put(key.clone(), None);
                    rows.remove(&key);
                }
                changed.push(place);
            }
            changed.sort_unstable();
            changed.dedup();
            let Ok(updated) = updated(&mut content, &before, &changed);
            let fresh = MemoryContent::settled(&placer(), &space(), &rows, Vector::new());
            assert_eq!(Ok(updated), root(&fresh, &space()));
            assert_eq!(content.nodes(), fresh.nodes());
        }
    }
}

/// Every gist stored is that of the elements there, and no node is without that should have one.
fn gists_are_those_of_the_elements(content: &MemoryContent) {
    for ((_, path), node) in content.nodes() {
        let Ok(stored) = content.gist(&space(), *path);
        let mut wanted = Gist::default();
        let Ok(elements) = elements(content, &placer(), &space(), *path);
        elements.iter().for_each(|element| wanted.add(element.id()));
        assert!(stored.is_some() || node.count <= GIST_MIN, "{path:?} of {}", node.count);
        assert!(
            stored.is_none_or(|stored| stored == wanted && node.count > GIST_MIN / 2),
            "{path:?} of {}",
            node.count
        );
    }
    assert!(content.gists().keys().all(|key| content.nodes().contains_key(key)));
}

#[test]
fn gists_follow_the_content_through_growth_and_shrinking() {
    let mut rng = Pcg64::seed_from_u64(2);
    let mut content = MemoryContent::settled(&placer(), &space(), &BTreeMap::new(), Vector::new());
    let mut places: std::collections::BTreeSet<u64> = std::collections::BTreeSet::new();
    let growth = [3_000, 3_050, 40_000, 40_500, 30_000, 5_000, 2_100, 1_500].map(|count| (count, true));
    let end = [(1_020, false), (30, false), (2_000, false)];
    for (step, (wanted, is_stored)) in growth.into_iter().chain(end).enumerate() {
        let before = content.clone();
        let mut changed = Vec::new();
        while places.len() < wanted {
            let place: u64 = rng.random();
            places.insert(place);
            changed.push(place);
        }
        while places.len() > wanted {
            let from: u64 = rng.random();
            if let Some(&place) = places.range(from..).next() {
                places.remove(&place);
                changed.push(place);
            }
        }
        changed.extend(places.iter().copied().filter(|_| rng.random_bool(0.01)));
        for &place in &changed {
            let row = places.contains(&place).then(|| encode_row(&row(step as u64 + 1)));
            content.put(RowKey::new(&space(), place, b"k", Kind::Expiry), row);
        }
        changed.sort_unstable();
        changed.dedup();
        let Ok(_) = updated(&mut content, &before, &changed);
        gists_are_those_of_the_elements(&content);
        assert_eq!(!content.gists().is_empty(), is_stored, "of {wanted}");
    }
    let after = content.clone();
    let Ok(_) = rebuild(content.tree_mut(), &Standing { content: &after, space: &space() }, &placer(), &space());
    gists_are_those_of_the_elements(&content);
    assert!(content.gists().is_empty());
}

#[test]
fn another_secret_gives_another_root() {
    let rows: BTreeMap<RowKey, Row> = [(RowKey::new(&space(), 1, b"k", Kind::Expiry), row(1))].into();
    let at = |placer: Placer| root(&MemoryContent::settled(&placer, &space(), &rows, Vector::new()), &space());
    assert_ne!(at(Placer::new(&[1; 32])), at(Placer::new(&[2; 32])));
    assert_eq!(at(Placer::new(&[1; 32])), at(Placer::new(&[1; 32])));
}
