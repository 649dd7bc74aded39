//! A simulated disk: what was not synced may be lost, kept or torn when the power fails, sector by sector.
//!
//! It runs the agent's real segment code, and the real library under `rows.redb`. Directory changes that were not synced
//! survive as a random prefix, as a journaled file system keeps them; sectors of unsynced writes, and changes of a file's
//! length, survive each on its own, in any combination, as a drive's cache keeps them. A budget of steps says when the
//! power fails: inside the step that exhausts it, and every later step is refused. The same seed gives the same disk.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use everett_agent::store::{Disk, DiskFile};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

/// What a drive writes whole or not at all.
const SECTOR: usize = 512;

/// A directory on a simulated disk; clones are handles on the same one.
#[derive(Clone, Debug)]
pub struct SimDisk {
    shared: Arc<Shared>,
}

/// The library wants its file to be shareable, though one thread runs all of it.
#[derive(Debug)]
struct Shared(Mutex<State>);

/// An open file on a simulated disk.
#[derive(Debug)]
pub struct SimFile {
    inode: usize,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct State {
    random: Pcg64,
    files: Vec<Content>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    name_changes: Vec<NameChange>,
    steps_left: u64,
}

#[derive(Debug, Default, Clone)]
struct Content {
    now: Vec<u8>,
    durable: Vec<u8>,
    /// What was changed since the last sync, oldest first.
    pending: Vec<Change>,
}

/// A change that a drive makes whole or not at all.
#[derive(Debug, Clone)]
enum Change {
    Sector(usize, Vec<u8>),
    Length(usize),
}

impl Change {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Sector(offset, bytes) => put(content, *offset, bytes),
            Self::Length(bytes) => content.resize(*bytes, 0),
        }
    }
}

#[derive(Debug, Clone)]
enum NameChange {
    Set(String, usize),
    Remove(String),
}

impl SimDisk {
    /// An empty disk.
    pub fn new(seed: u64) -> Self {
        let state = State {
            random: Pcg64::seed_from_u64(seed),
            files: Vec::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            name_changes: Vec::new(),
            steps_left: u64::MAX,
        };
        Self { shared: Arc::new(Shared(Mutex::new(state))) }
    }

    /// The power will fail in the step after `steps` more.
    pub fn fail_after(&self, steps: u64) {
        self.shared.state().steps_left = steps;
    }

    /// The process was killed and comes back; the operating system lived on and has lost nothing.
    pub fn restart_process(&self) {
        self.shared.state().steps_left = u64::MAX;
    }

    /// The power is back: of what was not synced some is there and some is not.
    pub fn restart(&self) {
        let mut state = self.shared.state();
        let state = &mut *state;
        state.steps_left = u64::MAX;
        let kept = state.random.random_range(0..=state.name_changes.len());
        for change in state.name_changes.drain(..).take(kept) {
            change.apply(&mut state.durable_names);
        }
        state.names = state.durable_names.clone();
        for file in &mut state.files {
            for change in file.pending.drain(..) {
                if state.random.random_bool(0.5) {
                    change.apply(&mut file.durable);
                }
            }
            file.now = file.durable.clone();
        }
    }
}

impl Shared {
    /// A test that failed with the lock in hands has failed; what it left is for nobody.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes one step; false if the power fails in it.
    fn step(&mut self) -> io::Result<bool> {
        if self.steps_left == 0 {
            return Err(io::Error::other("no power"));
        }
        self.steps_left -= 1;
        Ok(self.steps_left > 0)
    }

    fn rename(&mut self, change: NameChange) {
        change.clone().apply(&mut self.names);
        self.name_changes.push(change);
    }

    fn inode(&self, name: &str) -> io::Result<usize> {
        self.names.get(name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl NameChange {
    fn apply(self, names: &mut BTreeMap<String, usize>) {
        match self {
            Self::Set(name, inode) => {
                names.retain(|_, held| *held != inode);
                names.insert(name, inode);
            }
            Self::Remove(name) => {
                names.remove(&name);
            }
        }
    }
}

fn put(content: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    content[offset..end].copy_from_slice(bytes);
}

fn finished(has_power: bool) -> io::Result<()> {
    if has_power { Ok(()) } else { Err(io::Error::other("the power failed")) }
}

impl Disk for SimDisk {
    type File = SimFile;

    fn reopen(&self) -> io::Result<Self> {
        Ok(self.clone())
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.shared.state().names.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<SimFile> {
        let mut state = self.shared.state();
        let has_power = state.step()?;
        if state.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let inode = state.files.len();
        state.files.push(Content::default());
        state.rename(NameChange::Set(name.to_owned(), inode));
        finished(has_power)?;
        Ok(SimFile { inode, shared: Arc::clone(&self.shared) })
    }

    fn open(&self, name: &str) -> io::Result<SimFile> {
        let inode = self.shared.state().inode(name)?;
        Ok(SimFile { inode, shared: Arc::clone(&self.shared) })
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.shared.state();
        let has_power = state.step()?;
        let inode = state.inode(from)?;
        state.rename(NameChange::Set(to.to_owned(), inode));
        finished(has_power)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.shared.state();
        let has_power = state.step()?;
        state.inode(name)?;
        state.rename(NameChange::Remove(name.to_owned()));
        finished(has_power)
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.shared.state();
        finished(state.step()?)?;
        state.durable_names = state.names.clone();
        state.name_changes.clear();
        Ok(())
    }
}

impl DiskFile for SimFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.shared.state().files[self.inode].now.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let state = self.shared.state();
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        let content = &state.files[self.inode].now;
        let bytes = content.get(offset..offset + buffer.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.shared.state();
        let has_power = state.step()?;
        let file = &mut state.files[self.inode];
        let mut offset = usize::try_from(offset).map_err(io::Error::other)?;
        put(&mut file.now, offset, bytes);
        let mut rest = bytes;
        while !rest.is_empty() {
            let (sector, later) = rest.split_at(rest.len().min(SECTOR - offset % SECTOR));
            file.pending.push(Change::Sector(offset, sector.to_vec()));
            offset += sector.len();
            rest = later;
        }
        finished(has_power)
    }

    fn set_length(&self, bytes: u64) -> io::Result<()> {
        let mut state = self.shared.state();
        let has_power = state.step()?;
        let file = &mut state.files[self.inode];
        let change = Change::Length(usize::try_from(bytes).map_err(io::Error::other)?);
        change.apply(&mut file.now);
        file.pending.push(change);
        finished(has_power)
    }

    fn claim(&self) -> io::Result<bool> {
        // Each life has the disk for itself.
        Ok(true)
    }

    fn give_up_cached(&self) {}

    fn sync(&self) -> io::Result<()> {
        let mut state = self.shared.state();
        finished(state.step()?)?;
        let file = &mut state.files[self.inode];
        for change in file.pending.drain(..) {
            change.apply(&mut file.durable);
        }
        Ok(())
    }
}
