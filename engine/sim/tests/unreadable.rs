//! Bug: one sector that can't be read kept the whole log from opening, where wrong bytes in the same place were mended or told.
//! Mechanism: every error of a read ended the opening. Fix: a place that can't be read counts as damaged, in copies, headers,
//! trailers, footers and batches; but where the log would end at it, nothing is opened and nothing written over.

#[expect(dead_code, reason = "what others ask it for")]
mod life;
mod several;

use std::ops::Range;

use engine::limits::MEMORY_BYTES_MIN;
use engine::{Answer, Call, Config, Counts, OpenError};
use frame::batch::Header;
use frame::limits::BLOCK_BYTES;
use frame::proto::{ErrorCode, Read, Start};
use frame::segment::{FIRST_BATCH, Trailer};
use frame::{Retention, Sequence};
use io::Pool;
use life::{Life, SEGMENT_BYTES};
use sim::{Death, Files, Surroundings, Trace, World};

const NAME: &str = "readable";
/// Of three segments and a part of the fourth.
const RECORDS: u64 = 130;
const RECORD_BYTES: usize = 100_000;
const BLOCK: u64 = BLOCK_BYTES as u64;

fn world() -> World {
    let pool = Pool::new(16 << 20).expect("memory for the test");
    World::new(41, pool, Surroundings::calm(), Trace::default())
}

/// A data directory with so many records, each in a batch of its own; marked as durable, or the last one not.
fn written(records: u64, is_marked: bool) -> Files {
    let world = world();
    let mut life = Life::open(&world).expect("nothing ends it");
    life.create(NAME, Retention::NONE);
    (0..records).for_each(|_| life.append(NAME, "key", &[7; RECORD_BYTES]));
    if is_marked {
        life.settle();
    }
    life.end(Death::PowerCut);
    world.files()
}

fn segment(number: u32) -> String {
    format!("0000-{number:010}.segment")
}

fn trailer(files: &Files, name: &str) -> Option<Trailer> {
    Trailer::parse(&files.read(name, files.length(name) - BLOCK, BLOCK_BYTES))
}

/// The batches of a segment, with how many records each has.
fn batches(files: &Files, name: &str) -> Vec<(u64, u64)> {
    let (mut found, mut at) = (Vec::new(), u64::from(FIRST_BATCH));
    while let Some(header) = Header::parse(&files.read(name, at, BLOCK_BYTES)) {
        let mut extents = Vec::new();
        header.extents(&files.read(name, at, header.length), &mut extents).expect("it is intact");
        let own = extents.iter().filter(|extent| extent.shard.0 > 0);
        found.push((at, own.map(|extent| u64::from(extent.count)).sum()));
        at += header.length as u64;
    }
    found
}

/// Opens what is left, twice. The records that are called damaged; all others are read.
fn damaged(files: &Files, (name, range): (&str, Range<u64>)) -> Vec<u64> {
    let mut files = files.clone();
    files.unreadable(name, range);
    let world = world();
    world.load(files);
    let [first, second] = [(); 2].map(|()| {
        let mut life = Life::open(&world).expect("nothing ends it");
        let (stream, shards) = life.describe(NAME).expect("nothing ends it");
        let mut is_damaged = |number: u64| {
            let read = Read { stream, shard: shards[0].shard, start: Start::At(Sequence(number)), bytes_max: 1000 };
            match life.call(Call::Read { read, frames_max: 1, counts: Counts::Nothing }) {
                Some(Answer::Records(result, _)) => {
                    assert_eq!((result.records, result.next), (1, Sequence(number + 1)));
                    false
                }
                Some(Answer::Failed(failure)) if failure.code == ErrorCode::Damaged => {
                    // Of those after it some may be as well.
                    assert_eq!(failure.damaged.map(|numbers| numbers.start), Some(Sequence(number)));
                    true
                }
                answer => panic!("record {number}: {answer:?}"),
            }
        };
        let damaged: Vec<u64> = (1..=RECORDS).filter(|&number| is_damaged(number)).collect();
        if damaged.is_empty() {
            let all = life.read(stream, &shards[0]).expect("nothing ends it");
            assert_eq!(all.len() as u64, RECORDS, "no number was skipped");
        }
        life.end(Death::PowerCut);
        damaged
    });
    assert_eq!(first, second);
    first
}

#[test]
fn what_can_be_made_again_is() {
    let files = written(RECORDS, true);
    let (header, last) = (0..BLOCK, segment(4));
    assert!(trailer(&files, &last).is_none() && batches(&files, &last).len() > 2, "it is open, and holds records");
    let mut places = vec![(last, header.clone()), ("superblock".to_owned(), BLOCK..BLOCK + 1)];
    for name in [1, 2, 3].map(segment) {
        let trailer = trailer(&files, &name).expect("it is sealed");
        let (at, footer) = (files.length(&name) - BLOCK, u64::from(trailer.footer.offset()));
        places.extend([header.clone(), at + 512..at + 513, footer..footer + 1].map(|range| (name.clone(), range)));
    }
    for (name, range) in places {
        assert_eq!(damaged(&files, (&name, range.clone())), [0; 0], "{name} at {range:?}");
    }
}

/// Found on reading: one read that failed, of a device that was reset, was told as damage, and readers passed over records that lie
/// there intact. It is read again.
#[test]
fn what_could_not_be_read_once_is_read_again() {
    let files = written(RECORDS, true);
    for seed in 0..4 {
        let mut surroundings = Surroundings::calm();
        surroundings.disk.read_short = 0.1;
        let world =
            World::new(seed, Pool::new(16 << 20).expect("memory for the test"), surroundings, Trace::new(false));
        world.load(files.clone());
        let mut life = Life::open(&world).expect("nothing ends it");
        let (stream, shards) = life.describe(NAME).expect("nothing ends it");
        for _ in 0..4 {
            let all = life.read(stream, &shards[0]).expect("nothing ends it");
            assert_eq!(all.len() as u64, RECORDS, "no number was skipped");
        }
        life.end(Death::PowerCut);
        let short = world.into_trace().tally().get("disk: short read").copied().unwrap_or(0);
        assert!(short > 1, "nothing failed: {short}");
    }
}

#[test]
fn durable_records_are_told_and_the_rest_is_read() {
    let (files, last) = (written(RECORDS, true), segment(4));
    let batches = batches(&files, &last);
    let of_records: Vec<u64> = batches.iter().filter(|(_, records)| *records > 0).map(|(at, _)| *at).collect();
    let [.., before, newest] = of_records[..] else { panic!("it holds records: {batches:?}") };
    assert!(batches.last().is_some_and(|&(at, _)| at > newest), "a mark follows: {batches:?}");
    for within in [0, 20_000] {
        let lost = |at: u64| damaged(&files, (&last, at + within..at + within + 1));
        assert_eq!(lost(before), [RECORDS - 1]);
        assert_eq!(lost(newest), [RECORDS]);
    }
}

/// Nothing is opened, and no segment changed.
fn is_refused(mut files: Files, (name, range): (&str, Range<u64>)) {
    files.unreadable(name, range.clone());
    let world = world();
    world.load(files.clone());
    let config =
        Config { segment_bytes: SEGMENT_BYTES, memory_bytes: MEMORY_BYTES_MIN, segments_ready: 1, ..Config::default() };
    let error = several::open(&world, &config, 1).map(drop).expect_err("what can't be read may be acknowledged");
    let offset = (range.start / BLOCK * BLOCK) as u32;
    assert_eq!(error, OpenError::Unreadable { name: name.to_owned(), offset });
    assert!(error.to_string().contains(name), "{error}");
    world.die();
    world.next_life(Death::Killed, Surroundings::calm());
    let after = world.files();
    let segments = |files: &Files| -> Vec<(String, Vec<u8>)> {
        let names = files.names().filter(|name| name.ends_with(".segment"));
        names.map(|name| (name.to_owned(), files.read(name, 0, files.length(name) as usize))).collect()
    };
    assert!(segments(&files) == segments(&after), "a segment was changed");
}

#[test]
fn an_end_that_is_not_known_to_be_one_is_not_written_over() {
    let (files, last) = (written(RECORDS, false), segment(4));
    let (newest, _) = batches(&files, &last).pop().expect("it holds records");
    for within in [0, 20_000] {
        is_refused(files.clone(), (&last, newest + within..newest + within + 1));
    }
}

/// The last batch is the first of its segment, and the one before that was not sealed yet.
#[test]
fn nor_is_a_segment_whose_first_batch_can_not_be_read() {
    let files = written(RECORDS, true);
    let in_three = [1, 2, 3].map(|number| batches(&files, &segment(number)).iter().map(|batch| batch.1).sum::<u64>());
    let (mut files, last) = (written(in_three.iter().sum::<u64>() + 1, false), segment(4));
    let found = batches(&files, &last);
    assert!(matches!(found[..], [(_, 1)]), "{found:?}");
    let before = segment(3);
    files.write(&before, files.length(&before) - BLOCK, &[0; BLOCK_BYTES]);
    let first = u64::from(FIRST_BATCH);
    is_refused(files, (&last, first..first + 1));
}
