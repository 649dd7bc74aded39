//! The laws that every type keeps, each as one function over any type, on states that replicas can reach.
//!
//! A state means nothing without the vector of its store, so the laws speak of pairs. Worlds of a few sites write and
//! merge: every history of a small world is walked through, larger ones are drawn at random. A new type implements
//! [`Type`] and is covered.

use std::fmt::Debug;

use proptest::prelude::*;

use super::{NEVER_MS, Raise, Register, Scalar, Seen, Sibling};
use crate::clock::Stamp;
use crate::id::{Dot, ReplicaId};
use crate::vector::Vector;

/// What the laws need to know of a type.
trait Type: Clone + PartialEq + Debug + Default {
    /// How many kinds of writes there are.
    const WRITES: usize;

    /// Carries out a write of one kind by the owner of `dot`, who has seen what `context` covers.
    fn write(&mut self, which: usize, dot: Dot, context: &Vector);

    fn merge(mine: (&Self, &Vector), theirs: (&Self, &Vector)) -> Self;

    fn all_dots(&self) -> Vec<Dot>;

    fn is_sound(&self) -> bool;
}

impl Type for Scalar {
    const WRITES: usize = 5;

    fn write(&mut self, which: usize, dot: Dot, context: &Vector) {
        let own = |scalar: &Self, live: bool| {
            let mut own = scalar.entries().iter().filter(|entry| entry.owner == dot.replica && entry.is_live() == live);
            own.next().copied()
        };
        let siblings: Vec<Dot> = self.siblings().iter().map(|sibling| sibling.dot).collect();
        let live: Vec<Seen> = self.entries().iter().filter(|entry| entry.is_live()).map(Seen::from).collect();
        let stamp = Stamp::at_ms(100 - dot.seq);
        match which {
            0 | 1 => {
                self.remove(&siblings);
                assert!(live.iter().all(|seen| self.reset(dot, seen)));
                if which == 0 {
                    self.insert(Sibling { dot, stamp, bytes: dot.seq.to_string().into(), deadline_ms: NEVER_MS });
                }
            }
            2 => {
                let (presence, up, down) =
                    own(self, true).map_or((dot, 0, 0), |entry| (entry.presence(), entry.raise.up, entry.raise.down));
                let raise = Raise { seq: dot.seq, stamp, up: up + 2, down, deadline_ms: dot.seq };
                self.raise(
                    presence,
                    if dot.seq.is_multiple_of(2) { Raise { down: down + 1, up, ..raise } } else { raise },
                );
            }
            3 => {
                if let Some(entry) = own(self, false) {
                    self.drop_entry(entry.presence());
                }
            }
            _ => {
                self.cut(context);
                assert!(live.iter().all(|seen| self.reset(dot, seen)));
            }
        }
    }

    fn merge(mine: (&Self, &Vector), theirs: (&Self, &Vector)) -> Self {
        Self::join(mine, theirs)
    }

    fn all_dots(&self) -> Vec<Dot> {
        self.dots()
    }

    fn is_sound(&self) -> bool {
        self.is_canonical()
    }
}

impl Type for Register {
    const WRITES: usize = 3;

    fn write(&mut self, which: usize, dot: Dot, context: &Vector) {
        match which {
            0 => {
                self.remove(&self.dots());
                self.insert(dot, 1_000 - dot.seq);
            }
            1 => self.remove(&self.dots()),
            _ => self.cut(context),
        }
    }

    fn merge(mine: (&Self, &Vector), theirs: (&Self, &Vector)) -> Self {
        Self::join(mine, theirs)
    }

    fn all_dots(&self) -> Vec<Dot> {
        self.dots()
    }

    fn is_sound(&self) -> bool {
        self.is_canonical()
    }
}

/// A state with the vector of its store.
type Held<T> = (T, Vector);

fn merged<T: Type>(a: &Held<T>, b: &Held<T>) -> Held<T> {
    let mut vector = a.1.clone();
    vector.join(&b.1);
    (T::merge((&a.0, &a.1), (&b.0, &b.1)), vector)
}

fn merging_commutes<T: Type>(a: &Held<T>, b: &Held<T>) {
    assert_eq!(merged(a, b), merged(b, a), "{a:?} and {b:?}");
}

fn merging_associates<T: Type>(a: &Held<T>, b: &Held<T>, c: &Held<T>) {
    assert_eq!(merged(&merged(a, b), c), merged(a, &merged(b, c)), "{a:?} and {b:?} and {c:?}");
}

fn merging_with_itself_changes_nothing<T: Type>(a: &Held<T>) {
    assert_eq!(merged(a, a), *a);
}

fn merging_again_changes_nothing<T: Type>(a: &Held<T>, b: &Held<T>) {
    let once = merged(a, b);
    assert_eq!(merged(&once, b), once, "{a:?} and {b:?}");
    assert_eq!(merged(a, &once), once, "{a:?} and {b:?}");
}

fn merging_keeps_the_form<T: Type>(a: &Held<T>, b: &Held<T>) {
    let (state, vector) = merged(a, b);
    assert!(state.is_sound(), "{state:?}");
    assert!(state.all_dots().into_iter().all(|dot| vector.covers(dot)), "{state:?} under {vector:?}");
}

fn content_shows_in_the_dots<T: Type>(a: &Held<T>, b: &Held<T>) {
    let sorted = |held: &Held<T>| {
        let mut dots = held.0.all_dots();
        dots.sort_unstable();
        dots
    };
    assert!(a.0 == b.0 || sorted(a) != sorted(b), "{a:?} and {b:?}");
}

/// One thing that happens in a world.
#[derive(Clone, Copy, Debug)]
enum Step {
    Write { site: usize, which: usize },
    Merge { into: usize, from: usize },
}

/// Sites that share one row, and every state that any of them ever had.
#[derive(Clone)]
struct World<T> {
    sites: Vec<Held<T>>,
    past: Vec<Held<T>>,
}

impl<T: Type> World<T> {
    fn new(sites: usize) -> Self {
        let empty = (T::default(), Vector::new());
        Self { sites: vec![empty.clone(); sites], past: vec![empty] }
    }

    fn take(&mut self, step: Step) {
        let site = match step {
            Step::Write { site, which } => {
                let replica = ReplicaId([u8::try_from(site).expect("few sites"); 16]);
                let (state, vector) = &mut self.sites[site];
                let dot = Dot { replica, seq: vector.seq(replica) + 1 };
                state.write(which, dot, vector);
                vector.raise(dot);
                site
            }
            Step::Merge { into, from } => {
                self.sites[into] = merged(&self.sites[into], &self.sites[from]);
                into
            }
        };
        self.past.push(self.sites[site].clone());
    }

    fn keeps_the_laws(&self) {
        let newest = self.past.last().expect("a world begins with a state");
        merging_with_itself_changes_nothing(newest);
        for old in &self.past {
            content_shows_in_the_dots(newest, old);
        }
        for site in &self.sites {
            merging_commutes(newest, site);
            merging_again_changes_nothing(newest, site);
            merging_keeps_the_form(newest, site);
        }
        if let [a, b, c, ..] = self.sites.as_slice() {
            merging_associates(a, b, c);
        }
    }
}

/// Every step that `sites` sites can take.
fn steps<T: Type>(sites: usize) -> Vec<Step> {
    let mut steps = Vec::new();
    for site in 0..sites {
        steps.extend((0..T::WRITES).map(|which| Step::Write { site, which }));
        steps.extend((0..sites).filter(|&from| from != site).map(|from| Step::Merge { into: site, from }));
    }
    steps
}

/// Walks through every history of `depth` more steps; the sites are alike, so the first step is the first site's.
fn explore<T: Type>(world: &World<T>, depth: usize) -> u64 {
    world.keeps_the_laws();
    if depth == 0 {
        return 1;
    }
    let first = world.past.len() == 1;
    let steps = steps::<T>(world.sites.len()).into_iter();
    let steps = steps.filter(|step| !first || matches!(step, Step::Write { site: 0, .. }));
    let histories = steps.map(|step| {
        let mut next = world.clone();
        next.take(step);
        explore(&next, depth - 1)
    });
    histories.sum()
}

#[test]
fn every_short_history_of_a_scalar_keeps_the_laws() {
    assert_eq!(explore(&World::<Scalar>::new(3), 4), 5 * 21 * 21 * 21);
    assert_eq!(explore(&World::<Scalar>::new(2), 5), 5 * 12 * 12 * 12 * 12);
}

#[test]
fn every_short_history_of_a_register_keeps_the_laws() {
    assert_eq!(explore(&World::<Register>::new(3), 4), 3 * 15 * 15 * 15);
    assert_eq!(explore(&World::<Register>::new(2), 6), 3 * 8 * 8 * 8 * 8 * 8);
}

const SITES: usize = 4;

fn any_history() -> impl Strategy<Value = Vec<(usize, usize, bool)>> {
    proptest::collection::vec((0..SITES, 0..60_usize, any::<bool>()), 1..40)
}

/// Runs a history, then merges states of its past, taken at random.
fn run<T: Type>(history: &[(usize, usize, bool)], picks: [usize; 3]) {
    let mut world = World::<T>::new(SITES);
    for &(site, which, writes) in history {
        let from = (site + 1 + which % (SITES - 1)) % SITES;
        let write = Step::Write { site, which: which % T::WRITES };
        world.take(if writes { write } else { Step::Merge { into: site, from } });
        world.keeps_the_laws();
    }
    let [a, b, c] = picks.map(|pick| &world.past[pick % world.past.len()]);
    merging_commutes(a, b);
    merging_associates(a, b, c);
    merging_again_changes_nothing(a, b);
    merging_keeps_the_form(a, b);
    content_shows_in_the_dots(a, b);
}

proptest! {
    #[test]
    fn any_history_of_a_scalar_keeps_the_laws(history in any_history(), picks: [usize; 3]) {
        run::<Scalar>(&history, picks);
    }

    #[test]
    fn any_history_of_a_register_keeps_the_laws(history in any_history(), picks: [usize; 3]) {
        run::<Register>(&history, picks);
    }
}
