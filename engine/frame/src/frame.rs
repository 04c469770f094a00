//! One record's bytes, the same on the wire, in memory and on disk.
//!
//! ```text
//!   0        4   5   6     8           12     14     16
//!   +--------+---+---+-----+-----------+------+------+-----------------+
//!   | length |ver|ext|flags|data length|key l.|   0  | payload checksum|
//!   +--------+---+---+-----+-----------+------+------+-----------------+
//!  24                  32                  40                48
//!   +-------------------+-------------------+----------------+
//!   |     sequence      |    arrival, ms    | header checksum|
//!   +-------------------+-------------------+----------------+
//!  48  extensions (ext words of 8 bytes) | partition key | data | zeros to a multiple of 8
//! ```
//!
//! The producer fills everything but sequence, arrival and header checksum; its payload checksum covers bytes 0..16 and
//! everything from 48 to the end, and travels unchanged to the reader. The server fills the rest; its header checksum
//! covers bytes 0..40 and the shard, so that a frame found in another shard's place is not believed.
//!
//! A record of more than a frame holds is a run of frames, its parts, each with an extension that says so: see
//! [`parts`](crate::parts).

use std::fmt;
use std::ops::Range;

use twox_hash::XxHash3_64;
use xxhash_rust::xxh3::xxh3_64_with_seed;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::extension::{
    EXPLICIT_HASH_KEY_BYTES, Extensions, FLAG_ENCRYPTED, FLAG_EXPLICIT_HASH_KEY, FLAG_PART, FLAG_PRODUCER,
    FLAGS_ACCEPTED, FLAGS_STORED, NUMBERED_BYTES, Numbered, PART_BYTES, Part, extension_bytes,
};
use crate::id::{Sequence, ShardId};
use crate::limits::{FRAME_BYTES_MAX, KEY_BYTES_MAX, LARGE_RECORD_BYTES_MAX, RECORD_BYTES_MAX};

/// Bytes before the extensions.
pub const HEADER_BYTES: usize = 48;

/// The layout's version. A frame of another version is refused.
pub const VERSION: u8 = 1;

/// The fixed part of a frame.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Header {
    pub(crate) length: U32,
    pub(crate) version: u8,
    pub(crate) extension_words: u8,
    pub(crate) flags: U16,
    pub(crate) data_length: U32,
    pub(crate) key_length: U16,
    pub(crate) reserved: U16,
    pub(crate) payload_checksum: U64,
    pub(crate) sequence: U64,
    pub(crate) arrival_ms: U64,
    pub(crate) header_checksum: U64,
}

const _: () = assert!(size_of::<Header>() == HEADER_BYTES);

impl Header {
    /// Where the partition key starts, behind the header.
    fn key_start(&self) -> usize {
        usize::from(self.extension_words) * 8
    }

    /// Whether `body` is as the producer sent it.
    pub(crate) fn verify(&self, body: &[u8]) -> Result<(), FrameError> {
        if payload_checksum(self, body) == self.payload_checksum.get() {
            Ok(())
        } else {
            Err(FrameError::PayloadChecksum)
        }
    }

    /// The same with what the server adds.
    pub(crate) fn stamped(mut self, shard: ShardId, sequence: Sequence, arrival_ms: u64) -> Header {
        self.sequence.set(sequence.0);
        self.arrival_ms.set(arrival_ms);
        self.header_checksum.set(header_checksum(&self, shard));
        self
    }
}

/// Why bytes are not a frame. The sender is at fault, or, for bytes from the disk, the disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FrameError {
    /// Fewer bytes than a header, or than the header says.
    Short {
        /// Bytes that the frame needs.
        need: usize,
        /// Bytes that there are.
        have: usize,
    },
    /// A version that this build does not know.
    Version(u8),
    /// Flags or reserved bits that this build does not know.
    Flags(u16),
    /// The lengths in the header contradict each other or exceed a limit.
    Lengths,
    /// What it says of the record that it is a part of can't be.
    Part,
    /// Its producer is zero, or the producer's number of it is none.
    Number,
    /// The record that it is a part of is larger than any may be.
    LargeRecord {
        /// Its data and key.
        bytes: usize,
    },
    /// Ext, key or data are not what the producer sent.
    PayloadChecksum,
    /// The header is not what the server wrote, or is another shard's.
    HeaderChecksum,
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FrameError::Short { need, have } => write!(f, "the frame needs {need} bytes and has {have}"),
            FrameError::Version(version) => {
                write!(f, "frame version {version} is not known (this build writes {VERSION})")
            }
            FrameError::Flags(flags) => write!(f, "frame flags {flags:#06x} are not accepted"),
            FrameError::Lengths => f.write_str("the frame's lengths contradict each other or exceed a limit"),
            FrameError::Part => f.write_str("what the frame says of the record that it is a part of can't be"),
            FrameError::Number => f.write_str("the frame's producer is 0, or its number is not from 1 to 2^62 - 1"),
            FrameError::LargeRecord { bytes } => write!(
                f,
                "a record of {bytes} bytes of data and key; it may have {LARGE_RECORD_BYTES_MAX}: split it into records"
            ),
            FrameError::PayloadChecksum => f.write_str("the payload differs from its checksum"),
            FrameError::HeaderChecksum => f.write_str("the header differs from its checksum"),
        }
    }
}

impl std::error::Error for FrameError {}

/// One frame whose lengths have been checked. Its checksums are checked by [`Frame::verify_payload`] and
/// [`Frame::verify_header`].
#[derive(Clone, Copy)]
pub struct Frame<'a> {
    header: &'a Header,
    body: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The frame at the start of `bytes`, as clients send and receive it; what follows it is ignored.
    pub fn parse(bytes: &'a [u8]) -> Result<Frame<'a>, FrameError> {
        Self::parse_with(bytes, FLAGS_ACCEPTED)
    }

    /// The same as it lies on disk, where it may be encrypted.
    pub fn parse_stored(bytes: &'a [u8]) -> Result<Frame<'a>, FrameError> {
        Self::parse_with(bytes, FLAGS_STORED)
    }

    #[inline]
    fn parse_with(bytes: &'a [u8], accepted: u16) -> Result<Frame<'a>, FrameError> {
        let short = FrameError::Short { need: HEADER_BYTES, have: bytes.len() };
        let (header, rest) = Header::ref_from_prefix(bytes).map_err(|_| short)?;
        if header.version != VERSION {
            return Err(FrameError::Version(header.version));
        }
        let flags = header.flags.get();
        if flags & !accepted != 0 || header.reserved.get() != 0 {
            return Err(FrameError::Flags(flags));
        }
        let extension_bytes = extension_bytes(flags);
        let key_length = usize::from(header.key_length.get());
        let data_length = header.data_length.get() as usize;
        let length = header.length.get() as usize;
        if usize::from(header.extension_words) * 8 != extension_bytes
            || key_length > KEY_BYTES_MAX
            || data_length > RECORD_BYTES_MAX
            || key_length + data_length > RECORD_BYTES_MAX
            || length != frame_bytes(extension_bytes, key_length, data_length)
        {
            return Err(FrameError::Lengths);
        }
        let body = rest.get(..length - HEADER_BYTES).ok_or(FrameError::Short { need: length, have: bytes.len() })?;
        let frame = Frame { header, body };
        if let Some(part) = frame.part() {
            part.check(key_length, data_length)?;
        }
        if let Some(numbered) = frame.numbered() {
            numbered.check()?;
        }
        Ok(frame)
    }

    pub(crate) fn header(&self) -> &'a Header {
        self.header
    }

    /// What follows the header.
    pub(crate) fn body(&self) -> &'a [u8] {
        self.body
    }

    /// Whether it is a part of a record.
    pub fn is_part(&self) -> bool {
        self.header.flags.get() & FLAG_PART != 0
    }

    /// Which part of a record it is; nothing if it is all of one.
    pub fn part(&self) -> Option<Part> {
        if !self.is_part() {
            return None;
        }
        let at = self.header.key_start() - PART_BYTES;
        self.body.get(at..)?.first_chunk().map(|bytes| Part::decode(*bytes))
    }

    /// Whether its producer numbers its records.
    pub fn is_numbered(&self) -> bool {
        self.header.flags.get() & FLAG_PRODUCER != 0
    }

    /// The producer's number of it, if it has one.
    pub fn numbered(&self) -> Option<Numbered> {
        numbered(self.header, self.body)
    }

    /// Whether key and data are encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.header.flags.get() & FLAG_ENCRYPTED != 0
    }

    /// Bytes of the whole frame, a multiple of 8.
    pub fn length(&self) -> usize {
        HEADER_BYTES + self.body.len()
    }

    /// The partition key.
    pub fn key(&self) -> &'a [u8] {
        let start = self.header.key_start();
        &self.body[start..start + usize::from(self.header.key_length.get())]
    }

    /// Where in the frame the partition key lies.
    pub fn key_range(&self) -> Range<usize> {
        let start = HEADER_BYTES + self.header.key_start();
        start..start + usize::from(self.header.key_length.get())
    }

    /// The record's data.
    pub fn data(&self) -> &'a [u8] {
        let start = self.header.key_start() + usize::from(self.header.key_length.get());
        &self.body[start..start + self.header.data_length.get() as usize]
    }

    /// Bytes of partition key and data together: what limits and quotas count.
    pub fn record_bytes(&self) -> usize {
        usize::from(self.header.key_length.get()) + self.header.data_length.get() as usize
    }

    /// The hash key that the producer chose in place of the partition key's MD5.
    pub fn explicit_hash_key(&self) -> Option<u128> {
        if self.header.flags.get() & FLAG_EXPLICIT_HASH_KEY == 0 {
            return None;
        }
        let bytes = self.body.first_chunk::<EXPLICIT_HASH_KEY_BYTES>();
        bytes.map(|bytes| u128::from_le_bytes(*bytes))
    }

    /// The number that the server gave. 0 before it did.
    pub fn sequence(&self) -> Sequence {
        Sequence(self.header.sequence.get())
    }

    /// When the server received it, in milliseconds since 1970. Never falls within a shard.
    pub fn arrival_ms(&self) -> u64 {
        self.header.arrival_ms.get()
    }

    /// The producer's checksum over key, data, extensions and their lengths.
    pub fn payload_checksum(&self) -> u64 {
        self.header.payload_checksum.get()
    }

    /// The server's checksum over the header, the payload's checksum included.
    pub fn header_checksum(&self) -> u64 {
        self.header.header_checksum.get()
    }

    /// Whether key and data are as the producer sent them.
    pub fn verify_payload(&self) -> Result<(), FrameError> {
        self.header.verify(self.body)
    }

    /// Whether sequence and arrival are as the server wrote them, for this very shard.
    pub fn verify_header(&self, shard: ShardId) -> Result<(), FrameError> {
        if header_checksum(self.header, shard) == self.header.header_checksum.get() {
            Ok(())
        } else {
            Err(FrameError::HeaderChecksum)
        }
    }
}

/// The length that the first four bytes of a frame claim, if it can be one.
pub fn claimed_length(prefix: [u8; 4]) -> Result<usize, FrameError> {
    let length = u32::from_le_bytes(prefix) as usize;
    if (HEADER_BYTES..=FRAME_BYTES_MAX).contains(&length) && length.is_multiple_of(8) {
        Ok(length)
    } else {
        Err(FrameError::Lengths)
    }
}

/// Bytes of a frame with these parts.
pub const fn frame_bytes(extension_bytes: usize, key_bytes: usize, data_bytes: usize) -> usize {
    (HEADER_BYTES + extension_bytes + key_bytes + data_bytes).next_multiple_of(8)
}

/// The producer's number of a frame that [`Frame::parse`] accepted before: a flag's test, where it has none.
#[inline]
pub fn numbered_of(frame: &[u8]) -> Option<Numbered> {
    let (header, body) = Header::ref_from_prefix(frame).ok()?;
    numbered(header, body)
}

#[inline]
fn numbered(header: &Header, body: &[u8]) -> Option<Numbered> {
    let flags = header.flags.get();
    if flags & FLAG_PRODUCER == 0 {
        return None;
    }
    let at = extension_bytes(flags & FLAG_EXPLICIT_HASH_KEY);
    body.get(at..)?.first_chunk::<NUMBERED_BYTES>().map(Numbered::decode)
}

/// Appends a frame to `out` as a producer makes it.
///
/// # Errors
/// [`FrameError::Lengths`] if key or data exceed [`KEY_BYTES_MAX`] or [`RECORD_BYTES_MAX`].
pub fn encode(out: &mut Vec<u8>, key: &[u8], explicit_hash_key: Option<u128>, data: &[u8]) -> Result<(), FrameError> {
    encode_pieces(out, key, explicit_hash_key, [data]).map(drop)
}

/// The same for data that lies in pieces, which saves its maker from joining them first. Returns the payload checksum.
///
/// # Errors
/// [`FrameError::Lengths`] if key or data exceed [`KEY_BYTES_MAX`] or [`RECORD_BYTES_MAX`].
pub fn encode_pieces<const PIECES: usize>(
    out: &mut Vec<u8>,
    key: &[u8],
    explicit_hash_key: Option<u128>,
    data: [&[u8]; PIECES],
) -> Result<u64, FrameError> {
    encode_extended(out, key, &Extensions { explicit_hash_key, ..Extensions::default() }, data)
}

/// The same with any extensions. [`parts::encode`](crate::parts::encode) makes all parts of a record.
///
/// # Errors
/// As of [`encode_pieces`], and [`FrameError::Number`] if the producer or its number can't be.
#[inline]
pub fn encode_extended<const PIECES: usize>(
    out: &mut Vec<u8>,
    key: &[u8],
    extensions: &Extensions,
    data: [&[u8]; PIECES],
) -> Result<u64, FrameError> {
    let data_length = data.iter().map(|piece| piece.len()).sum::<usize>();
    if key.len() > KEY_BYTES_MAX || key.len() + data_length > RECORD_BYTES_MAX {
        return Err(FrameError::Lengths);
    }
    extensions.numbered.map_or(Ok(()), |numbered| numbered.check())?;
    let flags = extensions.flags();
    let extension_bytes = extension_bytes(flags);
    let length = frame_bytes(extension_bytes, key.len(), data_length);
    let header = Header {
        length: U32::new(length as u32),
        version: VERSION,
        extension_words: (extension_bytes / 8) as u8,
        flags: U16::new(flags),
        data_length: U32::new(data_length as u32),
        key_length: U16::new(key.len() as u16),
        reserved: U16::ZERO,
        payload_checksum: U64::ZERO,
        sequence: U64::ZERO,
        arrival_ms: U64::ZERO,
        header_checksum: U64::ZERO,
    };
    let start = out.len();
    out.reserve(length);
    out.extend_from_slice(header.as_bytes());
    extensions.put(out);
    out.extend_from_slice(key);
    for piece in data {
        out.extend_from_slice(piece);
    }
    out.resize(start + length, 0);
    let checksum = payload_checksum(&header, &out[start + HEADER_BYTES..]);
    out[start + 16..start + 24].copy_from_slice(&checksum.to_le_bytes());
    Ok(checksum)
}

/// Writes what the server adds to a frame that [`Frame::parse`] accepted: sequence, arrival and header checksum.
///
/// # Panics
/// If `frame` is shorter than a header.
pub fn stamp(frame: &mut [u8], shard: ShardId, sequence: Sequence, arrival_ms: u64) {
    let (header, _) = Header::mut_from_prefix(frame).expect("the caller parsed this frame");
    *header = header.stamped(shard, sequence, arrival_ms);
}

/// Copies a frame that [`Frame::parse`] accepted, with what the server adds: sequence, arrival and header checksum, which is
/// returned. The payload is verified just before, so that hash and copy meet it once in the processor's cache. The header
/// is made before it is stored, so that nothing just stored has to be loaded again.
///
/// # Errors
/// The payload is not as its producer sent it. Nothing is copied.
///
/// # Panics
/// If `frame` is shorter than a header, or `place` not as long as `frame`.
pub fn copy_stamped(
    place: &mut [u8],
    frame: &[u8],
    shard: ShardId,
    sequence: Sequence,
    arrival_ms: u64,
) -> Result<u64, FrameError> {
    let (header, body) = Header::read_from_prefix(frame).expect("the caller parsed this frame");
    header.verify(body)?;
    let header = header.stamped(shard, sequence, arrival_ms);
    let (head, rest) = place.split_at_mut(HEADER_BYTES);
    head.copy_from_slice(header.as_bytes());
    rest.copy_from_slice(body);
    Ok(header.header_checksum.get())
}

pub(crate) fn payload_checksum(header: &Header, body: &[u8]) -> u64 {
    xxh3_64_with_seed(&header.as_bytes()[..16], XxHash3_64::oneshot(body))
}

fn header_checksum(header: &Header, shard: ShardId) -> u64 {
    xxh3_64_with_seed(&header.as_bytes()[..40], u64::from(shard.0))
}

#[cfg(test)]
#[path = "frame_tests.rs"]
mod tests;
