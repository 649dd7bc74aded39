//! The few things the store asks of a file system, behind a trait.
//!
//! Apart so that the real segment code, and the library under `rows.redb`, run over a simulated disk that loses, tears or
//! refuses what was not synced.
//! [`Folder`] is the real one. Offsets are explicit everywhere: no file has a position of its own.
//!
//! Invariants an implementation keeps: what was written before a successful [`DiskFile::sync`] survives a power loss; a
//! name created, renamed or removed survives once [`Disk::sync`] has returned.

use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Advice, fadvise};

/// One directory of files.
pub trait Disk: Sized {
    /// An open file; it stays readable after a rename or removal.
    type File: DiskFile;

    /// Another handle on the same directory, for a reader on another thread.
    fn reopen(&self) -> io::Result<Self>;

    /// The names of all files.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Makes a new, empty file; fails if the name exists.
    fn create(&self, name: &str) -> io::Result<Self::File>;
    /// Opens an existing file for reading and writing.
    fn open(&self, name: &str) -> io::Result<Self::File>;
    /// Gives a file another, free name.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a name.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes all names durable.
    fn sync(&self) -> io::Result<()>;
}

/// One open file.
pub trait DiskFile: fmt::Debug {
    /// The file's length in bytes.
    fn length(&self) -> io::Result<u64>;
    /// Fills `buffer` from `offset`; a file that ends earlier is an error.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
    /// Writes all of `bytes` at `offset`.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Makes the file this long; what is new reads as zeros.
    fn set_length(&self, bytes: u64) -> io::Result<()>;
    /// Makes what was written durable.
    fn sync(&self) -> io::Result<()>;
    /// Keeps others from claiming the file while this one is open; false if another has claimed it.
    fn claim(&self) -> io::Result<bool>;
    /// Has the operating system give up what it keeps of the file in memory, so that it is read from the disk again.
    fn give_up_cached(&self);
}

/// A directory of the host's file system.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    handle: File,
}

impl Folder {
    /// Opens `path`, making it (mode 0700) if it does not exist.
    pub fn open(path: &Path) -> io::Result<Self> {
        use std::os::unix::fs::DirBuilderExt;
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        Ok(Self { path: path.to_owned(), handle: File::open(path)? })
    }

    /// Another handle on the same directory, for a reader on another thread.
    pub fn reopen(&self) -> io::Result<Self> {
        Ok(Self { path: self.path.clone(), handle: self.handle.try_clone()? })
    }
}

impl Disk for Folder {
    type File = File;

    fn reopen(&self) -> io::Result<Self> {
        Self::reopen(self)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        // A name that is no UTF-8 is none of ours.
        fs::read_dir(&self.path)?
            .filter_map(|entry| entry.map(|e| e.file_name().into_string().ok()).transpose())
            .collect()
    }

    fn create(&self, name: &str) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600);
        options.open(self.path.join(name))
    }

    fn open(&self, name: &str) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).open(self.path.join(name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn sync(&self) -> io::Result<()> {
        self.handle.sync_all()
    }
}

impl DiskFile for File {
    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.read_exact_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn set_length(&self, bytes: u64) -> io::Result<()> {
        self.set_len(bytes)
    }

    fn claim(&self) -> io::Result<bool> {
        match self.try_lock() {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn give_up_cached(&self) {
        if let Err(error) = fadvise(self, 0, None, Advice::DontNeed) {
            tracing::debug!(%error, "the file stays in memory");
        }
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}
