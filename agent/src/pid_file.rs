//! The file that names an agent's process, for those who start and stop it by hand.
//!
//! It is written whole or not at all, and removed on the way out. A number alone proves nothing, since numbers are used
//! again: whoever reads it must ask the process what it runs ([`Named::find`] does).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{self, Child};

use rustix::process::{Pid, Signal, kill_process};

/// A pid file of this process; removed when dropped.
#[derive(Debug)]
pub struct PidFile(PathBuf);

impl PidFile {
    /// Writes this process's number to `path`.
    pub fn write(path: &Path) -> io::Result<Self> {
        let whole = path.with_extension("pid.new");
        fs::write(&whole, format!("{}\n", process::id()))?;
        fs::rename(&whole, path)?;
        Ok(Self(path.to_owned()))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // A file that another process has written since is that one's.
        if number(&self.0) == i32::try_from(process::id()).ok() {
            // One that cannot be removed names a process that is gone, which its reader must expect anyway.
            let _ = fs::remove_file(&self.0);
        }
    }
}

/// The live process that a pid file names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Named(Pid);

impl Named {
    /// The process that `pid_file` names, if it lives and was started with `argument` among its arguments.
    pub fn find(pid_file: &Path, argument: &Path) -> Option<Self> {
        let number = number(pid_file)?;
        let line = fs::read(format!("/proc/{number}/cmdline")).ok()?;
        let argument = argument.as_os_str().as_encoded_bytes();
        line.split(|b| *b == 0).any(|word| word == argument).then_some(Self(Pid::from_raw(number)?))
    }

    /// The process of `child`: its number is not used again before it has been waited for.
    pub fn child(child: &Child) -> Option<Self> {
        Pid::from_raw(i32::try_from(child.id()).ok()?).map(Self)
    }

    /// Asks the process to drain and end.
    pub fn terminate(self) -> io::Result<()> {
        Ok(kill_process(self.0, Signal::TERM)?)
    }

    /// Ends the process at once.
    pub fn kill(self) -> io::Result<()> {
        Ok(kill_process(self.0, Signal::KILL)?)
    }
}

fn number(path: &Path) -> Option<i32> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_file_names_this_process_until_it_is_dropped() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("1.pid");
        let file = PidFile::write(&path).unwrap();
        assert_eq!(number(&path), i32::try_from(process::id()).ok());
        drop(file);
        assert!(!path.exists());
    }

    #[test]
    fn the_file_of_a_successor_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("1.pid");
        let file = PidFile::write(&path).unwrap();
        fs::write(&path, "1\n").unwrap();
        drop(file);
        assert_eq!(number(&path), Some(1));
    }

    #[test]
    fn only_a_live_process_with_the_argument_is_found() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("1.pid");
        let _file = PidFile::write(&path).unwrap();
        let own = std::env::args_os().next().expect("a process has a name");
        let found = Named::find(&path, Path::new(&own)).expect("this process runs under its own name");
        assert_eq!(found.0, rustix::process::getpid());
        assert_eq!(Named::find(&path, Path::new("/some/other.toml")), None);
        fs::write(&path, i32::MAX.to_string()).unwrap();
        assert_eq!(Named::find(&path, Path::new(&own)), None);
    }
}
