//! What goes into a datagram, and what into a stream.

use super::*;

/// What a machine with much to tell says within `ms`, on links that take datagrams of this size.
fn said(limit: Option<usize>, ms: u64) -> Vec<Output> {
    let mut machine = Membership::new(at(0), Config::default(), record(0, 1, u64::MAX), 1);
    machine.handle_input(at(0), Input::Cmd(Cmd::Join { known: Vec::new() }));
    let facts = (1..200).map(|node| record(node, u64::MAX, u64::MAX).into()).collect();
    for node in 1..200 {
        let node = record(node, 1, 0).life.id;
        machine.handle_input(at(0), Input::Transport(Transport::Connected { node, rtt: Duration::ZERO }));
        if let Some(datagram_bytes_max) = limit {
            machine.handle_input(at(0), Input::Transport(Transport::Limit { node, datagram_bytes_max }));
        }
    }
    machine
        .handle_input(at(1), Input::Stream { from: record(1, 1, 0).life.id, message: StreamMessage::Facts { facts } });
    (2..ms).for_each(|ms| machine.handle_timeout(at(ms)));
    drain(&mut machine)
}

fn largest(outputs: &[Output]) -> usize {
    let bytes = outputs.iter().filter_map(|output| match output {
        Output::Datagram { message, .. } => Some(message.packet_bytes()),
        Output::Stream { .. } | Output::Dial { .. } | Output::Event(_) => None,
    });
    bytes.max().unwrap_or(0)
}

/// Facts that went on streams because they fitted no datagram.
fn overflow(outputs: &[Output]) -> usize {
    let facts = outputs.iter().map(|output| match output {
        Output::Stream { message: StreamMessage::Said { message: Datagram::Gossip { facts } }, .. } => facts.len(),
        Output::Stream { .. } | Output::Datagram { .. } | Output::Dial { .. } | Output::Event(_) => 0,
    });
    facts.sum()
}

#[test]
fn datagrams_fill_what_their_link_takes_and_not_a_byte_more() {
    for limit in [200, 1_162, 1_414, 8_900] {
        let largest = largest(&said(Some(limit), 400));
        assert!((limit / 2..=limit).contains(&largest), "{largest} of {limit}");
    }
}

#[test]
fn on_a_link_that_has_not_said_datagrams_are_small_enough_for_any() {
    let limit = Config::default().datagram_bytes_unknown;
    let largest = largest(&said(None, 400));
    assert!((limit / 2..=limit).contains(&largest), "{largest}");
}

#[test]
fn what_is_too_much_for_a_rounds_datagrams_goes_on_a_stream() {
    // The last rings' neighbours are told of two hundred in the first round already.
    let outputs = said(Some(1_200), 20);
    assert!(overflow(&outputs) > 50, "{}", overflow(&outputs));
}

#[test]
fn on_a_link_without_datagrams_all_goes_on_a_stream() {
    let outputs = said(Some(0), 3_000);
    assert!(!outputs.iter().any(|output| matches!(output, Output::Datagram { .. })));
    let pings = outputs.iter().filter(|output| {
        matches!(output, Output::Stream { message: StreamMessage::Said { message: Datagram::Ping { .. } }, .. })
    });
    assert!(pings.count() > 0);
}

#[test]
fn what_came_on_a_stream_instead_of_a_datagram_is_heard_as_one() {
    let mut machine = joined(4);
    let ping = Datagram::Ping { nonce: 9, view: 0, facts: Vec::new() };
    stream(&mut machine, 2, StreamMessage::Said { message: ping });
    let acked = |output| matches!(output, Output::Datagram { message: Datagram::Ack { nonce: 9, .. }, .. });
    assert!(drain(&mut machine).into_iter().any(acked));
}

#[test]
fn at_any_size_of_mesh_sixteen_links_are_enough_for_probes_and_news() {
    for count in [1, 2, 3, 17, 128, 1_024, 4_096_u32] {
        let ids: Vec<_> = (0..count)
            .map(|node| NodeId(*blake3::hash(&node.to_le_bytes()).as_bytes().first_chunk().unwrap()))
            .collect();
        let mut rings = rings::Rings::default();
        ids.iter().for_each(|&id| rings.insert(id));
        for &id in ids.iter().take(200) {
            let mut peers = rings.subjects(id);
            peers.extend(rings.observers(id));
            peers.extend(rings.neighbours(id));
            assert!(peers.len() <= 16 && peers.len() < ids.len(), "{} of {count}", peers.len());
        }
    }
}
