//! Waiting, in a way that Ctrl-C ends.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};
use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};

/// Between two looks at a condition.
const LOOK_PERIOD: Duration = Duration::from_millis(20);

/// The user does not want to wait any longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Interrupted;

/// What happened first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waited {
    /// The condition holds, after this long.
    Held(Duration),
    /// It did not come to hold in time.
    TimedOut,
}

/// Waits that SIGINT and SIGTERM end.
#[derive(Debug)]
pub(crate) struct Pause {
    interrupts: Receiver<()>,
}

impl Pause {
    /// Takes SIGINT and SIGTERM over from here on.
    pub(crate) fn new() -> io::Result<Self> {
        // One waits for the main loop; further ones say the same.
        let (sender, interrupts) = bounded(1);
        let runtime = runtime::Builder::new_current_thread().enable_io().build()?;
        let (mut interrupt, mut terminate) = {
            let _entered = runtime.enter();
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
        };
        thread::Builder::new().name("signals".into()).spawn(move || {
            runtime.block_on(async {
                loop {
                    tokio::select! {
                        biased;
                        _ = interrupt.recv() => {}
                        _ = terminate.recv() => {}
                    }
                    if matches!(sender.try_send(()), Err(crossbeam_channel::TrySendError::Disconnected(()))) {
                        return;
                    }
                }
            });
        })?;
        Ok(Self { interrupts })
    }

    /// A moment, before the next look at something.
    pub(crate) fn briefly(&self) -> Result<(), Interrupted> {
        match self.interrupts.recv_timeout(LOOK_PERIOD) {
            Err(RecvTimeoutError::Timeout) => Ok(()),
            Ok(()) | Err(RecvTimeoutError::Disconnected) => Err(Interrupted),
        }
    }

    /// Until `holds` does, or `at_most` is over.
    pub(crate) fn until(&self, at_most: Duration, mut holds: impl FnMut() -> bool) -> Result<Waited, Interrupted> {
        let start = Instant::now();
        loop {
            if holds() {
                return Ok(Waited::Held(start.elapsed()));
            }
            if start.elapsed() >= at_most {
                return Ok(Waited::TimedOut);
            }
            self.briefly()?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pause() -> (crossbeam_channel::Sender<()>, Pause) {
        let (sender, interrupts) = bounded(1);
        (sender, Pause { interrupts })
    }

    #[test]
    fn a_condition_that_holds_ends_the_wait() {
        let (_sender, pause) = pause();
        let mut looks = 0;
        let waited = pause.until(Duration::from_mins(1), || {
            looks += 1;
            looks == 3
        });
        assert!(matches!(waited, Ok(Waited::Held(_))));
    }

    #[test]
    fn a_condition_that_never_holds_times_out() {
        let (_sender, pause) = pause();
        assert_eq!(pause.until(Duration::ZERO, || false), Ok(Waited::TimedOut));
    }

    #[test]
    fn an_interrupt_ends_the_wait() {
        let (sender, pause) = pause();
        sender.send(()).unwrap();
        assert_eq!(pause.until(Duration::from_mins(1), || false), Err(Interrupted));
    }
}
