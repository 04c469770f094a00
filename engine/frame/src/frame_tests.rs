//! Tests of the frame layout.

use proptest::prelude::*;

use super::*;

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
