//! A frame of an encrypted stream, as it lies on disk, and back. The cipher itself is the caller's.
//!
//! ```text
//!   header | hash key, producer and number | key 4, salt 12, tag 16 | part | ciphertext of key and data | zeros
//! ```
//!
//! What stays readable is what recovery, compaction and the repair of a disk go by: lengths, numbers and extensions. They are
//! bound to the ciphertext as data that goes with it, as are shard and sequence number by the nonce. Both checksums are of what
//! lies on disk, so nothing there tells of the plain text but its length.

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, IntoBytes};

use crate::extension::{ENCRYPTION_BYTES, FLAG_ENCRYPTED, FLAG_EXPLICIT_HASH_KEY, FLAG_PRODUCER, extension_bytes};
use crate::frame::{Frame, FrameError, HEADER_BYTES, Header, payload_checksum};
use crate::id::{Sequence, ShardId};

/// Bytes of the header that are bound to the ciphertext as they are, before the time of arrival and the extensions.
const BOUND_HEADER_BYTES: usize = 16;

/// All that is bound to the ciphertext.
const BOUND_BYTES_MAX: usize =
    BOUND_HEADER_BYTES + 8 + crate::limits::EXTENSION_BYTES_MAX.next_multiple_of(8) - ENCRYPTION_BYTES;

/// Bytes that authenticate a ciphertext.
pub const TAG_BYTES: usize = 16;

/// A nonce of AES-GCM.
pub const NONCE_BYTES: usize = 12;

/// With what a frame is encrypted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct KeyUse {
    /// Which of the keys.
    pub key: u32,
    /// What makes, of that key, the one that frames are encrypted with. Drawn by each life of a reactor.
    pub salt: [u8; 12],
}

impl KeyUse {
    fn encode(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&self.key.to_le_bytes());
        bytes[4..].copy_from_slice(&self.salt);
        bytes
    }

    fn decode(bytes: &[u8; 16]) -> KeyUse {
        let [k0, k1, k2, k3, salt @ ..] = *bytes;
        KeyUse { key: u32::from_le_bytes([k0, k1, k2, k3]), salt }
    }
}

/// The nonce of a frame: its place in the log. The engine never gives a number of a shard to two frames, nor a shard's number
/// to two shards, so that under one key no nonce comes twice.
pub fn nonce(shard: ShardId, sequence: Sequence) -> [u8; NONCE_BYTES] {
    let mut nonce = [0; NONCE_BYTES];
    nonce[..4].copy_from_slice(&shard.0.to_le_bytes());
    nonce[4..].copy_from_slice(&sequence.0.to_le_bytes());
    nonce
}

/// Header, arrival and extensions of a frame, as its ciphertext is bound to them.
struct Bound {
    bytes: [u8; BOUND_BYTES_MAX],
    length: usize,
}

impl Bound {
    fn of(header: &Header, before: &[u8], behind: &[u8]) -> Bound {
        let mut bound = Bound { bytes: [0; BOUND_BYTES_MAX], length: 0 };
        for piece in [&header.as_bytes()[..BOUND_HEADER_BYTES], header.arrival_ms.as_bytes(), before, behind] {
            bound.bytes[bound.length..][..piece.len()].copy_from_slice(piece);
            bound.length += piece.len();
        }
        bound
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// Bytes of the extensions before that of encryption.
fn before_bytes(flags: u16) -> usize {
    extension_bytes(flags & (FLAG_EXPLICIT_HASH_KEY | FLAG_PRODUCER))
}

/// What takes part in the encryption of a frame besides the key: the nonce, what is bound to the ciphertext, and the text,
/// which is changed in place.
pub struct Text<'a> {
    /// Never the same twice under a key.
    pub nonce: [u8; NONCE_BYTES],
    /// What the tag authenticates as well.
    pub bound: &'a [u8],
    /// Partition key and data.
    pub bytes: &'a mut [u8],
}

/// Copies a frame that [`Frame::parse`] accepted into a place of [`ENCRYPTION_BYTES`] more, encrypted, with what the server
/// adds; returns the header's checksum. The payload is verified before.
///
/// # Errors
/// The payload is not as its producer sent it. Nothing is copied.
///
/// # Panics
/// If `frame` is shorter than a header, or `place` not as long as said.
pub fn copy_encrypted(
    place: &mut [u8],
    frame: &[u8],
    (shard, sequence, arrival_ms): (ShardId, Sequence, u64),
    with: KeyUse,
    encrypt: impl FnOnce(Text<'_>) -> [u8; TAG_BYTES],
) -> Result<u64, FrameError> {
    let (mut header, body) = Header::read_from_prefix(frame).expect("the caller parsed this frame");
    header.verify(body)?;
    let flags = header.flags.get();
    let (before, rest) = body.split_at(before_bytes(flags));
    let (behind, text) = rest.split_at(extension_bytes(flags) - before.len());
    header.length.set((frame.len() + ENCRYPTION_BYTES) as u32);
    header.extension_words += (ENCRYPTION_BYTES / 8) as u8;
    header.flags.set(flags | FLAG_ENCRYPTED);
    header.arrival_ms.set(arrival_ms);
    let bound = Bound::of(&header, before, behind);

    let (head, place) = place.split_at_mut(HEADER_BYTES);
    let (place_before, rest) = place.split_at_mut(before.len());
    let (place_use, rest) = rest.split_at_mut(ENCRYPTION_BYTES - TAG_BYTES);
    let (place_tag, rest) = rest.split_at_mut(TAG_BYTES);
    let (place_behind, place_text) = rest.split_at_mut(behind.len());
    place_before.copy_from_slice(before);
    place_use.copy_from_slice(&with.encode());
    place_behind.copy_from_slice(behind);
    place_text.copy_from_slice(text);
    let secret = text_bytes(&header);
    let text = Text { nonce: nonce(shard, sequence), bound: bound.bytes(), bytes: &mut place_text[..secret] };
    place_tag.copy_from_slice(&encrypt(text));

    header.payload_checksum.set(payload_checksum(&header, place));
    let header = header.stamped(shard, sequence, arrival_ms);
    head.copy_from_slice(header.as_bytes());
    Ok(header.header_checksum.get())
}

/// Appends a frame that [`Frame::parse_stored`] accepted, and that is encrypted, to `out` as clients receive it. Both checksums are
/// made anew.
///
/// # Errors
/// Those of `decrypt`, which gets the tag as well. Nothing is appended.
///
/// # Panics
/// If `frame` is not such a frame.
pub fn append_decrypted<E>(
    out: &mut Vec<u8>,
    frame: &Frame<'_>,
    shard: ShardId,
    decrypt: impl FnOnce(KeyUse, Text<'_>, [u8; TAG_BYTES]) -> Result<(), E>,
) -> Result<(), E> {
    let (mut header, body) = (*frame.header(), frame.body());
    let flags = header.flags.get();
    assert!(flags & FLAG_ENCRYPTED != 0, "the caller looked");
    let (before, rest) = body.split_at(before_bytes(flags));
    let (encryption, rest) = rest.split_first_chunk::<ENCRYPTION_BYTES>().expect("its lengths agree");
    let (with, tag) = encryption.split_first_chunk::<16>().expect("it is longer");
    let tag = *tag.first_chunk::<TAG_BYTES>().expect("the rest of it");
    let (behind, text) = rest.split_at(extension_bytes(flags) - before.len() - ENCRYPTION_BYTES);
    let bound = Bound::of(&header, before, behind);

    let start = out.len();
    out.reserve(frame.length() - ENCRYPTION_BYTES);
    out.extend_from_slice(header.as_bytes());
    out.extend_from_slice(before);
    out.extend_from_slice(behind);
    let text_start = out.len();
    out.extend_from_slice(text);
    let secret = text_bytes(&header);
    let nonce = nonce(shard, frame.sequence());
    let bytes = &mut out[text_start..text_start + secret];
    if let Err(error) = decrypt(KeyUse::decode(with), Text { nonce, bound: bound.bytes(), bytes }, tag) {
        out.truncate(start);
        return Err(error);
    }

    header.length = U32::new((frame.length() - ENCRYPTION_BYTES) as u32);
    header.extension_words -= (ENCRYPTION_BYTES / 8) as u8;
    header.flags = U16::new(flags & !FLAG_ENCRYPTED);
    header.payload_checksum.set(payload_checksum(&header, &out[start + HEADER_BYTES..]));
    let header = header.stamped(shard, frame.sequence(), frame.arrival_ms());
    out[start..start + HEADER_BYTES].copy_from_slice(header.as_bytes());
    Ok(())
}

fn text_bytes(header: &Header) -> usize {
    usize::from(header.key_length.get()) + header.data_length.get() as usize
}

#[cfg(test)]
#[path = "encryption_tests.rs"]
mod tests;
