//! Sessions between sides that know different lives to be closed.

use super::*;
use crate::vector::{Closed, Vector};

/// Two sites that hold the same of the first one's life; the second has closed it, and the first has not heard of that.
fn closed_at_one() -> (Site, Site) {
    let (mut a, mut b) = (Site::new(1), Site::new(2));
    let mut rng = Pcg64::seed_from_u64(1);
    (0..50).for_each(|_| a.write(&mut rng, 20));
    a.said.clone().into_iter().for_each(|payload| b.hear(payload));
    let lives = b.replica.vector(&space()).dots().collect();
    b.input(Input::Close { space: space(), lives });
    assert_eq!(b.replica.vector(&space()).closed().len(), 1);
    (a, b)
}

#[test]
fn tables_that_differ_are_said_once_and_known_exactly() {
    let (mut a, mut b) = closed_at_one();
    let pins = (a.pin(), b.pin());
    for (from, to, differ) in [(&pins.0, &pins.1, true), (&pins.1, &pins.0, true), (&pins.1, &pins.1, false)] {
        let (left, right, traffic) = converse(&from.0, &to.0, Limits::default());
        let (Ok(mine), Ok(theirs)) = (from.0.vector(&space()), to.0.vector(&space()));
        assert_eq!((done(left).vector, done(right).vector), (theirs, mine));
        assert_eq!(traffic.messages, if differ { 4 } else { 2 }, "{traffic:?}");
    }
    // And adopted they are the same, with what was written meanwhile.
    let mut rng = Pcg64::seed_from_u64(2);
    a.write(&mut rng, 20);
    b.write(&mut rng, 20);
    let (pin_a, pin_b) = (a.pin(), b.pin());
    let (left, right, _) = converse(&pin_a.0, &pin_b.0, Limits::default());
    adopt(&mut a, done(left), &pin_a);
    adopt_reopened(&mut b, done(right), &pin_b);
    assert_eq!(a.replica.vector(&space()), b.replica.vector(&space()));
    assert_eq!(a.rows.content(&space()), b.rows.content(&space()));
    assert!(a.replica.vector(&space()).closed().is_empty(), "the life goes on");
}

/// The first site's life was not over: the second is told.
fn adopt_reopened(site: &mut Site, outcome: Outcome, pin: &(MemoryContent, PinId)) {
    let Ok(adoption) = outcome.complete([], &pin.0);
    site.input(Input::Adopt { from: NodeId([9; 16]), adoption });
    let alarms = std::iter::from_fn(|| site.replica.poll_signal());
    let reopened = alarms.filter(|signal| matches!(signal, Signal::Alarm(Alarm::Reopened { .. })));
    assert_eq!(reopened.count(), 1);
}

/// How a session ended that heard these messages.
fn after(mut session: Session, pin: &MemoryContent, messages: impl IntoIterator<Item = Message>) -> Option<Output> {
    messages.into_iter().for_each(|message| hear(&mut session, pin, message));
    std::iter::from_fn(|| session.poll_output()).find(|output| !matches!(output, Output::Send(_)))
}

#[test]
fn a_table_that_is_not_the_announced_one_ends_the_session() {
    let (mut a, mut b) = closed_at_one();
    let (pin_a, pin_b) = (a.pin().0, b.pin().0);
    let Ok(theirs) = pin_b.vector(&space());
    let open =
        |vector: Brief| Open { space: space(), vector, root: Hash([1; 32]), count: 1_000, glance: Glance::default() };
    let respond = || {
        let Ok(session) =
            Session::respond(Instant::ZERO, Limits::default(), placer(), open(Brief::from(&theirs)), &pin_a);
        session
    };
    let broke = Some(Output::Failed(Failure::Broke));
    let answer = |vector| Message::Answer(Answer { vector, is_equal: true, count: 0, turn: Turn::default() });
    assert_eq!(after(respond(), &pin_a, [Message::Closed(theirs.closed().clone())]), None);
    assert_eq!(after(respond(), &pin_a, [Message::Closed(Closed::new())]), broke, "another table");
    assert_eq!(after(respond(), &pin_a, [answer(Brief::default())]), broke, "no table");
    let initiate = || {
        let Ok(session) = Session::initiate(Instant::ZERO, Limits::default(), placer(), space(), &pin_a);
        session
    };
    let table = || Message::Closed(theirs.closed().clone());
    assert!(matches!(after(initiate(), &pin_a, [table(), answer(Brief::from(&theirs))]), Some(Output::Done(_))));
    assert_eq!(after(initiate(), &pin_a, [answer(Brief::from(&theirs))]), broke, "a table that nobody said");
    assert_eq!(after(initiate(), &pin_a, [table(), table()]), broke, "twice");
    assert_eq!(after(initiate(), &pin_a, [table(), answer(Brief::from(&Vector::new()))]), broke, "another table");
}
