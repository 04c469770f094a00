//! Tests of segment header, footer and trailer.

use super::*;
use crate::{Sequence, ShardId};

fn extents() -> Vec<PlacedExtent> {
    vec![
        PlacedExtent { offset: 4224, length: 64, count: 1, first_sequence: Sequence(5), arrival_ms: 1000 },
        PlacedExtent { offset: 8320, length: 640, count: 9, first_sequence: Sequence(6), arrival_ms: 1000 },
        PlacedExtent {
            offset: 90_240,
            length: 72,
            count: 1,
            first_sequence: Sequence(4111),
            arrival_ms: 1_700_000_000_000,
        },
    ]
}

fn footer() -> (Vec<u8>, u64) {
    let mut writer = FooterWriter::default();
    writer.shard(ShardId(0), Sequence(1), Sequence(1), 0, []);
    writer.shard(ShardId(4), Sequence(5), Sequence(4112), 1_700_000_000_000, extents());
    writer.shard(ShardId(9), Sequence(2), Sequence(3), 7, extents().into_iter().take(1));
    damaged().0.iter().for_each(|records| writer.damaged_records(records));
    writer.damaged_stretch(&damaged().1);
    writer.finish(&head(), b"catalog")
}

fn damaged() -> ([DamagedRecords; 2], DamagedStretch) {
    let records = |from, to| DamagedRecords { shard: ShardId(4), from: Sequence(from), to: Sequence(to) };
    let place = |offset| Position::new(SegmentNumber(1), offset);
    ([records(7, 9), records(30, 30)], DamagedStretch { from: place(4096), to: place(12_288) })
}

fn head() -> FooterHead {
    FooterHead {
        log_id: LogId([1; 16]),
        journal: JournalNumber(0),
        position: Position::new(SegmentNumber(2), 98_304),
        epoch: Epoch(4),
        last_checksum: 99,
        stands_for: 0,
        moves: 7,
    }
}

#[test]
fn a_footer_is_read_back() {
    let (bytes, _) = footer();
    assert!(bytes.len() <= footer_bytes_max(3, 4, 7, damage_bytes(2, 1)));
    let footer = Footer::parse(bytes).expect("intact");
    assert_eq!(footer.head, head());
    assert_eq!(footer.catalog(), b"catalog");
    assert_eq!(footer.shards().map(|row| row.shard.0).collect::<Vec<_>>(), [0, 4, 9]);
    let row = footer.shard(ShardId(4)).expect("listed");
    assert_eq!((row.first, row.next, row.extents), (Sequence(5), Sequence(4112), 3));
    assert_eq!(footer.extents(&row).collect::<Vec<_>>(), extents());
    assert_eq!(footer.shard(ShardId(5)), None);
    assert_eq!(footer.damaged_records().collect::<Vec<_>>(), damaged().0);
    assert_eq!(footer.damaged_stretches().collect::<Vec<_>>(), [damaged().1]);
    let empty = footer.shard(ShardId(0)).expect("listed");
    assert_eq!(footer.extents(&empty).count(), 0);
}

/// How often shards were moved stands in the catalog's row, and is not known where there is none.
#[test]
fn without_a_row_of_the_catalog_moves_are_not_known() {
    for shard in [None, Some(ShardId(4))] {
        let mut writer = FooterWriter::default();
        shard.into_iter().for_each(|shard| writer.shard(shard, Sequence(1), Sequence(1), 0, []));
        let footer = Footer::parse(writer.finish(&head(), &[]).0).expect("intact");
        assert_eq!(footer.head, FooterHead { moves: MOVES_UNKNOWN, ..head() });
    }
}

#[test]
fn every_flipped_bit_is_noticed() {
    let (bytes, _) = footer();
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(Footer::parse(flipped).is_none(), "bit {bit} went unnoticed");
    }
    for length in 0..bytes.len() {
        assert!(Footer::parse(bytes[..length].to_vec()).is_none(), "{length} bytes passed");
    }
}

#[test]
fn header_and_trailer_are_read_back() {
    let header = Header {
        log_id: LogId([3; 16]),
        journal: JournalNumber(1),
        segment: SegmentNumber(7),
        epoch: Epoch(2),
        file_bytes: 1 << 28,
    };
    let mut block = header.encode();
    assert_eq!(Header::parse(&block), Ok(header));
    assert_eq!(Trailer::parse(&block), None);
    block[36] ^= 1;
    assert_eq!(Header::parse(&block), Err(HeaderError::Damaged));

    let trailer = Trailer {
        log_id: LogId([3; 16]),
        journal: JournalNumber(1),
        epoch: Epoch(2),
        footer: Position::new(SegmentNumber(7), 8192),
        footer_length: 4096,
        footer_checksum: 5,
    };
    let mut block = trailer.encode();
    assert_eq!(Trailer::parse(&block), Some(trailer));
    block[50] ^= 1;
    assert_eq!(Trailer::parse(&block), None);
}

/// Bug, found on reading: a header that said a length of nothing had recovery and inspection look for a trailer before the file's
/// beginning. Mechanism: any whole number of blocks was taken. Fix: a segment is never too short for its header, a footer and a trailer.
#[test]
fn a_header_of_a_length_that_no_segment_has_is_damaged() {
    let parse = |file_bytes| {
        let (log_id, journal, segment, epoch) = (LogId([3; 16]), JournalNumber(1), SegmentNumber(7), Epoch(2));
        Header::parse(&Header { log_id, journal, segment, epoch, file_bytes }.encode()).map(|header| header.file_bytes)
    };
    let block = BLOCK_BYTES as u64;
    for file_bytes in [0, block, 2 * block, 3 * block + 1, SEGMENT_BYTES_MAX + block] {
        assert_eq!(parse(file_bytes), Err(HeaderError::Damaged), "{file_bytes} bytes");
    }
    for file_bytes in [3 * block, SEGMENT_BYTES_MAX] {
        assert_eq!(parse(file_bytes), Ok(file_bytes));
    }
}
