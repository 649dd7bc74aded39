//! A disk that can be frozen: an ext4 file system in a file, mounted over a loop device, and `fsfreeze`.
//!
//! While it is frozen every write to it hangs, as on a disk whose controller has lost its way: nothing fails, nothing
//! returns. Needs root, a loop device and the usual tools; where one is missing, it says so and the caller does without.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// More than an agent of the tests ever writes; the file is sparse.
const DISK_BYTES: u64 = 1 << 30;

/// A mounted file system; unmounted when dropped. Declare it before the agents that live on it.
#[derive(Debug)]
pub struct FrozenDisk {
    directory: TempDir,
}

/// A disk that hangs until this is dropped.
#[derive(Debug)]
pub struct Freeze<'a> {
    mount: &'a Path,
}

impl FrozenDisk {
    /// Makes and mounts one; or says what is missing here.
    pub fn mount() -> Result<Self, String> {
        let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
        let disk = Self { directory };
        let image = disk.directory.path().join("image");
        let made = File::create(&image).and_then(|file| file.set_len(DISK_BYTES));
        made.and_then(|()| fs::create_dir(disk.mount_point())).map_err(|error| error.to_string())?;
        run(Command::new("mkfs.ext4").arg("-q").arg(&image))?;
        run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(disk.mount_point()))?;
        // Only now is there something to thaw and to unmount; freezing must be allowed as well.
        drop(disk.freeze()?);
        Ok(disk)
    }

    /// Where its files are.
    pub fn mount_point(&self) -> PathBuf {
        self.directory.path().join("disk")
    }

    /// From now on every write hangs.
    pub fn freeze(&self) -> Result<Freeze<'_>, String> {
        run(Command::new("fsfreeze").arg("-f").arg(self.mount_point()))?;
        Ok(Freeze { mount: self.directory.path() })
    }
}

impl Drop for FrozenDisk {
    fn drop(&mut self) {
        // Fails only if it was never mounted.
        let _ = run(Command::new("umount").arg("--lazy").arg(self.mount_point()));
    }
}

impl Drop for Freeze<'_> {
    fn drop(&mut self) {
        // A disk that stays frozen would keep its agent's process for ever, so this must not be lost.
        if let Err(error) = run(Command::new("fsfreeze").arg("-u").arg(self.mount.join("disk"))) {
            let text = format_args!("-- the disk stays frozen: {error}\n");
            let _ = std::io::Write::write_fmt(&mut std::io::stderr(), text);
        }
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let Output { status, stderr, .. } = command.output().map_err(|error| format!("{name}: {error}"))?;
    if status.success() {
        return Ok(());
    }
    Err(format!("{name}: {status}: {}", String::from_utf8_lossy(&stderr).trim()))
}
