//! The `foca` crate on the field: SWIM with suspicion, as it is published.
//!
//! Set as its own `new_lan` and `new_wan` say. Its agent does what its examples do: announces to the seeds until it is
//! active, and renews its identity when it was declared down.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::num::NonZeroU32;
use std::time::Duration;

use everett_mesh_proto::time::Instant;
use everett_tests::sim::field::{Act, Birth, Peer, Sight};
use foca::{Config, Foca, Identity, Member, NoCustomBroadcast, Notification, PostcardCodec, Runtime, Timer};
use rand::SeedableRng;
use rand_pcg::Pcg64;
use serde::{Deserialize, Serialize};

const SEED_RETRY: Duration = Duration::from_secs(1);

/// A member as foca names it: as much as Everett's members say of themselves, but for their names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Id {
    node: [u8; 16],
    addr: [u8; 6],
    number: u16,
    renewals: u64,
}

impl Identity for Id {
    type Addr = u16;

    fn renew(&self) -> Option<Self> {
        Some(Self { renewals: self.renewals + 1, ..self.clone() })
    }

    fn addr(&self) -> u16 {
        self.number
    }

    fn win_addr_conflict(&self, adversary: &Self) -> bool {
        self.renewals > adversary.renewals
    }
}

fn id_of(birth: &Birth) -> Id {
    let number = u16::try_from(birth.node).expect("fields are small");
    let [high, low] = number.to_be_bytes();
    // Room for renewals within a life.
    Id { node: birth.directory.id(birth.node).0, addr: [10, 0, high, low, 27, 205], number, renewals: birth.life << 16 }
}

/// Which of foca's own settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// `Config::new_lan` for a mesh of this size.
    Lan(u32),
    /// `Config::new_wan` for a mesh of this size.
    Wan(u32),
}

impl Profile {
    fn config(self) -> Config {
        let size = |count| NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN);
        match self {
            Self::Lan(count) => Config::new_lan(size(count)),
            Self::Wan(count) => Config::new_wan(size(count)),
        }
    }
}

/// What foca asked for and nobody has done yet.
#[derive(Debug, Default)]
struct Asked {
    now: Instant,
    acts: VecDeque<Act<Vec<u8>>>,
    timers: BinaryHeap<Reverse<Alarm>>,
    last_timer: u64,
    active: bool,
}

#[derive(Debug, PartialEq, Eq)]
struct Alarm {
    at: Instant,
    number: u64,
    timer: Timer<Id>,
}

impl Ord for Alarm {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

impl PartialOrd for Alarm {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Asked {
    fn saw(&mut self, id: &Id, sight: Sight) {
        self.acts.push_back(Act::Saw { node: usize::from(id.number), sight });
    }
}

impl Runtime<Id> for Asked {
    fn notify(&mut self, notification: Notification<'_, Id>) {
        match notification {
            Notification::MemberUp(id) | Notification::Rename(_, id) => self.saw(id, Sight::Up),
            Notification::MemberDown(id) => self.saw(id, Sight::Down),
            Notification::Active | Notification::Rejoin(_) => self.active = true,
            Notification::Idle | Notification::Defunct => self.active = false,
        }
    }

    fn send_to(&mut self, to: Id, data: &[u8]) {
        self.acts.push_back(Act::Datagram { to: usize::from(to.number), bytes: data.len(), word: data.to_vec() });
    }

    fn submit_after(&mut self, timer: Timer<Id>, after: Duration) {
        self.last_timer += 1;
        self.timers.push(Reverse(Alarm { at: self.now + after, number: self.last_timer, timer }));
    }
}

/// One foca agent.
pub(crate) struct FocaPeer {
    foca: Foca<Id, PostcardCodec, Pcg64, NoCustomBroadcast>,
    asked: Asked,
    seeds: Vec<Id>,
    seeds_due: Option<Instant>,
}

impl std::fmt::Debug for FocaPeer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FocaPeer").field("asked", &self.asked).finish_non_exhaustive()
    }
}

impl FocaPeer {
    fn announce(&mut self, now: Instant) {
        self.seeds_due = (!self.asked.active && !self.seeds.is_empty()).then_some(now + SEED_RETRY);
        if self.seeds_due.is_some() {
            for seed in self.seeds.clone() {
                // A seed that cannot be announced to now is announced to again.
                let _ = self.foca.announce(seed, &mut self.asked);
            }
        }
    }
}

impl Peer for FocaPeer {
    type Word = Vec<u8>;
    type Settings = Profile;

    fn start(now: Instant, birth: &Birth, seeds: Vec<usize>, settings: &Profile) -> Self {
        let rng = Pcg64::seed_from_u64(birth.seed);
        let foca = Foca::new(id_of(birth), settings.config(), rng, PostcardCodec);
        let seeds = seeds.into_iter().map(|node| id_of(&Birth { node, life: 0, ..birth.clone() })).collect();
        let asked = Asked { now, ..Asked::default() };
        let mut peer = Self { foca, asked, seeds, seeds_due: None };
        peer.announce(now);
        peer
    }

    fn know(&mut self, now: Instant, all: &[Birth]) {
        self.asked.now = now;
        let own = self.foca.identity().number;
        let others = all.iter().filter(|birth| birth.node != usize::from(own));
        self.foca
            .apply_many(others.map(|birth| Member::alive(id_of(birth))), false, &mut self.asked)
            .expect("members of this field are valid");
    }

    fn hear(&mut self, now: Instant, _from: usize, word: Vec<u8>) {
        self.asked.now = now;
        // What is stale or misdirected is refused, as it would be on a wire.
        let _ = self.foca.handle_data(&word, &mut self.asked);
    }

    fn wake(&mut self, now: Instant) {
        self.asked.now = now;
        if self.seeds_due.is_some_and(|due| due <= now) {
            self.announce(now);
        }
        while let Some(Reverse(alarm)) = self.asked.timers.peek()
            && alarm.at <= now
        {
            let Some(Reverse(alarm)) = self.asked.timers.pop() else { return };
            // A timer overtaken by events is refused.
            let _ = self.foca.handle_timer(alarm.timer, &mut self.asked);
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let own = self.asked.timers.peek().map(|Reverse(alarm)| alarm.at);
        own.into_iter().chain(self.seeds_due).min()
    }

    fn leave(&mut self, now: Instant) {
        self.asked.now = now;
        let _ = self.foca.leave_cluster(&mut self.asked);
    }

    fn poll(&mut self, _now: Instant) -> Option<Act<Vec<u8>>> {
        self.asked.acts.pop_front()
    }
}
