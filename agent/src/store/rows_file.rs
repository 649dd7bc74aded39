//! `rows.redb`: rows, tree nodes, vectors and facts, and the snapshots that are read from it.
//!
//! The only file that opens redb tables. One writer at a time (the keeper); each of its transactions is durable and saves
//! redb's allocator state (`quick_repair`), so opening after a kill does not walk the file. A [`Snapshot`] is a read
//! transaction: rows, tree, vectors and facts of one moment.
//!
//! It gives no row a meaning: keys and values are bytes here.

mod snapshot;

use std::io;
use std::path::Path;
use std::sync::Arc;

use everett_mesh_proto::id::{ClusterId, Dot, ReplicaId, Space};
use everett_mesh_proto::rows::Placer;
use everett_mesh_proto::vector::{Closed, Closing, Vector};
use redb::{
    Builder, Database, Durability, ReadableDatabase, ReadableTable, StorageBackend, Table, TableDefinition,
    WriteTransaction,
};

use super::disk::{Disk, DiskFile, Folder};
use super::error::StoreError;
use super::facts::{Facts, Progress, ROWS_FORMAT_VERSION, ROWS_FORMAT_VERSION_MIN};
use super::segment::StoreId;

pub use snapshot::Snapshot;
pub(super) use snapshot::decode_entry;

type Bytes = &'static [u8];

const ROWS: TableDefinition<'_, Bytes, Bytes> = TableDefinition::new("rows");
const NODES: TableDefinition<'_, Bytes, Bytes> = TableDefinition::new("tree");
const GISTS: TableDefinition<'_, Bytes, Bytes> = TableDefinition::new("gists");
const VECTORS: TableDefinition<'_, &'static str, Bytes> = TableDefinition::new("vectors");
const CLOSED: TableDefinition<'_, &'static str, Bytes> = TableDefinition::new("closed");
const FACTS: TableDefinition<'_, &'static str, Bytes> = TableDefinition::new("facts");

/// An open `rows.redb`; cheap to clone and to share between threads.
#[derive(Clone, Debug)]
pub struct RowsFile {
    database: Arc<Database>,
    /// The same file, to speak of it to the operating system.
    file: Arc<Pages>,
    placer: Placer,
    keeps_tree: bool,
}

impl RowsFile {
    /// Opens or makes the file at `path`, whose rows are placed and hashed by `placer`; `cache_bytes` of its pages are kept
    /// in memory.
    pub fn open(path: &Path, cache_bytes: usize, placer: Placer) -> Result<Self, StoreError> {
        let nameless = || StoreError::Folder(io::ErrorKind::InvalidFilename.into());
        let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(nameless)?;
        let home = Folder::open(path.parent().unwrap_or(Path::new("."))).map_err(StoreError::Folder)?;
        Self::open_in(&home, name, cache_bytes, placer)
    }

    /// The same on any disk. A new file is made under another name: what a crash leaves of one that is half made is no file
    /// of the library's, and would be refused.
    pub fn open_in<D>(home: &D, name: &str, cache_bytes: usize, placer: Placer) -> Result<Self, StoreError>
    where
        D: Disk,
        D::File: Send + Sync + 'static,
    {
        let names = home.list().map_err(StoreError::Folder)?;
        if names.iter().any(|there| there == name) {
            let file = home.open(name).map_err(StoreError::Folder)?;
            return Self::over(Arc::new(file), false, cache_bytes, placer);
        }
        let unfinished = format!("{name}.new");
        let is_left = names.contains(&unfinished);
        let file = if is_left { home.open(&unfinished) } else { home.create(&unfinished) };
        let made = Self::over(Arc::new(file.map_err(StoreError::Folder)?), true, cache_bytes, placer)?;
        home.rename(&unfinished, name).map_err(StoreError::Folder)?;
        home.sync().map_err(StoreError::Folder)?;
        Ok(made)
    }

    fn over(file: Arc<Pages>, anew: bool, cache_bytes: usize, placer: Placer) -> Result<Self, StoreError> {
        if !file.claim().map_err(StoreError::Folder)? {
            return Err(StoreError::InUse);
        }
        if anew {
            file.set_length(0).map_err(StoreError::Folder)?;
        }
        let database = Builder::new().set_cache_size(cache_bytes).create_with_backend(Backend(Arc::clone(&file)))?;
        Ok(Self { database: Arc::new(database), file, placer, keeps_tree: true })
    }

    /// The same file, with the tree left as it is by flushes that are begun from here: what a measurement of the tree's
    /// price is measured against, and nothing else.
    pub fn without_tree(self) -> Self {
        Self { keeps_tree: false, ..self }
    }

    /// Whether flushes bring the tree up to date.
    pub fn keeps_tree(&self) -> bool {
        self.keeps_tree
    }

    /// The cluster's secret for places and hashes.
    pub fn placer(&self) -> &Placer {
        &self.placer
    }

    /// The facts; `None` in a file that was never written.
    pub fn facts(&self) -> Result<Option<Facts>, StoreError> {
        let transaction = self.database.begin_read()?;
        match transaction.open_table(FACTS) {
            Ok(table) => read_facts(&table).map(Some),
            Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes all facts, in a durable transaction; makes the tables of a new file.
    pub fn write_facts(&self, facts: &Facts) -> Result<(), StoreError> {
        let batch = self.begin()?;
        {
            batch.transaction.open_table(ROWS)?;
            batch.transaction.open_table(NODES)?;
            batch.transaction.open_table(GISTS)?;
            batch.transaction.open_table(VECTORS)?;
            batch.transaction.open_table(CLOSED)?;
            let mut table = batch.transaction.open_table(FACTS)?;
            table.insert("format", ROWS_FORMAT_VERSION.to_le_bytes().as_slice())?;
            table.insert("store", facts.store.0.as_slice())?;
            table.insert("cluster", facts.cluster.0.as_slice())?;
            table.insert("place", facts.place_fingerprint.as_slice())?;
            table.insert("boot_epoch", facts.boot_epoch.to_le_bytes().as_slice())?;
            table.insert("progress", facts.progress.encode().as_slice())?;
            table.insert("clock_mark", facts.mark_ms.to_le_bytes().as_slice())?;
            table.insert("stopped_cleanly", [u8::from(facts.stopped_cleanly)].as_slice())?;
        }
        batch.commit()
    }

    /// Makes a boot epoch above `known` durable, and returns it.
    pub fn raise_boot_epoch(&self, known: u64) -> Result<u64, StoreError> {
        let batch = self.begin()?;
        let epoch = {
            let mut table = batch.transaction.open_table(FACTS)?;
            let present = u64::from_le_bytes(fact(&table, "boot_epoch")?);
            let epoch = present.max(known.saturating_add(1));
            table.insert("boot_epoch", epoch.to_le_bytes().as_slice())?;
            epoch
        };
        batch.commit()?;
        Ok(epoch)
    }

    /// Whom an earlier start knew, as [`remember_peers`](Self::remember_peers) was told.
    pub fn peers(&self) -> Result<Option<Vec<u8>>, StoreError> {
        let transaction = self.database.begin_read()?;
        Ok(transaction.open_table(FACTS)?.get("peers")?.map(|guard| guard.value().to_vec()))
    }

    /// Keeps bytes that say whom this start knows.
    pub fn remember_peers(&self, peers: &[u8]) -> Result<(), StoreError> {
        let batch = self.begin()?;
        batch.transaction.open_table(FACTS)?.insert("peers", peers)?;
        batch.commit()
    }

    /// Notes that this life ended by itself, everything flushed.
    pub fn note_clean_stop(&self) -> Result<(), StoreError> {
        let batch = self.begin()?;
        batch.transaction.open_table(FACTS)?.insert("stopped_cleanly", [1].as_slice())?;
        batch.commit()
    }

    /// Has the operating system give up what it keeps of the file in memory, so that it is read from the disk again.
    pub fn give_up_cached(&self) {
        self.file.give_up_cached();
    }

    /// A snapshot of the present state.
    pub fn snapshot(&self) -> Result<Snapshot, StoreError> {
        Snapshot::new(&self.database.begin_read()?)
    }

    /// Begins a durable transaction; waits for the one before it.
    pub fn begin(&self) -> Result<Batch, StoreError> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        transaction.set_quick_repair(true);
        Ok(Batch { transaction })
    }
}

/// A file of any disk.
type Pages = dyn DiskFile + Send + Sync;

/// The same, as the library wants it.
#[derive(Debug)]
struct Backend(Arc<Pages>);

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.0.length()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_at(out, offset)
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.0.set_length(bytes)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync()
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_at(bytes, offset)
    }
}

/// A transaction that is being written; dropped, it never was.
#[expect(missing_debug_implementations, reason = "the library's transaction has none")]
pub struct Batch {
    transaction: WriteTransaction,
}

impl Batch {
    /// The rows, for reading and writing.
    pub fn rows(&self) -> Result<Table<'_, Bytes, Bytes>, StoreError> {
        Ok(self.transaction.open_table(ROWS)?)
    }

    /// The tree's nodes.
    pub fn nodes(&self) -> Result<Table<'_, Bytes, Bytes>, StoreError> {
        Ok(self.transaction.open_table(NODES)?)
    }

    /// The gists of its larger nodes.
    pub fn gists(&self) -> Result<Table<'_, Bytes, Bytes>, StoreError> {
        Ok(self.transaction.open_table(GISTS)?)
    }

    /// Stores how far the flush has come.
    pub fn set_progress(&self, progress: &Progress) -> Result<(), StoreError> {
        let mut table = self.transaction.open_table(FACTS)?;
        table.insert("progress", progress.encode().as_slice())?;
        Ok(())
    }

    /// Stores the clock's high-water mark.
    pub fn set_clock_mark(&self, mark_ms: u64) -> Result<(), StoreError> {
        let mut table = self.transaction.open_table(FACTS)?;
        table.insert("clock_mark", mark_ms.to_le_bytes().as_slice())?;
        Ok(())
    }

    /// Stores the open entries of a namespace's vector.
    pub fn set_vector(&self, space: &Space, vector: &Vector) -> Result<(), StoreError> {
        let mut table = self.transaction.open_table(VECTORS)?;
        table.insert(space.as_str(), encode_vector(vector).as_slice())?;
        Ok(())
    }

    /// Stores the closed lives of a namespace's vector.
    pub fn set_closed(&self, space: &Space, closed: &Closed) -> Result<(), StoreError> {
        let mut table = self.transaction.open_table(CLOSED)?;
        table.insert(space.as_str(), encode_closed(closed).as_slice())?;
        Ok(())
    }

    /// Makes everything written durable.
    pub fn commit(self) -> Result<(), StoreError> {
        Ok(self.transaction.commit()?)
    }
}

fn read_facts<T: ReadableTable<&'static str, Bytes>>(table: &T) -> Result<Facts, StoreError> {
    let format = u32::from_le_bytes(fact(table, "format")?);
    if !(ROWS_FORMAT_VERSION_MIN..=ROWS_FORMAT_VERSION).contains(&format) {
        return Err(StoreError::Version { found: format, known: ROWS_FORMAT_VERSION });
    }
    let progress = table.get("progress")?.and_then(|guard| Progress::decode(guard.value()));
    let [stopped_cleanly] = fact(table, "stopped_cleanly")?;
    Ok(Facts {
        store: StoreId(fact(table, "store")?),
        cluster: ClusterId(fact(table, "cluster")?),
        place_fingerprint: fact(table, "place")?,
        boot_epoch: u64::from_le_bytes(fact(table, "boot_epoch")?),
        progress: progress.ok_or(StoreError::Fact("progress"))?,
        mark_ms: u64::from_le_bytes(fact(table, "clock_mark")?),
        stopped_cleanly: stopped_cleanly == 1,
    })
}

fn fact<const N: usize, T: ReadableTable<&'static str, Bytes>>(
    table: &T,
    name: &'static str,
) -> Result<[u8; N], StoreError> {
    let guard = table.get(name)?.ok_or(StoreError::Fact(name))?;
    guard.value().try_into().map_err(|_| StoreError::Fact(name))
}

/// Author and seq of each open entry, in order.
fn encode_vector(vector: &Vector) -> Vec<u8> {
    let mut out = Vec::with_capacity(24 * vector.len());
    for dot in vector.open() {
        out.extend_from_slice(&dot.replica.0);
        out.extend_from_slice(&dot.seq.to_le_bytes());
    }
    out
}

fn decode_vector(bytes: &[u8]) -> Option<Vector> {
    let (entries, rest) = bytes.as_chunks::<24>();
    if rest.is_empty() { entries.iter().map(decode_dot).collect() } else { None }
}

/// Of each closed life its id and last seq, and the id and seq of the write that closed it, in order.
fn encode_closed(closed: &Closed) -> Vec<u8> {
    let mut out = Vec::with_capacity(48 * closed.len());
    for (replica, Closing { last: seq, by }) in closed.iter() {
        for dot in [Dot { replica, seq }, by] {
            out.extend_from_slice(&dot.replica.0);
            out.extend_from_slice(&dot.seq.to_le_bytes());
        }
    }
    out
}

fn decode_closed(bytes: &[u8]) -> Option<Closed> {
    let (entries, rest) = bytes.as_chunks::<48>();
    let closing = |entry: &[u8; 48]| {
        let (last, by) = entry.split_first_chunk::<24>()?;
        let (last, by) = (decode_dot(last)?, decode_dot(by.first_chunk()?)?);
        Some((last.replica, Closing { last: last.seq, by }))
    };
    if rest.is_empty() { entries.iter().map(closing).collect() } else { None }
}

fn decode_dot(entry: &[u8; 24]) -> Option<Dot> {
    let (replica, seq) = entry.split_first_chunk::<16>()?;
    Some(Dot { replica: ReplicaId(*replica), seq: u64::from_le_bytes(seq.try_into().ok()?) })
}

#[cfg(test)]
mod tests;
