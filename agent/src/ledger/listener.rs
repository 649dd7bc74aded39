//! The Unix socket that clients find: made so that nobody but the wanted can open it at any moment, and so that a
//! living agent's socket is never taken away.
//!
//! The socket is claimed first and opened last. Claimed, it is bound under a hidden name beside its own, with its mode and
//! group: who else wants this socket is refused before anything of theirs has begun. Opened, it is renamed into place, so
//! that clients find either nobody or an agent that answers. A file that lies in the way is replaced only if it is a socket
//! on which nobody answers: what a killed agent left.

use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::os::unix::net::{UnixListener as StdListener, UnixStream as StdStream};
use std::path::{Path, PathBuf};

use mio::net::UnixListener;

/// Where the socket is, and who may open it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SocketSettings {
    /// The socket's path.
    pub path: PathBuf,
    /// Its permission bits.
    pub mode: u32,
    /// The group that owns it, by name or number; the process's own if none.
    pub group: Option<String>,
}

/// The longest path that a socket may have: a byte less than the kernel takes, for the dot that hides its claim.
const PATH_BYTES_MAX: usize = 106;

impl SocketSettings {
    /// Whether an agent could have its socket here, and what lies there now; touches nothing.
    pub fn check(&self) -> Result<Found, SocketError> {
        self.group.as_deref().map(group_id).transpose()?;
        let length_bytes = self.path.as_os_str().len();
        if length_bytes > PATH_BYTES_MAX {
            return Err(SocketError::TooLong { path: self.path.clone(), length_bytes });
        }
        let directory = directory_of(&self.path);
        if !directory.is_dir() {
            return Err(SocketError::NoDirectory(directory.to_owned()));
        }
        find(&self.path)
    }
}

/// The directory that a file at `path` lies in.
pub fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(here) if here.as_os_str().is_empty() => Path::new("."),
        Some(directory) => directory,
        None => path,
    }
}

/// What lies where a socket shall be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found {
    /// Nothing.
    Nothing,
    /// A socket that its process left behind.
    Dead,
    /// A socket on which somebody answers.
    Living,
}

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Another process answers there.
    #[error("{}: another process answers on this socket", .0.display())]
    InUse(PathBuf),
    /// What lies at the path is no socket, and not ours to remove.
    #[error("{}: exists and is no socket", .0.display())]
    NotASocket(PathBuf),
    /// The kernel takes no path of this length.
    #[error("{}: {length_bytes} bytes are too long for a socket's path, {PATH_BYTES_MAX} at most", path.display())]
    TooLong {
        /// The path.
        path: PathBuf,
        /// Its length.
        length_bytes: usize,
    },
    /// There is nothing to make the socket in.
    #[error("{}: no such directory for the socket", .0.display())]
    NoDirectory(PathBuf),
    /// No such group on this host.
    #[error("no group {0:?} on this host")]
    NoGroup(String),
    /// The operating system refused.
    #[error("{}: cannot make the socket", path.display())]
    Io {
        /// The socket's path.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl SocketError {
    /// What the operator can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::InUse(_) => {
                "one agent runs or starts here already; `socket.path` gives another one a socket of its own"
            }
            Self::NotASocket(_) => "is `socket.path` right? What lies there is not removed",
            Self::TooLong { .. } => "choose a shorter `socket.path`",
            Self::NoDirectory(_) => "make the directory, or choose another `socket.path`",
            Self::NoGroup(_) => "make the group, or leave `socket.group` out for the process's own",
            Self::Io { .. } => "may this user write to the directory, and is it a member of `socket.group`?",
        }
    }
}

/// A socket that is bound, but not yet where clients look for it; dropped, it never was.
#[derive(Debug)]
pub struct Claim {
    socket: StdListener,
    file: OwnFile,
    path: PathBuf,
}

impl Claim {
    /// Claims the socket that `settings` describe.
    pub fn make(settings: &SocketSettings) -> Result<Self, SocketError> {
        let path = settings.path.clone();
        let io = |source| SocketError::Io { path: path.clone(), source };
        refuse_living(settings.check()?, &path)?;
        let group = settings.group.as_deref().map(group_id).transpose()?;
        let mut hidden = OsString::from(".");
        hidden.push(path.file_name().unwrap_or_default());
        let hidden = path.with_file_name(hidden);
        let socket = match StdListener::bind(&hidden) {
            Err(error) if error.kind() == ErrorKind::AddrInUse => {
                // Another agent that starts has it, or one that was killed at its start left it.
                refuse_living(find(&hidden)?, &path)?;
                fs::remove_file(&hidden).and_then(|()| StdListener::bind(&hidden))
            }
            bound => bound,
        }
        .map_err(io)?;
        let file = OwnFile::at(&hidden).map_err(io)?;
        dress(&hidden, settings.mode, group).and_then(|()| socket.set_nonblocking(true)).map_err(io)?;
        Ok(Self { socket, file, path })
    }

    /// Puts the socket where clients look for it.
    pub(super) fn open(mut self) -> Result<Listener, SocketError> {
        refuse_living(find(&self.path)?, &self.path)?;
        match fs::rename(&self.file.path, &self.path) {
            Ok(()) => self.file.path = self.path,
            Err(source) => return Err(SocketError::Io { path: self.path, source }),
        }
        Ok(Listener { socket: UnixListener::from_std(self.socket), _file: self.file })
    }
}

/// The listening socket; its file goes with it.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) socket: UnixListener,
    _file: OwnFile,
}

/// Our socket's file, removed when dropped.
#[derive(Debug)]
struct OwnFile {
    path: PathBuf,
    /// Device and inode: what is at the path later may be a successor's.
    id: (u64, u64),
}

impl OwnFile {
    fn at(path: &Path) -> io::Result<Self> {
        let file = fs::symlink_metadata(path)?;
        Ok(Self { path: path.to_owned(), id: (file.dev(), file.ino()) })
    }
}

impl Drop for OwnFile {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path).is_ok_and(|file| (file.dev(), file.ino()) == self.id);
        if ours && let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "the socket's file stays behind");
        }
    }
}

fn dress(path: &Path, mode: u32, group: Option<u32>) -> io::Result<()> {
    fs::set_permissions(path, Permissions::from_mode(mode))?;
    match group {
        Some(group) => chown(path, None, Some(group)),
        None => Ok(()),
    }
}

fn refuse_living(found: Found, path: &Path) -> Result<(), SocketError> {
    if found == Found::Living { Err(SocketError::InUse(path.to_owned())) } else { Ok(()) }
}

/// What lies at `path`; an error if it is no socket.
fn find(path: &Path) -> Result<Found, SocketError> {
    let io = |source| SocketError::Io { path: path.to_owned(), source };
    let file = match fs::symlink_metadata(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) => return Err(io(error)),
    };
    if !file.file_type().is_socket() {
        return Err(SocketError::NotASocket(path.to_owned()));
    }
    match StdStream::connect(path) {
        Ok(_) => Ok(Found::Living),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused || error.kind() == ErrorKind::NotFound => {
            Ok(Found::Dead)
        }
        // A full backlog is a sign of life.
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Found::Living),
        Err(error) => Err(io(error)),
    }
}

/// A group's number: as given, or from the host's list of groups.
fn group_id(group: &str) -> Result<u32, SocketError> {
    if let Ok(number) = group.parse() {
        return Ok(number);
    }
    let listed = fs::read_to_string("/etc/group").unwrap_or_default();
    let number = listed.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(group)).then(|| fields.nth(1)?.parse().ok()).flatten()
    });
    number.ok_or_else(|| SocketError::NoGroup(group.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(path: PathBuf) -> SocketSettings {
        SocketSettings { path, mode: 0o640, group: None }
    }

    fn claim(path: &Path) -> Result<Claim, SocketError> {
        Claim::make(&settings(path.to_owned()))
    }

    #[test]
    fn a_claim_keeps_others_away_and_clients_find_nobody_yet() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("everett.sock");
        // What two agents left that were killed, one at its start and one later.
        drop(StdListener::bind(&path).unwrap());
        drop(StdListener::bind(dir.path().join(".everett.sock")).unwrap());
        assert_eq!(settings(path.clone()).check().unwrap(), Found::Dead);
        let first = claim(&path).unwrap();
        assert!(matches!(claim(&path), Err(SocketError::InUse(named)) if named == path));
        assert!(StdStream::connect(&path).is_err());
        let listener = first.open().unwrap();
        assert_eq!(settings(path.clone()).check().unwrap(), Found::Living);
        drop(listener);
        drop(claim(&path).unwrap());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_path_that_no_socket_can_have_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let long = dir.path().join("s".repeat(PATH_BYTES_MAX - dir.path().as_os_str().len()));
        assert!(matches!(claim(&long), Err(SocketError::TooLong { length_bytes: 107, .. })));
        let longest = long.with_file_name(&long.file_name().unwrap().to_str().unwrap()[1..]);
        drop(claim(&longest).unwrap().open().unwrap());
        let missing = dir.path().join("nowhere/everett.sock");
        assert!(matches!(claim(&missing), Err(SocketError::NoDirectory(named)) if named == dir.path().join("nowhere")));
        assert!(matches!(claim(dir.path()), Err(SocketError::NotASocket(_))));
    }

    #[test]
    fn the_socket_has_its_mode_and_is_gone_with_the_listener() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("everett.sock");
        let listener = claim(&path).unwrap().open().unwrap();
        assert_eq!(fs::symlink_metadata(&path).unwrap().mode() & 0o777, 0o640);
        StdStream::connect(&path).unwrap();
        drop(listener);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_dead_agents_socket_is_replaced_and_a_living_ones_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("everett.sock");
        drop(StdListener::bind(&path).unwrap());
        let living = claim(&path).unwrap().open().unwrap();
        assert!(matches!(claim(&path), Err(SocketError::InUse(_))));
        StdStream::connect(&path).unwrap();
        drop(living);
    }

    #[test]
    fn a_file_that_is_no_socket_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("everett.sock");
        fs::write(&path, "precious").unwrap();
        assert!(matches!(claim(&path), Err(SocketError::NotASocket(_))));
        assert_eq!(fs::read(&path).unwrap(), b"precious");
    }

    #[test]
    fn a_successors_socket_outlives_the_predecessors_listener() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("everett.sock");
        let predecessor = claim(&path).unwrap().open().unwrap();
        fs::remove_file(&path).unwrap();
        let _successor = claim(&path).unwrap().open().unwrap();
        drop(predecessor);
        StdStream::connect(&path).unwrap();
    }

    #[test]
    fn an_unknown_group_is_an_error_before_anything_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("everett.sock");
        let settings = SocketSettings { group: Some("no such group".to_owned()), ..settings(path.clone()) };
        assert!(matches!(Claim::make(&settings), Err(SocketError::NoGroup(_))));
        assert!(!path.exists());
        assert_eq!(group_id("root").unwrap(), 0);
    }
}
