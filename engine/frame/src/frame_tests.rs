//! Tests of the frame layout.

use proptest::prelude::*;

use super::*;
use crate::id::{ProducerId, RecordNumber};
use crate::limits::SEQUENCE_MAX;

fn encoded(key: &[u8], explicit: Option<u128>, data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encode(&mut out, key, explicit, data).expect("within limits");
    out
}

#[test]
fn layout_is_the_documented_one() {
    let mut bytes = encoded(b"key", Some(7), b"data!");
    stamp(&mut bytes, ShardId(9), Sequence(0x1122), 0x3344);
    assert_eq!(bytes.len(), 72);
    assert_eq!(bytes[..16], [72, 0, 0, 0, 1, 2, 1, 0, 5, 0, 0, 0, 3, 0, 0, 0]);
    assert_eq!(bytes[24..40], [0x22, 0x11, 0, 0, 0, 0, 0, 0, 0x44, 0x33, 0, 0, 0, 0, 0, 0]);
    assert_eq!(bytes[48], 7);
    assert_eq!(&bytes[64..72], b"keydata!");
}

fn numbered(producer: u64, number: u64) -> Extensions {
    let numbered = Some(Numbered { producer: ProducerId(producer), number: RecordNumber(number) });
    Extensions { numbered, ..Extensions::default() }
}

#[test]
fn a_producers_number_lies_where_it_is_documented() {
    let mut bytes = Vec::new();
    let hashed = Extensions { explicit_hash_key: Some(7), ..numbered(0x0102, 0x0304) };
    encode_extended(&mut bytes, b"key", &hashed, [b"data!"]).unwrap();
    assert_eq!(bytes[4..8], [1, 4, 3, 0]);
    assert_eq!(bytes[48..66], [7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 1]);
    assert_eq!(bytes[72..80], [4, 3, 0, 0, 0, 0, 0, 0]);
    assert_eq!(&bytes[80..88], b"keydata!");
    let frame = Frame::parse(&bytes).expect("a frame");
    assert_eq!((frame.numbered(), numbered_of(&bytes)), (hashed.numbered, hashed.numbered));
    assert_eq!((frame.key(), frame.data(), frame.explicit_hash_key()), (&b"key"[..], &b"data!"[..], Some(7)));
    assert_eq!(numbered_of(&encoded(b"k", Some(3), b"d")), None);
}

#[test]
fn numbers_that_can_not_be_are_refused() {
    for (producer, number) in [(0, 1), (1, 0), (1, SEQUENCE_MAX), (1, u64::MAX)] {
        let mut bytes = Vec::new();
        let made = encode_extended(&mut bytes, b"k", &numbered(producer, number), [b"d"]);
        assert_eq!((made, bytes.len()), (Err(FrameError::Number), 0), "{producer}, {number}");
        encode_extended(&mut bytes, b"k", &numbered(1, 1), [b"d"]).unwrap();
        bytes[48..56].copy_from_slice(&producer.to_le_bytes());
        bytes[56..64].copy_from_slice(&number.to_le_bytes());
        assert_eq!(Frame::parse(&bytes).err(), Some(FrameError::Number), "{producer}, {number}");
    }
}

#[test]
fn every_flipped_bit_is_noticed() {
    let mut bytes = encoded(b"partition", None, b"some data of a record");
    stamp(&mut bytes, ShardId(3), Sequence(1), 2);
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let intact = Frame::parse(&flipped)
            .is_ok_and(|frame| frame.verify_payload().is_ok() && frame.verify_header(ShardId(3)).is_ok());
        assert!(!intact, "bit {bit} went unnoticed");
    }
}

#[test]
fn a_frame_of_another_shard_is_not_believed() {
    let mut bytes = encoded(b"k", None, b"d");
    stamp(&mut bytes, ShardId(3), Sequence(1), 2);
    let frame = Frame::parse(&bytes).expect("a frame");
    assert_eq!(frame.verify_header(ShardId(3)), Ok(()));
    assert_eq!(frame.verify_header(ShardId(4)), Err(FrameError::HeaderChecksum));
}

#[test]
fn limits_hold() {
    let mut out = Vec::new();
    assert_eq!(encode(&mut out, &[0; KEY_BYTES_MAX + 1], None, b""), Err(FrameError::Lengths));
    assert_eq!(encode(&mut out, b"k", None, &vec![0; RECORD_BYTES_MAX]), Err(FrameError::Lengths));
    assert!(out.is_empty());
    assert!(claimed_length([0xff; 4]).is_err());
    assert!(claimed_length([40, 0, 0, 0]).is_err());
}

proptest! {
    #[test]
    fn what_is_encoded_is_parsed(
        key in proptest::collection::vec(any::<u8>(), 0..300),
        data in proptest::collection::vec(any::<u8>(), 0..3000),
        explicit in any::<Option<u128>>(),
        tail in 0..20_usize,
    ) {
        let mut bytes = encoded(&key, explicit, &data);
        let length = bytes.len();
        bytes.resize(length + tail, 0xaa);
        let frame = Frame::parse(&bytes).expect("a frame");
        prop_assert_eq!(frame.length(), length);
        prop_assert_eq!(frame.key(), &key[..]);
        prop_assert_eq!(frame.data(), &data[..]);
        prop_assert_eq!(frame.explicit_hash_key(), explicit);
        prop_assert!(frame.verify_payload().is_ok());
        prop_assert!(Frame::parse(&bytes[..length - 1]).is_err());
    }

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(frame) = Frame::parse(&bytes) {
            let _ = (frame.key(), frame.data(), frame.verify_payload().is_ok());
        }
    }
}
