//! Closings as writes: what they say, what they need, and what becomes of lives that were not over.

use super::*;

/// A later life of the first site, over its rows; the second holds all that the first wrote.
fn next_life() -> (Site, Site, Dot) {
    let (mut first, mut other) = (Site::new(1), Site::new(2));
    first.edit(1, [set("k", "1")]);
    exchange(2, &mut first, &mut other);
    let last = Dot { replica: ReplicaId([1; 16]), seq: 1 };
    let Site { mut replica, rows, log, .. } = first;
    let mut next = Site { rows, log, ..Site::new(3) };
    next.replica = Replica::resume(next.replica.config.clone(), replica.settled());
    (next, other, last)
}

fn close(site: &mut Site, ms: u64, last: Dot) {
    site.input(ms, Input::Close { space: space(), lives: vec![last] });
}

#[test]
fn a_closing_is_a_write_that_depends_on_all_that_it_closes() {
    let (mut next, mut other, last) = next_life();
    close(&mut next, 3, last);
    let vector = next.replica.vector(&space());
    assert_eq!((vector.closed().len(), vector.open().count()), (1, 1));
    // Who lacks the life's writes cannot apply its closing, and counts nothing of it as applied.
    let mut stranger = Site::new(9);
    stranger.hears(4, &next);
    assert!(stranger.replica.vector(&space()).is_empty());
    assert_eq!(stranger.replica.gate().groups, 1);
    exchange(5, &mut next, &mut other);
    assert_eq!(other.replica.vector(&space()), vector);
}

#[test]
fn a_life_that_is_closed_or_has_more_or_began_later_is_not_closed() {
    let (mut next, mut other, last) = next_life();
    let before = next.replica.vector(&space());
    for life in [Dot { seq: 2, ..last }, Dot { seq: 0, ..last }] {
        close(&mut next, 3, life);
    }
    assert_eq!(next.replica.vector(&space()), before, "nothing was written");
    close(&mut next, 3, last);
    let after = next.replica.vector(&space());
    close(&mut next, 3, last);
    assert_eq!(next.replica.vector(&space()), after, "closed once");
    exchange(4, &mut next, &mut other);
    close(&mut other, 4, Dot { replica: ReplicaId([3; 16]), seq: 1 });
    assert_eq!(other.replica.vector(&space()), after, "that one began later");
}

#[test]
fn the_first_group_of_a_life_names_open_entries_alone() {
    let (mut next, mut other, last) = next_life();
    close(&mut next, 3, last);
    exchange(4, &mut next, &mut other);
    let Site { mut replica, rows, log, .. } = next;
    let mut third = Site { rows, log, ..Site::new(4) };
    third.replica = Replica::resume(third.replica.config.clone(), replica.settled());
    third.edit(5, [set("k", "2")]);
    let Ok(Payload::Group(group)) = wire::decode_payload(&third.pushed[0]) else { panic!("a group was said") };
    assert_eq!(group.deps, [Dot { replica: ReplicaId([3; 16]), seq: 1 }]);
    other.hears(6, &third);
    assert_eq!(other.get(6, "k").as_deref(), Some("2"));
}

#[test]
fn a_living_life_that_somebody_closes_goes_on_and_is_open_again() {
    let (mut living, mut closer) = (Site::new(1), Site::new(2));
    living.edit(1, [set("k", "1")]);
    closer.hears(2, &living);
    close(&mut closer, 2, Dot { replica: ReplicaId([1; 16]), seq: 1 });
    exchange(3, &mut living, &mut closer);
    assert_eq!(living.replica.vector(&space()).closed().len(), 1);
    living.edit(4, [set("k", "2")]);
    closer.hears(5, &living);
    assert!(matches!(signal(&mut closer), Some(Signal::Alarm(Alarm::Reopened { dot: Dot { seq: 2, .. }, .. }))));
    exchange(6, &mut living, &mut closer);
    assert!(living.replica.vector(&space()).closed().is_empty());
    assert_eq!(closer.get(6, "k").as_deref(), Some("2"));
}

#[test]
fn a_flush_of_the_namespace_takes_what_closed_lives_wrote() {
    let (mut next, mut other, last) = next_life();
    close(&mut next, 3, last);
    next.edit(4, [Edit::Flush]);
    exchange(5, &mut next, &mut other);
    assert_eq!((next.get(6, "k"), other.get(6, "k")), (None, None));
    assert!(other.rows.content(&space()).is_empty());
}
