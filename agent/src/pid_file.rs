//! The file that names an agent's process, for those who start and stop it by hand.
//!
//! It is written whole or not at all, and removed on the way out. A number alone proves nothing, since numbers are used
//! again: whoever reads it must ask the process what it runs ([`Named::find`] does), and read its words as the process
//! itself would, relative paths from its own working directory.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
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
    /// The process that `pid_file` names, if it lives and was started with the configuration `config`.
    pub fn find(pid_file: &Path, config: &Path) -> Option<Self> {
        let number = number(pid_file)?;
        let process = PathBuf::from(format!("/proc/{number}"));
        let line = fs::read(process.join("cmdline")).ok()?;
        let home = fs::read_link(process.join("cwd")).ok()?;
        let config = canonical(config.to_owned());
        let mut named = line.split(|b| *b == 0).filter(|word| !word.is_empty()).map(path_in_word);
        named.any(|path| canonical(home.join(path)) == config).then_some(Self(Pid::from_raw(number)?))
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

/// The path that a word of a command line may name: the whole word, or what follows `--option=`.
fn path_in_word(word: &[u8]) -> &Path {
    let value = word.starts_with(b"--").then(|| word.iter().position(|b| *b == b'=')).flatten();
    Path::new(OsStr::from_bytes(value.map_or(word, |at| &word[at + 1..])))
}

/// The one name that a file has whichever way it is named; a file that is not there keeps the name given.
fn canonical(path: PathBuf) -> PathBuf {
    path.canonicalize().unwrap_or(path)
}

fn number(path: &Path) -> Option<i32> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::process::Stdio;

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

    /// A process in `directory` with these words on its command line, which ends when its input does.
    fn process(directory: &Path, words: &[&str]) -> Child {
        let mut command = process::Command::new("sh");
        command.args(["-c", "echo; read line", "agent"]).args(words).current_dir(directory);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        // Before its first word it may still show the command line of the process that made it.
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        child
    }

    #[test]
    fn a_process_is_found_whichever_way_it_names_its_configuration() {
        let directory = tempfile::tempdir().unwrap();
        let (pid_file, config) = (directory.path().join("1.pid"), directory.path().join("1/everett.toml"));
        fs::create_dir(directory.path().join("1")).unwrap();
        fs::write(&config, "").unwrap();
        let absolute = config.to_str().unwrap();
        for words in [
            &["--config", absolute][..],
            &["--config", "1/everett.toml"],
            &["--config=./1/everett.toml"],
            &["--config", "1/../1//everett.toml"],
        ] {
            let mut child = process(directory.path(), words);
            fs::write(&pid_file, child.id().to_string()).unwrap();
            assert_eq!(Named::find(&pid_file, &config), Named::child(&child), "{words:?}");
            assert_eq!(Named::find(&pid_file, &directory.path().join("2/everett.toml")), None);
            drop(child.stdin.take());
            child.wait().unwrap();
            assert_eq!(Named::find(&pid_file, &config), None, "the process is gone");
        }
    }

    #[test]
    fn a_number_that_another_process_has_now_finds_nobody() {
        let directory = tempfile::tempdir().unwrap();
        let (pid_file, config) = (directory.path().join("1.pid"), directory.path().join("everett.toml"));
        fs::write(&config, "").unwrap();
        let mut child = process(directory.path(), &["--config", "other.toml"]);
        fs::write(&pid_file, child.id().to_string()).unwrap();
        assert_eq!(Named::find(&pid_file, &config), None);
        drop(child.stdin.take());
        child.wait().unwrap();
    }
}
