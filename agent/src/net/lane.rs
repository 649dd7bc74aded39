//! A queue of frames for one stream of one peer, bounded in bytes.
//!
//! The hub puts frames in and never waits; the stream's writer takes them out as fast as the peer lets it. When a frame
//! does not fit, everything queued is cut: the writer drops it at once, even while a write is blocked, and the bytes count
//! as free. A frame that is half written is finished, so the stream stays whole. What a cut means (the peer is behind) is
//! the hub's to say.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tokio::sync::{mpsc, watch};

use super::channels::LANE_FRAMES;

/// Frames that one write takes at most.
const BATCH_FRAMES: usize = 64;
/// Bytes after which a batch is closed.
const BATCH_BYTES: u64 = 256 << 10;

/// What the sender tells the writer beside frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Control {
    /// Frames of an earlier generation are dropped.
    generation: u64,
    /// Whether the writer shall report each time the queue has run empty.
    report_empty: bool,
    /// How often it was asked to report the next time that the queue has run empty.
    reports_asked: u64,
}

#[derive(Debug)]
struct Item {
    generation: u64,
    frame: Bytes,
}

/// Bytes queued in a lane, readable from anywhere.
#[derive(Clone, Debug, Default)]
pub(super) struct Gauge(Arc<AtomicU64>);

impl Gauge {
    /// Bytes queued now.
    pub(super) fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn add(&self, frame: &Bytes) {
        self.0.fetch_add(frame.len() as u64, Ordering::Relaxed);
    }

    fn subtract(&self, bytes: u64) {
        self.0.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// The frame did not fit and the queue was cut, this frame included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Overrun;

/// The hub's end.
#[derive(Debug)]
pub(super) struct LaneSender {
    items: mpsc::Sender<Item>,
    control: watch::Sender<Control>,
    gauge: Gauge,
    bytes_max: u64,
}

impl LaneSender {
    /// Queues a frame, or cuts the lane if what is queued has reached the bound. So a frame of any size passes a lane that
    /// is taken from, and what is queued goes beyond the bound by one frame at most.
    pub(super) fn push(&mut self, frame: Bytes) -> Result<(), Overrun> {
        let queued = self.gauge.bytes();
        let generation = self.control.borrow().generation;
        if queued >= self.bytes_max {
            self.cut();
            return Err(Overrun);
        }
        self.gauge.add(&frame);
        match self.items.try_send(Item { generation, frame }) {
            Ok(()) => Ok(()),
            Err(mpsc::error::TrySendError::Full(item)) => {
                self.gauge.subtract(item.frame.len() as u64);
                self.cut();
                Err(Overrun)
            }
            // The link is ending and says so itself.
            Err(mpsc::error::TrySendError::Closed(item)) => {
                self.gauge.subtract(item.frame.len() as u64);
                Ok(())
            }
        }
    }

    /// Drops all that is queued.
    pub(super) fn cut(&mut self) {
        self.control.send_modify(|control| control.generation += 1);
    }

    /// Asks the writer to report, or no longer to report, each time the queue has run empty.
    pub(super) fn report_empty(&mut self, report: bool) {
        self.control.send_modify(|control| control.report_empty = report);
    }

    /// Asks the writer to report the next time that the queue has run empty.
    pub(super) fn report_once(&mut self) {
        self.control.send_modify(|control| control.reports_asked += 1);
    }

    /// The count of queued bytes.
    pub(super) fn gauge(&self) -> &Gauge {
        &self.gauge
    }
}

/// The writer's end.
#[derive(Debug)]
pub(super) struct LaneReceiver {
    items: mpsc::Receiver<Item>,
    /// Frames queued after a cut that were taken out while looking for those before it.
    kept: VecDeque<Item>,
    asked_generation: u64,
    reports_made: u64,
    control: watch::Receiver<Control>,
    gauge: Gauge,
}

impl LaneReceiver {
    /// Waits for frames, or for news from the hub; `None` when the hub has dropped its end and nothing is left. The batch
    /// is empty if there was only news, or if all that was queued has been cut.
    pub(super) async fn next_batch(&mut self) -> Option<Vec<Bytes>> {
        let mut next = self.kept.pop_front();
        if next.is_none() {
            next = tokio::select! {
                biased;
                item = self.items.recv() => Some(item?),
                Ok(()) = self.control.changed() => None,
            };
        }
        let mut batch = Vec::new();
        let mut batch_bytes = 0;
        while let Some(item) = next {
            if item.generation < self.control.borrow().generation {
                self.gauge.subtract(item.frame.len() as u64);
            } else {
                batch_bytes += item.frame.len() as u64;
                batch.push(item.frame);
            }
            if batch.len() >= BATCH_FRAMES || batch_bytes >= BATCH_BYTES {
                break;
            }
            next = self.kept.pop_front().or_else(|| self.items.try_recv().ok());
        }
        Some(batch)
    }

    /// Takes a written batch off the count.
    pub(super) fn written(&mut self, bytes: u64) {
        self.gauge.subtract(bytes);
    }

    /// Waits for the next cut and drops what it cut; for ever if the hub has dropped its end.
    pub(super) async fn next_cut(&mut self) {
        while !self.is_cut_since_asked() {
            if self.control.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
        self.drop_cut();
    }

    /// Whether the lane was cut since this was last asked.
    pub(super) fn is_cut_since_asked(&mut self) -> bool {
        let generation = self.control.borrow_and_update().generation;
        let is_cut = generation != self.asked_generation;
        self.asked_generation = generation;
        is_cut
    }

    /// Whether the queue is empty and the hub wants to know; counts as reported.
    pub(super) fn shall_report_empty(&mut self) -> bool {
        let Control { report_empty, reports_asked, .. } = *self.control.borrow();
        let shall =
            self.items.is_empty() && self.kept.is_empty() && (report_empty || reports_asked != self.reports_made);
        if shall {
            self.reports_made = reports_asked;
        }
        shall
    }

    /// Drops queued frames of earlier generations.
    fn drop_cut(&mut self) {
        let generation = self.control.borrow_and_update().generation;
        while let Ok(item) = self.items.try_recv() {
            self.kept.push_back(item);
        }
        let gauge = &self.gauge;
        self.kept.retain(|item| {
            let stale = item.generation < generation;
            if stale {
                gauge.subtract(item.frame.len() as u64);
            }
            !stale
        });
    }
}

/// A lane that queues at most `bytes_max`.
pub(super) fn lane(bytes_max: u64) -> (LaneSender, LaneReceiver) {
    let (sender, items) = mpsc::channel(LANE_FRAMES);
    let (control_sender, control) = watch::channel(Control { generation: 0, report_empty: false, reports_asked: 0 });
    let gauge = Gauge::default();
    let lane_sender = LaneSender { items: sender, control: control_sender, gauge: gauge.clone(), bytes_max };
    let kept = VecDeque::new();
    (lane_sender, LaneReceiver { items, kept, asked_generation: 0, reports_made: 0, control, gauge })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(len: usize) -> Bytes {
        vec![0; len].into()
    }

    #[tokio::test]
    async fn an_overrun_cuts_what_is_queued_and_later_frames_pass() {
        let (mut sender, mut receiver) = lane(10);
        assert_eq!(sender.push(frame(12)), Ok(()));
        assert_eq!(sender.push(frame(5)), Err(Overrun));
        receiver.next_cut().await;
        assert_eq!(sender.push(frame(3)), Ok(()));
        let batch = receiver.next_batch().await.unwrap();
        assert_eq!(batch, [frame(3)]);
        receiver.written(3);
        assert_eq!(sender.gauge().bytes(), 0);
    }

    #[tokio::test]
    async fn a_cut_frees_its_bytes_while_the_writer_is_blocked() {
        let (mut sender, mut receiver) = lane(10);
        assert_eq!(sender.push(frame(6)), Ok(()));
        sender.cut();
        assert_eq!(sender.push(frame(4)), Ok(()));
        receiver.next_cut().await;
        assert_eq!(sender.gauge().bytes(), 4);
        assert_eq!(receiver.next_batch().await.unwrap(), [frame(4)]);
    }

    #[tokio::test]
    async fn a_frame_above_the_bound_passes_an_empty_lane() {
        let (mut sender, mut receiver) = lane(10);
        assert_eq!(sender.push(frame(100)), Ok(()));
        assert_eq!(sender.push(frame(1)), Err(Overrun));
        assert_eq!(receiver.next_batch().await.unwrap(), Vec::<Bytes>::new());
        assert_eq!(sender.gauge().bytes(), 0);
    }

    #[tokio::test]
    async fn a_cut_of_an_empty_lane_wakes_its_writer() {
        let (mut sender, mut receiver) = lane(10);
        sender.cut();
        assert_eq!(receiver.next_batch().await.unwrap(), Vec::<Bytes>::new());
        assert!(receiver.is_cut_since_asked());
        assert!(!receiver.is_cut_since_asked());
    }

    #[tokio::test]
    async fn what_is_queued_is_still_taken_after_the_hub_has_gone() {
        let (mut sender, mut receiver) = lane(10);
        assert_eq!(sender.push(frame(2)), Ok(()));
        drop(sender);
        assert_eq!(receiver.next_batch().await.unwrap(), [frame(2)]);
        assert_eq!(receiver.next_batch().await, None);
    }

    #[tokio::test]
    async fn emptiness_is_reported_only_when_asked_for() {
        let (mut sender, mut receiver) = lane(10);
        assert!(!receiver.shall_report_empty());
        sender.report_empty(true);
        assert!(receiver.shall_report_empty());
        assert_eq!(sender.push(frame(1)), Ok(()));
        assert!(!receiver.shall_report_empty());
    }

    #[tokio::test]
    async fn emptiness_can_be_asked_for_once() {
        let (mut sender, mut receiver) = lane(10);
        assert_eq!(sender.push(frame(1)), Ok(()));
        sender.report_once();
        assert!(!receiver.shall_report_empty(), "not before it is empty");
        assert_eq!(receiver.next_batch().await.unwrap(), [frame(1)]);
        assert!(receiver.shall_report_empty());
        assert!(!receiver.shall_report_empty());
        sender.report_once();
        assert_eq!(receiver.next_batch().await.unwrap(), Vec::<Bytes>::new(), "it wakes the writer of an empty lane");
        assert!(receiver.shall_report_empty());
    }

    #[tokio::test]
    async fn what_is_queued_goes_beyond_the_bound_by_one_frame_at_most() {
        let (mut sender, _receiver) = lane(10);
        assert_eq!(sender.push(frame(9)), Ok(()));
        assert_eq!(sender.push(frame(100)), Ok(()));
        assert_eq!(sender.push(frame(1)), Err(Overrun));
    }
}
