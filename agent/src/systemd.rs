//! What the service manager is told: ready, reloading, stopping, and whether the process still gets work done.
//!
//! The watchdog judges progress, not life: a loop that turns without finishing what waits for it is as dead as one that
//! hangs. Each loop owns a [`Pulse`]; one thread outside every loop compares the pulses of two looks and only then tells
//! the manager that all is well. Without a manager every call here does nothing.
//!
//! What this does not do: it restarts nothing. Silence is the message, and the unit file says what follows.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};
use sd_notify::NotifyState;
use tracing::{error, warn};

/// Looks per watchdog period: two must see no progress before the manager acts.
const LOOKS_PER_PERIOD: u32 = 3;

/// Tells the manager that the socket answers.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Tells the manager that certificates and the log filter are being read again; [`ready`] ends it.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(source) => warn!(%source, "the service manager was not told of the reload"),
    }
}

/// Tells the manager that the agent is draining.
pub fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("draining")]);
}

/// Shows `status` beside the service.
pub fn status(status: &str) {
    tell(&[NotifyState::Status(status)]);
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(source) = sd_notify::notify(states) {
        warn!(%source, "the service manager did not take a notification");
    }
}

/// How one loop shows that it gets work done; cheap enough for every turn of it.
#[derive(Debug, Clone, Default)]
pub struct Pulse(Arc<Beat>);

#[derive(Debug, Default)]
struct Beat {
    waiting: AtomicBool,
    finished: AtomicU64,
}

impl Pulse {
    /// Says whether work waits for this loop.
    pub fn waiting(&self, waiting: bool) {
        self.0.waiting.store(waiting, Ordering::Relaxed);
    }

    /// Says that a piece of work is finished.
    pub fn finished(&self) {
        self.0.finished.fetch_add(1, Ordering::Relaxed);
    }
}

/// All pulses of the process, and what each showed at the last look.
#[derive(Debug, Default)]
pub struct Watchdog {
    loops: Vec<Watched>,
}

#[derive(Debug)]
struct Watched {
    name: &'static str,
    pulse: Pulse,
    finished: u64,
    waited: bool,
}

impl Watchdog {
    /// A watchdog over nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the loop called `name` and returns the pulse it must keep.
    pub fn watch(&mut self, name: &'static str) -> Pulse {
        let pulse = Pulse::default();
        let loops = Watched { name, pulse: pulse.clone(), finished: 0, waited: false };
        self.loops.push(loops);
        pulse
    }

    /// Starts the judging thread if the manager asks for a watchdog; it ends when `stop` is closed.
    pub fn start(self, stop: Receiver<()>) -> io::Result<Option<JoinHandle<()>>> {
        let Some(period) = sd_notify::watchdog_enabled() else {
            return Ok(None);
        };
        let look_period = period / LOOKS_PER_PERIOD;
        thread::Builder::new().name("watchdog".into()).spawn(move || self.judge_until(&stop, look_period)).map(Some)
    }

    fn judge_until(mut self, stop: &Receiver<()>, look_period: Duration) {
        while let Err(RecvTimeoutError::Timeout) = stop.recv_timeout(look_period) {
            match self.look() {
                Some(name) => error!(name, "a loop finishes nothing while work waits for it"),
                None => tell(&[NotifyState::Watchdog]),
            }
        }
    }

    /// The first loop that had work waiting at the last look and has finished nothing since.
    fn look(&mut self) -> Option<&'static str> {
        let mut stuck = None;
        for watched in &mut self.loops {
            let finished = watched.pulse.0.finished.load(Ordering::Relaxed);
            let waiting = watched.pulse.0.waiting.load(Ordering::Relaxed);
            if watched.waited && waiting && finished == watched.finished {
                stuck = stuck.or(Some(watched.name));
            }
            (watched.finished, watched.waited) = (finished, waiting);
        }
        stuck
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_loop_is_not_stuck() {
        let mut watchdog = Watchdog::new();
        let _pulse = watchdog.watch("ledger");
        assert_eq!((watchdog.look(), watchdog.look()), (None, None));
    }

    #[test]
    fn a_loop_that_finishes_nothing_while_work_waits_is_named() {
        let mut watchdog = Watchdog::new();
        let (ledger, log) = (watchdog.watch("ledger"), watchdog.watch("log"));
        ledger.waiting(true);
        log.waiting(true);
        assert_eq!(watchdog.look(), None, "one look cannot tell late from stuck");
        ledger.finished();
        assert_eq!(watchdog.look(), Some("log"));
    }

    #[test]
    fn a_loop_that_goes_on_is_forgiven() {
        let mut watchdog = Watchdog::new();
        let log = watchdog.watch("log");
        log.waiting(true);
        watchdog.look();
        assert_eq!(watchdog.look(), Some("log"));
        log.finished();
        assert_eq!(watchdog.look(), None);
    }
}
