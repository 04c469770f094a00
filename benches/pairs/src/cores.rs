//! Which cores the two sides of a measurement run on.
//!
//! What a disk has written is worked on where its interrupts land. Where that is one core it is the server's: on the
//! generator's, writes would wait for the load, which elsewhere is on another machine. Over HTTP it is the server that lacks
//! processor, and the generator's core has time for them.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use crate::flushes::device_below;

/// A disk has a core of its own if it got at least this share of its interrupts.
const SHARE_MIN: f64 = 0.9;

/// The server's and limit's server thread's, and the generator's and limit's client thread's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cores {
    pub(crate) server: usize,
    pub(crate) load: usize,
}

impl Cores {
    /// Those that are named, and otherwise the best of `available` for a disk whose interrupts land there.
    pub(crate) fn choose(named: (Option<usize>, Option<usize>), available: &[usize], disk: Option<usize>) -> Self {
        let other = |than: usize| available.iter().copied().find(|&core| core != than).unwrap_or(than);
        let first = available.first().copied().unwrap_or(0);
        let best = disk.filter(|core| available.contains(core)).unwrap_or(first);
        let server = named.0.unwrap_or_else(|| named.1.map_or(best, other));
        let load = named.1.unwrap_or_else(|| other(server));
        Self { server, load }
    }
}

/// The core on which nearly all interrupts of the disk below a directory land, if there is one.
pub(crate) fn of_interrupts(directory: &Path) -> Option<usize> {
    let device = device_below(directory)?;
    let names = device.iter().filter_map(OsStr::to_str);
    core_in(&fs::read_to_string("/proc/interrupts").ok()?, &names.collect::<Vec<_>>())
}

/// The same, of `/proc/interrupts` and the folders that the device lies in: drivers name interrupts by one of them.
fn core_in(interrupts: &str, folders: &[&str]) -> Option<usize> {
    let mut lines = interrupts.lines();
    let cores: Vec<usize> =
        lines.next()?.split_ascii_whitespace().filter_map(|name| name.strip_prefix("CPU")?.parse().ok()).collect();
    let mut counts = vec![0_u64; cores.len()];
    for line in lines {
        let mut words = line.split_ascii_whitespace().skip(1);
        let of_cores: Vec<u64> = words.by_ref().take(cores.len()).filter_map(|count| count.parse().ok()).collect();
        let driver = words.last().and_then(|name| name.split('-').next()).unwrap_or_default();
        if of_cores.len() == cores.len() && folders.contains(&driver) {
            counts.iter_mut().zip(of_cores).for_each(|(count, more)| *count += more);
        }
    }
    let (most, core) = counts.iter().copied().zip(cores).max()?;
    (most > 0 && most as f64 >= SHARE_MIN * counts.iter().sum::<u64>() as f64).then_some(core)
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERRUPTS: &str = "           CPU0       CPU2\n\
 \x20 1:          9          0   IO-APIC   1-edge      i8042\n\
 \x2036:        100   44215945 PCI-MSIX-0000:00:02.0   1-edge      virtio1-req.0\n\
 \x2038:    4000000          0 PCI-MSIX-0000:00:03.0   1-edge      virtio2-input.0\n\
 \x2040:        500        510 PCI-MSIX-0000:00:04.0   1-edge      nvme0q1\n\
NMI:          0          0   Non-maskable interrupts\n\
ERR:          0\n";

    #[test]
    fn the_disk_s_core_is_where_its_interrupts_land() {
        let of = |folders: &[&str]| core_in(INTERRUPTS, folders);
        assert_eq!(of(&["sys", "devices", "virtio1", "block", "vda"]), Some(2));
        assert_eq!(of(&["sys", "devices", "virtio2", "net"]), Some(0));
        assert_eq!(of(&["nvme0", "nvme0n1"]), None, "each core has a queue");
        assert_eq!(of(&["virtual", "loop0"]), None);
        assert_eq!(core_in("", &["virtio1"]), None);
    }

    #[test]
    fn the_server_is_on_the_disk_s_core_unless_another_is_named() {
        let choose = |named, disk| {
            let Cores { server, load } = Cores::choose(named, &[0, 1, 2], disk);
            (server, load)
        };
        assert_eq!(choose((None, None), Some(1)), (1, 0));
        assert_eq!(choose((None, None), None), (0, 1));
        assert_eq!(choose((None, None), Some(7)), (0, 1), "this process may not run there");
        assert_eq!(choose((None, Some(0)), Some(0)), (1, 0));
        assert_eq!(choose((Some(2), None), Some(0)), (2, 0));
        assert_eq!(choose((Some(2), Some(2)), Some(0)), (2, 2));
        assert_eq!(Cores::choose((None, None), &[3], None), Cores { server: 3, load: 3 });
    }
}
