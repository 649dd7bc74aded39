//! What this agent keeps on disk, and the only place that knows how.
//!
//! Two parts under one store id: `log/`, segments of our own, is the path of a write; `rows.redb` holds rows, tree, vectors
//! and facts. They are apart because one file cannot do both: redb has one writer slot, so a flush of rows would stall
//! every append, and a table used as a log costs several times the device bytes.
//!
//! Invariants: commit numbers are dense, from 1; what stands in `rows.redb` describes its watermark; every record past the
//! watermark is in the log. A store error is final: whoever sees one ends the process.
//!
//! What it does not do: it gives no op a meaning and speaks to no peer.

mod carried;
mod check;
pub mod courier;
pub mod disk;
pub mod error;
pub mod facts;
pub mod flush;
pub mod log_dir;
pub mod log_index;
pub mod log_reader;
pub mod log_thread;
pub mod memtable;
mod open;
mod panics;
mod placed;
mod row_cache;
pub mod rows_file;
pub mod segment;
mod segment_cursor;
mod table;
mod tree;
mod verify;

pub use check::{Checked, Checking, Fault, Step, check};
pub use courier::{Courier, Known};
pub use disk::{Disk, DiskFile, Folder};
pub use error::{DAMAGED, LogAction, LogError, StoreError};
pub use facts::{Facts, Progress};
pub use flush::{ChunkLimit, FlushJob, FlushStep, Flushed};
pub use log_dir::{LogDir, LogSettings, Recyclable, Spare, SpareRequest};
pub use log_index::{LogIndex, Mark, SegmentSummary};
pub use log_reader::LogReader;
pub use log_thread::{Batch, Committed, LogInbox, LogRequest, LogSink, Sealed};
pub use memtable::{Memtable, Spent};
pub use open::{Store, StoreConfig};
pub use panics::{blame_library, guarded};
pub use rows_file::{RowsFile, Snapshot};
pub use segment::{LogIdentity, StoreId};
pub use verify::{Damage, Verifier, Walked, leaf_at};

#[cfg(test)]
mod tests;
