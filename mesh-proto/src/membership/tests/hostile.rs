//! A member with a valid certificate that says what it pleases.
#![expect(clippy::disallowed_types, reason = "proptest's choices share their parts")]

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::wire::{decode_datagram, encode_datagram};

fn id(node: u8) -> NodeId {
    record(node, 1, 0).life.id
}

fn datagram(machine: &mut Membership, ms: u64, from: u8, message: Datagram) {
    machine.handle_input(at(ms), Input::Datagram { from: id(from), message });
}

fn sent(machine: &mut Membership, which: impl Fn(&Datagram) -> bool) -> usize {
    let outputs = drain(machine).into_iter();
    outputs.filter(|output| matches!(output, Output::Datagram { message, .. } if which(message))).count()
}

#[test]
fn one_that_asks_for_relays_without_end_is_served_its_share() {
    let mut machine = joined(8);
    for nonce in 0..10_000 {
        datagram(&mut machine, 2, 3, Datagram::Relay { nonce, target: id(4) });
    }
    let pings = sent(&mut machine, |message| matches!(message, Datagram::Ping { .. }));
    assert!((64..=200).contains(&pings), "{pings}");
    datagram(&mut machine, 2, 5, Datagram::Relay { nonce: 1, target: id(4) });
    assert_eq!(sent(&mut machine, |message| matches!(message, Datagram::Ping { .. })), 1, "others are served");
}

#[test]
fn only_the_relay_that_was_asked_can_vouch_for_a_silent_member() {
    let mut machine = joined(8);
    let mut asked = BTreeSet::new();
    let mut ms = 2;
    while asked.is_empty() {
        ms += 10;
        machine.handle_timeout(at(ms));
        for output in drain(&mut machine) {
            if let Output::Datagram { to, message: Datagram::Relay { nonce, target } } = output {
                asked.insert((to, nonce, target));
            }
        }
    }
    let (relay, nonce, target) = asked.into_iter().next().unwrap();
    let liar = (1..=8).map(id).find(|&id| id != relay && id != target).unwrap();
    let proved = |machine: &mut Membership, from| {
        let message = Datagram::Relayed { nonce, target };
        machine.handle_input(at(ms), Input::Datagram { from, message });
        !machine.watch.doubts(target)
    };
    assert!(machine.watch.doubts(target));
    assert!(!proved(&mut machine, liar));
    assert!(proved(&mut machine, relay));
}

#[test]
fn one_that_asks_for_tables_and_comparisons_without_end_is_served_its_share() {
    let mut machine = joined(8);
    for _ in 0..1_000 {
        stream(&mut machine, 3, StreamMessage::Join { record: record(3, 1, 0) });
        stream(&mut machine, 3, StreamMessage::Sync { standings: Vec::new() });
        let wanted = vec![id(1); 1_000];
        stream(&mut machine, 3, StreamMessage::SyncReply { facts: Vec::new(), wanted, forgotten: Vec::new() });
    }
    let streams = drain(&mut machine).into_iter().filter(|output| matches!(output, Output::Stream { .. }));
    let facts = streams.map(|output| match output {
        Output::Stream { message: StreamMessage::Facts { facts }, .. } => facts.len(),
        Output::Stream { .. } | Output::Datagram { .. } | Output::Dial { .. } | Output::Event(_) => 9,
    });
    assert!(facts.sum::<usize>() < 1_000);
}

#[test]
fn nobody_takes_leave_or_joins_in_anothers_name() {
    let mut machine = joined(8);
    let view = machine.view();
    let left = fact(&record(4, 1, 0), 0, State::Left).standing;
    datagram(&mut machine, 2, 3, Datagram::Leaving { standing: left });
    stream(&mut machine, 3, StreamMessage::Join { record: record(4, 9, 9) });
    assert_eq!(machine.view(), view);
    assert!(!drain(&mut machine).iter().any(|output| matches!(output, Output::Stream { .. })), "nor hears the table");
    datagram(&mut machine, 2, 4, Datagram::Leaving { standing: left });
    assert_eq!(state_of(&machine, 4), Some(MemberState::Left));
}

#[test]
fn inquiries_about_everybody_start_few_inquests() {
    let mut machine = joined(200);
    for _ in 0..100 {
        for target in 1..200 {
            datagram(&mut machine, 2, 250, Datagram::Inquire { target: id(target), ballot: 1 });
        }
    }
    machine.handle_timeout(at(2));
    let pings = sent(&mut machine, |message| matches!(message, Datagram::Ping { .. }));
    assert!(pings <= 40, "{pings}");
}

#[test]
fn a_member_whose_standing_never_rests_is_passed_on_only_so_often() {
    let mut machine = joined(8);
    let mut told = 0;
    for round in 0..2_000_u32 {
        let news = fact(&record(3, 1, 0), round + 1, State::Alive);
        let ms = u64::from(round) * 60 + 2;
        machine.handle_input(at(ms), Input::Datagram { from: id(3), message: Datagram::Gossip { facts: vec![news] } });
        machine.handle_timeout(at(ms + 55));
        told += sent(&mut machine, |message| matches!(message, Datagram::Gossip { .. }));
    }
    // Two minutes: thirty-two at once and one each two seconds, each told as often as news is.
    assert!(told < 100 * 24, "{told}");
}

#[test]
fn one_that_accuses_without_end_is_refuted_only_so_often() {
    let mut machine = joined(8);
    let me = machine.me();
    for incarnation in 0..10_000 {
        gossip(&mut machine, 3, fact(&me, incarnation, State::Unreachable));
    }
    assert!(machine.me().incarnation <= 64, "{}", machine.me().incarnation);
    let accused_as = machine.me().incarnation;
    gossip(&mut machine, 4, fact(&me, accused_as, State::Unreachable));
    assert_eq!(machine.me().incarnation, accused_as + 1, "others are answered");
}

#[test]
fn a_flood_of_strangers_fills_the_roster_and_not_the_memory() {
    let config = Config { members_max: 100, ..Config::default() };
    let mut machine = Membership::new(at(0), config, record(0, 5, 50), 1);
    machine.handle_input(at(0), Input::Cmd(Cmd::Join { known: Vec::new() }));
    for n in 0..20_000_u32 {
        let mut stranger = record(1, 1, 0);
        stranger.life.id = NodeId(*blake3::hash(&n.to_le_bytes()).as_bytes().first_chunk().unwrap());
        gossip(&mut machine, 1, stranger.into());
        drain(&mut machine);
    }
    assert_eq!(machine.members().count(), 100);
}

#[test]
fn who_is_gone_makes_room_for_who_comes() {
    let config = Config { members_max: 3, ..Config::default() };
    let mut machine = Membership::new(at(0), config, record(0, 5, 50), 1);
    gossip(&mut machine, 1, record(1, 1, 0).into());
    gossip(&mut machine, 1, record(2, 1, 0).into());
    gossip(&mut machine, 1, record(3, 1, 0).into());
    assert_eq!(state_of(&machine, 3), None, "the living keep their place");
    gossip(&mut machine, 1, fact(&record(2, 1, 0), 0, State::Left));
    gossip(&mut machine, 1, record(3, 1, 0).into());
    assert_eq!((state_of(&machine, 2), state_of(&machine, 3)), (None, Some(MemberState::Alive)));
}

#[test]
fn a_process_that_answers_long_after_its_path_would_is_advised_of() {
    let mut machine = joined(1);
    let node = id(1);
    machine.handle_input(at(2), Input::Transport(Transport::Connected { node, rtt: Duration::from_millis(10) }));
    let mut pings: Vec<(u64, u64)> = Vec::new();
    let mut advised = Vec::new();
    for ms in (10..120_000).step_by(10) {
        let slow = if ms < 60_000 { 600 } else { 10 };
        while let Some(&(nonce, sent)) = pings.first()
            && sent + slow <= ms
        {
            pings.remove(0);
            let ack = Datagram::Ack { nonce, next_in_ms: 1_000, view: machine.view(), facts: Vec::new() };
            datagram(&mut machine, ms, 1, ack);
        }
        machine.handle_timeout(at(ms));
        for output in drain(&mut machine) {
            match output {
                Output::Datagram { message: Datagram::Ping { nonce, .. }, .. } => pings.push((nonce, ms)),
                Output::Event(Event::Degraded { degraded, .. }) => advised.push((degraded, ms)),
                Output::Datagram { .. } | Output::Stream { .. } | Output::Dial { .. } | Output::Event(_) => {}
            }
        }
    }
    assert!(matches!(advised[..], [(true, ..60_000), (false, 60_000..)]), "{advised:?}");
}

fn any_state() -> impl Strategy<Value = State> {
    prop_oneof![Just(State::Alive), Just(State::Unreachable), Just(State::Left)]
}

/// Small numbers, so that they meet, and the greatest.
fn any_number() -> impl Strategy<Value = u64> {
    prop_oneof![4 => 0..4_u64, 1 => Just(u64::MAX - 1), 1 => Just(u64::MAX), 1 => any::<u64>()]
}

fn any_fact() -> impl Strategy<Value = Fact> {
    let numbers = (any_number(), any_number(), any_number());
    (0..6_u8, numbers, any_state(), any::<bool>()).prop_map(|(node, (epoch, nonce, incarnation), state, carded)| {
        let of = record(node, epoch, nonce);
        let incarnation = u32::try_from(incarnation).unwrap_or(u32::MAX);
        Fact { card: carded.then(|| of.card.clone()), ..fact(&of, incarnation, state) }
    })
}

fn any_facts() -> impl Strategy<Value = Vec<Fact>> {
    prop::collection::vec(any_fact(), 0..4)
}

fn any_datagram() -> impl Strategy<Value = Datagram> {
    let target = || (0..6_u8).prop_map(id);
    let ballot = || any_number().prop_map(|n| u32::try_from(n).unwrap_or(u32::MAX));
    prop_oneof![
        (any_number(), any_number(), any_facts()).prop_map(|(nonce, view, facts)| Datagram::Ping {
            nonce,
            view,
            facts
        }),
        (any_number(), ballot(), any_number(), any_facts())
            .prop_map(|(nonce, next_in_ms, view, facts)| Datagram::Ack { nonce, next_in_ms, view, facts }),
        (any_number(), target()).prop_map(|(nonce, target)| Datagram::Relay { nonce, target }),
        (any_number(), target()).prop_map(|(nonce, target)| Datagram::Relayed { nonce, target }),
        (target(), ballot()).prop_map(|(target, ballot)| Datagram::Inquire { target, ballot }),
        (target(), ballot(), any::<bool>()).prop_map(|(target, ballot, alive)| Datagram::Finding {
            target,
            ballot,
            alive
        }),
        any_facts().prop_map(|facts| Datagram::Gossip { facts }),
        any_fact().prop_map(|fact| Datagram::Leaving { standing: fact.standing }),
        Just(Datagram::Farewell),
    ]
}

fn any_stream() -> impl Strategy<Value = StreamMessage> {
    let standings = || any_facts().prop_map(|facts| facts.iter().map(|fact| fact.standing).collect());
    let lives = || any_facts().prop_map(|facts| facts.iter().map(|fact| fact.standing.life).collect());
    let wanted = || prop::collection::vec((0..6_u8).prop_map(id), 0..9);
    prop_oneof![
        any_fact().prop_map(|fact| StreamMessage::Join {
            record: Record {
                life: fact.standing.life,
                incarnation: fact.standing.incarnation,
                card: record(1, 0, 0).card
            }
        }),
        any_facts().prop_map(|facts| StreamMessage::Table { facts }),
        standings().prop_map(|standings| StreamMessage::Sync { standings }),
        (any_facts(), wanted(), lives()).prop_map(|(facts, wanted, forgotten)| StreamMessage::SyncReply {
            facts,
            wanted,
            forgotten
        }),
        any_facts().prop_map(|facts| StreamMessage::Facts { facts }),
        any_datagram().prop_map(|message| StreamMessage::Said { message }),
    ]
}

fn any_input() -> impl Strategy<Value = Input> {
    let from = || (0..7_u8).prop_map(id);
    let rtt = (0..5_000_u64).prop_map(Duration::from_millis);
    prop_oneof![
        6 => (from(), any_datagram()).prop_map(|(from, message)| Input::Datagram { from, message }),
        3 => (from(), any_stream()).prop_map(|(from, message)| Input::Stream { from, message }),
        1 => (from(), rtt).prop_map(|(node, rtt)| Input::Transport(Transport::Connected { node, rtt })),
        1 => from().prop_map(|node| Input::Transport(Transport::Closed { node })),
        1 => (from(), 0..2_000_usize).prop_map(|(node, datagram_bytes_max)| {
            Input::Transport(Transport::Limit { node, datagram_bytes_max })
        }),
        1 => from().prop_map(|node| Input::Cmd(Cmd::Forget(node))),
        1 => any_number().prop_map(|epoch| Input::Cmd(Cmd::BootEpoch(epoch))),
    ]
}

/// What time does between two inputs: nothing, a little, much, or a step back.
fn any_pause() -> impl Strategy<Value = i64> {
    prop_oneof![3 => Just(0), 4 => 1..200_i64, 2 => 200..20_000_i64, 1 => -5_000..0_i64, 1 => Just(i64::MAX / 4)]
}

proptest! {
    /// Whatever comes, in whatever order, at whatever time: no panic; standings only ever advance; who left stays so for
    /// its epoch; the hash is that of what is held; what is to be sent is bounded.
    #[test]
    fn nothing_said_breaks_a_machines_promises(steps in prop::collection::vec((any_pause(), any_input()), 1..60)) {
        let mut machine = joined(4);
        let mut ms = 10_i64;
        let mut held: BTreeMap<NodeId, Standing> =
            machine.standings().map(|standing| (standing.life.id, standing)).collect();
        let mut present: BTreeSet<_> = held.keys().copied().collect();
        for (pause, input) in steps {
            ms = ms.saturating_add(pause).max(0);
            let now = at(u64::try_from(ms).unwrap());
            machine.handle_input(now, input);
            machine.handle_timeout(now);
            let outputs = drain(&mut machine);
            prop_assert!(outputs.len() < 500, "{} outputs", outputs.len());
            let forgotten = outputs.into_iter().filter_map(|output| match output {
                Output::Event(Event::Forgotten { node }) => Some(node),
                Output::Event(_) | Output::Datagram { .. } | Output::Stream { .. } | Output::Dial { .. } => None,
            });
            for node in forgotten {
                prop_assert!(present.remove(&node), "{node:?} was not there to be forgotten");
            }
            let now_present: BTreeSet<_> = machine.standings().map(|standing| standing.life.id).collect();
            prop_assert!(now_present.is_superset(&present), "somebody vanished");
            present = now_present;
            for standing in machine.standings() {
                // What was forgotten stays so for its epoch, so the last standing ever held binds.
                let last = held.insert(standing.life.id, standing);
                let advanced = last.is_none_or(|last| last == standing || standing.beats(&last));
                prop_assert!(advanced, "{last:?} became {standing:?}");
            }
            let hash = machine.standings().fold(0, |hash, standing| hash ^ standing.digest());
            prop_assert_eq!(hash, machine.view());
        }
    }

    /// Any two standings of a node are ordered, one way, and the order is transitive.
    #[test]
    fn standings_are_totally_ordered(a in any_fact(), b in any_fact(), c in any_fact()) {
        let life = |fact: &Fact| Standing { life: Life { id: id(1), ..fact.standing.life }, ..fact.standing };
        let (a, b, c) = (life(&a), life(&b), life(&c));
        prop_assert_eq!(a == b, !a.beats(&b) && !b.beats(&a));
        prop_assert!(!(a.beats(&b) && b.beats(&a)));
        prop_assert!(!(a.beats(&b) && b.beats(&c)) || a.beats(&c));
    }

    /// However facts come, in whatever order and how often, two that heard the same hold the same.
    #[test]
    fn what_is_held_does_not_depend_on_the_order_of_news(
        facts in prop::collection::vec(any_fact(), 0..12).prop_shuffle(),
        seed in any::<prop::sample::Index>(),
    ) {
        let facts: Vec<_> = facts.into_iter().map(|fact| Fact { card: Some(record(1, 0, 0).card), ..fact }).collect();
        let others = facts.iter().filter(|fact| fact.standing.life.id != id(0)).cloned();
        let facts: Vec<Fact> = others.collect();
        let hear = |facts: &[Fact]| {
            let mut machine = joined(5);
            facts.iter().for_each(|fact| gossip(&mut machine, 6, fact.clone()));
            machine.view()
        };
        let mut turned = facts.clone();
        if !turned.is_empty() {
            let at = seed.index(turned.len());
            turned.rotate_left(at);
        }
        let mut again = facts.clone();
        again.extend(turned.iter().rev().cloned());
        prop_assert_eq!(hear(&facts), hear(&turned));
        prop_assert_eq!(hear(&facts), hear(&again));
    }

    /// A message is what its bytes say, and weighs what the machine reckons.
    #[test]
    fn datagrams_survive_the_wire_and_know_their_weight(message in any_datagram()) {
        let bytes = encode_datagram(&message);
        prop_assert_eq!(bytes.len(), message.packet_bytes());
        prop_assert_eq!(decode_datagram::<Datagram>(&bytes), Ok(message));
    }
}
