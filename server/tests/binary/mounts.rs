//! File systems of a test's own, which are mounted while it runs.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use crate::rig::{directory, skip};

/// A file system of its own, unmounted when dropped.
pub(crate) struct Mounted {
    _directory: TempDir,
    pub(crate) path: PathBuf,
}

impl Mounted {
    /// One of this type without a device; nothing, after saying why, where that can't be had.
    pub(crate) fn new(kind: &str, options: &str) -> Option<Mounted> {
        let directory = directory();
        let path = directory.path().join("mounted");
        fs::create_dir(&path).unwrap();
        match step(Command::new("mount").args(["-t", kind, "-o", options, kind]).arg(&path)) {
            Ok(()) => Some(Mounted { _directory: directory, path }),
            Err(missing) => {
                skip(&missing);
                None
            }
        }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = step(Command::new("umount").arg("--lazy").arg(&self.path));
    }
}

/// An ext4 of its own on a loop device, unmounted when dropped.
pub(crate) struct LoopDisk {
    _directory: TempDir,
    pub(crate) path: PathBuf,
}

impl LoopDisk {
    /// One of `bytes`, made and mounted with these options; nothing, after saying why, where that can't be had.
    pub(crate) fn new(bytes: u64, make: &[&str], options: &str) -> Option<LoopDisk> {
        let directory = directory();
        let (image, path) = (directory.path().join("image"), directory.path().join("mounted"));
        File::create(&image).unwrap().set_len(bytes).unwrap();
        fs::create_dir(&path).unwrap();
        let made = step(Command::new("mkfs.ext4").args(["-q", "-m", "0"]).args(make).arg(&image))
            .and_then(|()| step(Command::new("mount").args(["-o", options]).arg(&image).arg(&path)));
        match made {
            Ok(()) => Some(LoopDisk { _directory: directory, path }),
            Err(missing) => {
                skip(&missing);
                None
            }
        }
    }

    pub(crate) fn remount_read_only(&self) {
        step(Command::new("mount").args(["-o", "remount,ro"]).arg(&self.path)).unwrap();
    }
}

impl Drop for LoopDisk {
    fn drop(&mut self) {
        let _ = step(Command::new("umount").arg("--lazy").arg(&self.path));
    }
}

fn step(command: &mut Command) -> Result<(), String> {
    let said = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    let words = String::from_utf8_lossy(&said.stderr);
    said.status.success().then_some(()).ok_or_else(|| format!("{command:?}: {}", words.trim()))
}
