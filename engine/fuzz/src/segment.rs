//! What lies in a data directory's files: batches, segment headers, trailers, footers, superblocks.
//!
//! ```text
//!   0 kind, modulo 5 | 1 how: bit 0 made of parts, bit 1 repaired | made: parts, then edits | else: bytes
//! ```
//!
//! Anything parses or is refused; what was made comes back as it was; what passes for intact keeps its own rules.

use frame::batch::{self, Extent, Writer};
use frame::limits::{BATCH_BYTES_MAX, BLOCK_BYTES, SEGMENT_BYTES_MAX, SEGMENT_FILE_BYTES_MIN};
use frame::segment::{DamagedRecords, DamagedStretch, Footer, FooterHead, FooterWriter, Header, PlacedExtent, Trailer};
use frame::superblock::{COPIES, Superblock};
use frame::{Epoch, JournalNumber, LogId, Position, SegmentNumber, Sequence, ShardId};

use crate::checksum::{repair_batch, repair_footer, repair_header, repair_superblock, repair_trailer};
use crate::program::{Program, edit};

const KINDS: u8 = 5;
const MADE: u8 = 1;
const REPAIRED: u8 = 2;
const LOG: LogId = LogId(*b"a log to be read");

/// Makes the bytes of one kind, and asserts that they read back.
type Make = fn(&mut Program<'_>) -> Vec<u8>;
/// Makes their checksums right.
type Repair = fn(&mut [u8]);
/// Asserts what must hold of them if they parse.
type Judge = fn(&[u8]);

/// Judges one input.
pub fn run(input: &[u8]) {
    let mut program = Program(input);
    let (kind, how) = (program.byte() % KINDS, program.byte());
    let (make, repair, judge): (Make, Repair, Judge) = match kind {
        0 => (make_batch, repair_batch, judge_batch),
        1 => (make_header, repair_header, judge_header),
        2 => (make_trailer, repair_trailer, judge_trailer),
        3 => (make_footer, repair_footer, judge_footer),
        _ => (make_superblock, repair_superblock, judge_superblock),
    };
    let mut bytes = if how & MADE != 0 { make(&mut program) } else { program.0.to_vec() };
    if how & MADE != 0 {
        edit(&mut bytes, program);
    }
    if how & REPAIRED != 0 {
        repair(&mut bytes);
    }
    judge(&bytes);
}

/// A batch of some extents, which reads back as it was written.
fn make_batch(program: &mut Program<'_>) -> Vec<u8> {
    let mut bytes = vec![0xaa; 16 * BLOCK_BYTES];
    let mut extents = Vec::new();
    let mut writer = Writer::new(&mut bytes, &mut extents);
    let mut frame_bytes = Vec::new();
    for shard in 0..u32::from(program.byte() % 4) {
        writer.begin_extent(ShardId(shard * 3), Sequence(u64::from(program.short()) + 1));
        for _ in 0..=program.byte() % 4 {
            let data_bytes = usize::from(program.byte());
            frame_bytes.clear();
            frame::frame::encode(&mut frame_bytes, b"key", None, &[9; 255][..data_bytes]).expect("short parts");
            writer.push(&frame_bytes, u64::from(program.short())).expect("it is intact");
        }
    }
    let position = Position::new(SegmentNumber(3), 8 * BLOCK_BYTES as u32);
    let head = batch::Head {
        log_id: LOG,
        journal: JournalNumber(0),
        position,
        epoch: Epoch(u64::from(program.byte())),
        flags: u16::from(program.byte() & 1),
        previous_checksum: program.long(),
        durable: Position(position.0.saturating_sub(u64::from(program.short()))),
        written_ms: 1,
        skip: u64::from(program.byte()),
    };
    let (length, checksum) = writer.finish(&head);
    bytes.truncate(length);
    let header = batch::Header::parse(&bytes).expect("what was written parses");
    assert_eq!((header.head, header.length, header.checksum), (head, length, checksum));
    let mut read = Vec::new();
    assert_eq!(header.extents(&bytes, &mut read), Ok(()));
    assert_eq!(read, extents);
    bytes
}

fn judge_batch(bytes: &[u8]) {
    let Some(header) = batch::Header::parse(bytes) else { return };
    assert!(header.length.is_multiple_of(BLOCK_BYTES) && (BLOCK_BYTES..=BATCH_BYTES_MAX).contains(&header.length));
    assert!(header.head.durable <= header.head.position);
    let mut extents = Vec::new();
    let outcome = header.extents(bytes, &mut extents);
    if outcome.is_err() {
        return;
    }
    assert_eq!(header.is_mark(), extents.is_empty());
    let mut at = batch::HEADER_BYTES as u32;
    for Extent { count, offset, length, first_sequence, .. } in &extents {
        assert!(*offset == at && *count > 0 && first_sequence.0 > 0);
        at += length;
    }
    assert!(at as usize <= header.length);
    for extent in &extents {
        assert!(extent.last_sequence() >= extent.first_sequence);
        assert!(extent.last_sequence().next() > extent.last_sequence());
    }
}

fn make_header(program: &mut Program<'_>) -> Vec<u8> {
    let more_blocks =
        u64::from(program.word()) % ((SEGMENT_BYTES_MAX - SEGMENT_FILE_BYTES_MIN) / BLOCK_BYTES as u64 + 1);
    let header = Header {
        log_id: LOG,
        journal: JournalNumber(program.word()),
        segment: SegmentNumber(program.word()),
        epoch: Epoch(program.long()),
        file_bytes: SEGMENT_FILE_BYTES_MIN + more_blocks * BLOCK_BYTES as u64,
    };
    let block = header.encode();
    assert_eq!(Header::parse(&block), Ok(header));
    block.to_vec()
}

fn judge_header(bytes: &[u8]) {
    if let Ok(header) = Header::parse(bytes) {
        assert!((SEGMENT_FILE_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&header.file_bytes));
        assert!(header.file_bytes.is_multiple_of(BLOCK_BYTES as u64));
        assert_eq!(Header::parse(&header.encode()), Ok(header));
    }
}

fn make_trailer(program: &mut Program<'_>) -> Vec<u8> {
    let trailer = Trailer {
        log_id: LOG,
        journal: JournalNumber(program.word()),
        epoch: Epoch(program.long()),
        footer: Position(program.long() / BLOCK_BYTES as u64 * BLOCK_BYTES as u64),
        footer_length: (u32::from(program.short()) + 1) * BLOCK_BYTES as u32,
        footer_checksum: program.long(),
    };
    let block = trailer.encode();
    assert_eq!(Trailer::parse(&block), Some(trailer));
    block.to_vec()
}

fn judge_trailer(bytes: &[u8]) {
    if let Some(trailer) = Trailer::parse(bytes) {
        assert!(trailer.footer_length > 0 && trailer.footer_length.is_multiple_of(BLOCK_BYTES as u32));
        assert_eq!(Trailer::parse(&trailer.encode()), Some(trailer));
    }
}

/// A footer of some shards, which reads back as it was written.
fn make_footer(program: &mut Program<'_>) -> Vec<u8> {
    let mut writer = FooterWriter::default();
    let mut shards = Vec::new();
    for number in 0..u32::from(program.byte() % 5) {
        let shard = ShardId(number * 2);
        let first = Sequence(u64::from(program.word()) + 1);
        let (mut offset, mut next, mut arrival_ms) = (0, first, 0);
        let mut extents = Vec::new();
        for _ in 0..program.byte() % 4 {
            let extent = PlacedExtent {
                offset: offset + u32::from(program.short()) * 8,
                length: u32::from(program.short()) * 8,
                count: u32::from(program.byte()) + 1,
                first_sequence: Sequence(next.0 + u64::from(program.byte())),
                arrival_ms: arrival_ms + u64::from(program.short()),
            };
            (offset, next, arrival_ms) =
                (extent.offset + extent.length, extent.last_sequence().next(), extent.arrival_ms);
            extents.push(extent);
        }
        writer.shard(shard, first, next, arrival_ms, extents.iter().copied());
        shards.push((shard, first, next, arrival_ms, extents));
    }
    let mut damaged = Vec::new();
    for _ in 0..program.byte() % 3 {
        let shard = ShardId(u32::from(program.byte()));
        let records = DamagedRecords { shard, from: Sequence(program.long()), to: Sequence(program.long()) };
        let stretch = DamagedStretch { from: Position(records.from.0), to: Position(records.to.0) };
        writer.damaged_records(&records);
        writer.damaged_stretch(&stretch);
        damaged.push((records, stretch));
    }
    let catalog_bytes = usize::from(program.byte());
    let catalog = program.bytes(catalog_bytes);
    let head = FooterHead {
        log_id: LOG,
        journal: JournalNumber(0),
        position: Position(program.long()),
        epoch: Epoch(1),
        last_checksum: program.long(),
        stands_for: 0,
        moves: 0,
    };
    let (bytes, _) = writer.finish(&head, catalog);
    let footer = Footer::parse(bytes.clone()).expect("what was written parses");
    assert_eq!((footer.head, footer.catalog(), footer.shards().len()), (head, catalog, shards.len()));
    assert!(footer.damaged_records().zip(footer.damaged_stretches()).eq(damaged));
    for (shard, first, next, arrival_ms, extents) in shards {
        let row = footer.shard(shard).expect("it was written");
        assert_eq!((row.first, row.next, row.arrival_ms), (first, next, arrival_ms));
        assert_eq!(footer.extents(&row).collect::<Vec<_>>(), extents);
    }
    bytes
}

fn judge_footer(bytes: &[u8]) {
    let Some(footer) = Footer::parse(bytes.to_vec()) else { return };
    assert!(footer.catalog().len() <= bytes.len());
    assert!(footer.damaged_records().len() * 24 + footer.damaged_stretches().len() * 16 <= bytes.len());
    for row in footer.shards() {
        // Rows out of order are found by luck; it must be the row asked for all the same.
        assert!(footer.shard(row.shard).is_none_or(|found| found.shard == row.shard));
        let (mut end, mut next, mut count) = (0, row.first, 0_u32);
        for extent in footer.extents(&row) {
            assert!(extent.count > 0 && extent.offset >= end && extent.first_sequence >= next);
            (end, next) = (extent.offset + extent.length, extent.last_sequence().next());
            count += 1;
        }
        assert!(count <= row.extents && count as usize * 5 <= bytes.len(), "more extents than their bytes can hold");
    }
}

/// A superblock in all its copies; what two of them say survives the loss of the other two.
fn make_superblock(program: &mut Program<'_>) -> Vec<u8> {
    let superblock = Superblock {
        log_id: LOG,
        directories: u16::from(program.byte()) % 3 + 1,
        generation: program.long().min(u64::MAX - 1),
        epoch: Epoch(program.long().min(u64::MAX - 1)),
        durable: Position(program.long()),
        segment_bytes: program.word(),
        clean: program.byte() & 1 != 0,
        wall_ms: program.long(),
        boottime_ms: program.long(),
        boot: program.word(),
    };
    let mut file = superblock.encode().repeat(COPIES);
    assert_eq!(Superblock::choose(&file), Ok(superblock));
    let older = Superblock { generation: superblock.generation.saturating_sub(1), ..superblock };
    let half = usize::from(program.byte() & 1) * 2 * BLOCK_BYTES;
    let mut halves = file.clone();
    halves[half..half + 2 * BLOCK_BYTES].copy_from_slice(&older.encode().repeat(2));
    assert_eq!(Superblock::choose(&halves), Ok(superblock), "the newer of two halves counts");
    let (first, second) = (usize::from(program.byte()) % COPIES, usize::from(program.byte()) % COPIES);
    for copy in [first, second] {
        let at = copy * BLOCK_BYTES + usize::from(program.short()) % 88;
        file[at] ^= program.byte();
    }
    assert_eq!(Superblock::choose(&file), Ok(superblock), "copies {first} and {second} were damaged");
    file
}

fn judge_superblock(bytes: &[u8]) {
    let Ok(chosen) = Superblock::choose(bytes) else { return };
    let says = |block: &[u8]| Superblock::choose(&block.repeat(2)).ok();
    let agree = bytes.chunks(BLOCK_BYTES).take(COPIES).filter(|block| block.len() == BLOCK_BYTES);
    assert!(agree.filter(|block| says(block) == Some(chosen)).count() >= 2, "chosen without two that agree");
}

/// One of each kind, made of parts; the bytes of those as well.
pub fn starts() -> Vec<(&'static str, Vec<u8>)> {
    let parts: Vec<u8> = (0..96_u8).map(|at| at.wrapping_mul(37) | 3).collect();
    let made = |kind: u8, how: u8| [&[kind, how], &parts[..64]].concat();
    let raw = |kind: u8, make: Make| {
        let mut bytes = make(&mut Program(&parts[..64]));
        bytes.truncate(2 * BLOCK_BYTES);
        [&[kind, REPAIRED], &bytes[..]].concat()
    };
    vec![
        ("batch", made(0, MADE)),
        ("batch-repaired", made(0, MADE | REPAIRED)),
        ("batch-bytes", raw(0, make_batch)),
        ("header", made(1, MADE)),
        ("header-repaired", made(1, MADE | REPAIRED)),
        ("trailer", made(2, MADE)),
        ("trailer-repaired", made(2, MADE | REPAIRED)),
        ("footer", made(3, MADE)),
        ("footer-repaired", made(3, MADE | REPAIRED)),
        ("footer-bytes", raw(3, make_footer)),
        ("superblock", made(4, MADE)),
        ("superblock-repaired", made(4, MADE | REPAIRED)),
    ]
}
