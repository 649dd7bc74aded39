//! A peer that lies, loops, or says nothing: it ends its session, and costs what the limits say.

use super::*;
use crate::rows::Kind;
use crate::summary::Path;
use crate::wire::{decode_datagram, encode_datagram, encode_row};

fn half(byte: u8) -> Half {
    [byte; 16]
}

/// A site with so many keys, settled.
fn filled(number: u8, keys: usize) -> MemoryContent {
    let mut site = Site::new(number);
    for n in 0..keys {
        let edit = Edit::Set { key: format!("k{n}").into(), value: "v".into(), expiry: Expiry::Clear };
        site.input(Input::Local { space: space(), edits: vec![edit] });
    }
    site.pin().0
}

/// Initiates on `pin`, and hears that the peer's root differs and what it holds there.
fn begun(pin: &MemoryContent, limits: Limits, sight: Sight) -> Session {
    let Ok(mut session) = Session::initiate(Instant::ZERO, limits, placer(), space(), pin);
    let turn = Turn { sights: vec![(Path::ROOT, sight)], ..Turn::default() };
    let answer = Answer { vector: Brief::default(), is_equal: false, count: 0, turn };
    let Ok(()) = session.handle_input(Instant::ZERO, pin, Message::Answer(answer));
    session
}

fn hears(session: &mut Session, pin: &MemoryContent, turn: Turn) {
    let Ok(()) = session.handle_input(Instant::ZERO, pin, Message::Turn(turn));
}

fn end(session: &mut Session) -> Option<Output> {
    std::iter::from_fn(|| session.poll_output()).find(|output| !matches!(output, Output::Send(_)))
}

fn row(space: &Space, place: u64, key: &[u8]) -> (RowKey, bytes::Bytes) {
    let content = filled(9, 1);
    let mut found = None;
    let Ok(()) = content.rows(&super::space(), Path::ROOT, &mut |_, row| {
        found = Some(row.clone());
        std::ops::ControlFlow::Break(())
    });
    (RowKey::new(space, place, key, Kind::Scalar), found.expect("one key was set"))
}

/// Every child of the root differs, so all of them are shown.
fn all_differ() -> Sight {
    Sight::Inner((1..=16).map(half).collect())
}

fn child(index: usize) -> Path {
    Path::ROOT.children().nth(index).expect("a root has sixteen children")
}

#[test]
fn a_sight_that_no_honest_side_has_ends_the_session() {
    let pin = filled(1, 1_000);
    let listed = |offset| Listed { offset, digest: half(1) };
    let cases = [
        ("unsorted", child(0), Sight::Elements(vec![listed(2), listed(1)])),
        ("outside", child(0), Sight::Elements(vec![listed(u64::MAX)])),
        ("too many", child(0), Sight::Elements((0..13).map(listed).collect())),
        ("too few children", child(0), Sight::Inner(vec![half(1); 15])),
        ("not asked for", Path::ROOT, all_differ()),
        ("too deep", child(0).children().next().and_then(|path| path.children().next()).unwrap(), all_differ()),
        ("below one place", Path::of_place(0), all_differ()),
    ];
    for (case, path, sight) in cases {
        // The whole root was shown to the peer, so its children are what may be shown here.
        let Ok(mut session) = Session::respond(Instant::ZERO, Limits::default(), placer(), open(), &pin);
        assert_eq!(end(&mut session), None);
        hears(&mut session, &pin, Turn { sights: vec![(path, sight)], ..Turn::default() });
        let broke = end(&mut session) == Some(Output::Failed(Failure::Broke));
        assert!(broke == (case != "not asked for"), "{case}");
    }
}

fn open() -> Open {
    Open { space: space(), vector: Brief::default(), root: Hash([1; 32]), count: 1_000, glance: Glance::default() }
}

#[test]
fn a_sight_that_comes_again_ends_the_session() {
    let pin = filled(1, 1_000);
    let Ok(mut session) = Session::respond(Instant::ZERO, Limits::default(), placer(), open(), &pin);
    let turn = || Turn { sights: vec![(child(3), all_differ())], ..Turn::default() };
    hears(&mut session, &pin, turn());
    assert_eq!(end(&mut session), None);
    hears(&mut session, &pin, turn());
    assert_eq!(end(&mut session), Some(Output::Failed(Failure::Broke)));
}

#[test]
fn rows_and_places_beyond_what_was_asked_end_the_session() {
    let pin = filled(1, 1_000);
    let place = placer().place(b"new");
    let other = Space::numbered(5);
    let rows = |row| Turn { rows: vec![row], more: true, ..Turn::default() };
    let turns = [
        ("a row that nobody asked for", rows(row(&space(), place, b"new"))),
        ("a place told that nobody asked for", Turn { told: vec![place], ..Turn::default() }),
        ("a place wanted that was not listed", Turn { wanted: vec![Want { place, both: true }], ..Turn::default() }),
    ];
    for (case, turn) in turns {
        let mut session = begun(&pin, Limits::default(), all_differ());
        hears(&mut session, &pin, turn);
        assert_eq!(end(&mut session), Some(Output::Failed(Failure::Broke)), "{case}");
    }
    // An empty side is asked for nothing, and takes everything there is.
    let empty = filled(1, 0);
    let (key, bytes) = row(&space(), place, b"new");
    let turns = [
        ("another namespace", rows(row(&other, place, b"new")), Some(Failure::Broke)),
        ("a false place", rows(row(&space(), place ^ 1, b"new")), Some(Failure::Broke)),
        ("no row", rows((key.clone(), bytes.slice(1..))), Some(Failure::Broke)),
        ("an empty row", rows((key.clone(), encode_row(&Row::empty(Kind::Scalar)))), Some(Failure::Broke)),
        ("twice", Turn { rows: vec![(key.clone(), bytes.clone()); 2], ..Turn::default() }, Some(Failure::Broke)),
        ("an honest row", rows((key, bytes)), None),
    ];
    for (case, turn, failure) in turns {
        let mut session = begun(&empty, Limits::default(), all_differ());
        hears(&mut session, &empty, turn);
        assert_eq!(end(&mut session), failure.map(Output::Failed), "{case}");
    }
}

#[test]
fn a_place_wanted_more_often_than_it_was_listed_ends_the_session() {
    let pin = filled(1, 1);
    let want = Want { place: placer().place(b"k0"), both: true };
    for (times, ends) in [(1, false), (2, true)] {
        let mut session = begun(&pin, Limits::default(), all_differ());
        hears(&mut session, &pin, Turn { wanted: vec![want; times], more: true, ..Turn::default() });
        assert_eq!(end(&mut session).is_some(), ends);
    }
}

#[test]
fn a_peer_that_owes_an_answer_and_has_nothing_to_say_ends_the_session() {
    let pin = filled(1, 0);
    let sight = Sight::Elements(vec![Listed { offset: 7, digest: half(7) }]);
    let mut session = begun(&pin, Limits::default(), sight);
    hears(&mut session, &pin, Turn { more: true, ..Turn::default() });
    assert_eq!(end(&mut session), None);
    hears(&mut session, &pin, Turn::default());
    assert_eq!(end(&mut session), Some(Output::Failed(Failure::Broke)));
}

#[test]
fn a_peer_that_always_has_more_to_say_and_never_does_ends_the_session() {
    let pin = filled(1, 0);
    let mut session = begun(&pin, Limits::default(), all_differ());
    let ended = (0..1 << 16).find_map(|_| {
        hears(&mut session, &pin, Turn { more: true, ..Turn::default() });
        end(&mut session)
    });
    assert_eq!(ended, Some(Output::Failed(Failure::TimedOut)));
}

#[test]
fn a_turn_that_follows_another_must_be_rows_and_have_more_to_come() {
    let pin = filled(1, 1);
    let want = Want { place: placer().place(b"k0"), both: true };
    let follows = Turn { follows: true, more: true, ..Turn::default() };
    let turns = [
        ("rows", follows.clone(), None),
        ("the last", Turn { more: false, ..follows.clone() }, Some(Failure::Broke)),
        ("a question", Turn { wanted: vec![want], ..follows }, Some(Failure::Broke)),
    ];
    for (case, turn, failure) in turns {
        let mut session = begun(&pin, Limits::default(), all_differ());
        while session.poll_output().is_some() {}
        hears(&mut session, &pin, turn);
        assert_eq!(session.poll_output(), failure.map(Output::Failed), "{case}");
    }
}

#[test]
fn a_peer_whose_turns_follow_one_another_for_ever_ends_the_session() {
    let pin = filled(1, 0);
    let mut session = begun(&pin, Limits::default(), all_differ());
    let ended = (0..1 << 17).find_map(|_| {
        hears(&mut session, &pin, Turn { more: true, follows: true, ..Turn::default() });
        end(&mut session)
    });
    assert_eq!(ended, Some(Output::Failed(Failure::TimedOut)));
}

#[test]
fn a_stage_that_outgrows_its_bound_ends_the_session() {
    let limits = Limits { stage_bytes: 100, ..Limits::default() };
    let pin = filled(1, 0);
    let key = [b'k'; 200];
    let mut session = begun(&pin, limits, all_differ());
    hears(&mut session, &pin, Turn { rows: vec![row(&space(), placer().place(&key), &key)], ..Turn::default() });
    assert_eq!(end(&mut session), Some(Output::Failed(Failure::TooLarge)));
}

#[test]
fn silence_and_messages_out_of_place_end_the_session() {
    let pin = filled(1, 10);
    let Ok(mut session) = Session::initiate(Instant::ZERO, Limits::default(), placer(), space(), &pin);
    session.handle_timeout(session.poll_timeout().expect("a session has a deadline").at);
    assert_eq!(end(&mut session), Some(Output::Failed(Failure::TimedOut)));
    assert_eq!(session.poll_timeout(), None);
    for message in [Message::Open(open()), Message::Turn(Turn::default())] {
        let Ok(mut session) = Session::initiate(Instant::ZERO, Limits::default(), placer(), space(), &pin);
        let Ok(()) = session.handle_input(Instant::ZERO, &pin, message);
        assert_eq!(end(&mut session), Some(Output::Failed(Failure::Broke)));
    }
    let Ok(mut session) = Session::initiate(Instant::ZERO, Limits::default(), placer(), space(), &pin);
    let answer = Answer { vector: Brief::default(), is_equal: false, count: 0, turn: Turn::default() };
    let Ok(()) = session.handle_input(Instant::ZERO, &pin, Message::Answer(answer));
    assert_eq!(end(&mut session), Some(Output::Failed(Failure::Broke)));
}

/// What becomes of a message on its way.
fn mangled(rng: &mut Pcg64, message: &Message, earlier: &[Message]) -> Option<Message> {
    if rng.random_bool(0.9) {
        return Some(message.clone());
    }
    if rng.random_bool(0.2) && !earlier.is_empty() {
        return Some(earlier[rng.random_range(0..earlier.len())].clone());
    }
    let mut bytes = encode_datagram(message).to_vec();
    for _ in 0..rng.random_range(1..3) {
        let at = rng.random_range(0..bytes.len());
        bytes[at] ^= 1 << rng.random_range(0..8);
    }
    decode_datagram(&bytes).ok()
}

#[test]
fn damaged_repeated_and_lost_messages_never_panic_and_never_go_on_for_ever() {
    let (mut done, mut failed) = (0, 0);
    for seed in 0..300 {
        let mut rng = Pcg64::seed_from_u64(seed);
        let limits = Limits { turn_bytes: 500, turn_entries: 4, stage_bytes: 1 << 16, ..Limits::default() };
        let (a, b) = (filled(1, rng.random_range(0..300)), filled(2, rng.random_range(0..300)));
        let Ok(mut left) = Session::initiate(Instant::ZERO, limits, placer(), space(), &a);
        let Ok(vector) = a.vector(&space());
        let vector = Brief::from(&vector);
        let Ok(mut right) = Session::respond(Instant::ZERO, limits, placer(), Open { vector, ..open() }, &b);
        let (mut said, mut messages) = (Vec::new(), 0);
        left.poll_output();
        loop {
            let before = messages;
            for from_right in [true, false] {
                let (from, to, pin) =
                    if from_right { (&mut right, &mut left, &a) } else { (&mut left, &mut right, &b) };
                while let Some(output) = from.poll_output() {
                    match output {
                        Output::Send(message) => {
                            messages += 1;
                            let heard = mangled(&mut rng, &message, &said);
                            said.push(message);
                            if let Some(heard) = heard {
                                hear(to, pin, heard);
                            }
                        }
                        Output::Done(_) => done += 1,
                        Output::Failed(_) => failed += 1,
                    }
                }
            }
            assert!(messages < 2_000, "seed {seed}: a session of at most 600 rows goes on and on");
            if messages == before {
                break;
            }
        }
    }
    assert!(done > 0 && failed > 0, "{done} sides done, {failed} failed");
}
