//! The machine alone, fed by hand: what one input must and must not do.

use std::time::Duration;

use super::*;
use crate::id::NodeId;
use crate::time::Instant;

fn at(ms: u64) -> Now {
    Now { mono: Instant::ZERO + Duration::from_millis(ms), wall_ms: 0 }
}

fn record(node: u8, boot_epoch: u64, nonce: u64) -> Record {
    let id = NodeId(*blake3::hash(&[node]).as_bytes().first_chunk().unwrap());
    let card = Card {
        name: format!("n{node}"),
        site: format!("s{}", node % 3),
        addrs: vec![([127, 0, 0, 1], 1).into()],
        caps: 0,
    };
    Record { life: Life { id, boot_epoch, nonce }, incarnation: 0, card }
}

fn fact(of: &Record, incarnation: u32, state: State) -> Fact {
    Fact { standing: Standing { life: of.life, incarnation, state }, card: Some(of.card.clone()) }
}

/// A machine of node 0 that has joined a mesh of `others` more.
fn joined(others: u8) -> Membership {
    let mut machine = Membership::new(at(0), Config::default(), record(0, 5, 50), 1);
    machine.handle_input(at(0), Input::Cmd(Cmd::Join { known: Vec::new() }));
    let facts = (1..=others).map(|node| record(node, 1, 0).into()).collect();
    stream(&mut machine, 1, StreamMessage::Table { facts });
    drain(&mut machine);
    machine
}

fn stream(machine: &mut Membership, from: u8, message: StreamMessage) {
    machine.handle_input(at(1), Input::Stream { from: record(from, 1, 0).life.id, message });
}

fn gossip(machine: &mut Membership, from: u8, fact: Fact) {
    let message = Datagram::Gossip { facts: vec![fact] };
    machine.handle_input(at(2), Input::Datagram { from: record(from, 1, 0).life.id, message });
}

fn drain(machine: &mut Membership) -> Vec<Output> {
    std::iter::from_fn(|| machine.poll_output()).collect()
}

fn events(machine: &mut Membership) -> Vec<Event> {
    let outputs = drain(machine).into_iter();
    outputs.filter_map(|output| if let Output::Event(event) = output { Some(event) } else { None }).collect()
}

fn state_of(machine: &Membership, node: u8) -> Option<MemberState> {
    machine.member(record(node, 1, 0).life.id).map(|member| member.state)
}

#[test]
fn an_accusation_is_refuted_with_the_next_incarnation() {
    let mut machine = joined(4);
    let me = machine.me();
    gossip(&mut machine, 2, fact(&me, 3, State::Unreachable));
    assert_eq!(machine.me().incarnation, 4);
    gossip(&mut machine, 2, fact(&me, 3, State::Unreachable));
    assert_eq!(machine.me().incarnation, 4, "an old accusation is already refuted");
}

#[test]
fn an_accusation_that_no_incarnation_can_refute_asks_for_a_later_epoch() {
    let mut machine = joined(4);
    let me = machine.me();
    gossip(&mut machine, 2, fact(&me, u32::MAX, State::Unreachable));
    assert!(events(&mut machine).contains(&Event::EpochBehind { known: 5 }));
    machine.handle_input(at(3), Input::Cmd(Cmd::BootEpoch(6)));
    assert_eq!((machine.me().life.boot_epoch, machine.me().incarnation), (6, 0));
}

#[test]
fn a_later_life_of_the_same_node_fences_this_one_for_good() {
    let mut machine = joined(4);
    let other = record(0, 5, 51);
    gossip(&mut machine, 2, fact(&other, 0, State::Alive));
    assert_eq!(events(&mut machine), vec![Event::Fenced { by: other.life }]);
    assert!(machine.is_fenced() && machine.poll_timeout().is_none());
    gossip(&mut machine, 2, fact(&record(0, 5, 50), 9, State::Unreachable));
    assert!(drain(&mut machine).is_empty(), "no war of epochs");
}

#[test]
fn an_earlier_life_of_the_same_node_changes_nothing() {
    let mut machine = joined(4);
    let view = machine.view();
    gossip(&mut machine, 2, fact(&record(0, 5, 49), 7, State::Alive));
    gossip(&mut machine, 2, fact(&record(0, 4, 99), 7, State::Unreachable));
    assert_eq!((machine.view(), machine.is_fenced()), (view, false));
}

#[test]
fn a_start_behind_the_known_epoch_asks_for_a_later_one_once() {
    let mut machine = Membership::new(at(0), Config::default(), record(0, 5, 50), 1);
    let known = fact(&record(0, 8, 3), 2, State::Unreachable);
    let facts = vec![known.clone(), record(1, 1, 0).into()];
    stream(&mut machine, 1, StreamMessage::Table { facts });
    gossip(&mut machine, 1, known);
    let asked = events(&mut machine).into_iter().filter(|event| *event == Event::EpochBehind { known: 8 }).count();
    assert_eq!(asked, 1);
}

#[test]
fn who_leaves_refutes_nothing_and_asks_for_farewells() {
    let mut machine = joined(6);
    machine.handle_input(at(3), Input::Cmd(Cmd::Leave));
    let told: Vec<_> = drain(&mut machine)
        .into_iter()
        .filter_map(|output| match output {
            Output::Datagram { to, message: Datagram::Leaving { .. } } => Some(to),
            Output::Datagram { .. } | Output::Stream { .. } | Output::Dial { .. } | Output::Event(_) => None,
        })
        .collect();
    assert!(told.len() >= 3);
    let me = machine.me();
    gossip(&mut machine, 2, fact(&me, 7, State::Unreachable));
    assert_eq!(machine.me().incarnation, 0);
    for from in told {
        machine.handle_input(at(20), Input::Datagram { from, message: Datagram::Farewell });
        machine.handle_timeout(at(20));
    }
    assert!(events(&mut machine).contains(&Event::LeaveDone));
}

#[test]
fn a_leave_is_done_after_a_second_though_nobody_answers() {
    let mut machine = joined(6);
    machine.handle_input(at(3), Input::Cmd(Cmd::Leave));
    for ms in (100..1_200).step_by(50) {
        machine.handle_timeout(at(ms));
    }
    assert!(events(&mut machine).contains(&Event::LeaveDone));
    assert!(machine.poll_timeout().is_none());
}

#[test]
fn a_compared_view_buries_nobody_by_itself() {
    let mut machine = joined(6);
    let accused = fact(&record(3, 1, 0), 0, State::Unreachable);
    let reply = StreamMessage::SyncReply { facts: vec![accused.clone()], wanted: Vec::new(), forgotten: Vec::new() };
    stream(&mut machine, 1, reply);
    assert_eq!(state_of(&machine, 3), Some(MemberState::Alive));
    for ms in (2..4_000).step_by(20) {
        machine.handle_timeout(at(ms));
    }
    assert_eq!(state_of(&machine, 3), Some(MemberState::Unreachable), "it stayed silent here too");
}

#[test]
fn an_answer_of_one_held_unreachable_brings_the_accusation_not_its_return() {
    let mut machine = joined(4);
    gossip(&mut machine, 2, fact(&record(3, 1, 0), 0, State::Unreachable));
    drain(&mut machine);
    let ping = Datagram::Ping { nonce: 1, view: 0, facts: Vec::new() };
    let from = record(3, 1, 0).life.id;
    machine.handle_input(at(3), Input::Datagram { from, message: ping });
    assert_eq!(state_of(&machine, 3), Some(MemberState::Unreachable));
    let accused = drain(&mut machine).into_iter().any(|output| {
        matches!(output, Output::Datagram { to, message: Datagram::Ack { facts, .. } }
            if to == from && facts.iter().any(|fact| fact.standing.life.id == from && !fact.standing.is_alive()))
    });
    assert!(accused);
}

#[test]
fn what_is_out_of_bounds_is_not_learnt() {
    let mut machine = joined(2);
    let mut long = record(9, 1, 0);
    long.card.name = "x".repeat(64);
    gossip(&mut machine, 1, long.into());
    let mut many = record(9, 1, 0);
    many.card.addrs = vec![([127, 0, 0, 1], 1).into(); 9];
    gossip(&mut machine, 1, many.into());
    gossip(&mut machine, 1, Fact { card: None, ..record(9, 1, 0).into() });
    assert_eq!(state_of(&machine, 9), None);
}

#[test]
fn the_roster_has_a_roof() {
    let config = Config { members_max: 3, ..Config::default() };
    let mut machine = Membership::new(at(0), config, record(0, 1, 0), 1);
    (1..=9).for_each(|node| gossip(&mut machine, 1, record(node, 1, 0).into()));
    assert_eq!(machine.members().count(), 3);
}

#[test]
fn what_one_member_forgot_is_forgotten_by_all_that_hold_it_gone() {
    let mut machine = joined(4);
    let gone = record(3, 1, 0);
    let forgotten = || StreamMessage::SyncReply { facts: Vec::new(), wanted: Vec::new(), forgotten: vec![gone.life] };
    stream(&mut machine, 1, forgotten());
    assert_eq!(state_of(&machine, 3), Some(MemberState::Alive), "the living are not forgotten");
    gossip(&mut machine, 2, fact(&gone, 0, State::Left));
    stream(&mut machine, 1, forgotten());
    assert_eq!(state_of(&machine, 3), None);
    gossip(&mut machine, 2, fact(&gone, 0, State::Left));
    assert_eq!(state_of(&machine, 3), None, "and stay so");
}

#[test]
fn a_life_forgotten_while_it_lived_is_told_and_takes_a_later_epoch() {
    let mut machine = joined(4);
    let gone = record(3, 1, 0);
    gossip(&mut machine, 2, fact(&gone, 0, State::Left));
    machine.handle_input(at(3), Input::Cmd(Cmd::Forget(gone.life.id)));
    drain(&mut machine);
    stream(&mut machine, 3, StreamMessage::Join { record: gone.clone() });
    let told = |output: &Output| {
        matches!(output, Output::Stream { message: StreamMessage::SyncReply { forgotten, .. }, .. }
            if *forgotten == vec![gone.life])
    };
    assert!(drain(&mut machine).iter().any(told));
    let forgotten = vec![machine.me().life];
    stream(&mut machine, 1, StreamMessage::SyncReply { facts: Vec::new(), wanted: Vec::new(), forgotten });
    assert_eq!(events(&mut machine), vec![Event::EpochBehind { known: 5 }]);
}

#[test]
fn a_dead_member_accused_again_is_not_forgotten_early() {
    let mut machine = joined(4);
    let run = |machine: &mut Membership, seconds: std::ops::Range<u64>| {
        seconds.for_each(|second| (0..10).for_each(|tenth| machine.handle_timeout(at(second * 1_000 + tenth * 100))));
    };
    gossip(&mut machine, 2, fact(&record(3, 1, 0), 0, State::Unreachable));
    run(&mut machine, 1..62);
    assert_eq!(state_of(&machine, 3), Some(MemberState::Dead));
    gossip(&mut machine, 2, fact(&record(3, 1, 0), 1, State::Unreachable));
    run(&mut machine, 62..130);
    assert_eq!(state_of(&machine, 3), Some(MemberState::Dead));
}

#[test]
fn a_machine_that_slept_accuses_nobody_for_it() {
    let mut machine = joined(6);
    let mut ms = 10;
    while ms < 60_000 {
        machine.handle_timeout(at(ms));
        ms += 5_000;
    }
    assert_eq!(machine.alive(), 7);
}

#[test]
fn a_link_to_one_not_known_to_live_is_greeted() {
    let mut machine = joined(2);
    let stranger = record(9, 1, 0).life.id;
    let connected = Transport::Connected { node: stranger, rtt: Duration::from_millis(3) };
    machine.handle_input(at(3), Input::Transport(connected));
    let greeted =
        |output| matches!(output, Output::Stream { to, message: StreamMessage::Join { .. } } if to == stranger);
    machine.handle_timeout(at(500));
    assert!(drain(&mut machine).into_iter().any(greeted));
}

mod hostile;
mod sizes;

#[test]
fn who_is_about_to_leave_says_so_refutes_that_it_is_gone_and_leaves() {
    let mut machine = joined(4);
    let me = machine.me();
    machine.handle_input(at(1), Input::Cmd(Cmd::Drain));
    let standing = machine.standing(me.life.id).unwrap();
    assert_eq!((standing.incarnation, standing.state), (1, State::Draining));
    gossip(&mut machine, 2, fact(&me, 5, State::Unreachable));
    let standing = machine.standing(me.life.id).unwrap();
    assert_eq!((standing.incarnation, standing.state), (6, State::Draining), "it still lives");
    machine.handle_input(at(2), Input::Cmd(Cmd::Drain));
    assert_eq!(machine.standing(me.life.id).unwrap().incarnation, 6, "said once");
    machine.handle_input(at(3), Input::Cmd(Cmd::Leave));
    assert_eq!(machine.standing(me.life.id).unwrap().state, State::Left);
}
