//! Frames: parsed from anything, made from anything, and no change of a stamped one goes unnoticed.
//!
//! ```text
//!   0 mode: bit 0 made of parts, bit 1 repaired, bit 2 numbered: behind the hash key 16 bytes more
//!                                               | parts: 1 key length | 2 flags | 3 hash key, 16 | 19 key, data
//!   flags: bit 0 a hash key, bit 1 cut into frames of bits 2 to 7 bytes of data
//!                                               | else: a frame
//! ```

use frame::encryption::{KeyUse, TAG_BYTES, append_decrypted, copy_encrypted};
use frame::extension::ENCRYPTION_BYTES;
use frame::frame::{claimed_length, encode, encode_extended, numbered_of, stamp};
use frame::limits::{
    FRAME_BYTES_MAX, KEY_BYTES_MAX, LARGE_RECORD_BYTES_MAX, PARTS_MAX, RECORD_BYTES_MAX, SEQUENCE_MAX,
};
use frame::parts::{Joiner, encode_cut_extended};
use frame::{Extensions, Frame, FrameError, Numbered, ProducerId, RecordNumber, Sequence, ShardId};

use crate::checksum::repair_frame;
use crate::program::Program;

const MADE: u8 = 1;
const REPAIRED: u8 = 2;
const NUMBERED: u8 = 4;
const SHARD: ShardId = ShardId(7);

/// Judges one input.
pub fn run(input: &[u8]) {
    let mut program = Program(input);
    let mode = program.byte();
    let mut bytes = if mode & MADE != 0 { made(program, mode & NUMBERED != 0) } else { program.0.to_vec() };
    if mode & REPAIRED != 0 {
        repair_frame(&mut bytes);
    }
    made_plain(&bytes);
    let Ok(frame) = Frame::parse(&bytes) else { return };
    let length = frame.length();
    assert!(length <= bytes.len() && length.is_multiple_of(8) && length <= FRAME_BYTES_MAX, "a length of {length}");
    assert!(frame.key().len() <= KEY_BYTES_MAX && frame.key().len() + frame.data().len() <= RECORD_BYTES_MAX);
    if let Some(part) = frame.part() {
        assert!(part.index < part.count && (2..=PARTS_MAX).contains(&usize::from(part.count)), "{part:?}");
        assert!(frame.key().len() + part.data_bytes as usize <= LARGE_RECORD_BYTES_MAX, "{part:?}");
        assert!(frame.data().len() + usize::from(part.count) <= part.data_bytes as usize + 1, "{part:?}");
        let record = Joiner::new().push(&frame).is_some();
        assert!(!record, "one part is no record");
    }
    if let Some(Numbered { producer, number }) = frame.numbered() {
        assert!(producer.0 > 0 && (1..SEQUENCE_MAX).contains(&number.0), "{producer} and {number} were taken");
    }
    assert_eq!(numbered_of(&bytes), frame.numbered(), "the short way and the long one");
    let prefix = *bytes.first_chunk().expect("a frame has a header");
    assert_eq!(claimed_length(prefix), Ok(length), "its prefix claims another length");
    encodes_to_itself(&bytes[..length], &frame);
    if frame.verify_payload().is_ok() {
        changes_are_noticed(&bytes[..length], input);
        encrypted_and_back(&bytes[..length]);
    }
}

/// What is said on disk to be encrypted is made plain without a panic, and is what clients take.
fn made_plain(bytes: &[u8]) {
    let Ok(stored) = Frame::parse_stored(bytes) else { return };
    assert_eq!(Frame::parse(bytes).is_ok(), !stored.is_encrypted(), "what is encrypted is no client's");
    if !stored.is_encrypted() {
        return;
    }
    let mut plain = Vec::new();
    let decrypted = append_decrypted(&mut plain, &stored, SHARD, |_, text, _| {
        assert_eq!(text.bytes.len(), stored.record_bytes());
        Ok::<(), ()>(())
    });
    let frame = Frame::parse(&plain).expect("what is made plain parses");
    assert_eq!((decrypted, frame.length(), frame.verify_payload()), (Ok(()), plain.len(), Ok(())));
    assert_eq!((frame.key(), frame.data()), (stored.key(), stored.data()), "nothing was turned over");
    let extensions = |frame: &Frame<'_>| (frame.explicit_hash_key(), frame.numbered(), frame.part());
    assert_eq!(extensions(&frame), extensions(&stored));
}

/// A frame that is stored encrypted comes back as it was stamped.
fn encrypted_and_back(frame: &[u8]) {
    let place = (SHARD, Sequence(41), 77);
    let mut stored = vec![0; frame.len() + ENCRYPTION_BYTES];
    let turn_over = |text: &mut [u8]| text.iter_mut().for_each(|byte| *byte = !*byte);
    let with = KeyUse { key: 7, salt: [8; 12] };
    copy_encrypted(&mut stored, frame, place, with, |text| {
        turn_over(text.bytes);
        [9; TAG_BYTES]
    })
    .expect("its payload was verified");
    made_plain(&stored);
    let stored = Frame::parse_stored(&stored).expect("what was stored parses");
    let mut back = Vec::new();
    let decrypted = append_decrypted(&mut back, &stored, SHARD, |used, text, tag| {
        turn_over(text.bytes);
        if (used, tag) == (with, [9; TAG_BYTES]) { Ok(()) } else { Err(used) }
    });
    let mut stamped = frame.to_vec();
    stamp(&mut stamped, place.0, place.1, place.2);
    assert_eq!((decrypted, back), (Ok(()), stamped));
}

/// A frame out of parts comes back as those parts.
fn made(mut program: Program<'_>, is_numbered: bool) -> Vec<u8> {
    let (key_bytes, flags) = (usize::from(program.byte()), program.byte());
    let hash_key = u128::from(program.long()) << 64 | u128::from(program.long());
    let explicit_hash_key = (flags & 1 != 0).then_some(hash_key);
    let mut number = || program.long() % (SEQUENCE_MAX - 1) + 1;
    let numbered = is_numbered.then(|| Numbered { producer: ProducerId(number()), number: RecordNumber(number()) });
    let extensions = Extensions { explicit_hash_key, numbered, part: None };
    let (key, data) = (program.bytes(key_bytes), program.0);
    let mut bytes = Vec::new();
    if flags & 2 != 0 {
        return cut(key, &extensions, data, usize::from(flags >> 2) + 1).unwrap_or(bytes);
    }
    encode_extended(&mut bytes, key, &extensions, [data]).expect("the parts are short");
    let frame = Frame::parse(&bytes).expect("what was encoded parses");
    assert_eq!((frame.key(), frame.explicit_hash_key(), frame.data()), (key, explicit_hash_key, data));
    assert_eq!(frame.numbered(), numbered);
    assert_eq!(frame.verify_payload(), Ok(()));
    assert_eq!(frame.length(), bytes.len());
    bytes
}

/// A record that is cut comes back whole, and not before its last part. One of its frames; nothing if there were too many.
fn cut(key: &[u8], extensions: &Extensions, data: &[u8], each: usize) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let hash_key = extensions.explicit_hash_key;
    let encoded = match encode_cut_extended(&mut bytes, key, extensions, [data], each) {
        Err(FrameError::Part) if data.len().div_ceil(each) > PARTS_MAX => return None,
        encoded => encoded.expect("the parts are short"),
    };
    let (mut joiner, mut rest, mut frames) = (Joiner::new(), &bytes[..], Vec::new());
    while !rest.is_empty() {
        let length = Frame::parse(rest).expect("what was encoded parses").length();
        let mut stamped = rest[..length].to_vec();
        stamp(&mut stamped, ShardId(1), Sequence(7 + frames.len() as u64), 5);
        rest = &rest[length..];
        let frame = Frame::parse(&stamped).expect("what was encoded parses");
        assert_eq!(frame.numbered(), extensions.numbered, "in every part");
        let record = joiner.push(&frame);
        assert_eq!(record.is_some(), rest.is_empty(), "whole with its last part alone");
        if let Some(record) = record {
            assert_eq!((record.key, record.explicit_hash_key, record.data), (key, hash_key, data));
            assert_eq!((record.first, record.checksum), (Sequence(7), encoded.checksum));
        }
        frames.push(bytes[bytes.len() - rest.len() - length..bytes.len() - rest.len()].to_vec());
    }
    assert_eq!(frames.len(), encoded.frames as usize);
    frames.into_iter().nth(data.len() % encoded.frames as usize)
}

/// The same parts are encoded to the same bytes, but for what the server adds and for padding that is not zero.
fn encodes_to_itself(bytes: &[u8], frame: &Frame<'_>) {
    let mut again = Vec::new();
    let extensions =
        Extensions { explicit_hash_key: frame.explicit_hash_key(), numbered: frame.numbered(), part: frame.part() };
    encode_extended(&mut again, frame.key(), &extensions, [frame.data()]).expect("a frame's parts are legal");
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
    let hashed = Extensions { explicit_hash_key: Some(3), ..Extensions::default() };
    let mut numbered = Vec::new();
    let number = Numbered { producer: ProducerId(1), number: RecordNumber(1) };
    encode_extended(&mut numbered, b"key", &Extensions { numbered: Some(number), ..hashed }, [b"some data"])
        .expect("short parts");
    vec![
        ("whole", whole(b"key", None, b"some data")),
        ("whole-hash", whole(b"key", Some(u128::MAX / 3), b"some data")),
        ("whole-empty", whole(b"", None, b"")),
        ("repaired", repaired(whole(b"key", None, b"some data"))),
        ("repaired-hash", repaired(whole(b"a longer partition key", Some(5), &[0; 40]))),
        ("parts", parts(0, b"key", b"data")),
        ("parts-hash", parts(1, b"key", b"data of some length, not a multiple of eight")),
        ("parts-cut", parts(2 | 9 << 2, b"key", b"data of some length, not a multiple of eight")),
        ("parts-cut-hash", parts(3 | 19 << 2, b"key", b"data of some length, not a multiple of eight")),
        (
            "part-repaired",
            repaired([&[0], &cut(b"key", &hashed, b"three parts", 4).expect("three parts")[..]].concat()),
        ),
        ("numbered", [&[MADE | NUMBERED, 3, 1], &[7; 32][..], b"key", b"data"].concat()),
        ("numbered-cut", [&[MADE | NUMBERED, 3, 2 | 9 << 2], &[7; 32][..], b"key", b"data in a few parts"].concat()),
        ("numbered-repaired", repaired([&[0], &numbered[..]].concat())),
    ]
}
