//! The disks below a directory and the devices of the network, and on which cores their interrupts land, as far as sysfs and
//! procfs tell. It reads there, and nothing else.
//!
//! What a disk has written is worked on where its interrupts land: so `millstream doctor` tells it, and `millstream-load` and
//! `pairs` place what they start by it.

mod cores;
mod device;
mod interrupts;

use std::path::Path;

pub use cores::Cores;
pub use device::{Device, Disk, Network, WriteCache};
pub use interrupts::{Interrupt, Interrupts};

/// The core of this machine on which all interrupts of these disks land, if that is one: see [`Interrupts::core_of`].
pub fn core_of_interrupts(disks: &[Disk]) -> Option<usize> {
    Interrupts::read(Path::new("/proc")).ok()?.core_of(disks)
}
