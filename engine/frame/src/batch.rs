//! A commit batch: what one acknowledgement of the disk carries.
//!
//! ```text
//!   0          8     10    12        16               32        36        40
//!   +----------+-----+-----+---------+----------------+---------+---------+
//!   | MSBATCH1 | ver |flags| length  |     log id     | journal | segment |
//!   +----------+-----+-----+---------+----------------+---------+---------+
//!  40         48        56                 64             72           80        88
//!   +----------+---------+------------------+--------------+------------+---------+
//!   | position |  epoch  |previous checksum | durable mark | written ms |  skip   |
//!   +----------+---------+------------------+--------------+------------+---------+
//!  88            92           96                104        112        120             128
//!   +------------+------------+------------------+----------+----------+----------------+
//!   |frame bytes | extents    | payload checksum |    0     |    0     | header checksum|
//!   +------------+------------+------------------+----------+----------+----------------+
//! 128  frames, grouped by shard | extent table, 32 bytes each | zeros to a multiple of 4096
//! ```
//!
//! Every frame has a checksum of its payload, made by the producer, and one of its header, which covers the first. The
//! batch's payload checksum covers the header checksums of its frames, in their order, and everything behind the frames: so
//! no byte escapes, and none is hashed again when a batch is closed. The header checksum covers bytes 0..120 and so all of
//! the batch. `previous checksum` is the header checksum of the batch before, in this or the previous segment. `durable mark`
//! is a place up to which everything was on stable storage when this batch was written: it is never after `position`.
//! A batch without frames is a mark: it says so of all before it.

use xxhash_rust::xxh3::{Xxh3, xxh3_64_with_seed};
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::encryption::{self, KeyUse, TAG_BYTES, Text};
use crate::extension::ENCRYPTION_BYTES;
use crate::frame::{self, Frame, FrameError};
use crate::id::{Epoch, JournalNumber, LogId, Position, Sequence, ShardId};
use crate::limits::{BATCH_BYTES_MAX, BLOCK_BYTES, SEQUENCE_MAX};

/// Bytes before the frames.
pub const HEADER_BYTES: usize = 128;

/// Bytes of one row of the extent table.
pub const EXTENT_BYTES: usize = 32;

/// The first bytes of every batch.
pub const MAGIC: u64 = u64::from_le_bytes(*b"MSBATCH1");

/// The layout's version.
pub const VERSION: u16 = 1;

/// The first batch of a life: every shard's next number skips [`Head::skip`].
pub const FLAG_EPOCH_START: u16 = 1;

/// A batch of a compacted segment: of frames that other batches were acknowledged with, before those after the segment. The
/// segment's first is chained to none, nor is what follows the segment chained to its last.
pub const FLAG_COMPACTED: u16 = 2;

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
struct RawHeader {
    magic: U64,
    version: U16,
    flags: U16,
    length: U32,
    log_id: [u8; 16],
    journal: U32,
    segment: U32,
    position: U64,
    epoch: U64,
    previous_checksum: U64,
    durable: U64,
    written_ms: U64,
    skip: U64,
    frame_bytes: U32,
    extent_count: U32,
    payload_checksum: U64,
    reserved: [u8; 16],
    header_checksum: U64,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
struct RawExtent {
    shard: U32,
    count: U32,
    offset: U32,
    length: U32,
    first_sequence: U64,
    arrival_ms: U64,
}

const _: () = {
    assert!(size_of::<RawHeader>() == HEADER_BYTES);
    assert!(size_of::<RawExtent>() == EXTENT_BYTES);
};

/// What a batch says of itself and of its place in the journal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Head {
    /// The data directory's name.
    pub log_id: LogId,
    /// The journal that it belongs to.
    pub journal: JournalNumber,
    /// Where it starts.
    pub position: Position,
    /// The life that wrote it.
    pub epoch: Epoch,
    /// [`FLAG_EPOCH_START`], [`FLAG_COMPACTED`] or 0.
    pub flags: u16,
    /// The checksum of the batch before it.
    pub previous_checksum: u64,
    /// Everything before this place was durable when this was written.
    pub durable: Position,
    /// Wall clock when it was closed, in milliseconds since 1970.
    pub written_ms: u64,
    /// Sequence numbers that every shard skips here.
    pub skip: u64,
}

/// One shard's contiguous run of frames in a batch, numbered without gaps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extent {
    /// Whose frames.
    pub shard: ShardId,
    /// How many.
    pub count: u32,
    /// Where they start, in bytes from the start of the batch.
    pub offset: u32,
    /// Their bytes.
    pub length: u32,
    /// The first one's number.
    pub first_sequence: Sequence,
    /// The last one's arrival, in milliseconds since 1970.
    pub arrival_ms: u64,
}

impl Extent {
    /// The last frame's number.
    pub fn last_sequence(&self) -> Sequence {
        Sequence(self.first_sequence.0 + u64::from(self.count) - 1)
    }

    /// Whether `frames` are of this shard, as many as said, and numbered as said.
    fn agrees_with(&self, frames: &[u8]) -> bool {
        let numbered = (1..SEQUENCE_MAX - u64::from(self.count)).contains(&self.first_sequence.0);
        if self.count == 0 || !numbered {
            return false;
        }
        let mut next = self.first_sequence;
        let mut left = frames;
        while !left.is_empty() {
            let Ok(frame) = Frame::parse_stored(left) else { return false };
            if frame.verify_header(self.shard).is_err() || frame.sequence() != next {
                return false;
            }
            next = next.next();
            left = left.get(frame.length()..).unwrap_or_default();
        }
        next.0 - self.first_sequence.0 == u64::from(self.count)
    }
}

/// Bytes of a batch with these contents, padding included.
pub const fn batch_bytes(frame_bytes: usize, extents: usize) -> usize {
    (HEADER_BYTES + frame_bytes + extents * EXTENT_BYTES).next_multiple_of(BLOCK_BYTES)
}

/// Extents of a batch of so many bytes at most: each has a frame.
pub const fn extents_max(batch_bytes: usize) -> usize {
    batch_bytes.saturating_sub(HEADER_BYTES) / (frame::HEADER_BYTES + EXTENT_BYTES)
}

/// Fills a buffer with frames, shard by shard, and closes it as a batch.
///
/// The caller keeps within the buffer by [`Writer::fits`].
pub struct Writer<'a> {
    bytes: &'a mut [u8],
    extents: &'a mut Vec<Extent>,
    at: usize,
    payload: Xxh3,
}

impl<'a> Writer<'a> {
    /// A batch in `bytes`, whose length is a multiple of the block; `extents` is emptied and then lists what was written.
    pub fn new(bytes: &'a mut [u8], extents: &'a mut Vec<Extent>) -> Writer<'a> {
        extents.clear();
        Writer { bytes, extents, at: HEADER_BYTES, payload: Xxh3::new() }
    }

    /// Whether a frame of `length` bytes fits, even if it begins an extent.
    pub fn fits(&self, length: usize) -> bool {
        batch_bytes(self.at - HEADER_BYTES + length, self.extents.len() + 1) <= self.bytes.len()
    }

    /// Whether nothing was written into it.
    pub fn is_empty(&self) -> bool {
        self.extents.is_empty()
    }

    /// Begins `shard`'s extent, whose first frame will carry `first`.
    pub fn begin_extent(&mut self, shard: ShardId, first: Sequence) {
        self.extents.push(Extent {
            shard,
            count: 0,
            offset: self.at as u32,
            length: 0,
            first_sequence: first,
            arrival_ms: 0,
        });
    }

    /// Copies a frame into the current extent and stamps it with the extent's next number, which is returned.
    ///
    /// # Errors
    /// The frame's payload is not as its producer sent it. Nothing is written, and an extent just begun is none.
    ///
    /// # Panics
    /// If no extent was begun or the frame does not fit.
    pub fn push(&mut self, bytes: &[u8], arrival_ms: u64) -> Result<Sequence, FrameError> {
        self.push_by(bytes.len(), arrival_ms, |place, shard, sequence| {
            frame::copy_stamped(place, bytes, shard, sequence, arrival_ms)
        })
    }

    /// The same, encrypted: it takes [`ENCRYPTION_BYTES`] more than `bytes`.
    ///
    /// # Errors
    /// As of [`Writer::push`].
    ///
    /// # Panics
    /// As of [`Writer::push`].
    pub fn push_encrypted(
        &mut self,
        bytes: &[u8],
        arrival_ms: u64,
        with: KeyUse,
        encrypt: impl FnOnce(Text<'_>) -> [u8; TAG_BYTES],
    ) -> Result<Sequence, FrameError> {
        self.push_by(bytes.len() + ENCRYPTION_BYTES, arrival_ms, |place, shard, sequence| {
            encryption::copy_encrypted(place, bytes, (shard, sequence, arrival_ms), with, encrypt)
        })
    }

    #[inline]
    fn push_by(
        &mut self,
        length: usize,
        arrival_ms: u64,
        copy: impl FnOnce(&mut [u8], ShardId, Sequence) -> Result<u64, FrameError>,
    ) -> Result<Sequence, FrameError> {
        let extent = self.extents.last_mut().expect("an extent was begun");
        let sequence = Sequence(extent.first_sequence.0 + u64::from(extent.count));
        let place = &mut self.bytes[self.at..self.at + length];
        let checksum = match copy(place, extent.shard, sequence) {
            Ok(checksum) => checksum,
            Err(error) => {
                if extent.count == 0 {
                    self.extents.pop();
                }
                return Err(error);
            }
        };
        self.payload.update(&checksum.to_le_bytes());
        extent.count += 1;
        extent.length += length as u32;
        extent.arrival_ms = arrival_ms;
        self.at += length;
        Ok(sequence)
    }

    /// Writes table, padding and header. Returns the batch's length and its checksum.
    pub fn finish(mut self, head: &Head) -> (usize, u64) {
        let frame_bytes = self.at - HEADER_BYTES;
        let length = batch_bytes(frame_bytes, self.extents.len());
        let mut at = self.at;
        for extent in self.extents.iter() {
            let raw = RawExtent {
                shard: U32::new(extent.shard.0),
                count: U32::new(extent.count),
                offset: U32::new(extent.offset),
                length: U32::new(extent.length),
                first_sequence: U64::new(extent.first_sequence.0),
                arrival_ms: U64::new(extent.arrival_ms),
            };
            self.bytes[at..at + EXTENT_BYTES].copy_from_slice(raw.as_bytes());
            at += EXTENT_BYTES;
        }
        self.bytes[at..length].fill(0);
        self.payload.update(&self.bytes[self.at..length]);
        let mut raw = RawHeader {
            magic: U64::new(MAGIC),
            version: U16::new(VERSION),
            flags: U16::new(head.flags),
            length: U32::new(length as u32),
            log_id: head.log_id.0,
            journal: U32::new(head.journal.0),
            segment: U32::new(head.position.segment().0),
            position: U64::new(head.position.0),
            epoch: U64::new(head.epoch.0),
            previous_checksum: U64::new(head.previous_checksum),
            durable: U64::new(head.durable.0),
            written_ms: U64::new(head.written_ms),
            skip: U64::new(head.skip),
            frame_bytes: U32::new(frame_bytes as u32),
            extent_count: U32::new(self.extents.len() as u32),
            payload_checksum: U64::new(self.payload.digest()),
            reserved: [0; 16],
            header_checksum: U64::ZERO,
        };
        let checksum = header_checksum(&raw);
        raw.header_checksum.set(checksum);
        self.bytes[..HEADER_BYTES].copy_from_slice(raw.as_bytes());
        (length, checksum)
    }
}

/// A batch's header whose own checksum is right. Its payload is checked by [`Header::extents`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// What it says of itself.
    pub head: Head,
    /// All of its bytes, a multiple of the block.
    pub length: usize,
    /// Its checksum, which covers header and payload.
    pub checksum: u64,
    frame_bytes: usize,
    extent_count: usize,
    payload_checksum: u64,
}

/// Why a batch's payload is not believed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PayloadError {
    /// The bytes end before the batch does.
    Short,
    /// The bytes differ from the checksum: torn, or damaged.
    Checksum,
    /// The checksum is right, and the extent table contradicts itself: a bug of whoever wrote it.
    Table,
}

impl Header {
    /// The header at the start of `bytes`; `None` if there is no intact one.
    pub fn parse(bytes: &[u8]) -> Option<Header> {
        let (raw, _) = RawHeader::ref_from_prefix(bytes).ok()?;
        if raw.magic.get() != MAGIC || raw.version.get() != VERSION {
            return None;
        }
        let checksum = raw.header_checksum.get();
        if header_checksum(raw) != checksum {
            return None;
        }
        let length = raw.length.get() as usize;
        let frame_bytes = raw.frame_bytes.get() as usize;
        let extent_count = raw.extent_count.get() as usize;
        let position = Position(raw.position.get());
        let lengths_agree = length <= BATCH_BYTES_MAX
            && frame_bytes <= length
            && extent_count <= length / EXTENT_BYTES
            && batch_bytes(frame_bytes, extent_count) == length;
        if !lengths_agree || position.segment().0 != raw.segment.get() || raw.durable.get() > position.0 {
            return None;
        }
        Some(Header {
            head: Head {
                log_id: LogId(raw.log_id),
                journal: JournalNumber(raw.journal.get()),
                position,
                epoch: Epoch(raw.epoch.get()),
                flags: raw.flags.get(),
                previous_checksum: raw.previous_checksum.get(),
                durable: Position(raw.durable.get()),
                written_ms: raw.written_ms.get(),
                skip: raw.skip.get(),
            },
            length,
            checksum,
            frame_bytes,
            extent_count,
            payload_checksum: raw.payload_checksum.get(),
        })
    }

    /// Whether the batch carries no frames.
    pub fn is_mark(&self) -> bool {
        self.extent_count == 0
    }

    /// Checks the payload of the batch in `bytes`, frame by frame, and fills `extents` with its table.
    pub fn extents(&self, bytes: &[u8], extents: &mut Vec<Extent>) -> Result<(), PayloadError> {
        extents.clear();
        let payload = bytes.get(HEADER_BYTES..self.length).ok_or(PayloadError::Short)?;
        let (frames, rest) = payload.split_at_checked(self.frame_bytes).ok_or(PayloadError::Table)?;
        self.check_payload(frames, rest)?;
        let (rows, _) =
            <[RawExtent]>::ref_from_prefix_with_elems(rest, self.extent_count).map_err(|_| PayloadError::Table)?;
        let mut left = frames;
        for row in rows {
            let extent = Extent {
                shard: ShardId(row.shard.get()),
                count: row.count.get(),
                offset: row.offset.get(),
                length: row.length.get(),
                first_sequence: Sequence(row.first_sequence.get()),
                arrival_ms: row.arrival_ms.get(),
            };
            let (own, behind) = left.split_at_checked(extent.length as usize).ok_or(PayloadError::Table)?;
            if extent.offset as usize != HEADER_BYTES + frames.len() - left.len() || !extent.agrees_with(own) {
                return Err(PayloadError::Table);
            }
            left = behind;
            extents.push(extent);
        }
        if left.is_empty() { Ok(()) } else { Err(PayloadError::Table) }
    }

    /// Whether the frames and what lies behind them are what was written.
    fn check_payload(&self, frames: &[u8], rest: &[u8]) -> Result<(), PayloadError> {
        let mut checksums = Xxh3::new();
        let mut left = frames;
        while !left.is_empty() {
            let frame = Frame::parse_stored(left).map_err(|_| PayloadError::Checksum)?;
            frame.verify_payload().map_err(|_| PayloadError::Checksum)?;
            checksums.update(&frame.header_checksum().to_le_bytes());
            left = left.get(frame.length()..).unwrap_or_default();
        }
        checksums.update(rest);
        if checksums.digest() == self.payload_checksum { Ok(()) } else { Err(PayloadError::Checksum) }
    }
}

fn header_checksum(raw: &RawHeader) -> u64 {
    xxh3_64_with_seed(&raw.as_bytes()[..HEADER_BYTES - 8], MAGIC)
}

#[cfg(test)]
#[path = "batch_tests.rs"]
mod tests;
