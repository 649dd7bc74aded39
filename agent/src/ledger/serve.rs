//! Reading and executing what clients sent.

use super::link::ReadEnd;
use super::{Ledger, LedgerError};
use crate::api::call::{Flow, Reflects, Wait};
use crate::api::dispatch::{self, Outcome};
use crate::api::resp::Reply;

/// What one connection may read in one turn before the others have theirs.
const TURN_BYTES: usize = 256 << 10;

impl Ledger {
    /// Serves every connection that has something to read or to execute.
    pub(super) fn serve_ready(&mut self, scratch: &mut [u8]) -> Result<(), LedgerError> {
        if self.is_stalled() {
            return Ok(());
        }
        let is_paced = self.is_paced();
        if !is_paced {
            self.links.mark_paced_ready();
        }
        for slot in self.links.take_ready() {
            if is_paced && self.links.get(slot).is_some() && self.host.sessions.of(slot).is_writer() {
                self.links.mark_paced(slot);
            } else {
                self.serve(slot, scratch)?;
            }
        }
        Ok(())
    }

    fn serve(&mut self, slot: usize, scratch: &mut [u8]) -> Result<(), LedgerError> {
        let mut budget = TURN_BYTES;
        self.execute(slot)?;
        loop {
            let held_bytes_max = self.settings.held_bytes_max;
            let Some(link) = self.links.get(slot) else { return Ok(()) };
            if !link.readable || !link.may_execute(held_bytes_max) {
                return Ok(());
            }
            if budget == 0 {
                self.links.mark_ready(slot);
                return Ok(());
            }
            let before = link.input.len();
            match link.read(scratch, self.now.mono) {
                Ok(ReadEnd::Empty) => return Ok(()),
                Ok(ReadEnd::Some) => {
                    let len = link.input.len() - before;
                    budget = budget.saturating_sub(len);
                    self.host.stats.input_bytes += len as u64;
                    self.execute(slot)?;
                }
                Ok(ReadEnd::Closed) => {
                    link.ending = true;
                    self.links.mark_dirty(slot);
                    return Ok(());
                }
                Err(error) => {
                    tracing::debug!(slot, %error, "a client's connection broke");
                    self.close(slot);
                    return Ok(());
                }
            }
        }
    }

    /// Executes the requests at hand, until they end or the connection has to wait.
    fn execute(&mut self, slot: usize) -> Result<(), LedgerError> {
        let Some(mut link) = self.links.get(slot) else { return Ok(()) };
        if link.input.is_empty() || !link.may_execute(self.settings.held_bytes_max) {
            return Ok(());
        }
        let input = std::mem::take(&mut link.input);
        let mut executed = 0;
        while link.may_execute(self.settings.held_bytes_max) {
            match link.parser.parse(&input[executed..], &self.settings.request) {
                Ok(None) => break,
                Ok(Some(len)) => {
                    let args = link.parser.args(&input[executed..]);
                    executed += len;
                    if args.is_empty() {
                        continue;
                    }
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
        if link.ending {
            executed = input.len();
        }
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
