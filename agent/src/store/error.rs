//! What can be wrong with our own files. Every variant ends the process with the store's exit code.

use std::fmt;
use std::io;

use everett_mesh_proto::id::ClusterId;
use everett_mesh_proto::log::Commit;

/// The store could not be opened, read or written. The process ends with the store's exit code; nothing was changed unless
/// the variant says so.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The log's part.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The rows' part: the library or the operating system refused.
    #[error("rows.redb: {0}")]
    Rows(Box<redb::Error>),
    /// The rows' part: the library stumbled over a page that is not what it wrote.
    #[error("rows.redb is damaged: {0}")]
    Panicked(String),
    /// The state directory cannot be made or opened.
    #[error("cannot make or open a file")]
    Folder(#[source] io::Error),
    /// There is no store in the state directory.
    #[error("there is no rows.redb")]
    Absent,
    /// Another process has this store open.
    #[error("rows.redb is in use by another agent")]
    InUse,
    /// The store was written by a newer program.
    #[error("rows.redb has format version {found}, this program knows {known}")]
    Version {
        /// The store's version.
        found: u32,
        /// The version this program writes.
        known: u32,
    },
    /// The store belongs to another cluster than the certificate.
    #[error("the store belongs to cluster {found}, the certificate to {expected}")]
    Cluster {
        /// The store's cluster.
        found: ClusterId,
        /// The certificate's.
        expected: ClusterId,
    },
    /// The store was placed under another key: `place.key` was exchanged.
    #[error("the store was written under another place.key")]
    PlaceKey,
    /// A fact in `rows.redb` is missing or has another shape.
    #[error("rows.redb: the fact {0} is damaged")]
    Fact(&'static str),
    /// A stored row or its key is not what was written.
    #[error("rows.redb: the row {0} is damaged")]
    Row(String),
    /// Records that the rows do not hold yet are missing at the log's start.
    #[error("the log begins with commit {first}, but rows.redb needs those after {}", watermark.0)]
    LogTooYoung {
        /// What the rows describe.
        watermark: Commit,
        /// The oldest commit in the log.
        first: u64,
    },
    /// The log ends before what was flushed from it.
    #[error("the log ends with commit {last}, but rows.redb holds commit {}", flushed.0)]
    LogTooOld {
        /// What was flushed.
        flushed: Commit,
        /// The newest commit in the log.
        last: u64,
    },
}

impl StoreError {
    /// What the operator can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Log(error) => return error.hint(),
            Self::Rows(error) if matches!(**error, redb::Error::Io(_)) => DISK,
            Self::Absent => "has an agent run with this `state`?",
            Self::Folder(_) => "may this user make and write the directory `state` names, and is there space?",
            Self::InUse => "stop the other agent, or give this one a `state` of its own",
            Self::Version { .. } => "start the newer program that wrote it",
            Self::Cluster { .. } => {
                "are `state` and `certificates` of the same node? A node of another cluster starts empty"
            }
            Self::PlaceKey => "put the cluster's own place.key back; it is the same on every node and never changes",
            Self::Rows(_) | Self::Panicked(_) | Self::Fact(_) | Self::Row(_) => DAMAGED,
            Self::LogTooYoung { .. } | Self::LogTooOld { .. } => TWO_BACKUPS,
        })
    }
}

/// What to do where the operating system refuses.
const DISK: &str = "mend the disk or make room on it, and start again: what was acknowledged is there";

/// What to do about files that are not what was written.
pub const DAMAGED: &str = "restore a backup, or move the directory away and start empty: peers send everything";

/// What to do about two parts that are not of one moment.
const TWO_BACKUPS: &str = "restore rows.redb and log/ from one backup";

impl<E: Into<redb::Error>> From<E> for StoreError {
    fn from(error: E) -> Self {
        Self::Rows(Box::new(error.into()))
    }
}

/// The log could not be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The operating system refused. After a failed append or sync nothing that was not acknowledged counts as written.
    #[error("log: cannot {action} {file}")]
    Io {
        /// What was being done.
        action: LogAction,
        /// To which file.
        file: String,
        /// Why not.
        source: io::Error,
    },
    /// An earlier append failed; what the disk holds past it is unknown, so nothing more is written.
    #[error("log: closed by an earlier write error")]
    Failed,
    /// A segment in use has no readable header.
    #[error("log: {file} has a damaged header")]
    Header {
        /// The segment.
        file: String,
    },
    /// A segment was written by another format version.
    #[error("log: {file} has format version {found}, this program knows {known}")]
    Version {
        /// The segment.
        file: String,
        /// Its version.
        found: u32,
        /// The version this program writes.
        known: u32,
    },
    /// A segment belongs to another store: directories of two agents were mixed.
    #[error("log: {file} belongs to another store")]
    Foreign {
        /// The segment.
        file: String,
    },
    /// A record is damaged although later groups, written after it was durable, are intact.
    #[error("log: commit {commit} is damaged at byte {offset} of {file}")]
    Corrupt {
        /// The segment.
        file: String,
        /// Where the record should begin.
        offset: u64,
        /// The commit it should hold.
        commit: u64,
    },
    /// A segment is missing.
    #[error("log: commit {expected} is missing, {file} begins with another")]
    Gap {
        /// The commit that should have come next.
        expected: u64,
        /// The segment that was found instead.
        file: String,
    },
    /// The wanted commit was recycled; ask for rows instead of ops.
    #[error("log: commit {commit} is no longer held")]
    Recycled {
        /// The commit asked for.
        commit: u64,
    },
    /// The directory already holds a log.
    #[error("log: there is a log here, but no rows beside it")]
    Exists,
    /// The directory holds no log.
    #[error("log: the log is missing")]
    Missing,
    /// A payload does not fit the format's 32-bit length. Nothing was written.
    #[error("log: a record of {length_bytes} bytes does not fit the format")]
    TooLong {
        /// The payload's length.
        length_bytes: u64,
    },
    /// A whole record holds no payload that this program knows.
    #[error("log: the content of commit {commit} cannot be read by this program")]
    Payload {
        /// The record.
        commit: u64,
    },
}

impl LogError {
    /// What the operator can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Io { .. } => DISK,
            Self::Version { .. } | Self::Payload { .. } => "start the newer program that wrote it",
            Self::Header { .. } | Self::Corrupt { .. } => DAMAGED,
            Self::Foreign { .. } | Self::Gap { .. } | Self::Exists | Self::Missing => TWO_BACKUPS,
            Self::Failed | Self::Recycled { .. } | Self::TooLong { .. } => return None,
        })
    }

    /// Wraps an operating system's error.
    pub(crate) fn io(action: LogAction, file: &str) -> impl FnOnce(io::Error) -> Self {
        let file = file.to_owned();
        move |source| Self::Io { action, file, source }
    }
}

/// What the log was doing when the operating system refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogAction {
    /// Listing the directory.
    List,
    /// Making a file.
    Create,
    /// Opening a file.
    Open,
    /// Reading a file.
    Read,
    /// Writing a file.
    Write,
    /// Making a file durable.
    Sync,
    /// Renaming a file.
    Rename,
    /// Removing a file.
    Remove,
    /// Making the directory durable.
    SyncFolder,
}

impl fmt::Display for LogAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::List => "list the directory of",
            Self::Create => "create",
            Self::Open => "open",
            Self::Read => "read",
            Self::Write => "write",
            Self::Sync => "sync",
            Self::Rename => "rename",
            Self::Remove => "remove",
            Self::SyncFolder => "sync the directory of",
        })
    }
}
