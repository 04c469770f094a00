//! Frames: parsed from anything, made from anything, and no change of a stamped one goes unnoticed.
//!
//! ```text
//!   0 mode: bit 0 made of parts, bit 1 repaired | parts: 1 key length | 2 flags | 3 hash key, 16 | 19 key, data
//!                                               | else: a frame
//! ```

use frame::frame::{claimed_length, encode, stamp};
use frame::limits::{FRAME_BYTES_MAX, KEY_BYTES_MAX, RECORD_BYTES_MAX};
use frame::{Frame, Sequence, ShardId};

use crate::checksum::repair_frame;
use crate::program::Program;

const MADE: u8 = 1;
const REPAIRED: u8 = 2;

/// Judges one input.
pub fn run(input: &[u8]) {
    let mut program = Program(input);
    let mode = program.byte();
    let mut bytes = if mode & MADE != 0 { made(program) } else { program.0.to_vec() };
    if mode & REPAIRED != 0 {
        repair_frame(&mut bytes);
    }
    let Ok(frame) = Frame::parse(&bytes) else { return };
    let length = frame.length();
    assert!(length <= bytes.len() && length.is_multiple_of(8) && length <= FRAME_BYTES_MAX, "a length of {length}");
    assert!(frame.key().len() <= KEY_BYTES_MAX && frame.key().len() + frame.data().len() <= RECORD_BYTES_MAX);
    let prefix = *bytes.first_chunk().expect("a frame has a header");
    assert_eq!(claimed_length(prefix), Ok(length), "its prefix claims another length");
    encodes_to_itself(&bytes[..length], &frame);
    if frame.verify_payload().is_ok() {
        changes_are_noticed(&bytes[..length], input);
    }
}

/// A frame out of parts comes back as those parts.
fn made(mut program: Program<'_>) -> Vec<u8> {
    let (key_bytes, flags) = (usize::from(program.byte()), program.byte());
    let hash_key = u128::from(program.long()) << 64 | u128::from(program.long());
    let hash_key = (flags & 1 != 0).then_some(hash_key);
    let (key, data) = (program.bytes(key_bytes), program.0);
    let mut bytes = Vec::new();
    encode(&mut bytes, key, hash_key, data).expect("the parts are short");
    let frame = Frame::parse(&bytes).expect("what was encoded parses");
    assert_eq!((frame.key(), frame.explicit_hash_key(), frame.data()), (key, hash_key, data));
    assert_eq!(frame.verify_payload(), Ok(()));
    assert_eq!(frame.length(), bytes.len());
    bytes
}

/// The same parts are encoded to the same bytes, but for what the server adds and for padding that is not zero.
fn encodes_to_itself(bytes: &[u8], frame: &Frame<'_>) {
    let mut again = Vec::new();
    encode(&mut again, frame.key(), frame.explicit_hash_key(), frame.data()).expect("a frame's parts are legal");
    assert_eq!(again.len(), bytes.len());
    assert_eq!(again[..16], bytes[..16], "another header for the same parts");
    if again[48..] == bytes[48..] {
        assert_eq!(again[16..24] == bytes[16..24], frame.verify_payload().is_ok(), "one checksum for one payload");
    }
}

/// A stamped frame verifies for its shard alone, and with any bit flipped not at all.
fn changes_are_noticed(bytes: &[u8], input: &[u8]) {
    let choice = input.iter().fold(0_u64, |sum, &byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)));
    let (shard, sequence, arrival_ms) = (ShardId(choice as u32), Sequence(choice >> 7), choice >> 3);
    let mut stamped = bytes.to_vec();
    stamp(&mut stamped, shard, sequence, arrival_ms);
    let verify = |bytes: &[u8], shard: ShardId| {
        let frame = Frame::parse(bytes)?;
        frame.verify_header(shard)?;
        frame.verify_payload().map(|()| (frame.sequence(), frame.arrival_ms()))
    };
    assert_eq!(verify(&stamped, shard), Ok((sequence, arrival_ms)));
    assert!(verify(&stamped, ShardId(shard.0 ^ 1)).is_err(), "believed in another shard's place");
    let bit = choice as usize % (stamped.len() * 8);
    stamped[bit / 8] ^= 1 << (bit % 8);
    assert!(verify(&stamped, shard).is_err(), "bit {bit} was flipped, and nothing noticed");
}

/// Frames, and parts of frames.
pub fn starts() -> Vec<(&'static str, Vec<u8>)> {
    let whole = |key: &[u8], hash_key: Option<u128>, data: &[u8]| {
        let mut bytes = vec![0];
        encode(&mut bytes, key, hash_key, data).expect("short parts");
        bytes
    };
    let repaired = |mut bytes: Vec<u8>| {
        bytes[0] = REPAIRED;
        bytes
    };
    let parts =
        |flags: u8, key: &[u8], data: &[u8]| [&[MADE, key.len() as u8, flags], &[7; 16][..], key, data].concat();
    vec![
        ("whole", whole(b"key", None, b"some data")),
        ("whole-hash", whole(b"key", Some(u128::MAX / 3), b"some data")),
        ("whole-empty", whole(b"", None, b"")),
        ("repaired", repaired(whole(b"key", None, b"some data"))),
        ("repaired-hash", repaired(whole(b"a longer partition key", Some(5), &[0; 40]))),
        ("parts", parts(0, b"key", b"data")),
        ("parts-hash", parts(1, b"key", b"data of some length, not a multiple of eight")),
    ]
}
