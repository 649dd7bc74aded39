//! The keeper thread: carries frozen rows out to `rows.redb`, and makes log files ready before they are needed.
//!
//! It runs at low priority, beside everything a client waits for, one chunk at a time; between chunks it looks for what is
//! more urgent. Results leave through a [`KeeperSink`].
//!
//! Invariants: at most one flush is under way; the only writer of `rows.redb` after the start is this thread. It decides
//! nothing: the ledger freezes and says when.

use crossbeam_channel::{Receiver, RecvError};

use crate::store::{ChunkLimit, Disk, FlushJob, FlushStep, Flushed, Spare, SpareRequest, StoreError};

/// How much less of the processor than others it gets: Unix niceness.
const NICENESS: i32 = 10;

/// What the keeper is asked for.
#[derive(Debug)]
pub enum Task {
    /// Carry this out to the file.
    Flush(FlushJob),
    /// Make a file ready for the log.
    Spare(SpareRequest),
}

/// Where the keeper's results go.
pub trait KeeperSink {
    /// A flush has finished.
    fn flushed(&mut self, flushed: Flushed);
    /// A file is ready.
    fn spare(&mut self, spare: Spare);
    /// The store failed; the process must end with the store's exit code.
    fn failed(&mut self, error: StoreError);
}

/// Serves tasks until their channel is closed and a flush under way has finished. `disk` is the log's directory.
pub fn run<D: Disk, S: KeeperSink>(disk: &D, tasks: &Receiver<Task>, sink: &mut S) {
    lower_priority();
    if let Err(error) = serve(disk, tasks, sink) {
        sink.failed(error);
    }
}

fn serve<D: Disk, S: KeeperSink>(disk: &D, tasks: &Receiver<Task>, sink: &mut S) -> Result<(), StoreError> {
    let mut job: Option<FlushJob> = None;
    loop {
        let task = if job.is_some() {
            // A closed channel ends the thread only once the flush is done.
            tasks.try_recv().ok()
        } else {
            match tasks.recv() {
                Ok(task) => Some(task),
                Err(RecvError) => return Ok(()),
            }
        };
        match task {
            Some(Task::Flush(next)) => {
                assert!(job.replace(next).is_none(), "the memtable freezes again only after a flush has finished");
            }
            Some(Task::Spare(request)) => sink.spare(request.fulfil(disk)?),
            None => {}
        }
        let Some(under_way) = job.take() else { continue };
        match under_way.step(ChunkLimit::default())? {
            FlushStep::More(rest) => job = Some(rest),
            FlushStep::Done(flushed) => sink.flushed(flushed),
        }
    }
}

fn lower_priority() {
    let thread = rustix::thread::gettid();
    if let Err(error) = rustix::process::setpriority_process(Some(thread), NICENESS) {
        tracing::warn!(%error, "the keeper runs at the priority of the others");
    }
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::bounded;
    use everett_mesh_proto::id::{ClusterId, ReplicaId, Space};
    use everett_mesh_proto::log::Commit;
    use everett_mesh_proto::replica::{Config, Edit, Input, Replica};
    use everett_mesh_proto::rows::Placer;
    use everett_mesh_proto::time::Now;
    use tempfile::TempDir;

    use super::*;
    use crate::store::{LogSettings, Store, StoreConfig, StoreId};

    #[derive(Default)]
    struct Heard {
        flushed: Vec<Flushed>,
        spares: usize,
        failed: Vec<StoreError>,
    }

    impl KeeperSink for Heard {
        fn flushed(&mut self, flushed: Flushed) {
            self.flushed.push(flushed);
        }

        fn spare(&mut self, _spare: Spare) {
            self.spares += 1;
        }

        fn failed(&mut self, error: StoreError) {
            self.failed.push(error);
        }
    }

    #[test]
    fn a_flush_and_a_spare_are_done_though_the_channel_is_closed() {
        let dir = TempDir::new().unwrap();
        let mut store = Store::open(&StoreConfig {
            path: dir.path().to_owned(),
            cluster: ClusterId([1; 16]),
            place_fingerprint: [2; 16],
            log: LogSettings { segment_bytes: 64 << 10, spares_max: 1 },
            cache_bytes: 1 << 20,
            new_id: StoreId([3; 16]),
            salt_seed: 4,
        })
        .unwrap();
        let config = Config {
            id: ReplicaId::new(1, "node", 0),
            placer: Placer::new(&[5; 32]),
            max_skew: std::time::Duration::from_millis(500),
            gate_bytes_max: 1 << 20,
        };
        let mut replica = Replica::resume(config, store.settled.clone());
        let edits = (0..20_000).map(|n| Edit::Add { key: format!("n{n}").into(), by: 1 }).collect();
        let input = Input::Local { space: Space::numbered(0), edits };
        replica.handle_input(Now::default(), &mut store.memtable, input).unwrap();
        let records: Vec<_> = std::iter::from_fn(|| replica.seal()).map(|sealed| sealed.0).collect();
        store.log.commit(&records).unwrap();
        let held = store.memtable.freeze(replica.settled()).unwrap();
        let job = held.release(store.log.durable()).unwrap();
        let (sender, tasks) = bounded(4);
        sender.send(Task::Flush(job)).unwrap();
        sender.send(Task::Spare(store.log.medium_mut().wanted_spare().unwrap())).unwrap();
        drop(sender);
        let mut heard = Heard::default();
        run(&store.log_folder, &tasks, &mut heard);
        assert!(heard.failed.is_empty(), "{:?}", heard.failed);
        assert_eq!(heard.spares, 1);
        let flushed = heard.flushed.pop().unwrap();
        assert_eq!(flushed.snapshot().watermark(), Commit(2));
        assert_eq!(flushed.snapshot().rows_from(b"").unwrap().count(), 20_000);
        store.memtable.settle(flushed);
        assert_eq!(store.memtable.bytes(), 0);
    }
}
