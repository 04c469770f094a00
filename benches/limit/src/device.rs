//! The block device under a file, and its count of flushes, which shows whether a durable write reached the device.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Flushes are the 16th field of a block device's `stat` file (kernel, `Documentation/block/stat.rst`).
const FLUSH_FIELD: usize = 15;

/// A block device with its statistics, where the file system has one that the kernel counts for.
#[derive(Debug, Clone)]
pub(crate) struct Device {
    name: String,
    stat: PathBuf,
}

impl Device {
    /// The device under `path`; none for a file system without a single block device, such as btrfs or overlayfs.
    pub(crate) fn under(path: &Path) -> Option<Self> {
        let device = fs::metadata(path).ok()?.dev();
        let (major, minor) = (libc::major(device), libc::minor(device));
        let link = PathBuf::from(format!("/sys/dev/block/{major}:{minor}"));
        let mut folder = fs::canonicalize(link).ok()?;
        // The kernel counts flushes on the whole disk only.
        if folder.join("partition").exists() {
            folder.pop();
        }
        let device = Self { name: folder.file_name()?.to_string_lossy().into_owned(), stat: folder.join("stat") };
        device.flushes().map(|_| device)
    }

    /// The kernel's name for it, such as `vda`.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Flushes that the device has done since it appeared.
    pub(crate) fn flushes(&self) -> Option<u64> {
        parse_flushes(&fs::read_to_string(&self.stat).ok()?)
    }
}

fn parse_flushes(stat: &str) -> Option<u64> {
    stat.split_ascii_whitespace().nth(FLUSH_FIELD)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flushes_are_the_sixteenth_field() {
        let stat = "84973 24539 3721482 15332 11590 34195 3984400 16288 0 10636 32004 4021 78 215752 344 897 39\n";
        assert_eq!(parse_flushes(stat), Some(897));
        assert_eq!(parse_flushes("1 2 3"), None, "an old kernel has fewer fields");
    }
}
