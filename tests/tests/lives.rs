//! Vectors do not grow with restarts: a node that starts a thousand times, its peers, and disks put back from before.
//!
//! The long run has real replicas, the real decision which lives to close, and repair sessions by the protocol's machines,
//! over rows in memory; the short one has real agents.

use std::collections::VecDeque;
use std::fs;
use std::time::Duration;

use bytes::Bytes;
use everett_mesh_proto::id::{Dot, NodeId, ReplicaId, Space};
use everett_mesh_proto::log::{Commit, Held, Log};
use everett_mesh_proto::push::{self, Push, Vectors};
use everett_mesh_proto::repair::{Limits, Message, Outcome, Output as SessionOutput, Session};
use everett_mesh_proto::replica::{Alarm, Config, Edit, Expiry, Input, Output, Payload, Replica, Settled, Signal};
use everett_mesh_proto::rows::Placer;
use everett_mesh_proto::testing::{MemoryContent, MemoryRows, Nowhere, now_at};
use everett_mesh_proto::time::Instant;
use everett_mesh_proto::vector::{Brief, Vector};
use everett_mesh_proto::wire::{decode_payload, encode_datagram};
use everett_tests::cluster::{Cluster, PATIENCE, copy_directory, wait};
use redis::Commands;

const NODES: usize = 5;
const RESTARTS: u64 = 1_000;

/// What "a handful" is: a living entry of each node, and at most two more of those that start.
const HANDFUL: usize = NODES + 2;

fn space() -> Space {
    Space::numbered(0)
}

fn placer() -> Placer {
    Placer::new(&[7; 32])
}

fn node_id(node: usize) -> NodeId {
    NodeId([u8::try_from(node).expect("few nodes"); 16])
}

fn name(node: usize) -> String {
    format!("node-{node}")
}

/// What survives a process.
#[derive(Clone, Default)]
struct Disk {
    rows: MemoryRows,
    settled: Settled,
}

/// One life of one node; all that it commits is durable at once.
struct Site {
    node: usize,
    replica: Replica,
    rows: MemoryRows,
    log: Log<Nowhere>,
    push: Push,
    durable: Vectors,
    /// Own groups.
    said: VecDeque<Bytes>,
    reopened: usize,
}

impl Site {
    fn boot(node: usize, ms: u64, disk: Disk) -> Self {
        let id = ReplicaId::new(now_at(ms).wall_ms, &name(node), ms);
        let max_skew = Duration::from_millis(500);
        let config = Config { id, placer: placer(), max_skew, gate_bytes_max: 1 << 20 };
        let log = Log::resume(Nowhere, disk.settled.commit);
        let durable = disk.settled.vectors.clone();
        let replica = Replica::resume(config, disk.settled);
        let push = Push::new(log.durable().upto());
        Self { node, replica, rows: disk.rows, log, push, durable, said: VecDeque::new(), reopened: 0 }
    }

    fn disk(&mut self) -> Disk {
        Disk { rows: self.rows.clone(), settled: self.replica.settled() }
    }

    fn vector(&self) -> Vector {
        self.replica.vector(&space())
    }

    fn input(&mut self, ms: u64, input: Input) {
        let Ok(()) = self.replica.handle_input(now_at(ms), &mut self.rows, input);
        while let Some((record, held)) = self.replica.seal() {
            let Ok(Some(durable)) = self.log.commit(std::slice::from_ref(&record)) else { panic!("memory commits") };
            for output in Held::release(held, durable).expect("its commit was just made durable") {
                match output {
                    Output::Push { payload } => self.said.push_back(payload),
                    Output::Applied { space, dot } => self.durable.entry(space).or_default().raise(dot),
                    Output::Closed { space, last, by } => _ = self.durable.entry(space).or_default().close(last, by),
                }
            }
        }
        while let Some(signal) = self.replica.poll_signal() {
            self.reopened += usize::from(matches!(signal, Signal::Alarm(Alarm::Reopened { .. })));
        }
        assert_eq!(self.durable.get(&space()).cloned().unwrap_or_default(), self.vector(), "all of it is durable");
    }

    fn set(&mut self, ms: u64, key: &str, value: &str) {
        let (key, value) = (key.to_owned().into(), value.to_owned().into());
        let edits = vec![Edit::Set { key, value, expiry: Expiry::Clear }];
        self.input(ms, Input::Local { space: space(), edits });
    }

    fn get(&self, ms: u64, key: &str) -> Option<Bytes> {
        let Ok(view) = self.replica.view(now_at(ms), &self.rows, &space(), key.as_bytes());
        view.value.map(|value| value.to_bytes())
    }

    /// What all the others hold is told to the push, as summaries do.
    fn hear_what_others_hold(&mut self, others: &[&Site]) {
        for other in others {
            let (peer, has) = (node_id(other.node), Vectors::from([(space(), other.vector().named())]));
            self.push.handle_input(Instant::ZERO, push::Input::Up { peer, life: other.replica.id(), has });
            let vector = self.replica.resolve(&space(), &other.vector().named());
            assert!(other.vector().includes(&vector), "nobody is taken to hold more than it does");
            self.push.handle_input(Instant::ZERO, push::Input::Acked { peer, space: space(), vector });
        }
    }

    /// Closes what can be closed.
    fn close(&mut self, ms: u64) {
        let members: Vec<NodeId> = (0..NODES).filter(|&node| node != self.node).map(node_id).collect();
        let own = self.replica.id();
        for (space, lives) in self.push.closable(&self.durable, (&name(self.node), own), &members) {
            self.input(ms, Input::Close { space, lives });
        }
    }
}

/// Everybody hears what everybody has said since.
fn deliver(sites: &mut [Site], ms: u64) {
    for from in 0..sites.len() {
        let said = std::mem::take(&mut sites[from].said);
        for payload in said {
            for to in (0..sites.len()).filter(|&to| to != from) {
                let from = node_id(from);
                sites[to].input(ms, Input::Remote { from, payload: payload.clone() });
            }
        }
    }
}

fn look_around(sites: &mut [Site], node: usize) {
    let (before, rest) = sites.split_at_mut(node);
    let (site, after) = rest.split_first_mut().expect("the node is one of them");
    let others: Vec<&Site> = before.iter().chain(after.iter()).collect();
    site.hear_what_others_hold(&others);
}

/// A repair session; both sides adopt what it brought. Returns how many messages were said.
fn repair(a: &mut Site, b: &mut Site, ms: u64) -> usize {
    let pins = [&mut *a, &mut *b].map(|site| {
        let content = site.rows.content(&space());
        let pin = site.replica.open_pin();
        (MemoryContent::settled(&placer(), &space(), &content, site.vector()), pin)
    });
    let Ok(first) = Session::initiate(Instant::ZERO, Limits::default(), placer(), space(), &pins[0].0);
    let mut sides = [Some(first), None];
    let mut outcomes: [Option<Outcome>; 2] = [None, None];
    let (mut turn, mut messages) = (0, 0);
    while outcomes.iter().any(Option::is_none) {
        let mut said: Vec<Message> = Vec::new();
        while let Some(output) = sides[turn].as_mut().and_then(Session::poll_output) {
            match output {
                SessionOutput::Send(message) => said.push(message),
                SessionOutput::Done(outcome) => outcomes[turn] = Some(*outcome),
                SessionOutput::Failed(failure) => panic!("an honest session failed: {failure}"),
            }
        }
        turn = 1 - turn;
        messages += said.len();
        for message in said {
            match (&mut sides[turn], message) {
                (Some(session), message) => {
                    let Ok(()) = session.handle_input(Instant::ZERO, &pins[turn].0, message);
                }
                (silent, Message::Open(open)) => {
                    let answer = Session::respond(Instant::ZERO, Limits::default(), placer(), open, &pins[turn].0);
                    let Ok(session) = answer;
                    *silent = Some(session);
                }
                (None, message) => panic!("the first word is {message:?}"),
            }
        }
    }
    let peers = [node_id(b.node), node_id(a.node)];
    for (index, site) in [a, b].into_iter().enumerate() {
        let outcome = outcomes[index].take().expect("both sides have ended");
        let Ok(adoption) = outcome.complete([], &pins[index].0);
        site.input(ms, Input::Adopt { from: peers[index], adoption });
        site.replica.close_pin(pins[index].1);
    }
    messages
}

fn deps_of(payload: &Bytes) -> usize {
    match decode_payload(payload) {
        Ok(Payload::Group(group)) => group.deps.len(),
        other => panic!("a group was said, not {other:?}"),
    }
}

/// A node that starts a thousand times among four that stay; gives back the mesh and two disks of the node from the middle:
/// as it was, and with a write that nobody heard.
fn thousand_starts() -> (Vec<Site>, u64, [Disk; 2]) {
    let mut ms = 1;
    let mut sites: Vec<Site> = (0..NODES).map(|node| Site::boot(node, ms, Disk::default())).collect();
    let mut middle = None;
    for life in 1..=RESTARTS {
        ms += 10;
        let disk = sites[0].disk();
        if life == RESTARTS / 2 {
            let mut alone = Site::boot(0, ms - 5, disk.clone());
            alone.set(ms - 5, "unheard", "of a disk put back");
            middle = Some([disk.clone(), alone.disk()]);
        }
        sites[0] = Site::boot(0, ms, disk);
        sites[0].set(ms, &format!("key {}", life % 50), &life.to_string());
        let first = sites[0].said.front().expect("a write is said");
        assert!(deps_of(first) <= HANDFUL, "life {life} depends on {} entries", deps_of(first));
        sites[1 + usize::try_from(life % 4).expect("less than four")].set(ms, "other", &life.to_string());
        deliver(&mut sites, ms);
        look_around(&mut sites, 0);
        sites[0].close(ms);
        deliver(&mut sites, ms);
        for site in &sites {
            assert!(site.vector().open().count() <= HANDFUL, "life {life}: {:?}", site.vector().named());
        }
    }
    (sites, ms, middle.expect("the middle has passed"))
}

#[test]
fn a_thousand_starts_leave_a_handful_of_entries_and_an_exact_table() {
    let (mut sites, ms, [old, unheard]) = thousand_starts();
    let whole = sites[1].vector();
    for site in &sites {
        assert_eq!(site.vector(), whole);
        assert!(encode_datagram(&Brief::from(&site.vector())).len() < 200, "what a summary says of it");
    }
    assert_eq!(u64::try_from(whole.closed().len()), Ok(RESTARTS - 1), "all lives but the living one");
    // Exact: each closed life covers what it wrote and nothing more.
    for (replica, closing) in whole.closed().iter() {
        assert!(whole.covers(Dot { replica, seq: closing.last }));
        assert!(!whole.covers(Dot { replica, seq: closing.last + 1 }));
    }
    let content = sites[1].rows.content(&space());

    // A disk from before five hundred closings is put back: it gets all that it lacks, and nobody loses anything.
    let mut returned = Site::boot(0, ms + 10, old);
    assert!(returned.vector().closed().len() < whole.closed().len() && returned.vector() != whole);
    let seen = sites[1].replica.resolve(&space(), &returned.vector().named());
    assert_eq!(seen, returned.vector(), "its open entries say what it has");
    repair(&mut returned, &mut sites[1], ms + 10);
    assert_eq!((returned.vector(), returned.rows.content(&space())), (whole.clone(), content.clone()));
    assert_eq!((sites[1].vector(), sites[1].rows.content(&space())), (whole, content));

    // A disk with a write of a life that nobody heard of: its write is not lost either.
    let mut late = Site::boot(0, ms + 20, unheard);
    repair(&mut late, &mut sites[1], ms + 20);
    assert_eq!(late.vector(), sites[1].vector());
    assert_eq!(late.rows.content(&space()), sites[1].rows.content(&space()));
    assert_eq!(sites[1].get(ms + 20, "unheard"), Some(Bytes::from_static(b"of a disk put back")));
}

#[test]
fn a_closed_life_of_which_more_comes_is_open_again_until_everybody_holds_it() {
    let mut sites: Vec<Site> = (0..NODES).map(|node| Site::boot(node, 1, Disk::default())).collect();
    sites[0].set(2, "a", "heard");
    deliver(&mut sites, 2);
    let first = sites[0].replica.id();
    let before = sites[0].disk();
    sites[0].set(3, "b", "unheard");
    let with_more = sites[0].disk();
    sites[0] = Site::boot(0, 10, before);
    sites[0].set(10, "c", "of the second life");
    deliver(&mut sites, 10);
    look_around(&mut sites, 0);
    sites[0].close(10);
    deliver(&mut sites, 10);
    assert_eq!(sites[1].vector().closed().seq(first), 1);

    // The disk that held more is put back; the others hear its write from nobody else.
    let mut back = Site::boot(0, 20, with_more);
    repair(&mut back, &mut sites[1], 20);
    sites[0] = back;
    for other in 2..NODES {
        let (left, right) = sites.split_at_mut(2);
        repair(&mut left[1], &mut right[other - 2], 20);
    }
    for site in &sites {
        assert_eq!(site.get(20, "b"), Some(Bytes::from_static(b"unheard")));
        assert_eq!((site.vector().closed().seq(first), site.vector().seq(first)), (0, 2));
    }
    assert!(sites[1].reopened == 1 && sites[2].reopened == 1);
    sites[0].set(30, "d", "of the third life");
    deliver(&mut sites, 30);
    look_around(&mut sites, 0);
    sites[0].close(30);
    deliver(&mut sites, 30);
    for site in &sites {
        assert_eq!(site.vector().closed().seq(first), 2);
        assert_eq!(site.vector(), sites[0].vector());
    }
}

#[test]
fn a_life_is_not_closed_while_somebody_who_is_here_lacks_what_it_wrote() {
    let mut sites: Vec<Site> = (0..NODES).map(|node| Site::boot(node, 1, Disk::default())).collect();
    sites[0].set(2, "a", "1");
    let said = sites[0].said.clone();
    deliver(&mut sites[..NODES - 1], 2);
    let disk = sites[0].disk();
    sites[0] = Site::boot(0, 10, disk);
    sites[0].set(10, "b", "2");
    look_around(&mut sites, 0);
    sites[0].close(10);
    assert!(sites[0].vector().closed().is_empty());
    for payload in said {
        sites[NODES - 1].input(10, Input::Remote { from: node_id(0), payload });
    }
    look_around(&mut sites, 0);
    sites[0].close(10);
    assert_eq!(sites[0].vector().closed().len(), 1);
    assert_eq!(sites[0].replica.commit(), Commit(sites[0].log.durable().upto().0));
}

#[test]
fn agents_that_start_again_and_again_close_their_earlier_lives() {
    let mut cluster = Cluster::of(3);
    let saved = cluster.directory().join("saved");
    for start in 0..6 {
        cluster.client(0).set::<_, _, ()>("start", start).expect("a local write succeeds");
        cluster.client(1).set::<_, _, ()>("other", start).expect("a local write succeeds");
        cluster.agent(0).kill();
        if start == 2 {
            copy_directory(&cluster.agent(0).state(), &saved);
        }
        cluster.agent(0).start_and_serve();
    }
    cluster.client(0).set::<_, _, ()>("start", "over").expect("a local write succeeds");
    wait::until("all earlier lives are closed", PATIENCE, || {
        (0..3).all(|index| cluster.agent(index).figure("lives_closed") == 6)
    });
    cluster.wait_until_converged();
    for index in 0..3 {
        assert!(cluster.agent(index).figure("lives_open") <= 2, "the living ones that wrote");
        assert_eq!(cluster.agent(index).figure("lives_reopened"), 0);
    }
    // The table is on the disk, and no start forgets it.
    cluster.agent(1).stop();
    cluster.agent(1).start_and_serve();
    assert_eq!(cluster.agent(1).figure("lives_closed"), 6);

    // A disk from before all closings is put back.
    cluster.agent(0).kill();
    let state = cluster.agent(0).state();
    fs::remove_dir_all(&state).expect("a stopped agent's state can be removed");
    copy_directory(&saved, &state);
    cluster.agent(0).start_and_serve();
    cluster.wait_until_whole();
    wait::until("the disk has what it lacked", PATIENCE, || {
        cluster.agent(0).figure("lives_closed") >= 6 && cluster.wait_until_converged().len() == 1
    });
    for index in 0..3 {
        let values: (String, i64) = cluster.client(index).mget(&["start", "other"]).expect("a local read succeeds");
        assert_eq!(values, ("over".to_owned(), 5));
        assert_eq!(cluster.agent(index).figure("divergences"), 0);
    }
}
