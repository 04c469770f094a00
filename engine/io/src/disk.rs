//! Which disk a file system lies on: partitions of one share it.

use std::fs;
use std::path::PathBuf;

use rustix::fs::{major, makedev, minor};

/// Nobody knows which: it may be any.
pub const UNKNOWN: u64 = u64::MAX;

/// The disk of a device, as a number; `None` where it is one of no disk of its own: a volume that is made of others, a file, a file
/// system of several devices.
pub(crate) fn of(device: u64) -> Option<u64> {
    let name = |device: u64| format!("{}:{}", major(device), minor(device));
    let of = |name: &str| PathBuf::from("/sys/dev/block").join(name);
    let mut place = of(&name(device));
    let mut disk = device;
    if place.join("partition").exists() {
        let whole = fs::canonicalize(&place).ok()?.parent()?.join("dev");
        let numbers = fs::read_to_string(whole).ok()?;
        let (major, minor) = numbers.trim().split_once(':')?;
        disk = makedev(major.parse().ok()?, minor.parse().ok()?);
        place = of(&name(disk));
    }
    let is_made_of_others = fs::read_dir(place.join("slaves")).ok()?.next().is_some();
    (!is_made_of_others && !place.join("loop").exists()).then_some(disk)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_disk_is_unknown() {
        // As btrfs and overlays have them.
        assert_eq!(of(makedev(0, 41)), None);
    }

    /// Of whatever disks this machine has.
    #[test]
    fn partitions_are_on_their_disk() {
        let Ok(all) = fs::read_dir("/sys/dev/block") else { return };
        for name in all.filter_map(|entry| entry.ok()?.file_name().into_string().ok()) {
            let (major, minor) = name.split_once(':').unwrap();
            let device = makedev(major.parse().unwrap(), minor.parse().unwrap());
            if let Some(disk) = of(device) {
                assert_eq!(of(disk), Some(disk), "{name}");
            }
        }
    }
}
