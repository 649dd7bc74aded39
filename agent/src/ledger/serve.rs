//! Reading and executing what clients sent.
//!
//! A turn understands what some connections ask, looks at all the keys that they name, and then executes:
//! keys lie anywhere in memory, and waiting for many places at once takes hardly longer than waiting for one. What does
//! not come into this turn comes first in the next, so that the log can begin with what is executed already.

use super::link::ReadEnd;
use super::{Ledger, LedgerError};
use crate::api::call::{Flow, Reflects, Wait};
use crate::api::dispatch::{self, Outcome};
use crate::api::resp::Reply;

/// What one connection may read in one turn before the others have theirs.
const TURN_BYTES: usize = 256 << 10;

/// How many requests a turn understands before it executes them, about: what one group takes.
const TURN_REQUESTS: usize = 128;

/// Fewer keys than these are not worth being looked at together.
const KEYS_TOGETHER_MIN: usize = 4;

impl Ledger {
    /// Serves connections that have something to read or to execute, as many as a turn takes.
    pub(super) fn serve_ready(&mut self, scratch: &mut [u8]) -> Result<(), LedgerError> {
        if self.is_stalled() {
            return Ok(());
        }
        let mut ready = self.take_admitted();
        let (mut understood, mut requests) = (0, 0);
        while understood < ready.len() && requests < TURN_REQUESTS {
            requests += self.understand(ready[understood], scratch);
            understood += 1;
        }
        if requests >= KEYS_TOGETHER_MIN {
            self.look_ahead(&ready[..understood]);
        }
        for slot in ready.drain(..understood) {
            self.execute(slot)?;
        }
        self.links.put_back_ready(ready);
        Ok(())
    }

    /// The connections that are ready, in their order, without those that write while writers wait.
    fn take_admitted(&mut self) -> Vec<usize> {
        if !self.is_paced() {
            self.links.mark_paced_ready();
            return self.links.take_ready();
        }
        let mut admitted = self.links.take_ready();
        admitted.retain(|&slot| {
            let waits = self.links.get(slot).is_some() && self.host.sessions.of(slot).is_writer();
            if waits {
                self.links.mark_paced(slot);
            }
            !waits
        });
        admitted
    }

    /// Reads from a connection until a request can be executed; returns how many can.
    fn understand(&mut self, slot: usize, scratch: &mut [u8]) -> usize {
        let mut budget = TURN_BYTES;
        loop {
            let held_bytes_max = self.settings.held_bytes_max;
            let Some(link) = self.links.get(slot) else { return 0 };
            link.queued = false;
            if !link.may_execute(held_bytes_max) {
                return 0;
            }
            let requests = link.requests.read_ahead(&link.input, &self.settings.request);
            if requests > 0 || !link.readable {
                return requests;
            }
            if budget == 0 {
                self.links.mark_ready(slot);
                return 0;
            }
            let before = link.input.len();
            match link.read(scratch, self.now.mono) {
                Ok(ReadEnd::Empty) => return 0,
                Ok(ReadEnd::Some) => {
                    let len = link.input.len() - before;
                    budget = budget.saturating_sub(len);
                    self.host.stats.input_bytes += len as u64;
                }
                Ok(ReadEnd::Closed) => {
                    link.ending = true;
                    self.links.mark_dirty(slot);
                    return 0;
                }
                Err(error) => {
                    tracing::debug!(slot, %error, "a client's connection broke");
                    self.close(slot);
                    return 0;
                }
            }
        }
    }

    /// Looks at the keys that these connections are about to name.
    fn look_ahead(&mut self, slots: &[usize]) {
        for &slot in slots {
            let Some(link) = self.links.get(slot) else { continue };
            let space = self.host.sessions.of(slot).space;
            link.requests.keys(&link.input).for_each(|key| self.host.data.expect(space, key));
        }
        self.host.data.look_ahead();
    }

    /// Executes the requests that are understood, until they end or the connection has to wait.
    fn execute(&mut self, slot: usize) -> Result<(), LedgerError> {
        let Some(mut link) = self.links.get(slot) else { return Ok(()) };
        if link.requests.is_empty() || !link.may_execute(self.settings.held_bytes_max) {
            return Ok(());
        }
        let input = std::mem::take(&mut link.input);
        while link.may_execute(self.settings.held_bytes_max) {
            match link.requests.take(&input) {
                Ok(None) => break,
                Ok(Some(args)) if args.is_empty() => {}
                Ok(Some(args)) => {
                    let outcome = dispatch::execute(&mut self.host, slot, args, link.output.buffer(), self.now)?;
                    if !self.end_command(slot, &outcome) {
                        return Ok(());
                    }
                    let Some(same) = self.links.get(slot) else { return Ok(()) };
                    link = same;
                }
                Err(error) => {
                    self.host.stats.cut_protocol += 1;
                    let proto = self.host.sessions.of(slot).proto;
                    Reply::new(link.output.buffer(), proto).error(&format_args!("ERR {error}"));
                    link.output.end_reply(Reflects::default(), None, link.arrived);
                    link.ending = true;
                }
            }
        }
        let executed = if link.ending { input.len() } else { link.requests.taken_bytes() };
        link.keep_input(input, executed);
        if link.waiting.is_some() {
            self.links.mark_waiting(slot);
        }
        self.links.mark_dirty(slot);
        Ok(())
    }

    /// Deals with what a command left to do: its reply is held as long as it must be, and what it posted is delivered.
    /// False if the connection was cut.
    fn end_command(&mut self, slot: usize, outcome: &Outcome) -> bool {
        let Some(link) = self.links.get(slot) else { return false };
        match outcome.flow {
            Flow::Next => {}
            Flow::Close => link.ending = true,
            Flow::Wait(wait) => {
                self.flushing.wanted |= matches!(wait, Wait::Digest { .. });
                // A peer gets only what is durable here.
                self.log.want(self.host.data.replica.commit());
                link.waiting = Some(wait);
            }
        }
        if link.waiting.is_none() {
            let mut reflects = outcome.reflects;
            if outcome.carries_post {
                // A message tells of no more than its publisher may be told, its publisher included.
                reflects.awaited = reflects.shown.max(link.output.shown());
            } else if self.log.is_overdue(self.now.mono) {
                // Whoever is answered before the disk agreed to an interval, and the disk is further behind.
                reflects.awaited = reflects.shown;
            }
            link.output.end_reply(reflects, outcome.command, link.arrived);
            self.log.want(link.output.waits_for());
        }
        if link.output.len() > self.settings.output_bytes_max {
            self.cut(slot);
            return false;
        }
        if self.host.sessions.has_post() {
            let commit = link.output.shown();
            self.deliver(commit);
        }
        true
    }
}
