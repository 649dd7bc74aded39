//! Opens a store: whose it is, that its two parts fit together, and what must be replayed.
//!
//! The boot epoch is raised and durable before this returns, hence before any packet leaves. Nothing is repaired by
//! guessing: parts that do not fit together stop the agent with words that say what to do.

use std::ops::Range;
use std::path::PathBuf;

use everett_mesh_proto::id::ClusterId;
use everett_mesh_proto::log::{Commit, Log};
use everett_mesh_proto::replica::{Replica, Settled};
use everett_mesh_proto::rows::Placer;
use everett_mesh_proto::wire::decode_payload;

use super::disk::{Disk, Folder};
use super::error::{LogError, StoreError};
use super::facts::{Facts, Progress};
use super::log_dir::{LogDir, LogSettings};
use super::log_reader::LogReader;
use super::memtable::Memtable;
use super::rows_file::RowsFile;
use super::segment::{LogIdentity, StoreId};

/// Where a store is and whose it must be.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// The state directory.
    pub path: PathBuf,
    /// The certificate's cluster.
    pub cluster: ClusterId,
    /// The fingerprint of `place.key`.
    pub place_fingerprint: [u8; 16],
    /// Places and hashes under that key.
    pub placer: Placer,
    /// Sizes of the log.
    pub log: LogSettings,
    /// How much of `rows.redb` is kept in memory: half as rows, half as pages.
    pub cache_bytes: usize,
    /// Fresh randomness: the name of a store that is made, not found.
    pub new_id: StoreId,
    /// Fresh randomness: salts the log.
    pub salt_seed: u64,
}

/// An open store, not yet replayed.
#[derive(Debug)]
pub struct Store<D: Disk = Folder> {
    /// How often it was opened, this time included.
    pub boot_epoch: u64,
    /// Whether the last life ended by itself.
    pub stopped_cleanly: bool,
    /// What to resume the replica from.
    pub settled: Settled,
    /// The rows.
    pub memtable: Memtable,
    /// The rows' file, for the keeper.
    pub file: RowsFile,
    /// The log.
    pub log: Log<LogDir<D>>,
    /// The log's directory, for readers.
    pub log_folder: D,
    /// Names both parts.
    pub id: StoreId,
}

impl Store<Folder> {
    /// Opens the store in `config`'s directory, or makes one in an empty directory.
    pub fn open(config: &StoreConfig) -> Result<Self, StoreError> {
        let home = Folder::open(&config.path).map_err(StoreError::Folder)?;
        let path = config.path.join("rows.redb");
        let file = RowsFile::open(&path, config.cache_bytes / 2, config.placer.clone())?;
        let folder = Folder::open(&config.path.join("log")).map_err(StoreError::Folder)?;
        // Both names, of which that of the rows is, are durable before anything that stands under them.
        home.sync().map_err(StoreError::Folder)?;
        Self::over(config, file, folder)
    }
}

impl<D: Disk> Store<D> {
    /// Opens the store of these two parts, wherever they lie, or makes one of two that are empty.
    pub fn over(config: &StoreConfig, file: RowsFile, folder: D) -> Result<Self, StoreError> {
        let log_folder = folder.reopen().map_err(StoreError::Folder)?;
        let known = file.facts()?;
        let mut facts =
            known.clone().unwrap_or_else(|| Facts::new(config.new_id, config.cluster, config.place_fingerprint));
        let identity = LogIdentity { store: facts.store, salt_seed: config.salt_seed };
        let log = if known.is_some() {
            check_owner(&facts, config.cluster, config.place_fingerprint)?;
            LogDir::open(folder, config.log, identity)?
        } else {
            LogDir::create(folder, config.log, identity, 1)?
        };
        check_parts(&facts.progress, log.first_commit()..log.next_commit())?;
        let stopped_cleanly = facts.stopped_cleanly;
        facts.boot_epoch += 1;
        facts.stopped_cleanly = false;
        file.write_facts(&facts)?;
        let memtable = Memtable::new(file.clone(), config.cache_bytes / 2)?;
        let base = memtable.base();
        let settled = Settled { commit: base.watermark(), vectors: base.vectors().clone(), mark_ms: base.mark_ms() };
        let last = Commit(log.next_commit() - 1);
        Ok(Self {
            boot_epoch: facts.boot_epoch,
            stopped_cleanly,
            settled,
            memtable,
            file,
            log: Log::resume(log, last),
            log_folder,
            id: facts.store,
        })
    }

    /// Applies the records past the watermark to a replica that was resumed from [`Self::settled`]; returns how many.
    pub fn replay(&mut self, replica: &mut Replica) -> Result<u64, StoreError> {
        let from = self.settled.commit.next().0;
        let last = self.log.durable().upto().0;
        let folder = self.log_folder.reopen().map_err(StoreError::Folder)?;
        let mut reader = LogReader::new(folder, self.id, from, last);
        while let Some((commit, payload)) = reader.advance()? {
            let payload = decode_payload(payload).map_err(|_| LogError::Payload { commit })?;
            replica.replay(&mut self.memtable, Commit(commit), payload)?;
        }
        Ok(reader.next_commit() - from)
    }
}

/// The store is this cluster's, and placed under this key.
pub(super) fn check_owner(facts: &Facts, cluster: ClusterId, place_fingerprint: [u8; 16]) -> Result<(), StoreError> {
    if facts.cluster != cluster {
        return Err(StoreError::Cluster { found: facts.cluster, expected: cluster });
    }
    if facts.place_fingerprint != place_fingerprint {
        return Err(StoreError::PlaceKey);
    }
    Ok(())
}

/// The log reaches from the watermark to beyond everything that was flushed.
pub(super) fn check_parts(progress: &Progress, log: Range<u64>) -> Result<(), StoreError> {
    let (watermark, flushed) = (progress.watermark(), progress.newest());
    if log.start > watermark.next().0 {
        return Err(StoreError::LogTooYoung { watermark, first: log.start });
    }
    let last = log.end - 1;
    if last < flushed.0 {
        return Err(StoreError::LogTooOld { flushed, last });
    }
    Ok(())
}
