//! Records of more than a frame holds: a run of frames, their *parts*, one after the other in their shard.
//!
//! ```text
//!   producer: encode -> part 0 | part 1 | ... | part n-1, in one Append
//!   server:   Run checks that they are one record's, before any is stored
//!   shard:    numbers k, k+1, ... k+n-1, nothing between them; the record's number is the last one's
//!   reader:   Joiner -> the record, when its last part is there; nothing of one whose parts are not all there
//! ```
//!
//! Every part is a frame of its own, with its checksums, and repeats the partition key and the explicit hash key. A crash
//! between two parts, or a disk that is full, leaves a record of which the last parts are missing: its numbers are used up,
//! and readers pass over what there is of it.

use std::fmt;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::extension::{Extensions, Numbered, Part, extension_bytes};
use crate::frame::{self, Frame, FrameError, HEADER_BYTES};
use crate::id::Sequence;
use crate::limits::{KEY_BYTES_MAX, LARGE_RECORD_BYTES_MAX, PART_FRAME_BYTES, RECORD_BYTES_MAX};

/// Extensions of a part at most: explicit hash key, producer's number, and which part it is.
const PART_EXTENSION_BYTES: usize = extension_bytes(crate::extension::FLAGS_ACCEPTED);

/// What a record became.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Encoded {
    /// Its frames.
    pub frames: u32,
    /// What [`Record::checksum`] will be of it.
    pub checksum: u64,
}

/// Frames that a record takes, and their bytes together.
pub fn encoded_size(key_bytes: usize, has_hash_key: bool, data_bytes: usize) -> (usize, usize) {
    encoded_size_with(if has_hash_key { 16 } else { 0 }, key_bytes, data_bytes)
}

/// The same with so many bytes of extensions in each, without that of parts.
pub fn encoded_size_with(extension_bytes: usize, key_bytes: usize, data_bytes: usize) -> (usize, usize) {
    if key_bytes + data_bytes <= RECORD_BYTES_MAX {
        return (1, frame::frame_bytes(extension_bytes, key_bytes, data_bytes));
    }
    let each = part_data_bytes(key_bytes);
    let (whole, rest) = (data_bytes / each, data_bytes % each);
    let part = |bytes| if bytes > 0 { frame::frame_bytes(extension_bytes + 8, key_bytes, bytes) } else { 0 };
    (data_bytes.div_ceil(each), whole * part(each) + part(rest))
}

/// Bytes of data of a full part under a key of so many bytes, whatever extensions its frames have.
pub fn part_data_bytes(key_bytes: usize) -> usize {
    PART_FRAME_BYTES - HEADER_BYTES - PART_EXTENSION_BYTES - key_bytes.min(KEY_BYTES_MAX)
}

/// Appends a record's frames to `out` as a producer makes them: one if it fits, else its parts.
///
/// # Errors
/// [`FrameError::Lengths`] if the key exceeds [`KEY_BYTES_MAX`], [`FrameError::LargeRecord`] if key and data exceed
/// [`LARGE_RECORD_BYTES_MAX`].
#[inline]
pub fn encode<const PIECES: usize>(
    out: &mut Vec<u8>,
    key: &[u8],
    explicit_hash_key: Option<u128>,
    data: [&[u8]; PIECES],
) -> Result<Encoded, FrameError> {
    encode_numbered(out, key, explicit_hash_key, None, data)
}

/// The same of a record that its producer has numbered: every frame of it bears the number.
///
/// # Errors
/// As of [`encode`], and [`FrameError::Number`] if the producer or its number can't be.
#[inline]
pub fn encode_numbered<const PIECES: usize>(
    out: &mut Vec<u8>,
    key: &[u8],
    explicit_hash_key: Option<u128>,
    numbered: Option<Numbered>,
    data: [&[u8]; PIECES],
) -> Result<Encoded, FrameError> {
    let data_bytes = data.iter().map(|piece| piece.len()).sum::<usize>();
    let extensions = Extensions { explicit_hash_key, numbered, part: None };
    if key.len() + data_bytes <= RECORD_BYTES_MAX {
        let checksum = frame::encode_extended(out, key, &extensions, data)?;
        return Ok(Encoded { frames: 1, checksum });
    }
    encode_cut_extended(out, key, &extensions, data, part_data_bytes(key.len()))
}

/// As [`encode`], in parts of `each` bytes of data, but one frame if one part is enough. For those who want parts of few bytes.
///
/// # Errors
/// As of [`encode`], and [`FrameError::Part`] if there were more parts than a record may have.
#[cold]
pub fn encode_cut<const PIECES: usize>(
    out: &mut Vec<u8>,
    key: &[u8],
    explicit_hash_key: Option<u128>,
    data: [&[u8]; PIECES],
    each: usize,
) -> Result<Encoded, FrameError> {
    encode_cut_extended(out, key, &Extensions { explicit_hash_key, ..Extensions::default() }, data, each)
}

/// The same with any extensions but a part's.
///
/// # Errors
/// As of [`encode_cut`], and [`FrameError::Number`] if the producer or its number can't be.
#[cold]
pub fn encode_cut_extended<const PIECES: usize>(
    out: &mut Vec<u8>,
    key: &[u8],
    extensions: &Extensions,
    data: [&[u8]; PIECES],
    each: usize,
) -> Result<Encoded, FrameError> {
    let data_bytes = data.iter().map(|piece| piece.len()).sum::<usize>();
    if key.len() + data_bytes > LARGE_RECORD_BYTES_MAX {
        return Err(FrameError::LargeRecord { bytes: key.len() + data_bytes });
    }
    let count = data_bytes.div_ceil(each.max(1));
    if count < 2 {
        let checksum = frame::encode_extended(out, key, extensions, data)?;
        return Ok(Encoded { frames: 1, checksum });
    }
    if count > crate::limits::PARTS_MAX {
        return Err(FrameError::Part);
    }
    let mut checksum = 0;
    for index in 0..count {
        let part = Part { index: index as u16, count: count as u16, data_bytes: data_bytes as u32 };
        let extensions = Extensions { part: Some(part), ..*extensions };
        let pieces = window(data, index * each, (index + 1) * each);
        checksum = folded(checksum, frame::encode_extended(out, key, &extensions, pieces)?);
    }
    Ok(Encoded { frames: count as u32, checksum })
}

/// What of the pieces, laid end to end, lies from one place to another.
fn window<const PIECES: usize>(data: [&[u8]; PIECES], from: usize, to: usize) -> [&[u8]; PIECES] {
    let mut before = 0;
    data.map(|piece| {
        let start = from.saturating_sub(before).min(piece.len());
        let end = to.saturating_sub(before).min(piece.len());
        before += piece.len();
        piece.get(start..end).unwrap_or_default()
    })
}

/// Adds a part's payload checksum to that of its record.
fn folded(checksum: u64, part: u64) -> u64 {
    xxh3_64_with_seed(&part.to_le_bytes(), checksum)
}

/// Why frames are not the parts of one record. Whoever sent them is at fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RunError {
    /// Another part came than was due.
    Index {
        /// The part that was due, counted from 0.
        due: u16,
        /// The one that came.
        index: u16,
    },
    /// The record's parts ended, or something else came, before all were there.
    Cut {
        /// The part that was due, counted from 0.
        due: u16,
        /// How many there should have been.
        count: u16,
    },
    /// Key, explicit hash key, producer's number, number of parts or bytes of data differ from the first part's.
    Differs {
        /// The part, counted from 0.
        index: u16,
    },
    /// The data of the parts is not as long as they said.
    DataBytes {
        /// What they said.
        said: usize,
        /// What came.
        came: usize,
    },
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RunError::Index { due, index } => write!(f, "part {index} of a record came where part {due} was due"),
            RunError::Cut { due, count } => {
                write!(f, "a record of {count} parts was cut off before part {due}; send its parts one after the other")
            }
            RunError::Differs { index } => {
                write!(
                    f,
                    "part {index} of a record differs from the first in key, number, count of parts or bytes in all"
                )
            }
            RunError::DataBytes { said, came } => {
                write!(f, "the parts of a record said that its data has {said} bytes, and had {came}")
            }
        }
    }
}

impl std::error::Error for RunError {}

/// Checks that frames are the parts of one record, in their order. Reused.
#[derive(Clone, Debug, Default)]
pub struct Run {
    key: Vec<u8>,
    explicit_hash_key: Option<u128>,
    numbered: Option<Numbered>,
    /// The first part's; nothing between records.
    of: Option<Part>,
    next: u16,
    data_bytes: usize,
}

impl Run {
    /// Whether some parts of a record came, and more must.
    pub fn is_open(&self) -> bool {
        self.of.is_some()
    }

    /// Forgets the record that is not whole.
    pub fn clear(&mut self) {
        self.of = None;
    }

    /// What is wrong if no part follows now; nothing between records.
    pub fn cut(&self) -> Option<RunError> {
        self.of.map(|first| RunError::Cut { due: self.next, count: first.count })
    }

    /// Takes the next part. Whether the record is whole.
    ///
    /// # Errors
    /// It is not the one that is due: the record can't become whole.
    pub fn take(&mut self, frame: &Frame<'_>, part: Part) -> Result<bool, RunError> {
        let due = if self.is_open() { self.next } else { 0 };
        if part.index != due {
            return Err(RunError::Index { due, index: part.index });
        }
        match self.of {
            None => self.begin(frame, part),
            Some(first) => {
                let is_same = (first.count, first.data_bytes) == (part.count, part.data_bytes)
                    && self.key == frame.key()
                    && self.explicit_hash_key == frame.explicit_hash_key()
                    && self.numbered == frame.numbered();
                if !is_same {
                    return Err(RunError::Differs { index: part.index });
                }
            }
        }
        let (said, came) = (part.data_bytes as usize, self.data_bytes + frame.data().len());
        if came > said || (part.is_last() && came != said) {
            return Err(RunError::DataBytes { said, came });
        }
        (self.next, self.data_bytes) = (part.index + 1, came);
        if part.is_last() {
            self.of = None;
        }
        Ok(part.is_last())
    }

    fn begin(&mut self, frame: &Frame<'_>, part: Part) {
        self.key.clear();
        self.key.extend_from_slice(frame.key());
        (self.explicit_hash_key, self.numbered) = (frame.explicit_hash_key(), frame.numbered());
        (self.of, self.next, self.data_bytes) = (Some(part), 0, 0);
    }
}

/// Bytes of all frames of the record whose first part this is, at most.
pub fn frames_bytes_max(first: &Frame<'_>, part: Part) -> usize {
    let each = HEADER_BYTES + PART_EXTENSION_BYTES + first.key().len() + 7;
    part.data_bytes as usize + usize::from(part.count) * each
}

/// A record as it was appended, whether in one frame or in parts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Record<'a> {
    /// The number of its first part: its own, if it has none.
    pub first: Sequence,
    /// Its number, which is that of its last part.
    pub sequence: Sequence,
    /// When the server received it, in milliseconds since 1970.
    pub arrival_ms: u64,
    /// The partition key.
    pub key: &'a [u8],
    /// The hash key that the producer chose in place of the partition key's MD5.
    pub explicit_hash_key: Option<u128>,
    /// The data.
    pub data: &'a [u8],
    /// Its payload's checksum, or that over its parts'.
    pub checksum: u64,
}

impl<'a> Record<'a> {
    /// The record that this frame is, if it is no part of one.
    #[inline]
    pub fn of(frame: &Frame<'a>) -> Record<'a> {
        Record {
            first: frame.sequence(),
            sequence: frame.sequence(),
            arrival_ms: frame.arrival_ms(),
            key: frame.key(),
            explicit_hash_key: frame.explicit_hash_key(),
            data: frame.data(),
            checksum: frame.payload_checksum(),
        }
    }
}

/// The number of the first part of the record that this frame is a part of. Who starts at a number within a record and wants
/// all of it starts there.
pub fn first_of(frame: &Frame<'_>) -> Sequence {
    let index = frame.part().map_or(0, |part| u64::from(part.index));
    Sequence(frame.sequence().0.saturating_sub(index))
}

/// Joins one shard's frames into records, whatever answers and pushes they come in. Takes the memory of one record at most.
///
/// What is not all there is passed over: parts before the reader's start, and records whose last parts were never stored.
#[derive(Clone, Debug, Default)]
pub struct Joiner {
    run: Run,
    first: Sequence,
    next: Sequence,
    checksum: u64,
    data: Vec<u8>,
}

impl Joiner {
    /// One that has seen nothing.
    pub fn new() -> Joiner {
        Joiner::default()
    }

    /// Takes the shard's next frame, whose checksums the caller has checked. The record, if it is whole now.
    #[inline]
    pub fn push<'a>(&'a mut self, frame: &Frame<'a>) -> Option<Record<'a>> {
        match frame.part() {
            None if self.run.is_open() || self.data.capacity() > 0 => {
                self.clear();
                Some(Record::of(frame))
            }
            None => Some(Record::of(frame)),
            Some(part) => self.push_part(frame, part),
        }
    }

    /// The number of the first part of the record that is not whole: whoever stops here and is to have that record later goes
    /// on there.
    pub fn waits_from(&self) -> Option<Sequence> {
        self.run.is_open().then_some(self.first)
    }

    /// Forgets what is not whole, and gives its memory back.
    #[cold]
    pub fn clear(&mut self) {
        self.run.clear();
        self.data = Vec::new();
    }

    #[cold]
    fn push_part<'a>(&'a mut self, frame: &Frame<'a>, part: Part) -> Option<Record<'a>> {
        if part.index == 0 || frame.sequence() != self.next {
            self.run.clear();
        }
        let begins = !self.run.is_open();
        let Ok(is_whole) = self.run.take(frame, part) else {
            self.clear();
            return None;
        };
        if begins {
            (self.first, self.checksum) = (frame.sequence(), 0);
            self.data.clear();
            self.data.reserve_exact(part.data_bytes as usize);
        }
        self.next = frame.sequence().next();
        self.checksum = folded(self.checksum, frame.payload_checksum());
        self.data.extend_from_slice(frame.data());
        is_whole.then_some(Record {
            first: self.first,
            sequence: frame.sequence(),
            arrival_ms: frame.arrival_ms(),
            key: frame.key(),
            explicit_hash_key: frame.explicit_hash_key(),
            data: &self.data,
            checksum: self.checksum,
        })
    }
}

#[cfg(test)]
#[path = "parts_tests.rs"]
mod tests;
