//! Tests of what a frame is encrypted into, and made plain again.

use super::*;
use crate::extension::{Extensions, Numbered, Part};
use crate::frame::encode_extended;
use crate::id::{ProducerId, RecordNumber};

const SHARD: ShardId = ShardId(7);
const SEQUENCE: Sequence = Sequence(41);
const WITH: KeyUse = KeyUse { key: 0xdead_beef, salt: *b"twelve bytes" };
const TAG: [u8; TAG_BYTES] = *b"sixteen of these";

fn all_extensions() -> Vec<Extensions> {
    let explicit_hash_key = Some(u128::MAX / 3);
    let numbered = Some(Numbered { producer: ProducerId(9), number: RecordNumber(3) });
    let part = Some(Part { index: 1, count: 3, data_bytes: 40_000 });
    let mut all = Vec::new();
    for which in 0..8 {
        all.push(Extensions {
            explicit_hash_key: explicit_hash_key.filter(|_| which & 1 != 0),
            numbered: numbered.filter(|_| which & 2 != 0),
            part: part.filter(|_| which & 4 != 0),
        });
    }
    all
}

/// What stands for a cipher: the text turned over. Whoever calls it has to say the same both times.
fn turn_over(text: &mut Text<'_>) {
    text.bytes.iter_mut().for_each(|byte| *byte = !*byte);
}

fn stored(frame: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let mut place = vec![0xaa; frame.len() + ENCRYPTION_BYTES];
    let mut bound = Vec::new();
    copy_encrypted(&mut place, frame, (SHARD, SEQUENCE, 1234), WITH, |mut text| {
        assert_eq!(text.nonce, nonce(SHARD, SEQUENCE));
        bound.extend_from_slice(text.bound);
        turn_over(&mut text);
        TAG
    })
    .unwrap();
    (place, bound)
}

#[test]
fn what_is_stored_encrypted_comes_back_as_it_was_stamped() {
    for extensions in all_extensions() {
        for data_bytes in [1, 2, 7, 8, 1000] {
            let (key, data) = (b"some partition key", vec![b'd'; data_bytes]);
            let mut frame = Vec::new();
            encode_extended(&mut frame, key, &extensions, [&data]).unwrap();
            let (place, bound) = stored(&frame);

            let there = Frame::parse_stored(&place).unwrap();
            assert_eq!(there.length(), place.len());
            assert!(there.is_encrypted());
            there.verify_payload().unwrap();
            there.verify_header(SHARD).unwrap();
            assert_eq!(there.verify_header(ShardId(8)), Err(FrameError::HeaderChecksum));
            assert_eq!((there.sequence(), there.arrival_ms()), (SEQUENCE, 1234));
            // What recovery goes by is as readable as before.
            assert_eq!(there.explicit_hash_key(), extensions.explicit_hash_key);
            assert_eq!((there.numbered(), there.part()), (extensions.numbered, extensions.part));
            assert_eq!(there.record_bytes(), key.len() + data.len());
            assert!(!place.windows(4).any(|four| four == &key[..4]), "the key is there for all to see");
            assert_eq!(Frame::parse(&place).err(), Some(FrameError::Flags(there_flags(&place))));

            let mut out = b"before".to_vec();
            let decrypted = append_decrypted(&mut out, &there, SHARD, |with, mut text, tag| {
                assert_eq!((with, tag, text.nonce), (WITH, TAG, nonce(SHARD, SEQUENCE)));
                assert_eq!(text.bound, bound);
                turn_over(&mut text);
                Ok::<(), ()>(())
            });
            decrypted.unwrap();
            crate::frame::stamp(&mut frame, SHARD, SEQUENCE, 1234);
            assert_eq!(out.strip_prefix(b"before"), Some(&frame[..]));
        }
    }
}

fn there_flags(place: &[u8]) -> u16 {
    u16::from_le_bytes([place[6], place[7]])
}

#[test]
fn nothing_comes_of_a_frame_that_is_refused() {
    let mut frame = Vec::new();
    encode_extended(&mut frame, b"key", &Extensions::default(), [b"data"]).unwrap();
    let (place, _) = stored(&frame);
    let mut out = vec![1, 2, 3];
    let there = Frame::parse_stored(&place).unwrap();
    assert_eq!(append_decrypted(&mut out, &there, SHARD, |_, _, _| Err("no")), Err("no"));
    assert_eq!(out, [1, 2, 3]);

    *frame.last_mut().unwrap() ^= 1;
    let mut place = vec![0xaa; frame.len() + ENCRYPTION_BYTES];
    let refused =
        copy_encrypted(&mut place, &frame, (SHARD, SEQUENCE, 1), WITH, |_| panic!("it is not to be believed"));
    assert_eq!(refused, Err(FrameError::PayloadChecksum));
    assert!(place.iter().all(|&byte| byte == 0xaa));
}

#[test]
fn all_that_stays_readable_is_bound_to_the_ciphertext() {
    let mut bounds = std::collections::BTreeSet::new();
    let mut frames = Vec::new();
    for extensions in all_extensions() {
        for (key, data) in [(&b"ab"[..], &b"cd"[..]), (b"abc", b"d")] {
            let mut frame = Vec::new();
            encode_extended(&mut frame, key, &extensions, [data]).unwrap();
            frames.push(frame);
        }
    }
    for frame in &frames {
        bounds.insert(stored(frame).1);
    }
    assert_eq!(bounds.len(), frames.len());
}
