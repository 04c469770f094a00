//! The superblock: who a data directory is, its epoch, and a durable mark per journal. Four copies, one block each.
//!
//! ```text
//!   0          8     10     12     16        32          40        48        56            60
//!   +----------+-----+------+------+---------+-----------+---------+---------+-------------+--------+
//!   | MSSUPER1 | ver | dirs | boot | log id  |generation |  epoch  | durable |segment bytes| clean  |
//!   +----------+-----+------+------+---------+-----------+---------+---------+-------------+--------+
//!  64           72           80            88
//!   +------------+------------+-------------+
//!   |  wall ms   |boottime ms |  checksum   |   zeros to 4096
//!   +------------+------------+-------------+
//! ```
//!
//! An update raises `generation` and writes copies 0 and 1, flushes, then copies 2 and 3, and flushes: at any instant two
//! intact copies agree. The newest generation that two copies agree on counts.

use xxhash_rust::xxh3::xxh3_64_with_seed;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::id::{Epoch, LogId, Position};
use crate::limits::BLOCK_BYTES;

/// Copies in the file.
pub const COPIES: usize = 4;

/// Copies that must agree.
pub const QUORUM: usize = 2;

/// Bytes of the file.
pub const FILE_BYTES: usize = COPIES * BLOCK_BYTES;

/// The layout's newest version. A directory of a newer one is refused.
pub const VERSION: u16 = SEVERAL;

/// A log in one data directory, and one in several: builds from before there were several must not open only a part.
const ONE: u16 = 1;
const SEVERAL: u16 = 2;

const MAGIC: u64 = u64::from_le_bytes(*b"MSSUPER1");

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
struct Raw {
    magic: U64,
    version: U16,
    directories: U16,
    boot: U32,
    log_id: [u8; 16],
    generation: U64,
    epoch: U64,
    durable: U64,
    segment_bytes: U32,
    clean: U32,
    wall_ms: U64,
    boottime_ms: U64,
    checksum: U64,
}

const RAW_BYTES: usize = size_of::<Raw>();
const _: () = assert!(RAW_BYTES == 88 && RAW_BYTES <= BLOCK_BYTES);

/// What the superblock says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Superblock {
    /// The log's name.
    pub log_id: LogId,
    /// Data directories that the log lies in, this one among them.
    pub directories: u16,
    /// Raised by every update.
    pub generation: u64,
    /// The life that runs, or ran last.
    pub epoch: Epoch,
    /// Everything before this place of journal 0 is durable.
    pub durable: Position,
    /// Bytes of a segment file.
    pub segment_bytes: u32,
    /// Whether the last life ended by a clean shutdown.
    pub clean: bool,
    /// Wall clock of the update, in milliseconds since 1970.
    pub wall_ms: u64,
    /// CLOCK_BOOTTIME of the update, in milliseconds.
    pub boottime_ms: u64,
    /// Which boot of the machine that was; 0 if it is not known.
    pub boot: u32,
}

/// Why no superblock could be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SuperblockError {
    /// An intact copy is of a version that this build does not know.
    Version(u16),
    /// No two copies are intact and agree; this many are intact.
    NoQuorum(usize),
}

impl Superblock {
    /// One copy's block.
    pub fn encode(&self) -> [u8; BLOCK_BYTES] {
        let mut raw = Raw {
            magic: U64::new(MAGIC),
            version: U16::new(if self.directories > 1 { SEVERAL } else { ONE }),
            directories: U16::new(if self.directories > 1 { self.directories } else { 0 }),
            boot: U32::new(self.boot),
            log_id: self.log_id.0,
            generation: U64::new(self.generation),
            epoch: U64::new(self.epoch.0),
            durable: U64::new(self.durable.0),
            segment_bytes: U32::new(self.segment_bytes),
            clean: U32::new(u32::from(self.clean)),
            wall_ms: U64::new(self.wall_ms),
            boottime_ms: U64::new(self.boottime_ms),
            checksum: U64::ZERO,
        };
        raw.checksum.set(checksum(&raw));
        let mut block = [0; BLOCK_BYTES];
        block[..RAW_BYTES].copy_from_slice(raw.as_bytes());
        block
    }

    /// One copy's block: `Ok(None)` if it is damaged or blank.
    ///
    /// # Errors
    /// Its version, if it is intact and of another one.
    pub fn decode(block: &[u8]) -> Result<Option<Superblock>, u16> {
        let Ok((raw, _)) = Raw::ref_from_prefix(block) else { return Ok(None) };
        if raw.magic.get() != MAGIC || checksum(raw) != raw.checksum.get() {
            return Ok(None);
        }
        if raw.generation.get() == u64::MAX || raw.epoch.get() == u64::MAX {
            return Ok(None);
        }
        let directories = match raw.version.get() {
            ONE => 1,
            SEVERAL => raw.directories.get().max(1),
            version => return Err(version),
        };
        Ok(Some(Superblock {
            log_id: LogId(raw.log_id),
            directories,
            generation: raw.generation.get(),
            epoch: Epoch(raw.epoch.get()),
            durable: Position(raw.durable.get()),
            segment_bytes: raw.segment_bytes.get(),
            clean: raw.clean.get() != 0,
            wall_ms: raw.wall_ms.get(),
            boottime_ms: raw.boottime_ms.get(),
            boot: raw.boot.get(),
        }))
    }

    /// The newest superblock that [`QUORUM`] copies of `file` agree on.
    pub fn choose(file: &[u8]) -> Result<Superblock, SuperblockError> {
        let mut intact = [None; COPIES];
        let mut newer = None;
        for (slot, block) in intact.iter_mut().zip(file.chunks(BLOCK_BYTES)) {
            match Superblock::decode(block) {
                Ok(copy) => *slot = copy,
                Err(version) => newer = Some(version),
            }
        }
        if let Some(version) = newer {
            return Err(SuperblockError::Version(version));
        }
        let copies = || intact.iter().flatten();
        copies()
            .filter(|copy| copies().filter(|other| other == copy).count() >= QUORUM)
            .max_by_key(|copy| copy.generation)
            .copied()
            .ok_or(SuperblockError::NoQuorum(copies().count()))
    }
}

fn checksum(raw: &Raw) -> u64 {
    xxh3_64_with_seed(&raw.as_bytes()[..RAW_BYTES - 8], MAGIC)
}

#[cfg(test)]
#[path = "superblock_tests.rs"]
mod tests;
