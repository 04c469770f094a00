//! The block device below a directory, and the disks below that, as far as sysfs tells.

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
    /// What it lies on in the end: itself, unless it is a partition or made of others (device mapper, md).
    pub(super) disks: Vec<Disk>,
}

/// A whole disk that is made of no others.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Disk {
    pub(super) name: String,
    pub(super) rotates: Option<bool>,
    /// Its own in sysfs, without links.
    pub(super) folder: PathBuf,
}

impl Device {
    /// The one that `place` lies on; `None` where the file system has none of its own.
    pub(super) fn of(place: &Path) -> Option<Device> {
        let device = stat(place).ok()?.st_dev;
        Device::at(Path::new(&format!("/sys/dev/block/{}:{}", major(device), minor(device))))
    }

    /// The one that this folder of sysfs, or link to one, tells of.
    pub(super) fn at(folder: &Path) -> Option<Device> {
        let folder = fs::canonicalize(folder).ok()?;
        let whole = whole(&folder)?;
        let write_cache = match said(whole, "write_cache").as_deref() {
            Some("write back") => WriteCache::Back,
            Some("write through") => WriteCache::Through,
            _ => WriteCache::Unknown,
        };
        let mut disks = Vec::new();
        add_disks(whole, &mut disks);
        Some(Device { name: name(&folder), rotates: rotates(whole), write_cache, disks })
    }

    /// Its name and kind.
    pub(super) fn describe(&self) -> String {
        let kind = match self.rotates {
            Some(true) => " (rotating)",
            Some(false) | None => "",
        };
        let mut text = format!("{}{kind}", self.name);
        if self.disks.iter().any(|disk| disk.name != self.name) {
            let disks: Vec<&str> = self.disks.iter().map(|disk| disk.name.as_str()).collect();
            text.push_str(&format!(" on {}", disks.join(" and ")));
        }
        text
    }
}

/// A partition's disk, which alone has a queue, or the device itself.
fn whole(folder: &Path) -> Option<&Path> {
    folder.ancestors().take(2).find(|folder| folder.join("queue").is_dir())
}

/// Adds the disks that a whole device lies on, each once.
fn add_disks(whole_device: &Path, disks: &mut Vec<Disk>) {
    let mut below: Vec<PathBuf> = entries(&whole_device.join("slaves")).flat_map(fs::canonicalize).collect();
    below.sort();
    for device in below.iter().filter_map(|folder| whole(folder)) {
        add_disks(device, disks);
    }
    let disk = Disk { name: name(whole_device), rotates: rotates(whole_device), folder: whole_device.to_owned() };
    if below.is_empty() && !disks.contains(&disk) {
        disks.push(disk);
    }
}

/// What lies in a folder, if it can be read.
pub(super) fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path())
}

pub(super) fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn rotates(whole: &Path) -> Option<bool> {
    said(whole, "rotational").map(|text| text == "1")
}

/// What a whole device's queue says of this.
fn said(whole: &Path, what: &str) -> Option<String> {
    fs::read_to_string(whole.join("queue").join(what)).ok().map(|text| text.trim().to_owned())
}
