//! The lattice of entries, and what open entries say of closed lives.

use proptest::prelude::*;

use super::*;

fn dot(author: u8, seq: u64) -> Dot {
    Dot { replica: ReplicaId([author; 16]), seq }
}

fn of(dots: &[Dot]) -> Vector {
    dots.iter().copied().collect()
}

#[test]
fn a_join_is_the_least_vector_that_includes_both() {
    let a = of(&[dot(1, 3), dot(2, 1)]);
    let b = of(&[dot(1, 2), dot(3, 5)]);
    let mut both = a.clone();
    both.join(&b);
    assert!(both.includes(&a) && both.includes(&b));
    assert_eq!(both, of(&[dot(1, 3), dot(2, 1), dot(3, 5)]));
    assert_eq!(both.since(&a).collect::<Vec<_>>(), [dot(3, 5)]);
}

#[test]
fn zero_entries_do_not_exist() {
    let vector = of(&[dot(1, 0)]);
    assert!(vector.is_empty());
    assert!(vector.covers(dot(9, 0)));
}

#[test]
fn closing_moves_an_entry_and_covers_nothing_more() {
    let mut vector = of(&[dot(1, 3), dot(2, 1)]);
    assert!(!vector.close(dot(1, 4), dot(2, 2)), "what is not here is not covered by a closing");
    assert!(!vector.close(dot(1, 2), dot(2, 2)), "a life of which there is more stays open");
    assert!(!vector.close(dot(2, 1), dot(1, 4)), "the closer sorts after the closed");
    let open = vector.clone();
    assert!(vector.close(dot(1, 3), dot(2, 2)));
    assert!(vector.covers(dot(1, 3)) && !vector.covers(dot(1, 4)));
    assert_eq!((vector.open().count(), vector.closed().len(), vector.len()), (1, 1, 2));
    assert!(vector.includes(&open) && open.includes(&vector) && vector != open);
}

#[test]
fn a_write_past_the_closing_opens_the_life_again() {
    let mut vector = of(&[dot(1, 3), dot(2, 2)]);
    vector.close(dot(1, 3), dot(2, 2));
    vector.raise(dot(1, 3));
    assert_eq!(vector.closed().len(), 1, "nothing new");
    vector.raise(dot(1, 5));
    assert_eq!(vector, of(&[dot(1, 5), dot(2, 2)]));
}

#[test]
fn the_same_closings_are_the_same_table_whatever_their_order() {
    let whole = of(&[dot(1, 3), dot(2, 2), dot(3, 9)]);
    let closings = [(dot(1, 3), dot(3, 4)), (dot(2, 2), dot(3, 5)), (dot(1, 3), dot(3, 1))];
    let (mut a, mut b) = (whole.clone(), whole);
    closings.iter().for_each(|&(last, by)| _ = a.close(last, by));
    closings.iter().rev().for_each(|&(last, by)| _ = b.close(last, by));
    assert_eq!(a, b);
    assert_eq!(a.closed().get(ReplicaId([1; 16])), Some(Closing { last: 3, by: dot(3, 1) }));
}

#[test]
fn the_hash_of_a_table_keeps_its_value() {
    let mut vector = of(&[dot(1, 3), dot(2, 2)]);
    assert_eq!(vector.closed().hash(), None);
    vector.close(dot(1, 3), dot(2, 2));
    let mut bytes = [1; 16].to_vec();
    bytes.extend(3_u64.to_be_bytes());
    bytes.extend([2; 16]);
    bytes.extend(2_u64.to_be_bytes());
    assert_eq!(vector.closed().hash(), Some(crate::summary::Hash(*blake3::hash(&bytes).as_bytes())));
}

#[test]
fn open_entries_say_what_a_store_has_of_closed_lives() {
    // Life 1 was closed by life 2, and life 2 by life 3.
    let mut mine = of(&[dot(1, 3), dot(2, 2), dot(3, 4), dot(9, 1)]);
    mine.close(dot(1, 3), dot(2, 2));
    mine.close(dot(2, 2), dot(3, 1));
    assert_eq!(mine.resolve(&mine.named()), mine);
    // A disk from before: it names what it has of a life that it does not know to be closed.
    let old = of(&[dot(1, 2), dot(9, 1)]);
    assert_eq!(mine.resolve(&old), old);
    // One that has the first closing and not the second.
    let mut middle = of(&[dot(1, 3), dot(2, 2)]);
    middle.close(dot(1, 3), dot(2, 2));
    assert_eq!(mine.resolve(&middle.named()), middle);
    assert_eq!(mine.resolve(&Vector::new()), Vector::new());
}

#[test]
fn a_brief_is_not_taken_for_another_table() {
    let mut mine = of(&[dot(1, 3), dot(2, 2)]);
    let open = mine.clone();
    mine.close(dot(1, 3), dot(2, 2));
    let brief = Brief::from(&mine);
    assert_eq!(brief.clone().with(mine.closed()), Some(mine));
    assert_eq!(brief.with(open.closed()), None);
    assert_eq!(Brief::from(&open).with(open.closed()), Some(open));
}

#[test]
fn what_is_no_closing_does_not_arrive() {
    let entries = vec![
        (dot(1, 0).replica, Closing { last: 0, by: dot(2, 1) }),
        (dot(3, 0).replica, Closing { last: 1, by: dot(2, 1) }),
    ];
    assert!(Closed::from(entries).is_empty());
}

/// A vector that some history of raises and closings made.
fn any_vector() -> impl Strategy<Value = Vector> {
    let step = (1..5_u8, 1..4_u64, 1..5_u8, 1..3_u64, any::<bool>());
    prop::collection::vec(step, 0..12).prop_map(|steps| {
        let mut vector = Vector::new();
        for (life, seq, closer, at, closes) in steps {
            if closes {
                vector.close(dot(life, seq), dot(closer, at));
            } else {
                vector.raise(dot(life, seq));
            }
        }
        vector
    })
}

fn joined(a: &Vector, b: &Vector) -> Vector {
    let mut both = a.clone();
    both.join(b);
    both
}

proptest! {
    #[test]
    fn joins_are_idempotent_commutative_and_associative(
        a in any_vector(),
        b in any_vector(),
        c in any_vector(),
    ) {
        prop_assert_eq!(joined(&a, &a), a.clone());
        prop_assert_eq!(joined(&a, &b), joined(&b, &a));
        prop_assert_eq!(joined(&joined(&a, &b), &c), joined(&a, &joined(&b, &c)));
        let both = joined(&a, &b);
        prop_assert!(both.includes(&a) && both.includes(&b));
        for dot in both.dots() {
            prop_assert_eq!(dot.seq, a.seq(dot.replica).max(b.seq(dot.replica)));
        }
    }
}
