//! What a frame may carry between its header and its partition key, each announced by a flag, in the order of the flags.

use xxhash_rust::xxh3::xxh3_64;

use crate::frame::FrameError;
use crate::id::{ProducerId, RecordNumber};
use crate::limits::{EXTENSION_BYTES_MAX, LARGE_RECORD_BYTES_MAX, PARTS_MAX, SEQUENCE_MAX};

/// The frame carries an explicit hash key of 16 bytes, little-endian.
pub const FLAG_EXPLICIT_HASH_KEY: u16 = 1;
/// The frame carries its producer and the producer's number of the record, 8 bytes each.
pub const FLAG_PRODUCER: u16 = 1 << 1;
/// The frame carries key identifier, nonce and tag, 32 bytes: on disk alone, a client neither sends nor receives it.
pub const FLAG_ENCRYPTED: u16 = 1 << 2;
/// The frame is a part of a record, and carries which: 8 bytes.
pub const FLAG_PART: u16 = 1 << 3;

pub(crate) const FLAGS_ACCEPTED: u16 = FLAG_EXPLICIT_HASH_KEY | FLAG_PRODUCER | FLAG_PART;
/// Of a frame as it lies on disk.
pub(crate) const FLAGS_STORED: u16 = FLAGS_ACCEPTED | FLAG_ENCRYPTED;
pub(crate) const EXPLICIT_HASH_KEY_BYTES: usize = 16;
pub(crate) const PART_BYTES: usize = 8;

/// What encryption adds to a frame: a multiple of 8, so that its padding stays.
pub const ENCRYPTION_BYTES: usize = 32;

/// What a producer's number adds to a frame.
pub const NUMBERED_BYTES: usize = 16;

/// Bytes of the extensions that these flags announce. Without a branch, as it is done for every frame.
pub(crate) const fn extension_bytes(flags: u16) -> usize {
    let hash_key = (flags & FLAG_EXPLICIT_HASH_KEY) * EXPLICIT_HASH_KEY_BYTES as u16;
    let numbered = (flags & FLAG_PRODUCER) * (NUMBERED_BYTES as u16 / FLAG_PRODUCER);
    let encryption = (flags & FLAG_ENCRYPTED) * (ENCRYPTION_BYTES as u16 / FLAG_ENCRYPTED);
    (hash_key + numbered + encryption + (flags & FLAG_PART)) as usize
}

const _: () = {
    assert!(FLAG_PART as usize == PART_BYTES, "the flag is the extension's length");
    assert!(extension_bytes(FLAGS_ACCEPTED) == EXPLICIT_HASH_KEY_BYTES + NUMBERED_BYTES + PART_BYTES);
    assert!(extension_bytes(FLAGS_STORED) == extension_bytes(FLAGS_ACCEPTED) + ENCRYPTION_BYTES);
    assert!(extension_bytes(FLAGS_STORED) <= EXTENSION_BYTES_MAX && ENCRYPTION_BYTES.is_multiple_of(8));
};

/// All that a frame carries besides its key and data.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Extensions {
    /// The hash key that the producer chose in place of the partition key's MD5.
    pub explicit_hash_key: Option<u128>,
    /// The producer's number of the record.
    pub numbered: Option<Numbered>,
    /// Which part of a record it is; nothing if it is all of one.
    pub part: Option<Part>,
}

impl Extensions {
    pub(crate) fn flags(&self) -> u16 {
        let flag = |is_there: bool, flag: u16| if is_there { flag } else { 0 };
        flag(self.explicit_hash_key.is_some(), FLAG_EXPLICIT_HASH_KEY)
            | flag(self.numbered.is_some(), FLAG_PRODUCER)
            | flag(self.part.is_some(), FLAG_PART)
    }

    /// Bytes that they take.
    pub fn bytes(&self) -> usize {
        extension_bytes(self.flags())
    }

    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        if let Some(hash_key) = self.explicit_hash_key {
            out.extend_from_slice(&hash_key.to_le_bytes());
        }
        if let Some(numbered) = self.numbered {
            out.extend_from_slice(&numbered.encode());
        }
        if let Some(part) = self.part {
            out.extend_from_slice(&part.encode());
        }
    }
}

/// A record as its producer counts it: by this it is known again when it is sent again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Numbered {
    /// Who. Not zero.
    pub producer: ProducerId,
    /// Which of its records: it counts them in the order in which it sends them, whatever their shards, from 1.
    pub number: RecordNumber,
}

impl ProducerId {
    /// The producer of a name: always the same one, so that a program that is started again goes on.
    pub fn of_name(name: &str) -> ProducerId {
        ProducerId(xxh3_64(name.as_bytes()).max(1))
    }
}

impl Numbered {
    fn encode(self) -> [u8; NUMBERED_BYTES] {
        let mut bytes = [0; NUMBERED_BYTES];
        bytes[..8].copy_from_slice(&self.producer.0.to_le_bytes());
        bytes[8..].copy_from_slice(&self.number.0.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8; NUMBERED_BYTES]) -> Numbered {
        let both = u128::from_le_bytes(*bytes);
        Numbered { producer: ProducerId(both as u64), number: RecordNumber((both >> 64) as u64) }
    }

    pub(crate) fn check(&self) -> Result<(), FrameError> {
        let is_legal = self.producer.0 != 0 && (1..SEQUENCE_MAX).contains(&self.number.0);
        if is_legal { Ok(()) } else { Err(FrameError::Number) }
    }
}

/// Which part of a record a frame is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Part {
    /// Its place among them, from 0.
    pub index: u16,
    /// How many there are, at least two.
    pub count: u16,
    /// Bytes of data of the whole record.
    pub data_bytes: u32,
}

impl Part {
    /// Whether nothing of the record follows it.
    pub fn is_last(&self) -> bool {
        self.index + 1 == self.count
    }

    fn encode(self) -> [u8; PART_BYTES] {
        let mut bytes = [0; PART_BYTES];
        bytes[..2].copy_from_slice(&self.index.to_le_bytes());
        bytes[2..4].copy_from_slice(&self.count.to_le_bytes());
        bytes[4..].copy_from_slice(&self.data_bytes.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: [u8; PART_BYTES]) -> Part {
        let [i0, i1, c0, c1, data_bytes @ ..] = bytes;
        let (index, count) = (u16::from_le_bytes([i0, i1]), u16::from_le_bytes([c0, c1]));
        Part { index, count, data_bytes: u32::from_le_bytes(data_bytes) }
    }

    /// Whether it can be a part, of so many bytes and under a key of so many: every other part holds a byte or more.
    pub(crate) fn check(&self, key_length: usize, data_length: usize) -> Result<(), FrameError> {
        let whole = self.data_bytes as usize;
        if key_length + whole > LARGE_RECORD_BYTES_MAX {
            return Err(FrameError::LargeRecord { bytes: key_length + whole });
        }
        let others = usize::from(self.count.saturating_sub(1));
        let is_one = (2..=PARTS_MAX).contains(&usize::from(self.count)) && self.index < self.count;
        if is_one && data_length > 0 && data_length + others <= whole { Ok(()) } else { Err(FrameError::Part) }
    }
}
