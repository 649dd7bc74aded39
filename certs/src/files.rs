//! Files of a bundle and of an authority: how they are named, written and read.
//!
//! Written: into a temporary file beside the target, synced, then put in place in one step, then the directory is
//! synced. A reader, a crash or a full disk therefore meets the old file or the new one, never a half. Without
//! `force` the step is a hard link, which fails if the name is taken, so two writers cannot both win. A set of files
//! is checked as a whole before the first is touched, but it is not replaced as a whole: a reader between two of the
//! steps may see a key beside the other key's certificate, and is told so by the loader.
//!
//! Read: never more than a fixed number of bytes, and a secret only if its mode keeps others out. The group may read,
//! because that is how systemd hands credentials to a service.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustls_pki_types::pem::{self, PemObject};

use crate::error::{Error, Item};
use crate::identity::hex;
use crate::place_key::{PlaceKey, fill_random};

/// The certificates of the authorities that are trusted.
pub const CA_CERTIFICATES: &str = "ca.pem";
/// The authority's private key; only where certificates are issued.
pub const CA_KEY: &str = "ca.key";
/// The node's certificate.
pub const NODE_CERTIFICATE: &str = "node.pem";
/// The node's private key.
pub const NODE_KEY: &str = "node.key";
/// The cluster's place key: 32 bytes, not text.
pub const PLACE_KEY: &str = "place.key";
/// Lists of revoked certificates; optional.
pub const REVOCATION_LISTS: &str = "crl.pem";

/// The most that is read of any file: room for a list of tens of thousands of revoked certificates.
const FILE_BYTES_MAX: u64 = 4 << 20;
/// Permission bits no secret may have: anything for others, and all but reading for the group.
const EXPOSED_BITS: u32 = 0o037;
/// The permission bits of a mode.
const MODE_BITS: u32 = 0o7777;

/// Whether others may read a file that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Secrecy {
    Public,
    Secret,
}

/// One file to be written.
pub(crate) struct Content<'a> {
    pub(crate) name: &'static str,
    pub(crate) secrecy: Secrecy,
    pub(crate) bytes: &'a [u8],
}

/// Writes a set of files into `dir`, making it (for the owner alone) if need be. Without `force` nothing is written
/// if any of them exists.
pub(crate) fn write_set(dir: &Path, contents: &[Content<'_>], force: bool) -> Result<(), Error> {
    if !force {
        check_free(dir, contents.iter().map(|content| content.name))?;
    }
    make_dir(dir)?;
    contents.iter().try_for_each(|content| write_one(dir, content, force))
}

/// Whether none of `names` exists in `dir`.
pub(crate) fn check_free<'a>(dir: &Path, names: impl IntoIterator<Item = &'a str>) -> Result<(), Error> {
    for name in names {
        let path = dir.join(name);
        match fs::symlink_metadata(&path) {
            Ok(_) => return Err(Error::Exists { path }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(Error::Read { path, source }),
        }
    }
    Ok(())
}

/// Makes a directory and those above it, open to the owner alone.
pub(crate) fn make_dir(dir: &Path) -> Result<(), Error> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|source| write_error(dir, source))
}

fn write_one(dir: &Path, content: &Content<'_>, force: bool) -> Result<(), Error> {
    let target = dir.join(content.name);
    let temporary = temporary_beside(dir, content.name)?;
    let placed = write_synced(&temporary, content)
        .and_then(|()| if force { fs::rename(&temporary, &target) } else { fs::hard_link(&temporary, &target) });
    if !force || placed.is_err() {
        // Best effort: a leftover is as secret as the file it was to become, and its name is never read.
        drop(fs::remove_file(&temporary));
    }
    match placed {
        Ok(()) => sync_dir(dir),
        Err(error) if !force && error.kind() == io::ErrorKind::AlreadyExists => Err(Error::Exists { path: target }),
        Err(source) => Err(write_error(&target, source)),
    }
}

fn write_synced(temporary: &Path, content: &Content<'_>) -> io::Result<()> {
    let mode = match content.secrecy {
        Secrecy::Public => 0o644,
        Secrecy::Secret => 0o600,
    };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(temporary)?;
    file.write_all(content.bytes)?;
    file.sync_all()
}

fn temporary_beside(dir: &Path, name: &str) -> Result<PathBuf, Error> {
    let mut random = [0; 8];
    fill_random(&mut random)?;
    Ok(dir.join(format!(".{name}.{}.tmp", hex(&random))))
}

/// Makes a directory's entries durable.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), Error> {
    // An empty relative path means the working directory, which `open` knows by another name.
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    File::open(dir).and_then(|handle| handle.sync_all()).map_err(|source| write_error(dir, source))
}

pub(crate) fn write_error(path: &Path, source: io::Error) -> Error {
    Error::Write { path: path.to_owned(), source }
}

pub(crate) fn read_error(path: &Path, source: io::Error) -> Error {
    Error::Read { path: path.to_owned(), source }
}

/// Reads a file whole, within bounds. Mode and bytes come from one open handle, so they are of the same file.
pub(crate) fn read(path: &Path, secrecy: Secrecy) -> Result<Vec<u8>, Error> {
    let file = File::open(path).map_err(|source| read_error(path, source))?;
    if secrecy == Secrecy::Secret {
        let mode = file.metadata().map_err(|source| read_error(path, source))?.permissions().mode() & MODE_BITS;
        if mode & EXPOSED_BITS != 0 {
            return Err(Error::Exposed { path: path.to_owned(), mode });
        }
    }
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|source| read_error(path, source))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(Error::TooLarge { path: path.to_owned(), bytes_max: FILE_BYTES_MAX });
    }
    Ok(bytes)
}

/// Reads a file that need not be there.
pub(crate) fn read_optional(path: &Path, secrecy: Secrecy) -> Result<Option<Vec<u8>>, Error> {
    match read(path, secrecy) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(Error::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Every section of the wanted kind in a PEM text; at least one.
pub(crate) fn sections<T: PemObject>(path: &Path, text: &[u8], wanted: Item) -> Result<Vec<T>, Error> {
    let found: Vec<T> = T::pem_slice_iter(text)
        .collect::<Result<_, _>>()
        .map_err(|source| Error::Pem { path: path.to_owned(), source })?;
    if found.is_empty() {
        return Err(Error::Missing { path: path.to_owned(), wanted });
    }
    Ok(found)
}

/// The first section of the wanted kind in a PEM text.
pub(crate) fn first_section<T: PemObject>(path: &Path, text: &[u8], wanted: Item) -> Result<T, Error> {
    match T::from_pem_slice(text) {
        Ok(item) => Ok(item),
        Err(pem::Error::NoItemsFound) => Err(Error::Missing { path: path.to_owned(), wanted }),
        Err(source) => Err(Error::Pem { path: path.to_owned(), source }),
    }
}

/// The place key in `dir`.
pub(crate) fn read_place_key(dir: &Path) -> Result<PlaceKey, Error> {
    let path = dir.join(PLACE_KEY);
    let bytes = read(&path, Secrecy::Secret)?;
    let key: [u8; PlaceKey::LEN] =
        bytes.as_slice().try_into().map_err(|_| Error::PlaceKeyLength { path, bytes: bytes.len() })?;
    Ok(PlaceKey::from(key))
}

#[cfg(test)]
mod tests;
