//! A segment's footer: what the segment holds of each shard, and all that recovery needs of what came before it. Its layout
//! is drawn in [`super`].

use xxhash_rust::xxh3::xxh3_64;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{VERSION, tail_checksum};
use crate::id::{Epoch, JournalNumber, LogId, Position, Sequence, ShardId};
use crate::limits::{BLOCK_BYTES, EXTENTS_PER_SEGMENT_MAX};
use crate::varint;

const FOOTER_MAGIC: u64 = u64::from_le_bytes(*b"MSFOOTR1");

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
struct RawFooter {
    magic: U64,
    version: U16,
    reserved: U16,
    stands_for: U32,
    log_id: [u8; 16],
    journal: U32,
    shards: U32,
    position: U64,
    epoch: U64,
    last_checksum: U64,
    damaged_records: U32,
    damaged_stretches: U32,
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
    /// Of the catalog's row, how often shards had been moved; of others 0.
    moves: U32,
    first: U64,
    next: U64,
    arrival_ms: U64,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
struct RawDamagedRecords {
    shard: U32,
    reserved: U32,
    from: U64,
    to: U64,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
struct RawDamagedStretch {
    from: U64,
    to: U64,
}

const FOOTER_HEADER_BYTES: usize = size_of::<RawFooter>();
/// What a footer says of one shard, its extents excepted.
pub const ROW_BYTES: usize = size_of::<RawRow>();
const DAMAGED_RECORDS_BYTES: usize = size_of::<RawDamagedRecords>();
const DAMAGED_STRETCH_BYTES: usize = size_of::<RawDamagedStretch>();
/// The most bytes of one extent's run: five numbers, of which two fit 32 bits and one is a count.
const RUN_BYTES_MAX: usize = 5 + 5 + 5 + 10 + 10;

const _: () = {
    assert!(FOOTER_HEADER_BYTES == 96 && ROW_BYTES == 40);
    assert!(DAMAGED_RECORDS_BYTES == 24 && DAMAGED_STRETCH_BYTES == 16);
    assert!(EXTENTS_PER_SEGMENT_MAX * RUN_BYTES_MAX < u32::MAX as usize);
};

/// One extent as an index holds it: placed in its segment rather than in its batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
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
    /// 0 of a segment as it was written. Of one that was compacted, how many numbers up to its own it stands for: what lived
    /// in those is in it, and what is left of them is of no use.
    pub stands_for: u32,
    /// How often shards had been moved in its life when the segment was sealed, and one more. [`MOVES_UNKNOWN`] in a footer of earlier builds, or
    /// without a row of the catalog, where this stands; [`MOVES_ALL`] in one that was made later, of what that life had left without.
    pub moves: u32,
}

/// Nobody said how often shards had been moved.
pub const MOVES_UNKNOWN: u32 = 0;
/// As often as they ever were in that life.
pub const MOVES_ALL: u32 = u32::MAX;

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

/// Records of one shard that are damaged or lost.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct DamagedRecords {
    /// Whose.
    pub shard: ShardId,
    /// The first.
    pub from: Sequence,
    /// The one after the last. In a footer the same as the first where that is not known yet: the shard's next extent
    /// tells it.
    pub to: Sequence,
}

/// A stretch of the journal that is damaged although it was durable.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct DamagedStretch {
    /// Where it starts.
    pub from: Position,
    /// The next intact batch, or the end of the segment.
    pub to: Position,
}

/// Bytes of so many rows of damage.
pub const fn damage_bytes(records: usize, stretches: usize) -> usize {
    records * DAMAGED_RECORDS_BYTES + stretches * DAMAGED_STRETCH_BYTES
}

/// At most so many bytes of footer for so many shards, extents, bytes of catalog and of [`damage_bytes`], padding included.
pub const fn footer_bytes_max(shards: usize, extents: usize, catalog_bytes: usize, damage_bytes: usize) -> usize {
    (FOOTER_HEADER_BYTES + catalog_bytes + 8 + shards * ROW_BYTES + damage_bytes + extents * RUN_BYTES_MAX)
        .next_multiple_of(BLOCK_BYTES)
}

/// Collects the shards of a segment, in rising order, and makes its footer.
#[derive(Default)]
pub struct FooterWriter {
    rows: Vec<u8>,
    records: Vec<u8>,
    stretches: Vec<u8>,
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
            let run = [
                u64::from((extent.offset - previous.end) / 8),
                u64::from(extent.length / 8),
                u64::from(extent.count),
                extent.first_sequence.0 - previous.next.0,
                extent.arrival_ms - previous.arrival_ms,
            ];
            varint::put(&mut self.runs, run);
            previous.step(&extent);
            count += 1;
        }
        let row = RawRow {
            shard: U32::new(shard.0),
            extents: U32::new(count),
            runs_at: U32::new(runs_at),
            moves: U32::ZERO,
            first: U64::new(first.0),
            next: U64::new(next.0),
            arrival_ms: U64::new(arrival_ms),
        };
        self.rows.extend_from_slice(row.as_bytes());
        self.shards += 1;
    }

    /// Adds records that are damaged, in this segment or before it.
    pub fn damaged_records(&mut self, records: &DamagedRecords) {
        let DamagedRecords { shard, from, to } = *records;
        let raw = RawDamagedRecords {
            shard: U32::new(shard.0),
            reserved: U32::ZERO,
            from: U64::new(from.0),
            to: U64::new(to.0),
        };
        self.records.extend_from_slice(raw.as_bytes());
    }

    /// Adds a stretch that is damaged, in this segment or before it.
    pub fn damaged_stretch(&mut self, stretch: &DamagedStretch) {
        let raw = RawDamagedStretch { from: U64::new(stretch.from.0), to: U64::new(stretch.to.0) };
        self.stretches.extend_from_slice(raw.as_bytes());
    }

    /// The footer's bytes, a multiple of the block, and its checksum for the trailer.
    pub fn finish(mut self, head: &FooterHead, catalog: &[u8]) -> (Vec<u8>, u64) {
        if let Ok((row, _)) = RawRow::mut_from_prefix(&mut self.rows)
            && row.shard.get() == ShardId::CATALOG.0
        {
            row.moves.set(head.moves);
        }
        let mut bytes = vec![0; FOOTER_HEADER_BYTES];
        bytes.extend_from_slice(catalog);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes.extend_from_slice(&self.rows);
        bytes.extend_from_slice(&self.records);
        bytes.extend_from_slice(&self.stretches);
        bytes.extend_from_slice(&self.runs);
        bytes.resize(bytes.len().next_multiple_of(BLOCK_BYTES), 0);
        let mut raw = RawFooter {
            magic: U64::new(FOOTER_MAGIC),
            version: U16::new(VERSION),
            reserved: U16::ZERO,
            stands_for: U32::new(head.stands_for),
            log_id: head.log_id.0,
            journal: U32::new(head.journal.0),
            shards: U32::new(self.shards),
            position: U64::new(head.position.0),
            epoch: U64::new(head.epoch.0),
            last_checksum: U64::new(head.last_checksum),
            damaged_records: U32::new((self.records.len() / DAMAGED_RECORDS_BYTES) as u32),
            damaged_stretches: U32::new((self.stretches.len() / DAMAGED_STRETCH_BYTES) as u32),
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
    records: std::ops::Range<usize>,
    stretches: std::ops::Range<usize>,
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
        let mut head = FooterHead {
            log_id: LogId(raw.log_id),
            journal: JournalNumber(raw.journal.get()),
            position: Position(raw.position.get()),
            epoch: Epoch(raw.epoch.get()),
            last_checksum: raw.last_checksum.get(),
            stands_for: raw.stands_for.get(),
            moves: MOVES_UNKNOWN,
        };
        let catalog = FOOTER_HEADER_BYTES..FOOTER_HEADER_BYTES.checked_add(raw.catalog_bytes.get() as usize)?;
        let rows_start = catalog.end.next_multiple_of(8);
        let rows = table(rows_start, raw.shards, ROW_BYTES)?;
        let records = table(rows.end, raw.damaged_records, DAMAGED_RECORDS_BYTES)?;
        let stretches = table(records.end, raw.damaged_stretches, DAMAGED_STRETCH_BYTES)?;
        let runs = stretches.end..stretches.end.checked_add(raw.run_bytes.get() as usize)?;
        (runs.end <= bytes.len()).then_some(())?;
        let row = RawRow::ref_from_prefix(&bytes[rows.clone()]).ok().map(|(row, _)| row);
        head.moves =
            row.filter(|row| row.shard.get() == ShardId::CATALOG.0).map_or(MOVES_UNKNOWN, |row| row.moves.get());
        Some(Footer { head, bytes, catalog, rows, records, stretches, runs })
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

    /// Records that are damaged, in this segment and all before it.
    pub fn damaged_records(&self) -> impl ExactSizeIterator<Item = DamagedRecords> + '_ {
        let raw = <[RawDamagedRecords]>::ref_from_bytes(&self.bytes[self.records.clone()]);
        raw.expect("the range is whole rows").iter().map(|raw| DamagedRecords {
            shard: ShardId(raw.shard.get()),
            from: Sequence(raw.from.get()),
            to: Sequence(raw.to.get()),
        })
    }

    /// Stretches that are damaged, in this segment and all before it.
    pub fn damaged_stretches(&self) -> impl ExactSizeIterator<Item = DamagedStretch> + '_ {
        let raw = <[RawDamagedStretch]>::ref_from_bytes(&self.bytes[self.stretches.clone()]);
        let rows = raw.expect("the range is whole rows").iter();
        rows.map(|raw| DamagedStretch { from: Position(raw.from.get()), to: Position(raw.to.get()) })
    }

    /// The extents of a row of this footer, in the order of their places. Ends early where the coding is broken.
    pub fn extents(&self, row: &ShardRow) -> impl Iterator<Item = PlacedExtent> + '_ {
        self.extents_from(row.start()).map(|(_, extent)| extent)
    }

    /// The same from a place among them on, each with its own place.
    pub fn extents_from(&self, mut cursor: Cursor) -> impl Iterator<Item = (Cursor, PlacedExtent)> + '_ {
        let all = &self.bytes[self.runs.clone()];
        let mut runs = all.get(cursor.at as usize..).unwrap_or_default();
        std::iter::from_fn(move || {
            let place = cursor;
            cursor.left = cursor.left.checked_sub(1)?;
            let extent = take_run(&mut runs, &cursor.previous)?;
            cursor.previous.step(&extent);
            cursor.at = (all.len() - runs.len()) as u32;
            Some((place, extent))
        })
    }

    fn raw_rows(&self) -> &[RawRow] {
        <[RawRow]>::ref_from_bytes(&self.bytes[self.rows.clone()]).expect("the range is whole rows")
    }
}

/// Where `count` rows lie.
fn table(start: usize, count: U32, row_bytes: usize) -> Option<std::ops::Range<usize>> {
    Some(start..start.checked_add((count.get() as usize).checked_mul(row_bytes)?)?)
}

/// A place among the extents of a row, to go on from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cursor {
    at: u32,
    left: u32,
    previous: RunState,
}

impl Cursor {
    /// All extents before this place hold lower numbers.
    pub fn next(&self) -> Sequence {
        self.previous.next
    }
}

impl ShardRow {
    /// Its first extent's place.
    pub fn start(&self) -> Cursor {
        Cursor { at: self.runs_at, left: self.extents, previous: RunState::start(self.first) }
    }
}

/// Where the next run counts from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
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
