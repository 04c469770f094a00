//! Repairs checksums after a change, as a writer with a fault would have left them: so that what lies behind them is
//! reached as well. Written from the format's description, not from its code.

use std::ops::Range;

use frame::{batch, proto, superblock};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// Repairs a batch, as long as it says it is, or as there are bytes: each frame that its lengths lead to, then the rest.
pub(crate) fn repair_batch(bytes: &mut [u8]) {
    let Some(length) = word(bytes, 12).filter(|_| bytes.len() >= batch::HEADER_BYTES) else { return };
    let length = (length as usize).clamp(batch::HEADER_BYTES, bytes.len());
    let frames_end = batch::HEADER_BYTES + word(bytes, 88).unwrap_or(0) as usize;
    let frames_end = frames_end.min(length);
    let shards = shards_of_frames(&bytes[..length], frames_end);
    let mut sums = Vec::new();
    let mut at = batch::HEADER_BYTES;
    while at + frame::frame::HEADER_BYTES <= frames_end {
        let claimed = word(bytes, at).unwrap_or(0) as usize;
        let end = (at + claimed.max(frame::frame::HEADER_BYTES)).min(frames_end);
        let record = &mut bytes[at..end];
        repair_frame(record);
        let shard = shards.iter().find(|(range, _)| range.contains(&at)).map_or(0, |(_, shard)| *shard);
        repair_tail(record, 40, u64::from(shard));
        sums.extend_from_slice(&record[40..48]);
        at = end;
    }
    sums.extend_from_slice(&bytes[frames_end..length]);
    put(bytes, 96, xxh3_64(&sums));
    repair_tail(bytes, 120, batch::MAGIC);
}

/// The shard of each extent that the table behind the frames tells of.
fn shards_of_frames(batch: &[u8], frames_end: usize) -> Vec<(Range<usize>, u32)> {
    let count = word(batch, 92).unwrap_or(0) as usize;
    let rows = batch[frames_end..].chunks_exact(batch::EXTENT_BYTES).take(count);
    rows.filter_map(|row| {
        let (shard, offset, length) = (word(row, 0)?, word(row, 8)? as usize, word(row, 12)? as usize);
        Some((offset..offset.checked_add(length)?, shard))
    })
    .collect()
}

/// Repairs a segment's header.
pub(crate) fn repair_header(bytes: &mut [u8]) {
    repair_tail(bytes, 56, u64::from_le_bytes(*b"MSSEGMT1"));
}

/// Repairs a segment's trailer.
pub(crate) fn repair_trailer(bytes: &mut [u8]) {
    repair_tail(bytes, 64, u64::from_le_bytes(*b"MSTRAIL1"));
}

/// Repairs a footer.
pub(crate) fn repair_footer(bytes: &mut [u8]) {
    let Some(payload) = bytes.get(96..).map(xxh3_64) else { return };
    put(bytes, 80, payload);
    repair_tail(bytes, 88, u64::from_le_bytes(*b"MSFOOTR1"));
}

/// Repairs every copy of a superblock.
pub(crate) fn repair_superblock(bytes: &mut [u8]) {
    let blocks = bytes.chunks_mut(frame::limits::BLOCK_BYTES).take(superblock::COPIES);
    blocks.for_each(|block| repair_tail(block, 80, u64::from_le_bytes(*b"MSSUPER1")));
}

/// Repairs the messages of a stream, one after the other, as far as their lengths lead.
pub(crate) fn repair_messages(stream: &mut [u8]) {
    let mut rest = stream;
    while let Some(length) = word(rest, 0).map(|length| length as usize) {
        let fixed = match rest.get(4) {
            Some(&kind) if kind == proto::Kind::Append as u8 => proto::APPEND_FIXED_BYTES,
            Some(&kind) if kind == proto::Kind::ReadResult as u8 => proto::READ_FIXED_BYTES,
            _ => length.saturating_sub(proto::HEADER_BYTES),
        };
        let end = proto::HEADER_BYTES + fixed;
        if length < proto::HEADER_BYTES || end > rest.len() {
            return;
        }
        let sum = xxh3_64_with_seed(&rest[proto::HEADER_BYTES..end], xxh3_64_with_seed(&rest[..16], 0));
        put(rest, 16, sum);
        let next = length.min(rest.len());
        rest = &mut rest[next..];
    }
}

/// Repairs a payload checksum of a frame, as long as it says it is, or as there are bytes.
pub(crate) fn repair_frame(bytes: &mut [u8]) {
    let Some(length) = word(bytes, 0).filter(|_| bytes.len() >= frame::frame::HEADER_BYTES) else { return };
    let length = (length as usize).clamp(frame::frame::HEADER_BYTES, bytes.len());
    let sum = xxh3_64_with_seed(&bytes[..16], xxh3_64(&bytes[frame::frame::HEADER_BYTES..length]));
    put(bytes, 16, sum);
}

fn repair_tail(bytes: &mut [u8], at: usize, seed: u64) {
    if let Some(covered) = bytes.get(..at) {
        let sum = xxh3_64_with_seed(covered, seed);
        put(bytes, at, sum);
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

fn put(bytes: &mut [u8], at: usize, sum: u64) {
    if let Some(place) = bytes.get_mut(at..at + 8) {
        place.copy_from_slice(&sum.to_le_bytes());
    }
}
