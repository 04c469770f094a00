//! What a data directory of several says of itself: whose it is, and which. Four copies, one block each; an intact one is
//! enough, as all say the same and none is ever changed in its place.
//!
//! ```text
//!   0          8     10         16        32        36        40
//!   +----------+-----+----------+---------+---------+---------+----------+
//!   | MSMEMBR1 | ver |    0     | log id  | number  |    0    | checksum |  zeros to 4096
//!   +----------+-----+----------+---------+---------+---------+----------+
//! ```

use xxhash_rust::xxh3::xxh3_64_with_seed;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::id::LogId;
use crate::limits::BLOCK_BYTES;

/// Bytes of the file.
pub const FILE_BYTES: usize = COPIES * BLOCK_BYTES;

/// The layout's version. A directory of a newer one is refused.
pub const VERSION: u16 = 1;

const COPIES: usize = 4;
const MAGIC: u64 = u64::from_le_bytes(*b"MSMEMBR1");

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
struct Raw {
    magic: U64,
    version: U16,
    reserved: [u8; 6],
    log_id: [u8; 16],
    number: U32,
    reserved_too: U32,
    checksum: U64,
}

const RAW_BYTES: usize = size_of::<Raw>();
const _: () = assert!(RAW_BYTES == 48);

/// Which directory of which log one is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Member {
    /// The log's name.
    pub log_id: LogId,
    /// From 1: number 0 is the one with the superblock.
    pub number: u32,
}

impl Member {
    /// The whole file.
    pub fn encode(&self) -> Vec<u8> {
        let mut raw = Raw {
            magic: U64::new(MAGIC),
            version: U16::new(VERSION),
            reserved: [0; 6],
            log_id: self.log_id.0,
            number: U32::new(self.number),
            reserved_too: U32::ZERO,
            checksum: U64::ZERO,
        };
        raw.checksum.set(checksum(&raw));
        let mut block = [0; BLOCK_BYTES];
        block[..RAW_BYTES].copy_from_slice(raw.as_bytes());
        block.repeat(COPIES)
    }

    /// What the file says: `Ok(None)` if no copy is intact.
    ///
    /// # Errors
    /// Its version, if it is intact and of another one.
    pub fn decode(file: &[u8]) -> Result<Option<Member>, u16> {
        let intact = |block: &[u8]| {
            let (raw, _) = Raw::read_from_prefix(block).ok()?;
            (raw.magic.get() == MAGIC && checksum(&raw) == raw.checksum.get()).then_some(raw)
        };
        match file.chunks(BLOCK_BYTES).find_map(intact) {
            Some(raw) if raw.version.get() != VERSION => Err(raw.version.get()),
            Some(raw) => Ok(Some(Member { log_id: LogId(raw.log_id), number: raw.number.get() })),
            None => Ok(None),
        }
    }
}

fn checksum(raw: &Raw) -> u64 {
    xxh3_64_with_seed(&raw.as_bytes()[..RAW_BYTES - 8], MAGIC)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_intact_copy_is_enough() {
        let member = Member { log_id: LogId([7; 16]), number: 3 };
        let mut file = member.encode();
        assert_eq!(file.len(), FILE_BYTES);
        for copy in 0..COPIES {
            assert_eq!(Member::decode(&file), Ok(Some(member)), "{copy} copies are damaged");
            file[copy * BLOCK_BYTES + 33] ^= 1;
        }
        assert_eq!(Member::decode(&file), Ok(None));
        assert_eq!(Member::decode(&[]), Ok(None));
    }

    #[test]
    fn a_newer_version_is_told() {
        let member = Member { log_id: LogId([7; 16]), number: 3 };
        let mut file = member.encode();
        let (raw, _) = Raw::mut_from_prefix(&mut file).unwrap();
        raw.version.set(2);
        raw.checksum.set(checksum(raw));
        assert_eq!(Member::decode(&file), Err(2));
    }
}
