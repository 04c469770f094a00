//! A journal file: header, batches, footer, trailer.
//!
//! ```text
//!   0        4096                                            sealed at            file end - 4096
//!   +--------+-------+-------+-----+-------+--------+-------------------+---------+
//!   | header | batch | batch | ... | batch | footer | zeros, or leftovers| trailer |
//!   +--------+-------+-------+-----+-------+--------+-------------------+---------+
//!
//!   header   0 MSSEGMT1 | 8 ver | 10 0 | 16 log id | 32 journal | 36 segment | 40 epoch | 48 file bytes | 56 checksum
//!   trailer  0 MSTRAIL1 | 8 ver | 10 0 | 16 log id | 32 journal | 36 segment | 40 epoch | 48 footer offset
//!            52 footer length | 56 footer checksum | 64 checksum
//!   footer   0 MSFOOTR1 | 8 ver | 10 0 | 12 stands for | 16 log id | 32 journal | 36 shards | 40 position | 48 epoch
//!            56 last batch's checksum | 64 damaged records | 68 damaged stretches | 72 catalog bytes | 76 run bytes
//!            80 payload checksum | 88 header checksum | 96 catalog snapshot, zeros to a multiple of 8
//!            | a row of 40 bytes a shard, by shard | damaged records, 24 bytes each | damaged stretches, 16 bytes each
//!            | runs | zeros to a multiple of 4096
//!   row      0 shard | 4 extents | 8 first byte of its runs | 12 moves | 16 first number | 24 next number | 32 last arrival
//!   records  0 shard | 4 0 | 8 first number | 16 number after the last, or the first: not known yet
//!   stretch  0 position | 8 position after it
//!   run      LEB128: gap from the previous extent's end / 8, length / 8, count, gap in numbers, gap in arrival
//! ```
//!
//! A footer lists *every* open shard of the journal, with the number that its next record takes, whether or not the
//! segment holds frames of it: so a search over segments always knows which way to go, and the footer with the catalog's
//! snapshot is all that recovery needs of what came before. File bytes never change after the header is written. A recycled
//! file keeps leftovers of its earlier life: whatever names another segment is blank.
//!
//! A segment that was *compacted* holds what lived of several, in batches that say so, and takes the newest one's number and
//! place. It stands for so many numbers up to its own; its file is as short as it can be. Rows and catalog are those of the
//! newest footer, each row's first number that of the oldest.

mod footer;

pub use footer::{
    Cursor, DamagedRecords, DamagedStretch, Footer, FooterHead, FooterWriter, MOVES_ALL, MOVES_UNKNOWN, PlacedExtent,
    ROW_BYTES, ShardRow, damage_bytes, footer_bytes_max,
};

use xxhash_rust::xxh3::xxh3_64_with_seed;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::id::{Epoch, JournalNumber, LogId, Position, SegmentNumber};
use crate::limits::{BLOCK_BYTES, SEGMENT_BYTES_MAX, SEGMENT_FILE_BYTES_MIN};

/// The layouts' version.
pub const VERSION: u16 = 1;

/// Where the first batch starts.
pub const FIRST_BATCH: u32 = BLOCK_BYTES as u32;

const SEGMENT_MAGIC: u64 = u64::from_le_bytes(*b"MSSEGMT1");
const TRAILER_MAGIC: u64 = u64::from_le_bytes(*b"MSTRAIL1");

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
struct RawHeader {
    magic: U64,
    version: U16,
    reserved: [u8; 6],
    log_id: [u8; 16],
    journal: U32,
    segment: U32,
    epoch: U64,
    file_bytes: U64,
    checksum: U64,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
struct RawTrailer {
    magic: U64,
    version: U16,
    reserved: [u8; 6],
    log_id: [u8; 16],
    journal: U32,
    segment: U32,
    epoch: U64,
    footer_offset: U32,
    footer_length: U32,
    footer_checksum: U64,
    checksum: U64,
}

const _: () = assert!(size_of::<RawHeader>() == 64 && size_of::<RawTrailer>() == 72);

/// The first block of a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// The data directory's name.
    pub log_id: LogId,
    /// The journal that it belongs to.
    pub journal: JournalNumber,
    /// Its number within the journal.
    pub segment: SegmentNumber,
    /// The life that prepared it.
    pub epoch: Epoch,
    /// Its length as a file.
    pub file_bytes: u64,
}

/// Why a block is not the header of a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HeaderError {
    /// Not a header, or damaged.
    Damaged,
    /// Intact, of a version that this build does not know.
    Version(u16),
}

impl Header {
    /// The header's block.
    pub fn encode(&self) -> [u8; BLOCK_BYTES] {
        let mut raw = RawHeader {
            magic: U64::new(SEGMENT_MAGIC),
            version: U16::new(VERSION),
            reserved: [0; 6],
            log_id: self.log_id.0,
            journal: U32::new(self.journal.0),
            segment: U32::new(self.segment.0),
            epoch: U64::new(self.epoch.0),
            file_bytes: U64::new(self.file_bytes),
            checksum: U64::ZERO,
        };
        raw.checksum.set(tail_checksum(raw.as_bytes(), SEGMENT_MAGIC));
        block_of(raw.as_bytes())
    }

    /// Reads a header's block.
    pub fn parse(block: &[u8]) -> Result<Header, HeaderError> {
        let (raw, _) = RawHeader::ref_from_prefix(block).map_err(|_| HeaderError::Damaged)?;
        if raw.magic.get() != SEGMENT_MAGIC || tail_checksum(raw.as_bytes(), SEGMENT_MAGIC) != raw.checksum.get() {
            return Err(HeaderError::Damaged);
        }
        if raw.version.get() != VERSION {
            return Err(HeaderError::Version(raw.version.get()));
        }
        let file_bytes = raw.file_bytes.get();
        let may_be = (SEGMENT_FILE_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&file_bytes);
        if !may_be || !file_bytes.is_multiple_of(BLOCK_BYTES as u64) {
            return Err(HeaderError::Damaged);
        }
        Ok(Header {
            log_id: LogId(raw.log_id),
            journal: JournalNumber(raw.journal.get()),
            segment: SegmentNumber(raw.segment.get()),
            epoch: Epoch(raw.epoch.get()),
            file_bytes,
        })
    }
}

/// The last block of a sealed segment: where its footer lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Trailer {
    /// The data directory's name.
    pub log_id: LogId,
    /// The journal that it belongs to.
    pub journal: JournalNumber,
    /// The life that sealed it.
    pub epoch: Epoch,
    /// Where the footer starts, and so where the batches end.
    pub footer: Position,
    /// The footer's bytes, a multiple of the block.
    pub footer_length: u32,
    /// The footer's own header checksum.
    pub footer_checksum: u64,
}

impl Trailer {
    /// The trailer's block.
    pub fn encode(&self) -> [u8; BLOCK_BYTES] {
        let mut raw = RawTrailer {
            magic: U64::new(TRAILER_MAGIC),
            version: U16::new(VERSION),
            reserved: [0; 6],
            log_id: self.log_id.0,
            journal: U32::new(self.journal.0),
            segment: U32::new(self.footer.segment().0),
            epoch: U64::new(self.epoch.0),
            footer_offset: U32::new(self.footer.offset()),
            footer_length: U32::new(self.footer_length),
            footer_checksum: U64::new(self.footer_checksum),
            checksum: U64::ZERO,
        };
        raw.checksum.set(tail_checksum(raw.as_bytes(), TRAILER_MAGIC));
        block_of(raw.as_bytes())
    }

    /// Reads a trailer's block; `None` if it is blank or damaged, or what it points to is no run of whole blocks. The caller compares log, journal and segment.
    pub fn parse(block: &[u8]) -> Option<Trailer> {
        let (raw, _) = RawTrailer::ref_from_prefix(block).ok()?;
        let intact = raw.magic.get() == TRAILER_MAGIC
            && raw.version.get() == VERSION
            && tail_checksum(raw.as_bytes(), TRAILER_MAGIC) == raw.checksum.get()
            && (raw.footer_offset.get() as usize).is_multiple_of(BLOCK_BYTES)
            && (raw.footer_length.get() as usize).is_multiple_of(BLOCK_BYTES)
            && raw.footer_length.get() > 0;
        intact.then(|| Trailer {
            log_id: LogId(raw.log_id),
            journal: JournalNumber(raw.journal.get()),
            epoch: Epoch(raw.epoch.get()),
            footer: Position::new(SegmentNumber(raw.segment.get()), raw.footer_offset.get()),
            footer_length: raw.footer_length.get(),
            footer_checksum: raw.footer_checksum.get(),
        })
    }
}

/// The checksum that the last eight bytes of a fixed layout hold over the rest of it.
fn tail_checksum(raw: &[u8], seed: u64) -> u64 {
    xxh3_64_with_seed(&raw[..raw.len() - 8], seed)
}

fn block_of(raw: &[u8]) -> [u8; BLOCK_BYTES] {
    let mut block = [0; BLOCK_BYTES];
    block[..raw.len()].copy_from_slice(raw);
    block
}

#[cfg(test)]
#[path = "segment_tests.rs"]
mod tests;
