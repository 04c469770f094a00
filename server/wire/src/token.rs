//! Opaque words: bytes that a client hands back as it got them.
//!
//! ```text
//!   0 version: 7 zeros, 1 | 8 kind | 9 bytes | checksum (8)                   all of it in base64
//! ```
//!
//! The checksum finds what was cut, mistyped or meant for something else. It keeps no secret: whoever may do what a token is
//! for may make one.

use base64::Engine;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::base64::BASE64;

const VERSION: [u8; 8] = [0, 0, 0, 0, 0, 0, 0, 1];
const CHECKSUM_SEED: u64 = u64::from_le_bytes(*b"token  1");

/// What a token is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    ShardIterator = 1,
    ListShards = 2,
    ListStreams = 3,
    ListStreamConsumers = 4,
}

/// Makes a word of bytes.
pub(crate) fn seal(kind: Kind, bytes: &[u8]) -> String {
    let mut word = [&VERSION, &[kind as u8][..], bytes].concat();
    word.extend_from_slice(&xxh3_64_with_seed(&word, CHECKSUM_SEED).to_le_bytes());
    BASE64.encode(word)
}

/// The bytes of a word; `None` if it is none of this kind.
pub(crate) fn open(kind: Kind, text: &str) -> Option<Vec<u8>> {
    let word = BASE64.decode(text).ok()?;
    let (sealed, checksum) = word.split_last_chunk::<8>()?;
    let is_whole = xxh3_64_with_seed(sealed, CHECKSUM_SEED) == u64::from_le_bytes(*checksum);
    let bytes = sealed.strip_prefix(&VERSION)?.strip_prefix(&[kind as u8])?;
    is_whole.then(|| bytes.to_vec())
}

/// Takes fields off a token's bytes.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) fn long(&mut self) -> Option<u64> {
        let (bytes, rest) = self.0.split_first_chunk::<8>()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*bytes))
    }

    pub(crate) fn short(&mut self) -> Option<u32> {
        let (bytes, rest) = self.0.split_first_chunk::<4>()?;
        self.0 = rest;
        Some(u32::from_le_bytes(*bytes))
    }

    /// All the rest, as text.
    pub(crate) fn text(self) -> Option<&'a str> {
        std::str::from_utf8(self.0).ok()
    }
}
