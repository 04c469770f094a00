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
//!   footer   0 MSFOOTR1 | 8 ver | 10 0 | 16 log id | 32 journal | 36 shards | 40 position | 48 epoch
//!            56 last batch's checksum | 64 next segment's skip, 0 | 72 catalog bytes | 76 run bytes
//!            80 payload checksum | 88 header checksum | 96 catalog snapshot, zeros to a multiple of 8
//!            | a row of 40 bytes a shard, by shard | runs | zeros to a multiple of 4096
//!   row      0 shard | 4 extents | 8 first byte of its runs | 12 0 | 16 first number | 24 next number | 32 last arrival
//!   run      LEB128: gap from the previous extent's end / 8, length / 8, count, gap in numbers, gap in arrival
//! ```
//!
//! A footer lists *every* open shard of the journal, with the number that its next record takes, whether or not the
//! segment holds frames of it: so a search over segments always knows which way to go, and the footer with the catalog's
//! snapshot is all that recovery needs of what came before. File bytes never change after the header is written. A recycled
//! file keeps leftovers of its earlier life: whatever names another segment is blank.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::id::{Epoch, JournalNumber, LogId, Position, SegmentNumber, Sequence, ShardId};
use crate::limits::{BLOCK_BYTES, EXTENTS_PER_SEGMENT_MAX, SEGMENT_BYTES_MAX};
use crate::varint;

/// The layouts' version.
pub const VERSION: u16 = 1;

/// Where the first batch starts.
pub const FIRST_BATCH: u32 = BLOCK_BYTES as u32;

const SEGMENT_MAGIC: u64 = u64::from_le_bytes(*b"MSSEGMT1");
const TRAILER_MAGIC: u64 = u64::from_le_bytes(*b"MSTRAIL1");
const FOOTER_MAGIC: u64 = u64::from_le_bytes(*b"MSFOOTR1");

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

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
struct RawFooter {
    magic: U64,
    version: U16,
    reserved: [u8; 6],
    log_id: [u8; 16],
    journal: U32,
    shards: U32,
    position: U64,
    epoch: U64,
    last_checksum: U64,
    reserved_skip: U64,
    catalog_bytes: U32,
    run_bytes: U32,
    payload_checksum: U64,
    checksum: U64,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
struct RawRow {
    shard: U32,
    extents: U32,
    runs_at: U32,
    reserved: U32,
    first: U64,
    next: U64,
    arrival_ms: U64,
}

const FOOTER_HEADER_BYTES: usize = size_of::<RawFooter>();
const ROW_BYTES: usize = size_of::<RawRow>();
/// The most bytes of one extent's run: five numbers, of which two fit 32 bits and one is a count.
const RUN_BYTES_MAX: usize = 5 + 5 + 5 + 10 + 10;

const _: () = {
    assert!(size_of::<RawHeader>() == 64 && size_of::<RawTrailer>() == 72);
    assert!(FOOTER_HEADER_BYTES == 96 && ROW_BYTES == 40);
    assert!(EXTENTS_PER_SEGMENT_MAX * RUN_BYTES_MAX < u32::MAX as usize);
};

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
        if raw.file_bytes.get() > SEGMENT_BYTES_MAX || !raw.file_bytes.get().is_multiple_of(BLOCK_BYTES as u64) {
            return Err(HeaderError::Damaged);
        }
        Ok(Header {
            log_id: LogId(raw.log_id),
            journal: JournalNumber(raw.journal.get()),
            segment: SegmentNumber(raw.segment.get()),
            epoch: Epoch(raw.epoch.get()),
            file_bytes: raw.file_bytes.get(),
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

/// One extent as an index holds it: placed in its segment rather than in its batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PlacedExtent {
    /// Bytes from the start of the segment, a multiple of 8.
    pub offset: u32,
    /// Bytes, a multiple of 8.
    pub length: u32,
    /// Frames.
    pub count: u32,
    /// The first one's number; the others follow without gaps.
    pub first_sequence: Sequence,
    /// The last one's arrival, in milliseconds since 1970.
    pub arrival_ms: u64,
}

impl PlacedExtent {
    /// The last frame's number.
    pub fn last_sequence(&self) -> Sequence {
        Sequence(self.first_sequence.0 + u64::from(self.count) - 1)
    }
}

/// What a footer says of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FooterHead {
    /// The data directory's name.
    pub log_id: LogId,
    /// The journal that it belongs to.
    pub journal: JournalNumber,
    /// Where it starts.
    pub position: Position,
    /// The life that sealed the segment.
    pub epoch: Epoch,
    /// The checksum of the segment's last batch, to which the next segment's first is chained.
    pub last_checksum: u64,
}

/// What a footer says of one shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ShardRow {
    /// Which shard.
    pub shard: ShardId,
    /// Its extents in this segment.
    pub extents: u32,
    /// The number that its next record would have taken when the segment began.
    pub first: Sequence,
    /// The number that its next record takes after the segment.
    pub next: Sequence,
    /// The newest arrival given so far, in milliseconds since 1970.
    pub arrival_ms: u64,
    runs_at: u32,
}

/// At most so many bytes of footer for so many shards, extents and bytes of catalog, padding included.
pub const fn footer_bytes_max(shards: usize, extents: usize, catalog_bytes: usize) -> usize {
    (FOOTER_HEADER_BYTES + catalog_bytes + 8 + shards * ROW_BYTES + extents * RUN_BYTES_MAX)
        .next_multiple_of(BLOCK_BYTES)
}

/// Collects the shards of a segment, in rising order, and makes its footer.
#[derive(Default)]
pub struct FooterWriter {
    rows: Vec<u8>,
    runs: Vec<u8>,
    shards: u32,
}

impl FooterWriter {
    /// Adds a shard with its extents in the order of their places. Shards come in rising order. Arrivals never fall within a
    /// shard; one that does counts as the one before it.
    pub fn shard(
        &mut self,
        shard: ShardId,
        first: Sequence,
        next: Sequence,
        arrival_ms: u64,
        extents: impl IntoIterator<Item = PlacedExtent>,
    ) {
        let runs_at = self.runs.len() as u32;
        let mut count = 0_u32;
        let mut previous = RunState::start(first);
        for extent in extents {
            let extent = PlacedExtent { arrival_ms: extent.arrival_ms.max(previous.arrival_ms), ..extent };
            varint::put(&mut self.runs, u64::from((extent.offset - previous.end) / 8));
            varint::put(&mut self.runs, u64::from(extent.length / 8));
            varint::put(&mut self.runs, u64::from(extent.count));
            varint::put(&mut self.runs, extent.first_sequence.0 - previous.next.0);
            varint::put(&mut self.runs, extent.arrival_ms - previous.arrival_ms);
            previous.step(&extent);
            count += 1;
        }
        let row = RawRow {
            shard: U32::new(shard.0),
            extents: U32::new(count),
            runs_at: U32::new(runs_at),
            reserved: U32::ZERO,
            first: U64::new(first.0),
            next: U64::new(next.0),
            arrival_ms: U64::new(arrival_ms),
        };
        self.rows.extend_from_slice(row.as_bytes());
        self.shards += 1;
    }

    /// The footer's bytes, a multiple of the block, and its checksum for the trailer.
    pub fn finish(self, head: &FooterHead, catalog: &[u8]) -> (Vec<u8>, u64) {
        let mut bytes = vec![0; FOOTER_HEADER_BYTES];
        bytes.extend_from_slice(catalog);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes.extend_from_slice(&self.rows);
        bytes.extend_from_slice(&self.runs);
        bytes.resize(bytes.len().next_multiple_of(BLOCK_BYTES), 0);
        let mut raw = RawFooter {
            magic: U64::new(FOOTER_MAGIC),
            version: U16::new(VERSION),
            reserved: [0; 6],
            log_id: head.log_id.0,
            journal: U32::new(head.journal.0),
            shards: U32::new(self.shards),
            position: U64::new(head.position.0),
            epoch: U64::new(head.epoch.0),
            last_checksum: U64::new(head.last_checksum),
            reserved_skip: U64::ZERO,
            catalog_bytes: U32::new(catalog.len() as u32),
            run_bytes: U32::new(self.runs.len() as u32),
            payload_checksum: U64::new(xxh3_64(&bytes[FOOTER_HEADER_BYTES..])),
            checksum: U64::ZERO,
        };
        let checksum = tail_checksum(raw.as_bytes(), FOOTER_MAGIC);
        raw.checksum.set(checksum);
        bytes[..FOOTER_HEADER_BYTES].copy_from_slice(raw.as_bytes());
        (bytes, checksum)
    }
}

/// A footer whose checksums are right.
pub struct Footer {
    /// What it says of itself.
    pub head: FooterHead,
    bytes: Vec<u8>,
    catalog: std::ops::Range<usize>,
    rows: std::ops::Range<usize>,
    runs: std::ops::Range<usize>,
}

impl Footer {
    /// Takes the bytes that a trailer points to; `None` if they are not an intact footer.
    pub fn parse(bytes: Vec<u8>) -> Option<Footer> {
        let (raw, payload) = RawFooter::ref_from_prefix(&bytes).ok()?;
        let intact = raw.magic.get() == FOOTER_MAGIC
            && raw.version.get() == VERSION
            && tail_checksum(raw.as_bytes(), FOOTER_MAGIC) == raw.checksum.get()
            && xxh3_64(payload) == raw.payload_checksum.get();
        if !intact {
            return None;
        }
        let head = FooterHead {
            log_id: LogId(raw.log_id),
            journal: JournalNumber(raw.journal.get()),
            position: Position(raw.position.get()),
            epoch: Epoch(raw.epoch.get()),
            last_checksum: raw.last_checksum.get(),
        };
        let catalog = FOOTER_HEADER_BYTES..FOOTER_HEADER_BYTES.checked_add(raw.catalog_bytes.get() as usize)?;
        let rows_start = catalog.end.next_multiple_of(8);
        let rows = rows_start..rows_start.checked_add((raw.shards.get() as usize).checked_mul(ROW_BYTES)?)?;
        let runs = rows.end..rows.end.checked_add(raw.run_bytes.get() as usize)?;
        (runs.end <= bytes.len()).then_some(Footer { head, bytes, catalog, rows, runs })
    }

    /// The catalog as it stood when the segment was sealed.
    pub fn catalog(&self) -> &[u8] {
        &self.bytes[self.catalog.clone()]
    }

    /// Bytes that it occupies in memory.
    pub fn memory_bytes(&self) -> usize {
        size_of::<Footer>() + self.bytes.capacity()
    }

    /// Every shard of the journal, by rising number.
    pub fn shards(&self) -> impl ExactSizeIterator<Item = ShardRow> + '_ {
        self.raw_rows().iter().map(row_of)
    }

    /// The row of `shard`, if the journal held it when the segment was sealed.
    pub fn shard(&self, shard: ShardId) -> Option<ShardRow> {
        let rows = self.raw_rows();
        let at = rows.binary_search_by_key(&shard.0, |row| row.shard.get()).ok()?;
        rows.get(at).map(row_of)
    }

    /// The extents of a row of this footer, in the order of their places. Ends early where the coding is broken.
    pub fn extents(&self, row: &ShardRow) -> impl Iterator<Item = PlacedExtent> + '_ {
        let mut runs = self.bytes[self.runs.clone()].get(row.runs_at as usize..).unwrap_or_default();
        let mut previous = RunState::start(row.first);
        (0..row.extents).map_while(move |_| {
            let extent = take_run(&mut runs, &previous)?;
            previous.step(&extent);
            Some(extent)
        })
    }

    fn raw_rows(&self) -> &[RawRow] {
        <[RawRow]>::ref_from_bytes(&self.bytes[self.rows.clone()]).expect("the range is whole rows")
    }
}

/// Where the next run counts from.
struct RunState {
    end: u32,
    next: Sequence,
    arrival_ms: u64,
}

impl RunState {
    fn start(first: Sequence) -> RunState {
        RunState { end: 0, next: first, arrival_ms: 0 }
    }

    fn step(&mut self, extent: &PlacedExtent) {
        self.end = extent.offset + extent.length;
        self.next = extent.last_sequence().next();
        self.arrival_ms = extent.arrival_ms;
    }
}

fn take_run(runs: &mut &[u8], previous: &RunState) -> Option<PlacedExtent> {
    let eights = |number: u64| u32::try_from(number).ok()?.checked_mul(8);
    let offset = previous.end.checked_add(eights(varint::take(runs)?)?)?;
    let length = eights(varint::take(runs)?)?;
    let count = u32::try_from(varint::take(runs)?).ok().filter(|&count| count > 0)?;
    let first = previous.next.0.checked_add(varint::take(runs)?)?;
    let arrival_ms = previous.arrival_ms.checked_add(varint::take(runs)?)?;
    first.checked_add(u64::from(count))?;
    offset.checked_add(length)?;
    Some(PlacedExtent { offset, length, count, first_sequence: Sequence(first), arrival_ms })
}

fn row_of(raw: &RawRow) -> ShardRow {
    ShardRow {
        shard: ShardId(raw.shard.get()),
        extents: raw.extents.get(),
        first: Sequence(raw.first.get()),
        next: Sequence(raw.next.get()),
        arrival_ms: raw.arrival_ms.get(),
        runs_at: raw.runs_at.get(),
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
