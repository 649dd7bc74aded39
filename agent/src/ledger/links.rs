//! All connections by slot, and the lists that keep a turn of the loop from walking all of them.

use super::link::Link;
use crate::api::call::Wait;

/// The connections.
#[derive(Debug, Default)]
pub(super) struct Links {
    slots: Vec<Option<Link>>,
    free: Vec<usize>,
    /// To be served in this turn: there is something to read or to execute.
    ready: Vec<usize>,
    /// To be flushed in this turn.
    dirty: Vec<usize>,
    /// To be served when writers may go on.
    paced: Vec<usize>,
    /// With replies that wait for a commit.
    holding: Vec<usize>,
    /// With a command that waits; some may have been answered since.
    waiting: Vec<usize>,
}

impl Links {
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// The slot that the next connection gets.
    pub(super) fn vacant(&self) -> usize {
        self.free.last().copied().unwrap_or(self.slots.len())
    }

    /// Puts a connection into the vacant slot.
    pub(super) fn insert(&mut self, link: Link) {
        match self.free.pop() {
            Some(slot) => self.slots[slot] = Some(link),
            None => self.slots.push(Some(link)),
        }
    }

    pub(super) fn remove(&mut self, slot: usize) -> Option<Link> {
        let link = self.slots.get_mut(slot)?.take()?;
        self.free.push(slot);
        Some(link)
    }

    pub(super) fn get(&mut self, slot: usize) -> Option<&mut Link> {
        self.slots.get_mut(slot)?.as_mut()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &Link)> {
        self.slots.iter().enumerate().filter_map(|(slot, link)| Some((slot, link.as_ref()?)))
    }

    /// Serve it in this turn, or in the next if this one's serving is over.
    pub(super) fn mark_ready(&mut self, slot: usize) {
        if let Some(link) = self.slots.get_mut(slot).and_then(Option::as_mut)
            && !std::mem::replace(&mut link.queued, true)
        {
            self.ready.push(slot);
        }
    }

    pub(super) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    pub(super) fn take_ready(&mut self) -> Vec<usize> {
        std::mem::take(&mut self.ready)
    }

    /// Serve it when writers may go on.
    pub(super) fn mark_paced(&mut self, slot: usize) {
        self.paced.push(slot);
    }

    /// Writers may go on.
    pub(super) fn mark_paced_ready(&mut self) {
        self.ready.append(&mut self.paced);
    }

    /// Serve these before all others: their turn did not come.
    pub(super) fn put_back_ready(&mut self, mut slots: Vec<usize>) {
        slots.append(&mut self.ready);
        self.ready = slots;
    }

    /// Flush it at the end of this turn.
    pub(super) fn mark_dirty(&mut self, slot: usize) {
        if let Some(link) = self.slots.get_mut(slot).and_then(Option::as_mut)
            && !std::mem::replace(&mut link.listed, true)
        {
            self.dirty.push(slot);
        }
    }

    /// A commit has become durable: whoever waits for one is flushed in this turn.
    pub(super) fn mark_holding_dirty(&mut self) {
        for slot in std::mem::take(&mut self.holding) {
            self.mark_dirty(slot);
        }
    }

    /// The next connection to flush.
    pub(super) fn pop_dirty(&mut self) -> Option<usize> {
        let slot = self.dirty.pop()?;
        if let Some(link) = self.get(slot) {
            link.listed = false;
        }
        Some(slot)
    }

    /// It has a command that waits.
    pub(super) fn mark_waiting(&mut self, slot: usize) {
        self.waiting.push(slot);
    }

    /// The commands that wait.
    pub(super) fn waits(&self) -> impl Iterator<Item = (usize, Wait)> {
        self.waiting.iter().filter_map(|slot| Some((*slot, self.slots.get(*slot)?.as_ref()?.waiting?)))
    }

    /// Forgets those that have been answered, or are gone.
    pub(super) fn forget_answered(&mut self) {
        let slots = &self.slots;
        self.waiting.retain(|slot| matches!(slots.get(*slot), Some(Some(link)) if link.waiting.is_some()));
        // A slot that waits again before it was forgotten is listed twice.
        self.waiting.sort_unstable();
        self.waiting.dedup();
    }

    /// It has replies that wait for a commit.
    pub(super) fn mark_holding(&mut self, slot: usize) {
        self.holding.push(slot);
    }
}
