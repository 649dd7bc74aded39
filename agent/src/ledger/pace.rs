//! Writers slow down while a flush runs, as far as memory makes them: so smoothly that they never meet the bound.
//!
//! What writers add to memory while a flush runs must fit what is left of it until the flush is done. So at every moment
//! they get the room that is left, divided by the time that the flush still takes: from how far it has come and for how long
//! it has run, or from the one before it while it has hardly begun. A flush ends with a part that nothing is told of (the
//! tree, and the vectors): what that takes beside the rest is taken from the one before as well. With room to spare that is more than they want and
//! nobody notices; without, they write as fast as the flush carries out, from its beginning on, instead of at full speed and
//! then not at all. Readers are not slowed down.
//!
//! It deliberately knows no clients and no rows: bytes go in, and a time comes out until which writers wait. The bound itself
//! is not kept here: what no estimate foresaw meets it and stops (`Ledger::is_memory_full`).

use std::time::Duration;

use everett_mesh_proto::time::Instant;

use super::Ledger;

/// No wait is longer: what it was computed from may have changed.
const PAUSE_MAX: Duration = Duration::from_millis(50);

/// Time that writers did not use is not theirs for longer than this.
const CREDIT_MAX: Duration = Duration::from_millis(10);

/// A flush has begun in earnest, and its own speed tells more than the last one's, once this part of it is done.
const TELLING_PART: u128 = 10;

/// What the first flush is taken for until it tells more of itself.
const GUESS: Done = Done { bytes: 64 << 20, took: Duration::from_secs(1), told_until: Duration::ZERO };

/// How full memory is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Level {
    /// Bytes that no flush has begun to carry out.
    pub(super) active: usize,
    /// Bytes of the flush under way; none if there is none.
    pub(super) frozen: usize,
    /// Both together must stay below this.
    pub(super) bound: usize,
}

/// When writers may go on.
#[derive(Debug, Default)]
pub(super) struct Pace {
    flush: Option<Flush>,
    last: Option<Done>,
    /// Active bytes when last looked at.
    active: usize,
    resume_at: Instant,
}

/// A flush under way.
#[derive(Clone, Copy, Debug)]
struct Flush {
    began: Instant,
    bytes: usize,
    carried: usize,
    /// When so many were.
    carried_at: Instant,
}

/// A flush that has ended.
#[derive(Clone, Copy, Debug)]
struct Done {
    bytes: usize,
    took: Duration,
    /// When it last told how far it had come, from its beginning.
    told_until: Duration,
}

impl Flush {
    /// How long it takes in all.
    fn whole(&self, last: Done) -> Duration {
        if self.carried as u128 * TELLING_PART < self.bytes as u128 {
            return share(last.took, self.bytes, last.bytes);
        }
        let told = share(self.carried_at.saturating_since(self.began), self.bytes, self.carried);
        if last.told_until.is_zero() {
            return told + told / 2;
        }
        let silent = last.took.saturating_sub(last.told_until).min(4 * last.told_until);
        told + told.mul_f64(silent.as_secs_f64() / last.told_until.as_secs_f64())
    }

    /// How long it still takes. One that takes longer than it should is not about to end for that.
    fn left(&self, now: Instant, last: Done) -> Duration {
        let whole = self.whole(last);
        whole.saturating_sub(now.saturating_since(self.began)).max(whole / 16)
    }
}

impl Pace {
    /// The flush under way has carried out so many bytes.
    pub(super) fn carried(&mut self, now: Instant, bytes: usize) {
        if let Some(flush) = &mut self.flush {
            flush.carried = bytes.min(flush.bytes);
            flush.carried_at = now;
        }
    }

    /// A turn is over: when may writers have the next one?
    pub(super) fn end_turn(&mut self, now: Instant, level: Level) {
        let grown = level.active.saturating_sub(self.active);
        self.active = level.active;
        if level.frozen == 0 {
            if let Some(done) = self.flush.take() {
                let told_until = done.carried_at.saturating_since(done.began);
                self.last = Some(Done { bytes: done.bytes, took: now.saturating_since(done.began), told_until });
            }
            self.resume_at = now;
            return;
        }
        let begun = Flush { began: now, bytes: level.frozen, carried: 0, carried_at: now };
        let flush = *self.flush.get_or_insert(begun);
        let left = flush.left(now, self.last.unwrap_or(GUESS));
        let room = level.bound.saturating_sub(level.active + level.frozen);
        let pause = share(left, grown, room).min(PAUSE_MAX);
        // What the turn itself took counts.
        let earliest = Instant::ZERO + now.saturating_since(Instant::ZERO).saturating_sub(CREDIT_MAX);
        self.resume_at = self.resume_at.max(earliest) + pause;
    }

    /// Until when writers wait, if they do.
    pub(super) fn resume_at(&self, now: Instant) -> Option<Instant> {
        (self.resume_at > now).then_some(self.resume_at)
    }
}

/// `time` times `part` through `whole`.
fn share(time: Duration, part: usize, whole: usize) -> Duration {
    let nanos = time.as_nanos().saturating_mul(part as u128) / (whole as u128).max(1);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

impl Ledger {
    /// The turn is over: sees how much it added to memory.
    pub(super) fn keep_pace(&mut self) {
        let rows = &self.host.data.rows;
        let active = rows.active_bytes();
        let level = Level { active, frozen: rows.bytes() - active, bound: self.memory_bound() };
        self.timers.pace.end_turn(self.now.mono, level);
    }

    /// Whether writers wait because memory fills faster than the flush under way empties it.
    pub(super) fn is_paced(&self) -> bool {
        self.timers.pace.resume_at(self.now.mono).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;
    const HALF: usize = 64 * MIB;

    /// What writers saw.
    #[derive(Debug)]
    struct Told {
        /// Bytes written in each tenth of a second.
        tenths: Vec<usize>,
        fullest: usize,
    }

    /// Writers who want `demand` MiB a second and a flush that carries out `speed`, for some seconds of ticks of a
    /// millisecond; the flush tells of each of its chunks, 50 in all, but of none in its last third.
    fn run(demand: usize, speed: usize, seconds: usize) -> Told {
        let mut pace = Pace::default();
        let (mut active, mut frozen, mut carried) = (0, 0, 0);
        let mut told = Told { tenths: vec![0; seconds * 10], fullest: 0 };
        for tick in 0..seconds * 1_000 {
            let now = Instant::ZERO + Duration::from_millis(tick as u64 + 1_000);
            if frozen > 0 {
                carried += speed * MIB / 1_000;
                if carried * 3 <= frozen * 2 {
                    pace.carried(now, (carried - carried % (frozen / 50).max(1)) * 3 / 2);
                }
                if carried >= frozen {
                    (frozen, carried) = (0, 0);
                }
            }
            if frozen == 0 && active >= HALF {
                (active, frozen) = (0, active);
            }
            let bound = 2 * HALF;
            if pace.resume_at(now).is_none() && active + frozen < bound {
                active += demand * MIB / 1_000;
                told.tenths[tick / 100] += demand * MIB / 1_000;
            }
            told.fullest = told.fullest.max(active + frozen);
            pace.end_turn(now, Level { active, frozen, bound });
        }
        told
    }

    #[test]
    fn writers_who_are_faster_than_the_flush_become_as_fast_and_never_stop() {
        for (demand, speed) in [(200, 20), (100, 60), (60, 50), (400, 10)] {
            let told = run(demand, speed, 40);
            let settled = &told.tenths[100..];
            let least = settled.iter().min().unwrap();
            assert!(told.fullest < 2 * HALF + MIB, "{demand} {speed}: {} bytes", told.fullest);
            assert!(*least > speed * MIB / 10 / 2, "{demand} {speed}: {least} bytes in the worst tenth of a second");
        }
    }

    #[test]
    fn writers_who_are_slower_than_the_flush_never_wait() {
        for (demand, speed) in [(20, 200), (40, 60)] {
            let told = run(demand, speed, 20);
            let least = told.tenths.iter().min().unwrap();
            assert_eq!(*least, demand * MIB / 1_000 * 100, "{demand} {speed}");
        }
    }
}
