//! Records cut into parts and joined again; parts that are not one record's.

use super::*;
use crate::id::{ProducerId, RecordNumber, ShardId};
use crate::limits::{APPEND_BYTES_MAX, LARGE_RECORD_FRAMES_BYTES_MAX, PARTS_MAX};

fn data(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at ^ at >> 8 ^ at >> 16) as u8).collect()
}

/// The frames in `bytes`, numbered from `first` on as a server does.
fn stamped(mut bytes: &mut [u8], first: u64) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let length = Frame::parse(bytes).unwrap().length();
        let (frame, rest) = bytes.split_at_mut(length);
        frame::stamp(frame, ShardId(3), Sequence(first + frames.len() as u64), 77);
        frames.push(frame.to_vec());
        bytes = rest;
    }
    frames
}

fn cut(key: &[u8], bytes: usize, each: usize, first: u64) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    encode_cut(&mut out, key, None, [&data(bytes)], each).unwrap();
    stamped(&mut out, first)
}

/// Key, data and numbers of every record that comes of these frames.
fn joined(joiner: &mut Joiner, frames: &[Vec<u8>]) -> Vec<(u64, u64, Vec<u8>)> {
    let mut records = Vec::new();
    for frame in frames {
        let frame = Frame::parse(frame).unwrap();
        let record = joiner.push(&frame);
        records.extend(record.map(|record| (record.first.0, record.sequence.0, record.data.to_vec())));
    }
    records
}

#[test]
fn every_size_comes_back_whole() {
    let edge = RECORD_BYTES_MAX - 3;
    for bytes in [0, 1, edge, edge + 1, 2 * RECORD_BYTES_MAX, LARGE_RECORD_BYTES_MAX - 3] {
        for hash_key in [None, Some(77)] {
            let data = data(bytes);
            let (mut out, cut_at) = (Vec::new(), bytes / 3);
            let encoded = encode(&mut out, b"key", hash_key, [&data[..cut_at], &data[cut_at..]]).unwrap();
            assert_eq!(encoded_size(3, hash_key.is_some(), bytes), (encoded.frames as usize, out.len()), "{bytes}");
            assert!(out.len() <= LARGE_RECORD_FRAMES_BYTES_MAX && out.len() < APPEND_BYTES_MAX);
            let frames = stamped(&mut out, 10);
            assert_eq!(frames.len(), encoded.frames as usize);
            let mut joiner = Joiner::new();
            let mut whole = 0;
            for frame in &frames {
                let frame = Frame::parse(frame).unwrap();
                frame.verify_payload().unwrap();
                assert_eq!(first_of(&frame), Sequence(10));
                let Some(record) = joiner.push(&frame) else { continue };
                whole += 1;
                assert_eq!((record.first.0, record.sequence.0), (10, 9 + frames.len() as u64));
                assert_eq!((record.key, record.explicit_hash_key, record.arrival_ms), (&b"key"[..], hash_key, 77));
                assert!(record.data == data && record.checksum == encoded.checksum);
            }
            assert_eq!((whole, joiner.waits_from()), (1, None));
        }
    }
}

#[test]
fn parts_fill_a_batch_and_no_more() {
    let key = [b'k'; KEY_BYTES_MAX];
    let data = data(LARGE_RECORD_BYTES_MAX - KEY_BYTES_MAX);
    let mut out = Vec::new();
    encode(&mut out, &key, Some(1), [&data]).unwrap();
    let mut frames = 0;
    let mut rest = &out[..];
    while !rest.is_empty() {
        let frame = Frame::parse(rest).unwrap();
        assert!(crate::batch::batch_bytes(frame.length(), 1) <= 1 << 20);
        assert!(frames_bytes_max(&frame, frame.part().unwrap()) <= LARGE_RECORD_FRAMES_BYTES_MAX);
        assert!(frames_bytes_max(&frame, frame.part().unwrap()) >= out.len());
        (frames, rest) = (frames + 1, &rest[frame.length()..]);
    }
    assert!(frames <= PARTS_MAX, "{frames}");
}

#[test]
fn what_is_too_large_is_refused() {
    let data = data(LARGE_RECORD_BYTES_MAX);
    let error = encode(&mut Vec::new(), b"k", None, [&data]).unwrap_err();
    assert_eq!(error, FrameError::LargeRecord { bytes: LARGE_RECORD_BYTES_MAX + 1 });
    assert!(error.to_string().contains("10485760"), "{error}");
    assert_eq!(encode_cut(&mut Vec::new(), b"k", None, [&data[..100]], 1), Err(FrameError::Part), "a hundred parts");
}

#[test]
fn what_a_part_says_is_checked() {
    let good = cut(b"k", 30, 10, 1);
    let lie = |at: usize, bytes: &[u8]| {
        let mut frame = good[1].clone();
        frame[HEADER_BYTES + at..HEADER_BYTES + at + bytes.len()].copy_from_slice(bytes);
        Frame::parse(&frame).map(|frame| frame.part())
    };
    assert_eq!(lie(0, &[1, 0]).unwrap(), Some(Part { index: 1, count: 3, data_bytes: 30 }));
    assert_eq!(lie(0, &[3, 0]).unwrap_err(), FrameError::Part, "past the last");
    assert_eq!(lie(2, &[1, 0]).unwrap_err(), FrameError::Part, "one part is none");
    assert_eq!(lie(2, &(PARTS_MAX as u16 + 1).to_le_bytes()).unwrap_err(), FrameError::Part);
    assert_eq!(lie(4, &11_u32.to_le_bytes()).unwrap_err(), FrameError::Part, "no room for the others");
    let bytes = LARGE_RECORD_BYTES_MAX as u32;
    assert_eq!(lie(4, &bytes.to_le_bytes()).unwrap_err(), FrameError::LargeRecord { bytes: bytes as usize + 1 });
    let mut flagged = good[1].clone();
    flagged[6] = 0;
    assert_eq!(Frame::parse(&flagged).err(), Some(FrameError::Lengths), "an extension that no flag announces");
}

#[test]
fn a_run_takes_one_records_parts_in_order() {
    let take = |run: &mut Run, frame: &[u8]| {
        let frame = Frame::parse(frame).unwrap();
        run.take(&frame, frame.part().unwrap())
    };
    let parts = cut(b"k", 30, 10, 1);
    let mut run = Run::default();
    assert_eq!(take(&mut run, &parts[1]), Err(RunError::Index { due: 0, index: 1 }));
    assert_eq!((take(&mut run, &parts[0]), run.is_open()), (Ok(false), true));
    assert_eq!(run.cut(), Some(RunError::Cut { due: 1, count: 3 }));
    assert_eq!(take(&mut run.clone(), &parts[2]), Err(RunError::Index { due: 1, index: 2 }));
    assert_eq!(take(&mut run.clone(), &parts[0]), Err(RunError::Index { due: 1, index: 0 }));
    for other in [cut(b"K", 30, 10, 1), cut(b"k", 40, 10, 1), cut(b"k", 29, 10, 1)] {
        assert_eq!(take(&mut run.clone(), &other[1]), Err(RunError::Differs { index: 1 }));
    }
    let mut hashed = Vec::new();
    encode_cut(&mut hashed, b"k", Some(9), [&data(30)], 10).unwrap();
    let first = Frame::parse(&hashed).unwrap().length();
    assert_eq!(take(&mut run.clone(), &hashed[first..]), Err(RunError::Differs { index: 1 }));
    // Of 9 + 9 + 2 bytes it says that they are 20, and of 10 + 10 + 2 as well.
    let (short, long) = (cut(b"k", 20, 9, 1), cut(b"k", 20, 10, 1));
    let mut lying = Run::default();
    let relabelled = relabel(&long[0], 3);
    assert_eq!(take(&mut lying, &relabelled), Ok(false));
    assert_eq!(take(&mut lying, &relabel(&long[1], 3)), Ok(false));
    assert_eq!(take(&mut lying, &short[2]), Err(RunError::DataBytes { said: 20, came: 22 }));
    assert_eq!((take(&mut run, &parts[1]), take(&mut run, &parts[2]), run.is_open()), (Ok(false), Ok(true), false));
}

/// A part that says there are `count`.
fn relabel(frame: &[u8], count: u16) -> Vec<u8> {
    let mut frame = frame.to_vec();
    frame[HEADER_BYTES + 2..HEADER_BYTES + 4].copy_from_slice(&count.to_le_bytes());
    frame
}

#[test]
fn what_is_not_whole_is_passed_over() {
    let whole = |first: u64, bytes: usize| (first, first + (bytes as u64).div_ceil(10) - 1, data(bytes));
    let (a, b, c) = (cut(b"k", 30, 10, 1), cut(b"k", 40, 10, 4), cut(b"k", 5, 10, 8));
    let all = |parts: &[&[Vec<u8>]]| joined(&mut Joiner::new(), &parts.concat());
    assert_eq!(all(&[&a, &b, &c]), [whole(1, 30), whole(4, 40), whole(8, 5)]);
    assert_eq!(all(&[&a[1..], &b, &c]), [whole(4, 40), whole(8, 5)], "a reader who began within it");
    assert_eq!(all(&[&a[..2], &b, &c]), [whole(4, 40), whole(8, 5)], "the last part was never stored");
    assert_eq!(all(&[&a, &b[..3], &c]), [whole(1, 30), whole(8, 5)]);
    assert_eq!(all(&[&a[..1], &a[2..], &c]), [whole(8, 5)], "one in the middle is damaged");
    let later = cut(b"k", 30, 10, 40);
    assert_eq!(all(&[&a[..1], &later[1..], &c]), [whole(8, 5)], "numbers do not follow");
    let mut joiner = Joiner::new();
    assert_eq!(joined(&mut joiner, &b[..2]), []);
    assert_eq!(joiner.waits_from(), Some(Sequence(4)));
    assert_eq!(joined(&mut joiner, &b[2..]), [whole(4, 40)]);
    assert_eq!(joiner.waits_from(), None);
}

#[test]
fn every_part_bears_its_producers_number() {
    let extensions = |number| {
        let numbered = Some(Numbered { producer: ProducerId(9), number: RecordNumber(number) });
        Extensions { explicit_hash_key: Some(5), numbered, part: None }
    };
    let frames = |number| {
        let mut out = Vec::new();
        encode_cut_extended(&mut out, b"key", &extensions(number), [&data(100)], 40).unwrap();
        stamped(&mut out, 7)
    };
    let (one, other) = (frames(3), frames(4));
    for frame in &one {
        assert_eq!(Frame::parse(frame).unwrap().numbered(), extensions(3).numbered);
    }
    assert_eq!(joined(&mut Joiner::new(), &one), [(7, 9, data(100))]);
    let mixed = [one[0].clone(), other[1].clone(), one[2].clone()];
    assert_eq!(joined(&mut Joiner::new(), &mixed), [], "parts of two records are none");
    let mut run = Run::default();
    let parsed: Vec<Frame<'_>> = mixed.iter().map(|frame| Frame::parse(frame).unwrap()).collect();
    assert_eq!(run.take(&parsed[0], parsed[0].part().unwrap()), Ok(false));
    assert_eq!(run.take(&parsed[1], parsed[1].part().unwrap()), Err(RunError::Differs { index: 1 }));
}

#[test]
fn the_size_is_known_before_with_any_extensions() {
    for bytes in [0, 10, RECORD_BYTES_MAX - 3, RECORD_BYTES_MAX, 3 * RECORD_BYTES_MAX, LARGE_RECORD_BYTES_MAX - 3] {
        for explicit_hash_key in [None, Some(77)] {
            let numbered = Some(Numbered { producer: ProducerId(9), number: RecordNumber(8) });
            let extensions = Extensions { explicit_hash_key, numbered, part: None };
            let mut out = Vec::new();
            let encoded = encode_numbered(&mut out, b"key", explicit_hash_key, numbered, [&data(bytes)]).unwrap();
            let size = encoded_size_with(extensions.bytes(), 3, bytes);
            assert_eq!(size, (encoded.frames as usize, out.len()), "{bytes}");
            assert!(out.len() <= LARGE_RECORD_FRAMES_BYTES_MAX);
            let first = Frame::parse(&out).unwrap();
            assert!(first.part().is_none_or(|part| frames_bytes_max(&first, part) >= out.len()), "{bytes}");
        }
    }
}
