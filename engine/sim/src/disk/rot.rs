//! Damage that happens behind everybody's back, between lives: bits that flip, sectors that vanish or can't be read, writes
//! that landed elsewhere. A single copy can't survive it; it must be noticed.

use super::image::SECTOR_BYTES;
use super::{Disk, Names};
use crate::dice::Dice;
use crate::trace::Trace;

const PAGE_BYTES: usize = 4096;

/// Where damage was done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rot {
    /// The file.
    pub name: String,
    /// The first damaged byte, roughly.
    pub offset: u64,
    /// What was done to it.
    pub how: &'static str,
}

impl Disk {
    /// Damages one place that holds data, if there is one. Only between lives, after a power cut.
    pub(crate) fn rot(&mut self, dice: &mut Dice, trace: &mut Trace) -> Option<Rot> {
        let all = self.names.iter().flat_map(Names::iter);
        let mut names: Vec<(String, u32)> = all.map(|(name, inode)| (name.to_owned(), inode)).collect();
        names.retain(|(_, inode)| !self.files[inode].written_pages().is_empty());
        if names.is_empty() {
            return None;
        }
        let (name, inode) = dice.pick(&names).clone();
        let pages = self.files[&inode].written_pages();
        let at = *dice.pick(&pages);
        let mut page = [0; PAGE_BYTES];
        let file = self.files.get_mut(&inode).expect("a named file exists");
        file.read(at, &mut page);
        let (offset, how) = match dice.index(5) {
            0 | 1 => {
                let bit = dice.index(PAGE_BYTES * 8);
                page[bit / 8] ^= 1 << (bit % 8);
                (at + bit as u64 / 8, "rot: bit flipped")
            }
            2 => {
                let sectors = PAGE_BYTES / SECTOR_BYTES;
                let from = dice.index(sectors);
                let to = from + 1 + dice.index(sectors - from);
                page[from * SECTOR_BYTES..to * SECTOR_BYTES].fill(0);
                (at + (from * SECTOR_BYTES) as u64, "rot: sectors zeroed")
            }
            3 => {
                let sector = (at as usize / SECTOR_BYTES + dice.index(PAGE_BYTES / SECTOR_BYTES)) * SECTOR_BYTES;
                file.lose(sector as u64..(sector + SECTOR_BYTES) as u64);
                (sector as u64, "rot: sector unreadable")
            }
            _ => {
                file.read(*dice.pick(&pages), &mut page);
                (at, "rot: page misdirected")
            }
        };
        file.damage(at, &page);
        trace.count(how);
        Some(Rot { name, offset, how })
    }
}
