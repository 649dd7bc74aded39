//! `Replica` knows what we know: it takes local edits and remote groups, decides what they mean, and owns no rows.
//!
//! Its methods sort into four kinds. *Inputs* ([`handle_input`](Replica::handle_input),
//! [`handle_timeout`](Replica::handle_timeout)) change rows and vectors. After an input, drain
//! [`seal`](Replica::seal) (records to log, and what may be said once they are durable) and
//! [`poll_signal`](Replica::poll_signal) (requests that reveal no write). *Reads* ([`view`](Replica::view),
//! [`vector`](Replica::vector)) change nothing. *Start* ([`resume`](Replica::resume), [`replay`](Replica::replay)) comes
//! before all of them.
//!
//! Invariants: a dot is minted, applied and logged in one commit; a remote group is applied whole, when its dependencies
//! are covered, or not at all; a dot counts as seen only in the commit that applies it; nothing leaves but through
//! [`Held`]. It deliberately knows no peers' addresses, no disk, and no client protocol.

mod adopt;
mod apply;
mod author;
mod closing;
mod gate;
mod input;
mod op;
mod open;
mod pins;
mod view;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::clock::{Hlc, Stamp};
use crate::id::{Dot, ReplicaId, Space};
use crate::log::{Commit, Held, Record};
use crate::rows::{Placer, Position, RowKey, Rows};
use crate::time::{Deadline, Instant, Now};
use crate::vector::Vector;
use crate::wire;

pub use adopt::Adoption;
pub use gate::GateLevel;
pub use input::{Alarm, EDITS_BYTES_MAX, Edit, Expiry, Input, Output, Outputs, Payload, Signal, Timer};
pub use op::{Effect, Group, Observed, Op};
pub use pins::PinId;
pub use view::{Counted, View};

use author::Draft;
use gate::Gate;
use open::Open;
use pins::Pins;

/// What a replica is told once, at its start.
#[derive(Clone, Debug)]
pub struct Config {
    /// This life.
    pub id: ReplicaId,
    /// Places keys.
    pub placer: Placer,
    /// How far stamps may lie ahead of the physical clock before they are warned about and no longer followed.
    pub max_skew: Duration,
    /// How many bytes of groups may wait for their dependencies; what comes beyond is dropped and pulled again.
    pub gate_bytes_max: usize,
}

/// What a store held when it last flushed: rows, vectors and clock of one commit.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Settled {
    /// The commit that everything else here describes.
    pub commit: Commit,
    /// The vectors, by namespace.
    pub vectors: BTreeMap<Space, Vector>,
    /// The clock's high-water mark.
    pub mark_ms: u64,
}

/// How long own dead counter entries may lie before they are dropped: long enough to drop many with one commit.
const DROP_DELAY: Duration = Duration::from_secs(1);

/// How many dead entries one group drops at most.
const DROPS_MAX: usize = 512;

/// What is known of one namespace.
#[derive(Clone, Debug, Default)]
struct Keyspace {
    /// What was applied.
    vector: Vector,
    /// What was applied of others since the own previous group: the dependencies of the next one.
    unsaid: Vector,
    /// The last commit that cut: what is read through a cut has an older position, and reflects this all the same.
    cut: Commit,
}

/// The state of one agent's data, without the rows.
#[derive(Debug)]
pub struct Replica {
    config: Config,
    clock: Hlc,
    commit: Commit,
    spaces: BTreeMap<Space, Keyspace>,
    gate: Gate,
    pins: Pins,
    dead: BTreeSet<RowKey>,
    drop_at: Option<Instant>,
    open: Option<Open>,
    sealed: VecDeque<(Record, Held<Outputs>)>,
    signals: VecDeque<Signal>,
}

impl Replica {
    /// A new life over what an earlier one settled; the empty default for a new store.
    pub fn resume(config: Config, settled: Settled) -> Self {
        let spaces = settled.vectors.into_iter();
        let spaces =
            spaces.map(|(space, vector)| (space, Keyspace { unsaid: vector.named(), vector, cut: Commit::default() }));
        Self {
            clock: Hlc::resume(settled.mark_ms, config.max_skew),
            commit: settled.commit,
            spaces: spaces.collect(),
            gate: Gate::new(config.gate_bytes_max),
            pins: Pins::default(),
            dead: BTreeSet::new(),
            drop_at: None,
            open: None,
            sealed: VecDeque::new(),
            signals: VecDeque::new(),
            config,
        }
    }

    /// Applies a record that a former life logged past the settled commit. Rows whose position says that they reflect
    /// it already stay as they are.
    pub fn replay<R: Rows>(&mut self, rows: &mut R, commit: Commit, payload: Payload) -> Result<(), R::Error> {
        assert_eq!(commit, self.commit.next(), "records are replayed in order and without holes");
        self.commit = commit;
        match payload {
            Payload::Group(group) => {
                // Of this life, all that was written before is somebody else's.
                self.keyspace(&group.space).unsaid.raise(group.last());
                self.apply_group(rows, &group)
            }
            Payload::Adoption(adoption) => self.apply_adoption(rows, &adoption),
            Payload::Clock { mark_ms } => {
                self.clock.replay_mark(mark_ms);
                Ok(())
            }
        }
    }

    /// Takes one input; errors are the store's.
    pub fn handle_input<R: Rows>(&mut self, now: Now, rows: &mut R, input: Input) -> Result<(), R::Error> {
        match input {
            Input::Local { space, edits } => self.edit(now, rows, &space, edits).map(drop),
            Input::Remote { from, payload } => {
                self.close();
                self.receive(now, rows, from, payload)
            }
            Input::Close { space, lives } => {
                let close = |draft: &mut Draft<'_, R>| lives.into_iter().try_for_each(|last| draft.close_life(last));
                self.write(now, rows, &space, close).map(drop)
            }
            Input::Adopt { from, adoption } => {
                self.close();
                self.adopt(now, rows, from, adoption)
            }
        }
    }

    /// Does what has become due: pulls what waiting groups lack, drops own dead counter entries.
    pub fn handle_timeout<R: Rows>(&mut self, now: Now, rows: &mut R) -> Result<(), R::Error> {
        let pulls = self.gate.pulls_due(now.mono);
        self.signals.extend(pulls.into_iter().map(|(to, space)| Signal::Pull { to, space }));
        if self.drop_at.is_some_and(|at| at <= now.mono) {
            self.drop_at = None;
            self.drop_dead(now, rows)?;
        }
        Ok(())
    }

    /// The next record to log, and what may be said once it is durable. The group that is being written takes no further
    /// edits.
    pub fn seal(&mut self) -> Option<(Record, Held<Outputs>)> {
        self.close();
        self.sealed.pop_front()
    }

    /// The next thing to ask or to tell that reveals no write.
    pub fn poll_signal(&mut self) -> Option<Signal> {
        self.signals.pop_front()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) next.
    pub fn poll_timeout(&self) -> Option<Deadline<Timer>> {
        let pull = self.gate.next_pull().map(|at| Deadline { at, why: Timer::Pull });
        let drop = self.drop_at.map(|at| Deadline { at, why: Timer::DropDead });
        pull.into_iter().chain(drop).min()
    }

    /// This life's id.
    pub fn id(&self) -> ReplicaId {
        self.config.id
    }

    /// The last commit made; not necessarily durable yet.
    pub fn commit(&self) -> Commit {
        self.commit
    }

    /// What was applied of `space`.
    pub fn vector(&self, space: &Space) -> Vector {
        self.spaces.get(space).map(|keyspace| keyspace.vector.clone()).unwrap_or_default()
    }

    /// What a peer has applied that names the open entries `named`, as far as it can be told from here; see
    /// [`Vector::resolve`].
    pub fn resolve(&self, space: &Space, named: &Vector) -> Vector {
        self.spaces.get(space).map_or_else(|| named.clone(), |keyspace| keyspace.vector.resolve(named))
    }

    /// The namespaces that ever held a row here.
    pub fn spaces(&self) -> impl Iterator<Item = &Space> {
        self.spaces.keys()
    }

    /// How full the gate is.
    pub fn gate(&self) -> GateLevel {
        self.gate.level()
    }

    /// What was applied of every namespace.
    pub fn vectors(&self) -> BTreeMap<Space, Vector> {
        self.spaces.iter().map(|(space, keyspace)| (space.clone(), keyspace.vector.clone())).collect()
    }

    /// Everything that a flush must store beside the rows to describe the present commit, which is complete with this.
    pub fn settled(&mut self) -> Settled {
        self.close();
        Settled { commit: self.commit, vectors: self.vectors(), mark_ms: self.clock.mark_ms() }
    }

    /// Expiry's present: monotone, whatever the physical clock does.
    pub fn now_ms(&self, now: Now) -> u64 {
        self.clock.ms(now.wall_ms)
    }

    /// Begins to note which rows change from this commit on. Open it at the commit that a snapshot describes.
    pub fn open_pin(&mut self) -> PinId {
        self.close();
        self.pins.open()
    }

    /// Forgets a pin.
    pub fn close_pin(&mut self, pin: PinId) {
        self.pins.close(pin);
    }

    /// The rows of `space` changed since the pin was opened; `None` if the pin was lost (too many changed, or closed).
    pub fn touched_since(&self, pin: PinId, space: &Space) -> Option<impl Iterator<Item = &RowKey>> {
        self.pins.touched(pin, space)
    }

    fn keyspace(&mut self, space: &Space) -> &mut Keyspace {
        if !self.spaces.contains_key(space) {
            self.spaces.insert(space.clone(), Keyspace::default());
        }
        self.spaces.get_mut(space).expect("a namespace that was missing was just put in")
    }

    /// Numbers a payload and holds what may be said of it.
    fn commit_payload(&mut self, payload: &Payload, outputs: impl FnOnce(&bytes::Bytes) -> Outputs) {
        let bytes = wire::encode_payload(payload);
        let outputs = outputs(&bytes);
        self.seal_bytes(bytes, outputs);
    }

    fn seal_bytes(&mut self, payload: bytes::Bytes, outputs: Outputs) {
        let held = Held::new(self.commit, outputs);
        self.sealed.push_back((Record { commit: self.commit, payload }, held));
    }

    /// Logs a new clock mark as a commit of its own if the stamps about to be used pass the old one.
    fn mark_clock(&mut self) {
        if let Some(mark_ms) = self.clock.raise_mark() {
            self.commit = self.commit.next();
            self.commit_payload(&Payload::Clock { mark_ms }, |_| Outputs::new());
        }
    }

    fn issue(&mut self, now: Now) -> Stamp {
        let stamp = self.clock.issue(now.wall_ms);
        self.mark_clock();
        stamp
    }

    fn absorb(&mut self, now: Now, stamp: Stamp, dot: Dot) {
        if let Some(ahead) = self.clock.absorb(now.wall_ms, stamp) {
            self.signals.push_back(Signal::Alarm(Alarm::Skew { author: dot.replica, ahead }));
        }
    }

    fn note_dead(&mut self, now: Now, key: RowKey) {
        self.dead.insert(key);
        self.drop_at.get_or_insert(now.mono + DROP_DELAY);
    }

    fn position(&self, index: usize) -> Position {
        let index = u32::try_from(index).expect("a group fits a frame and has fewer than 2^32 ops");
        Position { commit: self.commit, index }
    }
}

#[cfg(test)]
mod tests;
