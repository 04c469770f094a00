//! The block device below a directory, as far as sysfs tells.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::{major, minor, stat};

/// What becomes of a write that the device has acknowledged without a flush.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum WriteCache {
    /// It may lie in a volatile cache.
    Back,
    /// It is on stable storage, the device says.
    Through,
    /// Not told.
    Unknown,
}

/// A block device.
#[derive(Debug)]
pub(super) struct Device {
    name: String,
    rotates: Option<bool>,
    pub(super) write_cache: WriteCache,
}

impl Device {
    /// The one that `place` lies on; `None` where the file system has none of its own.
    pub(super) fn of(place: &Path) -> Option<Device> {
        let device = stat(place).ok()?.st_dev;
        let link = PathBuf::from(format!("/sys/dev/block/{}:{}", major(device), minor(device)));
        let folder = fs::canonicalize(link).ok()?;
        // A partition's queue is its disk's.
        let disk = folder.ancestors().take(2).find(|folder| folder.join("queue").is_dir())?;
        let said = |name: &str| fs::read_to_string(disk.join("queue").join(name)).ok();
        let write_cache = match said("write_cache").as_deref().map(str::trim) {
            Some("write back") => WriteCache::Back,
            Some("write through") => WriteCache::Through,
            _ => WriteCache::Unknown,
        };
        let rotates = said("rotational").map(|text| text.trim() == "1");
        let name = folder.file_name()?.to_string_lossy().into_owned();
        Some(Device { name, rotates, write_cache })
    }

    /// Its name and kind.
    pub(super) fn describe(&self) -> String {
        let kind = match self.rotates {
            Some(true) => " (rotating)",
            Some(false) | None => "",
        };
        format!("{}{kind}", self.name)
    }
}
