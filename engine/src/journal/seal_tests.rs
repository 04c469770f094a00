//! Footers on their way to the disk, and what readers find of them meanwhile.

use frame::segment::{FooterHead, FooterWriter};
use frame::{Epoch, JournalNumber, LogId, Position, SegmentNumber, Sequence, ShardId};
use io::Payload;

use super::*;

fn id(number: u32) -> SegmentId {
    SegmentId { journal: JournalNumber(0), number: SegmentNumber(number) }
}

fn footer(segment: u32) -> (Seal, Arc<Footer>) {
    let (log_id, journal, epoch) = (LogId([1; 16]), JournalNumber(0), Epoch(1));
    let position = Position::new(SegmentNumber(segment), 8192);
    let mut writer = FooterWriter::default();
    writer.shard(ShardId(0), Sequence(1), Sequence(1), 0, []);
    let (bytes, footer_checksum) =
        writer.finish(&FooterHead { log_id, journal, position, epoch, last_checksum: 0, stands_for: 0, moves: 0 }, &[]);
    let footer_length = bytes.len() as u32;
    let trailer = Trailer { log_id, journal, epoch, footer: position, footer_length, footer_checksum };
    let seal =
        Seal { file: FileId(segment), file_bytes: 4 << 20, whole_bytes: 4 << 20, footer: bytes.clone(), trailer };
    (seal, Arc::new(Footer::parse(bytes).unwrap()))
}

/// Bug: with a small budget for footers, and many segments filled at once, readers were told that a segment's footer is
/// damaged. Mechanism: the footer was let go of before it was on disk, and read from there. Fix: it is kept, whatever the
/// budget, until its trailer is durable.
#[test]
fn a_footer_is_kept_until_it_is_on_disk() {
    let mut cache = FooterCache::new(0, BTreeMap::new());
    for segment in 1..=3 {
        cache.pin(id(segment), footer(segment).1);
    }
    for segment in 4..=6 {
        cache.insert(id(segment), footer(segment).1);
    }
    let held = |cache: &mut FooterCache| (1..=6).map(|n| cache.find(id(n)).is_some()).collect::<Vec<_>>();
    assert_eq!(held(&mut cache), [true, true, true, false, false, true]);
    cache.unpin(id(1));
    assert_eq!(held(&mut cache), [true, true, true, false, false, false]);
    cache.unpin(id(2));
    assert_eq!(held(&mut cache), [false, true, true, false, false, false]);
}

#[test]
fn rows_are_known_where_their_footers_have_gone() {
    let mut cache = FooterCache::new(0, BTreeMap::new());
    for segment in 1..=3 {
        assert!(cache.row(id(segment), ShardId(0)).is_none(), "its footer is to be read");
        cache.insert(id(segment), footer(segment).1);
        assert!(cache.row(id(segment), ShardId(0)).is_some_and(|row| row.is_some()));
    }
    assert!(cache.find(id(1)).is_none());
    assert!(cache.row(id(1), ShardId(0)).is_some() && cache.row(id(1), ShardId(7)).is_none());
    assert_eq!(cache.row(id(3), ShardId(7)), Some(None), "that shard is not in it");
    cache.forget(id(1));
    assert!(cache.row(id(1), ShardId(0)).is_none() && cache.row(id(2), ShardId(0)).is_some());
    // A segment that is another from here on.
    cache.pin(id(2), footer(2).1);
    assert_eq!((cache.rows.len(), cache.rows_asked.len()), (2, 2));
}

/// A segment is called sealed by its trailer's completion, and by no earlier one; one that becomes shorter by its header's.
#[test]
fn a_segment_is_sealed_when_its_trailer_is_durable() {
    let mut sealer = Sealer::new(Token(1));
    let short = Seal { file_bytes: 4 * BLOCK_BYTES as u32, ..footer(8).0 };
    [footer(7).0, short].into_iter().for_each(|seal| sealer.add(seal));
    let mut completes = |written: usize| {
        sealer.in_flight = written;
        let completion = Completion { token: Token(1), result: written as i32, more: false, payload: Payload::None };
        sealer.complete(&completion).map(|seal| seal.map(|seal| seal.segment()))
    };
    assert_eq!(completes(BLOCK_BYTES), Ok(None));
    assert_eq!(completes(BLOCK_BYTES), Ok(Some(id(7))));
    assert_eq!((completes(BLOCK_BYTES), completes(BLOCK_BYTES)), (Ok(None), Ok(None)));
    assert_eq!(completes(BLOCK_BYTES), Ok(Some(id(8))));
    assert!(sealer.is_idle());
}
