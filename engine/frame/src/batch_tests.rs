//! Tests of the batch layout.

use super::*;
use crate::id::SegmentNumber;

fn head() -> Head {
    Head {
        log_id: LogId([7; 16]),
        journal: JournalNumber(0),
        position: Position::new(SegmentNumber(3), 4096),
        epoch: Epoch(2),
        flags: 0,
        previous_checksum: 11,
        durable: Position::new(SegmentNumber(3), 4096),
        written_ms: 5,
        skip: 0,
    }
}

fn two_extents(bytes: &mut [u8]) -> (usize, Vec<Extent>) {
    let mut encoded = Vec::new();
    frame::encode(&mut encoded, b"key", None, b"data").expect("within limits");
    let mut extents = Vec::new();
    let mut writer = Writer::new(bytes, &mut extents);
    writer.begin_extent(ShardId(1), Sequence(10));
    assert_eq!(writer.push(&encoded, 100), Ok(Sequence(10)));
    assert_eq!(writer.push(&encoded, 101), Ok(Sequence(11)));
    writer.begin_extent(ShardId(2), Sequence(1));
    assert_eq!(writer.push(&encoded, 102), Ok(Sequence(1)));
    let (length, _) = writer.finish(&head());
    (length, extents)
}

#[test]
fn a_damaged_payload_leaves_nothing() {
    let mut encoded = Vec::new();
    frame::encode(&mut encoded, b"key", None, b"data").expect("within limits");
    let mut damaged = encoded.clone();
    *damaged.last_mut().expect("it has bytes") ^= 1;
    let (mut bytes, mut extents) = (vec![0; 4096], Vec::new());
    let mut writer = Writer::new(&mut bytes, &mut extents);
    writer.begin_extent(ShardId(1), Sequence(10));
    assert_eq!(writer.push(&damaged, 100), Err(FrameError::PayloadChecksum));
    assert!(writer.is_empty());
    writer.begin_extent(ShardId(1), Sequence(10));
    assert_eq!(writer.push(&encoded, 100), Ok(Sequence(10)));
    assert_eq!(writer.push(&damaged, 100), Err(FrameError::PayloadChecksum));
    assert_eq!(writer.push(&encoded, 100), Ok(Sequence(11)));
    let (length, _) = writer.finish(&head());
    assert_eq!((extents.len(), extents[0].count, extents[0].length as usize), (1, 2, 2 * encoded.len()));
    let header = Header::parse(&bytes[..length]).expect("it was just written");
    assert_eq!(header.extents(&bytes[..length], &mut extents), Ok(()));
}

/// Bug: each batch took a segment of its own where more shards had records waiting than a footer has room for. Mechanism: room was made
/// for an extent of each, whatever fits the batch. Fix: no more are counted than a batch of that size can have.
#[test]
fn a_batch_has_no_more_extents_than_are_counted() {
    let mut encoded = Vec::new();
    frame::encode(&mut encoded, b"", None, b"").expect("within limits");
    for batch_bytes in [4096, 64 << 10, 1 << 20] {
        let (mut bytes, mut extents) = (vec![0; batch_bytes], Vec::new());
        let mut writer = Writer::new(&mut bytes, &mut extents);
        let mut shard = 0;
        while writer.fits(encoded.len()) {
            writer.begin_extent(ShardId(shard), Sequence(1));
            writer.push(&encoded, 100).expect("it is as it was made");
            shard += 1;
        }
        writer.finish(&head());
        assert_eq!(extents.len(), extents_max(batch_bytes), "of {batch_bytes} bytes");
    }
}

#[test]
fn what_is_written_is_read() {
    let mut bytes = vec![0xee; 8192];
    let (length, written) = two_extents(&mut bytes);
    assert_eq!(length, 4096);
    let header = Header::parse(&bytes).expect("an intact header");
    assert_eq!(header.head, head());
    assert!(!header.is_mark());
    let mut read = Vec::new();
    assert_eq!(header.extents(&bytes, &mut read), Ok(()));
    assert_eq!(read, written);
    assert_eq!(read[0].last_sequence(), Sequence(11));
    let place = read[1].offset as usize;
    let frame = crate::Frame::parse(&bytes[place..]).expect("a frame");
    assert_eq!((frame.sequence(), frame.arrival_ms()), (Sequence(1), 102));
    assert!(frame.verify_header(ShardId(2)).is_ok() && frame.verify_payload().is_ok());
}

#[test]
fn every_flipped_bit_is_noticed() {
    let mut bytes = vec![0; 4096];
    two_extents(&mut bytes);
    let mut extents = Vec::new();
    for bit in 0..bytes.len() * 8 {
        bytes[bit / 8] ^= 1 << (bit % 8);
        let intact = Header::parse(&bytes).is_some_and(|header| header.extents(&bytes, &mut extents).is_ok());
        assert!(!intact, "bit {bit} went unnoticed");
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
}

#[test]
fn a_mark_is_one_block() {
    let mut bytes = vec![1; 4096];
    let mut extents = Vec::new();
    let (length, _) = Writer::new(&mut bytes, &mut extents).finish(&head());
    assert_eq!(length, 4096);
    let header = Header::parse(&bytes).expect("an intact header");
    assert!(header.is_mark());
    assert_eq!(header.extents(&bytes, &mut extents), Ok(()));
}

#[test]
fn a_batch_keeps_within_its_buffer() {
    let mut encoded = Vec::new();
    frame::encode(&mut encoded, b"key", None, &[0; 200]).expect("within limits");
    let mut bytes = vec![0; 4096];
    let mut extents = Vec::new();
    let mut writer = Writer::new(&mut bytes, &mut extents);
    writer.begin_extent(ShardId(1), Sequence(1));
    let mut pushed = 0;
    while writer.fits(encoded.len()) {
        writer.push(&encoded, 0).expect("it is intact");
        pushed += 1;
    }
    assert_eq!(pushed, (4096 - HEADER_BYTES - 2 * EXTENT_BYTES) / encoded.len());
    assert_eq!(writer.finish(&head()).0, 4096);
}
