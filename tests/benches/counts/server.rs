//! A server as the ledger thread owns it, without sockets and disk: what commands and peers' groups are executed on.

use everett_tests::resp::encode;
use std::hint::black_box;
use std::time::Duration;

use bytes::Bytes;
use everett_agent::api::data::Data;
use everett_agent::api::dispatch::execute;
use everett_agent::api::host::Host;
use everett_agent::api::resp::{Limits, RequestParser};
use everett_agent::peers::Peers;
use everett_agent::store::{Facts, Memtable, RowsFile, StoreId};
use everett_mesh_proto::id::{ClusterId, NodeId, ReplicaId};
use everett_mesh_proto::log::{Commit, Log, Record};
use everett_mesh_proto::push::Vectors;
use everett_mesh_proto::replica::{Config, Input, Replica, Settled};
use everett_mesh_proto::rows::Placer;
use everett_mesh_proto::testing::{Nowhere, now_at};
use everett_mesh_proto::time::Now;

/// Memory for rows of the file, of which there are none.
const CACHE_BYTES: usize = 1 << 20;

/// Commands in a millisecond.
const STEPS_PER_MS: u64 = 100;

/// A request that was parsed once, to be executed often.
#[derive(Debug)]
pub(crate) struct Request {
    bytes: Vec<u8>,
    parser: RequestParser,
}

impl Request {
    /// The request of these words.
    pub(crate) fn new(words: &[&[u8]]) -> Self {
        let bytes = encode(words);
        let mut parser = RequestParser::new();
        let whole = parser.parse(&bytes, &Limits::default()).expect("a request of ours follows the protocol");
        assert_eq!(whole, Some(bytes.len()), "a request of ours is whole");
        Self { bytes, parser }
    }
}

/// A server with one connection.
#[derive(Debug)]
pub(crate) struct Server {
    host: Host,
    log: Log<Nowhere>,
    out: Vec<u8>,
    steps: u64,
}

impl Server {
    /// One without keys, in the life that `id` says.
    pub(crate) fn new(id: u8) -> Self {
        let placer = Placer::new(&[7; 32]);
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        let file = RowsFile::open(&dir.path().join("rows.redb"), CACHE_BYTES, placer.clone());
        let file = file.expect("a new file of rows can be made");
        file.write_facts(&Facts::new(StoreId([1; 16]), ClusterId([2; 16]), [3; 16])).expect("facts can be written");
        // The file stays open and is gone with its last reader.
        let rows = Memtable::new(file, CACHE_BYTES).expect("a new file can be read");
        let config =
            Config { id: ReplicaId([id; 16]), placer, max_skew: Duration::from_millis(500), gate_bytes_max: 1 << 20 };
        let replica = Replica::resume(config, Settled::default());
        let log = Log::resume(Nowhere, Commit(0));
        let mut host = Host::new(Data::new(replica, rows), Peers::new(log.durable(), Vectors::new()), 1);
        host.sessions.open(0, now_at(0).mono);
        Self { host, log, out: Vec::new(), steps: 0 }
    }

    fn now(&mut self) -> Now {
        self.steps += 1;
        now_at(self.steps / STEPS_PER_MS)
    }

    /// Executes a request; what it says is said, to nobody.
    pub(crate) fn execute(&mut self, request: &Request) {
        let now = self.now();
        self.out.clear();
        let args = request.parser.args(&request.bytes);
        execute(&mut self.host, 0, args, &mut self.out, now).expect("a store in memory does not fail");
        assert_ne!(self.out.first(), Some(&b'-'), "{}", self.out.escape_ascii());
        self.seal(|_| {});
    }

    /// The groups that executing these requests made.
    pub(crate) fn groups_of(&mut self, requests: &[Request]) -> Vec<Bytes> {
        let mut groups = Vec::new();
        for request in requests {
            let now = self.now();
            self.out.clear();
            let args = request.parser.args(&request.bytes);
            execute(&mut self.host, 0, args, &mut self.out, now).expect("a store in memory does not fail");
            self.seal(|record| groups.push(record.payload.clone()));
        }
        groups
    }

    /// Takes a group that a peer sent.
    pub(crate) fn apply(&mut self, payload: &Bytes) {
        let now = self.now();
        let input = Input::Remote { from: NodeId([9; 16]), payload: payload.clone() };
        let data = &mut self.host.data;
        data.replica.handle_input(now, &mut data.rows, input).expect("a store in memory does not fail");
        while let Some(signal) = self.host.data.replica.poll_signal() {
            black_box(signal);
        }
        self.seal(|_| {});
    }

    fn seal(&mut self, mut see: impl FnMut(&Record)) {
        while let Some((record, held)) = self.host.data.replica.seal() {
            see(&record);
            let Ok(durable) = self.log.commit(std::slice::from_ref(&record));
            let durable = durable.expect("a group of one is durable");
            black_box(held.release(durable).expect("its commit is durable"));
        }
    }
}
