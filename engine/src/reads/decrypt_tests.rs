//! Tests of answers of which some frames are encrypted, forged or without their key.

use std::sync::Arc;

use frame::batch::{HEADER_BYTES, Writer};
use frame::proto::{Failure, ReadResult};
use frame::{Frame, ShardId};
use io::Pool;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::*;
use crate::encryption::{KEY_BYTES, Key, Keyring};

const SHARD: ShardId = ShardId(3);

fn keyring() -> Arc<Keyring> {
    let keyring = Arc::new(Keyring::default());
    keyring.replace(vec![Key { name: "mine".to_owned(), version: 1, secret: [7; KEY_BYTES] }]).unwrap();
    keyring
}

fn vault(keyring: Arc<Keyring>) -> Vault {
    let mut vault = Vault::new([1; 16]);
    vault.use_keyring(keyring);
    vault
}

fn frame_of(number: u64) -> Vec<u8> {
    let mut frame = Vec::new();
    let key = format!("key {number}");
    frame::frame::encode(&mut frame, key.as_bytes(), None, &[number as u8; 100]).unwrap();
    frame
}

/// Records 1 to 4 of a shard, of which 3 is not encrypted, as they lie in a batch; `spoil` may change them.
fn batch(spoil: impl FnOnce(&mut [u8])) -> (Found, Vec<(Buf, Range<usize>)>) {
    let pool = Pool::new(1 << 20).unwrap();
    let mut buf = pool.take(8192).unwrap();
    let mut extents = Vec::new();
    let cipher = vault(keyring()).encrypting("mine").unwrap();
    let mut writer = Writer::new(&mut buf, &mut extents);
    writer.begin_extent(SHARD, Sequence(1));
    for number in 1..=4 {
        let frame = frame_of(number);
        let pushed = writer.push_encrypted(&frame, 77, cipher.with(), |text| cipher.encrypt(text));
        assert_eq!(pushed, Ok(Sequence(number)));
    }
    let end = HEADER_BYTES + extents[0].length as usize;
    spoil(&mut buf[HEADER_BYTES..end]);
    let next = Sequence(5);
    let result = ReadResult {
        shard: SHARD,
        records: 4,
        next,
        tip: next,
        tip_arrival_ms: 77,
        children: None,
        trim: Sequence(1),
        encrypted: true,
    };
    (Found { result, record_bytes: 4 * 105 }, vec![(buf.freeze(), HEADER_BYTES..end)])
}

/// Changes a byte of the text of a record, and makes both checksums of its frame anew, as who knows the layout can.
fn forge(frames: &mut [u8], record: usize) {
    let at = (1..record).fold(0, |at, _| at + Frame::parse_stored(&frames[at..]).unwrap().length());
    let length = Frame::parse_stored(&frames[at..]).unwrap().length();
    let frame = &mut frames[at..at + length];
    let (sequence, arrival_ms) = {
        let parsed = Frame::parse_stored(frame).unwrap();
        assert!(parsed.is_encrypted());
        (parsed.sequence(), parsed.arrival_ms())
    };
    frame[length - 60] ^= 1;
    let checksum = xxh3_64_with_seed(&frame[..16], xxh3_64(&frame[frame::frame::HEADER_BYTES..]));
    frame[16..24].copy_from_slice(&checksum.to_le_bytes());
    frame::frame::stamp(frame, SHARD, sequence, arrival_ms);
    let parsed = Frame::parse_stored(frame).unwrap();
    assert!(parsed.verify_payload().is_ok() && parsed.verify_header(SHARD).is_ok(), "the checksums do not tell");
}

fn expected(numbers: std::ops::RangeInclusive<u64>) -> Vec<u8> {
    numbers
        .flat_map(|number| {
            let mut frame = frame_of(number);
            frame::frame::stamp(&mut frame, SHARD, Sequence(number), 77);
            frame
        })
        .collect()
}

fn failure_of(answer: Answer) -> Failure {
    let Answer::Failure(failure) = answer else { panic!("{answer:?}") };
    failure
}

#[test]
fn what_is_encrypted_comes_as_it_was() {
    let (found, runs) = batch(|_| {});
    let Answer::Records(found, frames) = decrypt(&mut vault(keyring()), found, &runs) else { panic!("it is sound") };
    assert_eq!((found.result.records, found.result.next), (4, Sequence(5)));
    assert_eq!(frames.into_bytes(), expected(1..=4));
}

#[test]
fn a_forged_text_is_damage_whatever_its_checksums_say() {
    let (found, runs) = batch(|frames| forge(frames, 4));
    let Answer::Records(found, frames) = decrypt(&mut vault(keyring()), found, &runs) else {
        panic!("three are sound")
    };
    assert_eq!((found.result.records, found.result.next, found.record_bytes), (3, Sequence(4), 3 * 105));
    assert_eq!(frames.into_bytes(), expected(1..=3));

    let (found, runs) = batch(|frames| forge(frames, 1));
    let failure = failure_of(decrypt(&mut vault(keyring()), found, &runs));
    assert_eq!((failure.code, failure.damaged), (ErrorCode::Damaged, Some(Sequence(1)..Sequence(2))));
    assert!(failure.detail.contains("records 1 to 1 of shard 3"), "{}", failure.detail);
    assert!(failure.detail.contains("read on from 2"), "{}", failure.detail);
}

#[test]
fn without_the_key_it_is_said_which_is_missing() {
    let (found, runs) = batch(|_| {});
    let failure = failure_of(decrypt(&mut vault(Arc::default()), found, &runs));
    let key = Key { name: String::new(), version: 0, secret: [7; KEY_BYTES] }.identifier();
    assert_eq!(failure.code, ErrorCode::KeyMissing);
    assert!(failure.detail.contains(&format!("{key:08x}")), "{}", failure.detail);
}
