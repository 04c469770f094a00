//! The block device below a directory and the disks below that, and the devices of the network.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{major, minor};

use crate::Cores;

/// What becomes of a write that the device has acknowledged without a flush.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WriteCache {
    /// It may lie in a volatile cache.
    Back,
    /// It is on stable storage, the device says.
    Through,
    /// Not told.
    Unknown,
}

/// A block device.
#[derive(Debug)]
pub struct Device {
    name: String,
    rotates: Option<bool>,
    /// What the kernel takes its cache for.
    pub write_cache: WriteCache,
    /// Its own in sysfs, without links; a partition's disk's, which alone has a queue and counts flushes.
    pub folder: PathBuf,
    /// What it lies on in the end: itself, unless it is a partition or made of others (device mapper, md).
    pub disks: Vec<Disk>,
}

/// A whole disk that is made of no others.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Disk {
    /// What the kernel calls it.
    pub name: String,
    /// Whether it has a head that moves, if that is told.
    pub rotates: Option<bool>,
    /// Its own in sysfs, without links.
    pub folder: PathBuf,
}

impl Device {
    /// The one that `place` lies on; `None` where the file system has none of its own.
    pub fn of(place: &Path) -> Option<Device> {
        Device::numbered(fs::metadata(place).ok()?.dev())
    }

    /// The one of this number.
    pub fn numbered(number: u64) -> Option<Device> {
        Device::at(Path::new(&format!("/sys/dev/block/{}:{}", major(number), minor(number))))
    }

    /// The one that this folder of sysfs, or link to one, tells of.
    pub fn at(folder: &Path) -> Option<Device> {
        let folder = fs::canonicalize(folder).ok()?;
        let whole = whole(&folder)?;
        let write_cache = match said(whole, "write_cache").as_deref() {
            Some("write back") => WriteCache::Back,
            Some("write through") => WriteCache::Through,
            _ => WriteCache::Unknown,
        };
        let mut disks = Vec::new();
        add_disks(whole, &mut disks);
        Some(Device { name: name(&folder), rotates: rotates(whole), write_cache, folder: whole.to_owned(), disks })
    }

    /// Its name and kind.
    pub fn describe(&self) -> String {
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

impl Disk {
    /// Cores with a queue that is theirs alone, whose requests are finished on them. An only core's only queue is just that.
    pub fn cores_with_queues(&self) -> Cores {
        let list = |queue: &Path| Cores::parse(&fs::read_to_string(queue.join("cpu_list")).ok()?);
        let queues = entries(&self.folder.join("mq")).filter_map(|queue| list(&queue)?.only());
        let own: Cores = queues.collect();
        if own.len() > 1 { own } else { Cores::default() }
    }
}

/// A device of the network.
#[derive(Clone, Debug)]
pub struct Network {
    /// What the kernel calls it.
    pub name: String,
    /// Its hardware's in sysfs, without links.
    pub folder: PathBuf,
}

impl Network {
    /// Those that are up and no mere software, in the tree of sysfs at `sys`.
    pub fn all(sys: &Path) -> Vec<Network> {
        let is_up =
            |device: &Path| fs::read_to_string(device.join("operstate")).is_ok_and(|state| state.trim() == "up");
        let mut devices: Vec<_> = entries(&sys.join("class/net")).filter(|device| is_up(device)).collect();
        devices.sort();
        let below = |device: &PathBuf| {
            Some(Network { name: name(device), folder: fs::canonicalize(device.join("device")).ok()? })
        };
        devices.iter().filter_map(below).collect()
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
pub(crate) fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path())
}

pub(crate) fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn rotates(whole: &Path) -> Option<bool> {
    said(whole, "rotational").map(|text| text == "1")
}

/// What a whole device's queue says of this.
fn said(whole: &Path, what: &str) -> Option<String> {
    fs::read_to_string(whole.join("queue").join(what)).ok().map(|text| text.trim().to_owned())
}
