//! The Unix socket that clients find: made so that nobody but the wanted can open it at any moment, and so that a
//! living agent's socket is never taken away.
//!
//! The socket is bound under a name of its own, gets its mode and group there, and is then renamed into place. A file
//! that lies in the way is replaced only if it is a socket on which nobody answers: what a killed agent left.

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

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Another process answers there.
    #[error("{}: another process answers on this socket", .0.display())]
    InUse(PathBuf),
    /// What lies at the path is no socket, and not ours to remove.
    #[error("{}: exists and is no socket", .0.display())]
    NotASocket(PathBuf),
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

/// The listening socket; its file goes with it.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) socket: UnixListener,
    path: PathBuf,
    /// Device and inode of our file: what is at the path later may be a successor's.
    file: (u64, u64),
}

impl Listener {
    pub(super) fn bind(settings: &SocketSettings) -> Result<Self, SocketError> {
        let path = &settings.path;
        let io = |source| SocketError::Io { path: path.clone(), source };
        let group = settings.group.as_deref().map(group_id).transpose()?;
        clear_way(path)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let temporary = path.with_file_name(format!(".{name}.{}", std::process::id()));
        remove_if_there(&temporary).map_err(io)?;
        let socket = StdListener::bind(&temporary).map_err(io)?;
        let dressed = dress(&temporary, settings.mode, group).and_then(|()| {
            let file = fs::symlink_metadata(&temporary)?;
            socket.set_nonblocking(true)?;
            fs::rename(&temporary, path)?;
            Ok((file.dev(), file.ino()))
        });
        let file = dressed.inspect_err(|_| drop(fs::remove_file(&temporary))).map_err(io)?;
        Ok(Self { socket: UnixListener::from_std(socket), path: path.clone(), file })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path).is_ok_and(|file| (file.dev(), file.ino()) == self.file);
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

/// Makes sure that nothing worth keeping lies at `path`.
fn clear_way(path: &Path) -> Result<(), SocketError> {
    let io = |source| SocketError::Io { path: path.to_owned(), source };
    let file = match fs::symlink_metadata(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io(error)),
    };
    if !file.file_type().is_socket() {
        return Err(SocketError::NotASocket(path.to_owned()));
    }
    match StdStream::connect(path) {
        Ok(_) => Err(SocketError::InUse(path.to_owned())),
        // The rename into place replaces it.
        Err(error) if error.kind() == ErrorKind::ConnectionRefused || error.kind() == ErrorKind::NotFound => Ok(()),
        // A full backlog is a sign of life.
        Err(error) if error.kind() == ErrorKind::WouldBlock => Err(SocketError::InUse(path.to_owned())),
        Err(error) => Err(io(error)),
    }
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
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

    #[test]
    fn the_socket_has_its_mode_and_is_gone_with_the_listener() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("everett.sock");
        let listener = Listener::bind(&settings(path.clone())).unwrap();
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
        let living = Listener::bind(&settings(path.clone())).unwrap();
        assert!(matches!(Listener::bind(&settings(path.clone())), Err(SocketError::InUse(_))));
        StdStream::connect(&path).unwrap();
        drop(living);
    }

    #[test]
    fn a_file_that_is_no_socket_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("everett.sock");
        fs::write(&path, "precious").unwrap();
        assert!(matches!(Listener::bind(&settings(path.clone())), Err(SocketError::NotASocket(_))));
        assert_eq!(fs::read(&path).unwrap(), b"precious");
    }

    #[test]
    fn a_successors_socket_outlives_the_predecessors_listener() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("everett.sock");
        let predecessor = Listener::bind(&settings(path.clone())).unwrap();
        fs::remove_file(&path).unwrap();
        let _successor = Listener::bind(&settings(path.clone())).unwrap();
        drop(predecessor);
        StdStream::connect(&path).unwrap();
    }

    #[test]
    fn an_unknown_group_is_an_error_before_anything_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("everett.sock");
        let settings = SocketSettings { group: Some("no such group".to_owned()), ..settings(path.clone()) };
        assert!(matches!(Listener::bind(&settings), Err(SocketError::NoGroup(_))));
        assert!(!path.exists());
        assert_eq!(group_id("root").unwrap(), 0);
    }
}
