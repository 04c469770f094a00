//! The disk under a directory: its file system, device, write cache, free space and flush counter.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use devices::{Device, core_of_interrupts};
use serde::{Deserialize, Serialize};

/// The disk under a directory.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Disk {
    /// The file system's type.
    pub file_system: String,
    /// The block device, where there is one.
    pub device: Option<String>,
    /// What the kernel takes its cache for: `write back` (volatile: flushes matter) or `write through`.
    pub write_cache: Option<String>,
    /// The whole disks that carry it: flushes are counted there, not on partitions.
    #[serde(skip)]
    disks: Vec<devices::Disk>,
}

impl Disk {
    /// The disk under `directory`, which exists.
    pub fn under(directory: &Path) -> io::Result<Self> {
        let directory = directory.canonicalize()?;
        let (file_system, source) = mount_of(&directory)?;
        let device = Path::new(&source).is_absolute().then(|| PathBuf::from(source));
        let number = match &device {
            Some(device) => fs::metadata(device).map(|found| found.rdev()).ok(),
            None => None,
        };
        let number = number.unwrap_or(fs::metadata(&directory)?.dev());
        let disks = Device::numbered(number).map_or_else(Vec::new, |device| device.disks);
        let write_cache = disks
            .first()
            .and_then(|disk| fs::read_to_string(disk.folder.join("queue/write_cache")).ok())
            .map(|text| text.trim().to_owned());
        let device = if disks.is_empty() { None } else { device.map(|path| path.display().to_string()) };
        Ok(Self { file_system, device, write_cache, disks })
    }

    /// A disk for the tests of others.
    #[cfg(test)]
    pub(crate) fn sample(write_cache: &str) -> Self {
        let (device, write_cache) = (Some("/dev/sample".to_owned()), Some(write_cache.to_owned()));
        Self { file_system: "ext4".to_owned(), device, write_cache, disks: Vec::new() }
    }

    /// Flushes that the device has completed so far: the 16th field of its `stat`. `None` where there is no such count.
    pub fn flushes(&self) -> Option<u64> {
        if self.disks.is_empty() {
            return None;
        }
        let stats = self.disks.iter().map(|disk| disk.folder.join("stat"));
        stats.map(|path| fs::read_to_string(path).ok()?.split_ascii_whitespace().nth(15)?.parse::<u64>().ok()).sum()
    }

    /// The core on which its interrupts land, if that is one.
    pub fn core_of_interrupts(&self) -> Option<usize> {
        core_of_interrupts(&self.disks)
    }

    /// Bytes that may still be written to the file system of `directory`, if it has a size.
    pub fn free_bytes(directory: &Path) -> io::Result<Option<u64>> {
        let space = rustix::fs::statvfs(directory)?;
        Ok((space.f_blocks > 0).then(|| space.f_bavail.saturating_mul(space.f_frsize)))
    }

    /// One line for people.
    pub fn describe(&self) -> String {
        let device = self.device.as_deref().unwrap_or("no block device");
        match &self.write_cache {
            Some(cache) => format!("{} on {device}, write cache: {cache}", self.file_system),
            None => format!("{} on {device}", self.file_system),
        }
    }
}

/// Type and source of the mount that holds a path.
fn mount_of(path: &Path) -> io::Result<(String, String)> {
    let table = fs::read_to_string("/proc/self/mountinfo")?;
    let mut best: Option<(usize, String, String)> = None;
    for line in table.lines() {
        let Some((place, source)) = line.split_once(" - ") else { continue };
        let Some(point) = place.split(' ').nth(4).map(unescape) else { continue };
        let mut source = source.split(' ');
        let (Some(kind), Some(source)) = (source.next(), source.next()) else { continue };
        let depth = Path::new(&point).components().count();
        // A later line covers an earlier one of the same place.
        if path.starts_with(&point) && best.as_ref().is_none_or(|best| best.0 <= depth) {
            best = Some((depth, kind.to_owned(), unescape(source)));
        }
    }
    best.map(|(_, kind, source)| (kind, source)).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
}

/// Undoes the octal escapes of the mount table.
fn unescape(text: &str) -> String {
    text.replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_synced_file_moves_the_counter() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR"));
        let disk = Disk::under(directory).unwrap();
        assert!(Disk::free_bytes(directory).unwrap().is_some_and(|bytes| bytes > 0));
        let Some(before) = disk.flushes() else {
            // Nothing to count on an overlay or a memory file system, and it says so.
            assert!(disk.describe().contains("no block device"), "{}", disk.describe());
            return;
        };
        if disk.write_cache.as_deref() == Some("write back") {
            let mut file = tempfile::tempfile_in(directory).unwrap();
            file.write_all(b"x").unwrap();
            file.sync_all().unwrap();
            assert!(disk.flushes().unwrap() > before);
        }
    }

    #[test]
    fn memory_has_no_device() {
        let disk = Disk::under(Path::new("/dev/shm")).unwrap();
        assert_eq!((disk.file_system.as_str(), disk.flushes()), ("tmpfs", None));
    }
}
