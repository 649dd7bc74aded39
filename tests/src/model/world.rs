//! The world of one schedule: nodes, what travels between them, and one random step after another.

use std::collections::BTreeMap;
use std::io::Write;

use bytes::Bytes;
use everett_mesh_proto::clock::Stamp;
use everett_mesh_proto::id::ReplicaId;
use everett_mesh_proto::log::Record;
use everett_mesh_proto::replica::{Alarm, Edit, Input, Payload, Signal};
use everett_mesh_proto::vector::Vector;
use everett_mesh_proto::wire;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

use super::check::{Checks, Failure, Fault};
use super::edits;
use super::node::{Image, Node, node_id, space};
use super::oracle::Oracle;
use super::plan::{Flaw, Ingredient, Plan};
use super::sessions::Session;

/// A push on its way.
#[derive(Debug)]
struct Packet {
    from: usize,
    to: usize,
    payload: Bytes,
}

/// How often what happened.
pub type Stats = BTreeMap<&'static str, u64>;

/// A fault and the node that committed it.
pub(super) type At = (usize, Fault);

/// One schedule.
#[derive(Debug)]
pub struct World {
    pub(super) plan: Plan,
    pub(super) rng: Pcg64,
    pub(super) ms: u64,
    pub(super) nodes: Vec<Node>,
    pub(super) sessions: Vec<Session>,
    pub(super) saved: Vec<Vec<Image>>,
    /// The greatest stamp that left each node, disks put back excepted.
    pub(super) said: Vec<Stamp>,
    pub(super) checks: Checks,
    pub(super) stats: Stats,
    seed: u64,
    net: Vec<Packet>,
    oracle: Oracle,
}

impl World {
    /// The schedule of `seed` before its first step.
    pub fn new(seed: u64, plan: Plan) -> Self {
        let mut world = Self {
            plan,
            rng: Pcg64::seed_from_u64(seed),
            ms: 1_000,
            nodes: Vec::new(),
            sessions: Vec::new(),
            saved: vec![Vec::new(); plan.nodes],
            said: vec![Stamp::default(); plan.nodes],
            checks: Checks::new(!plan.has(Flaw::Fifo) && !plan.has(Flaw::NoInheritedDeadlines)),
            stats: Stats::new(),
            seed,
            net: Vec::new(),
            oracle: Oracle::new(!plan.has(Flaw::Fifo)),
        };
        for _ in 0..plan.nodes {
            let node = Node::boot(Image::default(), world.start(), plan);
            world.nodes.push(node);
        }
        world
    }

    /// All steps, then convergence.
    pub fn run(mut self) -> Result<Stats, Failure> {
        let seed = self.seed;
        for step in 0..self.plan.steps {
            let stepped = self.step().and_then(|()| self.check());
            stepped.map_err(|(node, fault)| Failure { seed, step, node, fault })?;
        }
        let step = self.plan.steps;
        self.converge().map_err(|(node, fault)| Failure { seed, step, node, fault })?;
        Ok(self.stats)
    }

    fn step(&mut self) -> Result<(), At> {
        if self.rng.random_bool(0.08) {
            self.pass(25);
        }
        let node = self.rng.random_range(0..self.nodes.len());
        if !self.nodes[node].is_up() {
            self.perhaps_return(node);
            return Ok(());
        }
        if self.plan.with(Ingredient::Closes) && self.rng.random_bool(0.06) {
            return self.close_lives(node);
        }
        if self.plan.with(Ingredient::Busy) && self.rng.random_bool(0.35) {
            if self.rng.random_bool(0.75) {
                return self.step_session();
            }
            self.open_session();
            return Ok(());
        }
        if self.plan.with(Ingredient::Rough) && self.rng.random_bool(0.25) {
            if self.rng.random_bool(0.8) {
                self.flush(node);
            } else if self.plan.with(Ingredient::Crashes) {
                self.crash(node);
            }
            return Ok(());
        }
        match self.rng.random_range(0..1_000) {
            340..550 => return self.deliver(),
            550..590 => return self.catch_up_from(node),
            660..840 => return self.step_session(),
            940..958 => return self.wake(node),
            240..340 => self.sync(node),
            590..660 => self.open_session(),
            840..855 => self.abort_session(),
            855..915 => self.flush(node),
            915..925 => self.fold(node),
            925..940 => self.pass(400),
            958..970 => self.trim(node),
            970..982 if self.plan.with(Ingredient::Crashes) => self.crash(node),
            982..994 if self.plan.with(Ingredient::Restores) => self.save_or_restore(node),
            994..1_000 if self.plan.with(Ingredient::Downs) => self.go_down(node),
            _ => return self.edit(node),
        }
        Ok(())
    }

    /// Compares every node that runs.
    pub(super) fn check(&mut self) -> Result<(), At> {
        for (number, node) in self.nodes.iter().enumerate().filter(|(_, node)| node.is_up()) {
            self.checks.node(&mut self.oracle, (number, node), self.ms).map_err(|fault| (number, fault))?;
        }
        Ok(())
    }

    /// Time goes on.
    pub(super) fn pass(&mut self, ms_max: u64) {
        self.ms += self.rng.random_range(1..=ms_max);
    }

    fn edit(&mut self, number: usize) -> Result<(), At> {
        let edits = edits::random(&mut self.rng, self.plan, &self.nodes[number], self.ms);
        self.tell(|| format!("{number} edits {edits:?}"));
        self.count("edits");
        let input = |edits: &[Edit]| Input::Local { space: space(), edits: edits.to_vec() };
        // Edits of several clients that are sealed together are as whole as those of one.
        let each = if self.rng.random_bool(0.5) { 1 } else { edits.len().max(1) };
        let inputs: Vec<_> = edits.chunks(each).map(input).collect();
        self.input(number, inputs, &edits).map(drop)
    }

    /// Feeds a node and takes down what it wrote of its own; returns what it sealed afterwards.
    pub(super) fn input(
        &mut self,
        number: usize,
        inputs: impl IntoIterator<Item = Input>,
        edits: &[Edit],
    ) -> Result<Vec<Record>, At> {
        let observed = self.nodes[number].vector();
        let sealed = self.nodes[number].input(self.ms, inputs);
        self.take_down(number, observed, &sealed, edits)?;
        self.heed(number)?;
        Ok(sealed)
    }

    fn take_down(&mut self, number: usize, observed: Vector, sealed: &[Record], edits: &[Edit]) -> Result<(), At> {
        let node = &self.nodes[number];
        let now_ms = node.replica.now_ms(node.now(self.ms));
        let mut observed = observed;
        for record in sealed {
            let payload = wire::decode_payload(&record.payload).expect("a sealed payload decodes");
            let Payload::Group(group) = payload else { continue };
            if group.author != node.replica.id() {
                continue;
            }
            if group.stamp <= self.said[number] {
                return Err((number, Fault::Stamp));
            }
            self.checks.closings.tell(&group);
            let told = self.oracle.tell(&group, observed.clone(), edits, now_ms);
            told.map_err(|fault| (number, fault))?;
            observed.raise(group.last());
        }
        Ok(())
    }

    /// Acts on what a node asks for, and fails on complaints.
    fn heed(&mut self, number: usize) -> Result<(), At> {
        for signal in self.nodes[number].signals() {
            match signal {
                Signal::Pull { to, .. } => {
                    self.count("pulls");
                    let from = usize::from(to.0[0]);
                    if self.nodes[from].is_up() && self.rng.random_bool(0.7) {
                        self.catch_up(from, number)?;
                    }
                }
                Signal::Visible { .. } => self.count("visible"),
                Signal::Broke { .. } => return Err((number, Fault::Broke)),
                Signal::Alarm(Alarm::Skew { .. }) => self.count("skews"),
                Signal::Alarm(Alarm::Reopened { .. }) => self.count("reopened"),
                Signal::Alarm(alarm @ (Alarm::Fork { .. } | Alarm::Divergence { .. })) => {
                    return Err((number, Fault::Alarm(alarm)));
                }
            }
        }
        Ok(())
    }

    /// Makes what a node has sealed durable, and lets its pushes go.
    pub(super) fn sync(&mut self, number: usize) {
        self.tell(|| format!("{number} syncs"));
        let pushes = self.nodes[number].sync();
        self.push(number, pushes);
    }

    /// Sends what became durable; much of it is lost.
    pub(super) fn push(&mut self, from: usize, pushes: Vec<Bytes>) {
        for payload in pushes {
            if let Ok(Payload::Group(group)) = wire::decode_payload(&payload) {
                self.said[from] = self.said[from].max(group.stamp_of(group.ops.len() - 1));
            }
            for to in (0..self.nodes.len()).filter(|&to| to != from) {
                if self.rng.random_bool(0.6) {
                    self.net.push(Packet { from, to, payload: payload.clone() });
                }
            }
        }
    }

    fn deliver(&mut self) -> Result<(), At> {
        if self.net.is_empty() {
            return Ok(());
        }
        let index = self.rng.random_range(0..self.net.len());
        let &Packet { from, to, ref payload } = &self.net[index];
        let payload = payload.clone();
        let (again, lost) = (self.rng.random_bool(0.1), self.rng.random_bool(0.1));
        if !again {
            self.net.swap_remove(index);
        }
        if lost || !self.nodes[to].is_up() {
            return Ok(());
        }
        self.tell(|| format!("{to} hears {from}"));
        self.hear(from, to, payload)
    }

    fn hear(&mut self, from: usize, to: usize, payload: Bytes) -> Result<(), At> {
        if self.plan.has(Flaw::ClosingCovers) {
            self.cover_closed(from, to, &payload)?;
        }
        let payload = if self.plan.has(Flaw::Fifo) { without_deps(&payload) } else { payload };
        self.input(to, [Input::Remote { from: node_id(from), payload }], &[]).map(drop)
    }

    fn catch_up_from(&mut self, from: usize) -> Result<(), At> {
        let to = self.rng.random_range(0..self.nodes.len());
        if to == from || !self.nodes[to].is_up() {
            return Ok(());
        }
        self.tell(|| format!("{to} catches up from {from}"));
        self.catch_up(from, to)
    }

    /// `to` names its open entries, and gets every group that it then seems to lack and the durable log of `from` still
    /// reaches.
    pub(super) fn catch_up(&mut self, from: usize, to: usize) -> Result<(), At> {
        self.sync(from);
        let vector = self.nodes[to].vector();
        let has = self.nodes[from].replica.resolve(&space(), &vector.named());
        if !vector.includes(&has) {
            return Err((from, Fault::Claim));
        }
        for author in self.nodes[from].shelf.authors() {
            let mut seq = has.seq(author);
            while let Some(payload) = self.nodes[from].shelf.after(author, seq) {
                let span = wire::decode_span(&payload).expect("a stored group decodes").expect("it is a group");
                seq = span.last;
                self.count("caught up");
                self.hear(from, to, payload)?;
            }
        }
        Ok(())
    }

    /// What a node's timers want.
    pub(super) fn wake(&mut self, number: usize) -> Result<(), At> {
        let observed = self.nodes[number].vector();
        let sealed = self.nodes[number].timeout(self.ms);
        self.take_down(number, observed, &sealed, &[])?;
        self.heed(number)
    }

    /// Lets go of all that travels.
    pub(super) fn clear_net(&mut self) {
        self.net.clear();
    }

    /// Which lives run.
    pub(super) fn living(&self) -> Vec<ReplicaId> {
        self.nodes.iter().map(|node| node.replica.id()).collect()
    }

    pub(super) fn count(&mut self, what: &'static str) {
        *self.stats.entry(what).or_default() += 1;
    }

    /// Tells a step on standard error, if that was asked for.
    pub(super) fn tell(&self, what: impl FnOnce() -> String) {
        if self.plan.told {
            // A trace that nobody reads any more is not an error of the schedule.
            let _ = writeln!(std::io::stderr(), "{:>6} ms  {}", self.ms, what());
        }
    }
}

/// The same group, which no longer says what it depends on.
fn without_deps(payload: &Bytes) -> Bytes {
    match wire::decode_payload(payload) {
        Ok(Payload::Group(mut group)) => {
            group.deps.clear();
            wire::encode_payload(&Payload::Group(group))
        }
        Ok(Payload::Adoption(_) | Payload::Clock { .. }) | Err(_) => payload.clone(),
    }
}
