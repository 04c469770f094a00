//! A disk of a measurement's own: an ext4 in a file, on a loop device, mounted while it is measured.
//!
//! Only this process and its children see the mount. So it goes, and the loop device with it, when they do, however they end.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::child::shown;
use crate::error::PairsError;

/// Tables are written at once, so that nothing is done later beside what is measured.
const MAKE: [&str; 4] = ["-q", "-m0", "-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0"];

/// Set for a process whose mounts are its own.
const OWN_MOUNTS: &str = "MILLSTREAM_PAIRS_OWN_MOUNTS";

/// Has this process's mounts be its own, where that is possible, by becoming itself once more.
pub(crate) fn own_mounts() {
    let Ok(program) = std::env::current_exe() else { return };
    if std::env::var_os(OWN_MOUNTS).is_some() || !rustix::process::geteuid().is_root() {
        return;
    }
    let mut again = Command::new("unshare");
    again
        .args(["--mount", "--propagation=private"])
        .arg(program)
        .args(std::env::args_os().skip(1))
        .env(OWN_MOUNTS, "1");
    // It returns only where it failed. Then the mount is everybody's, and goes when it is no longer needed.
    let error = again.exec();
    eprintln!("pairs: no mounts of its own ({error}): install util-linux, or see after a crash that none is left");
}

/// A mounted disk. It is unmounted when dropped, and the loop device goes with that.
pub(crate) struct Disk {
    path: PathBuf,
    /// What the empty file system takes.
    empty_bytes: u64,
}

impl Disk {
    /// Makes and mounts one of `bytes` below a directory. The file has holes where nothing was ever written.
    pub(crate) fn new(within: &Path, bytes: u64) -> Result<Self, PairsError> {
        if !rustix::process::geteuid().is_root() {
            return Err(PairsError::Root);
        }
        let (image, path) = (within.join("image"), within.join("disk"));
        let failed = |source| PairsError::File { path: image.clone(), source };
        File::create(&image).and_then(|file| file.set_len(bytes)).map_err(failed)?;
        fs::create_dir(&path).map_err(failed)?;
        step(Command::new("mkfs.ext4").args(MAKE).arg(&image))?;
        // No page cache between the file system and the file, or a write would be two in memory.
        let said = step(Command::new("losetup").args(["--find", "--show", "--direct-io=on"]).arg(&image))?;
        let device = String::from_utf8_lossy(&said.stdout).trim().to_owned();
        let mounted = step(Command::new("mount").args(["-t", "ext4", "-o", "noatime", &device]).arg(&path));
        // One that is mounted goes when it no longer is, whoever unmounts it.
        let detached = step(Command::new("losetup").args(["--detach", &device]));
        mounted?;
        let mut disk = Self { path, empty_bytes: 0 };
        detached?;
        disk.empty_bytes = disk.used_bytes()?;
        Ok(disk)
    }

    /// Where it is mounted.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes that are allocated on it: blocks of files, also of those that have no name any more, and what the file system needs
    /// to find them.
    pub(crate) fn used_bytes(&self) -> Result<u64, PairsError> {
        let space = rustix::fs::statvfs(&self.path)
            .map_err(|errno| PairsError::File { path: self.path.clone(), source: errno.into() })?;
        let used = space.f_blocks.saturating_sub(space.f_bfree).saturating_mul(space.f_frsize);
        Ok(used.saturating_sub(self.empty_bytes))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let mut unmount = Command::new("umount");
        if step(unmount.arg(&self.path)).is_err() {
            // Whoever still has a file open keeps it until then.
            let _ = step(Command::new("umount").arg("--lazy").arg(&self.path));
        }
    }
}

fn step(command: &mut Command) -> Result<Output, PairsError> {
    let name = shown(command);
    match command.output() {
        Ok(said) if said.status.success() => Ok(said),
        Ok(said) => Err(PairsError::Failed {
            command: name,
            why: said.status.to_string(),
            log: String::from_utf8_lossy(&said.stderr).trim().to_owned(),
        }),
        Err(source) => Err(PairsError::Start { name, source }),
    }
}
