//! Shards so many that footers take much of a segment, or more than there is of it.

#[expect(dead_code, reason = "what others ask it for")]
mod life;
mod several;

use std::sync::Arc;
use std::sync::mpsc::channel;

use engine::limits::shards_max;
use engine::{Answer, Call, Config};
use frame::limits::{BLOCK_BYTES, SHARDS_PER_STREAM_MAX};
use frame::proto::{ErrorCode, Failure};
use frame::segment::Trailer;
use frame::superblock::{COPIES, Superblock};
use frame::{Quotas, Retention, Settings};
use io::Pool;
use life::{Life, SEGMENT_BYTES};
use sim::{Death, Files, Surroundings, Trace, World};

const RECORD_BYTES: usize = 100_000;

/// As with the least memory.
const POOL_BYTES: usize = 64 << 20;

fn world(seed: u64) -> World {
    World::new(seed, Pool::new(POOL_BYTES).expect("memory for the test"), Surroundings::calm(), Trace::default())
}

fn try_create(life: &mut Life<'_>, name: &str, shards: usize) -> Answer {
    let settings = Settings { quotas: Quotas::NONE, retention: Retention::NONE };
    let (name, shards, annotation) = (name.to_owned(), shards as u32, Arc::default());
    life.call(Call::CreateStream { name, shards, settings, annotation }).expect("nothing ends it")
}

fn create(life: &mut Life<'_>, name: &str, shards: usize) {
    let answer = try_create(life, name, shards);
    assert!(matches!(answer, Answer::Stream(..)), "{answer:?}");
}

fn append(life: &mut Life<'_>, name: &str, records: usize) {
    (0..records).for_each(|number| life.append(name, &number.to_string(), &[7; RECORD_BYTES]));
}

/// The numbers of a journal's segments, and whether each has a footer.
fn footers(files: &Files, journal: u32) -> Vec<(u64, bool)> {
    let of_journal = format!("{journal:04}-");
    let segments = files.names().filter(|name| name.starts_with(&of_journal) && name.ends_with(".segment"));
    let block = BLOCK_BYTES as u64;
    let has_footer = |name: &str| Trailer::parse(&files.read(name, files.length(name) - block, BLOCK_BYTES)).is_some();
    segments.map(|name| (name[5..15].parse().expect("a number"), has_footer(name))).collect()
}

/// Bug: with more shards than a segment's footer has rows for, each batch took a segment of its own, none was ever sealed, and the
/// disk filled up for good. Fix: no more are made than footers have room to tell of, beside all else.
#[test]
fn there_are_no_more_than_footers_have_room_for() {
    let world = world(31);
    let mut life = Life::open(&world).expect("nothing ends it");
    let most = shards_max(SEGMENT_BYTES, POOL_BYTES) - 1;
    let of_stream = SHARDS_PER_STREAM_MAX;
    (0..most / of_stream).for_each(|number| create(&mut life, &number.to_string(), of_stream));
    let is_refused = |answer: Answer| {
        let Answer::Failed(Failure { code: ErrorCode::TooManyShards, detail, .. }) = answer else {
            panic!("{answer:?}")
        };
        assert!(detail.contains(&most.to_string()) && detail.contains("--segment-bytes"), "{detail}");
    };
    is_refused(try_create(&mut life, "last", most % of_stream + 1));
    create(&mut life, "last", most % of_stream);
    is_refused(try_create(&mut life, "more", 1));
    let (_, shards) = life.describe("last").expect("nothing ends it");
    let at = shards[0].hash_start + 1;
    is_refused(life.call(Call::SplitShard { name: "last".to_owned(), shard: shards[0].shard, at }).expect("it lives"));
    append(&mut life, "0", 100);
    life.settle();
    life.end(Death::PowerCut);
    let found = footers(&world.files(), 0);
    // The open one, and those that are ready, have none yet.
    let without = found.iter().filter(|(_, has_footer)| !has_footer).count();
    assert!(found.len() >= 5 && without <= 2, "{found:?}");
    let mut life = Life::open(&world).expect("nothing ends it");
    append(&mut life, "0", 1);
    is_refused(try_create(&mut life, "more", 1));
    life.end(Death::PowerCut);
}

/// Bug: a segment that was nearly full stayed without a footer where streams were made before it was sealed. Mechanism: room was kept for
/// the shards that there were as its batches were written. Fix: those on their way count, and of those that come later and have nothing
/// in it the footer says nothing.
#[test]
fn an_open_segment_has_room_for_shards_that_come() {
    for reactors in [1, 2] {
        let world = world(32);
        let mut life = Life::open_on(&world, reactors).expect("nothing ends it");
        let names = &["first", "second"][..reactors];
        names.iter().for_each(|name| create(&mut life, name, 1));
        // Of each journal the open segment has little room left.
        names.iter().for_each(|name| append(&mut life, name, 38));
        create(&mut life, "big", SHARDS_PER_STREAM_MAX);
        create(&mut life, "bigger", SHARDS_PER_STREAM_MAX);
        names.iter().for_each(|name| append(&mut life, name, 10));
        life.settle();
        life.end(Death::PowerCut);
        for journal in 0..reactors as u32 {
            let found = footers(&world.files(), journal);
            assert_eq!(found[0], (1, true), "journal {journal} of {reactors}: {found:?}");
        }
        let mut life = Life::open_on(&world, reactors).expect("nothing ends it");
        append(&mut life, "big", 3);
        for (name, records) in names.iter().map(|name| (*name, 48)).chain([("big", 3)]) {
            let (stream, shards) = life.describe(name).expect("nothing ends it");
            let found = shards.iter().map(|shard| life.read(stream, shard).expect("nothing ends it").len());
            assert!(name == "big" || found.sum::<usize>() == records, "{name} of {reactors}");
        }
        life.end(Death::PowerCut);
    }
}

/// A data directory of an earlier build may have more. It is opened, and its segments are filled, although no footer has room in them.
#[test]
fn where_there_are_more_segments_are_filled_all_the_same() {
    const WIDE_BYTES: u32 = 20 << 20;
    let before = world(33);
    let wide = Config { segment_bytes: WIDE_BYTES, accept_clock: true, ..Config::default() };
    let mut life = Life::open_with(&before, 1, wide).expect("nothing ends it");
    (0..11).for_each(|number| create(&mut life, &format!("stream{number}"), SHARDS_PER_STREAM_MAX));
    life.end(Death::PowerCut);
    // As if they had been made in small segments.
    let mut files = before.files();
    let known = Superblock::choose(&files.read("superblock", 0, COPIES * BLOCK_BYTES)).expect("it is intact");
    let narrow = Superblock { segment_bytes: SEGMENT_BYTES, ..known };
    (0..COPIES).for_each(|copy| files.write("superblock", (copy * BLOCK_BYTES) as u64, &narrow.encode()));
    let world = world(34);
    world.load(files);
    let mut life = Life::open(&world).expect("nothing ends it");
    // The wide one is filled first, and the one that was ready.
    append(&mut life, "stream0", 500);
    life.settle();
    life.end(Death::PowerCut);
    let found = footers(&world.files(), 0);
    let most = 2 + (500 * (RECORD_BYTES + BLOCK_BYTES)).div_ceil(SEGMENT_BYTES as usize) + 2;
    assert!(found.len() <= most, "{} segments, where {most} are enough: {found:?}", found.len());
    let mut life = Life::open(&world).expect("nothing ends it");
    append(&mut life, "stream0", 1);
    life.end(Death::PowerCut);
}

/// Bug: each move of a shard kept a footer in memory for good. Mechanism: a segment was lent before its footer was on disk, with the footer,
/// which its borrower then kept as one that is in memory alone. Fix: it is lent once its footer is on disk.
#[test]
fn a_move_keeps_no_footer_in_memory() {
    let world = world(35);
    let mut life = Life::open_on(&world, 2).expect("nothing ends it");
    create(&mut life, "one", SHARDS_PER_STREAM_MAX);
    create(&mut life, "two", SHARDS_PER_STREAM_MAX);
    create(&mut life, "moved", 1);
    for _ in 0..26 {
        append(&mut life, "moved", 1);
        let (_, shards) = life.describe("moved").expect("nothing ends it");
        let (name, shard, reactor) = ("moved".to_owned(), shards[0].shard, 1 - shards[0].reactor);
        let answer = life.call(Call::MoveShard { name, shard, reactor });
        assert!(matches!(answer, Some(Answer::Stream(..))), "{answer:?}");
    }
    life.settle();
    for own in 0..2 {
        let (tell, told) = channel();
        life.handles[own].look(0, move |vitals| drop(tell.send(vitals.memory))).expect("nobody else looks");
        let (stream, shards) = life.describe("moved").expect("nothing ends it");
        assert_eq!(life.read(stream, &shards[0]).expect("nothing ends it").len(), 26);
        let memory = told.try_recv().expect("it had a turn");
        let footers = memory.iter().find(|used| used.what == "footers").expect("it is told");
        assert!(footers.bytes <= footers.budget_bytes, "reactor {own}: {footers:?}");
    }
    life.end(Death::PowerCut);
}

/// Bug: with so many shards that a footer is larger than any piece of the pool that is ever free, nothing that was sealed could be read, and
/// nothing expired. Fix: no more are made than the memory of a reactor has room to read of.
#[test]
fn there_are_no_more_than_memory_has_room_for() {
    const WIDE_BYTES: u32 = 112 << 20;
    let world = world(36);
    let wide = Config { segment_bytes: WIDE_BYTES, accept_clock: true, ..Config::default() };
    let mut life = Life::open_with(&world, 1, wide).expect("nothing ends it");
    let most = shards_max(WIDE_BYTES, POOL_BYTES) - 1;
    let mut made = 0;
    let failure = loop {
        match try_create(&mut life, &made.to_string(), SHARDS_PER_STREAM_MAX) {
            Answer::Stream(..) => made += 1,
            Answer::Failed(failure) => break failure,
            answer => panic!("{answer:?}"),
        }
    };
    // Until footers of all of them are on disk, and the first is not in memory.
    append(&mut life, "0", 1600);
    life.settle();
    let (stream, shards) = life.describe("0").expect("nothing ends it");
    let busiest = shards.iter().find(|shard| shard.tip > shard.trim).expect("it has records");
    assert!(life.read(stream, busiest).expect("nothing ends it")[0].1.len() == RECORD_BYTES);
    let Failure { code, detail, .. } = failure;
    assert_eq!(code, ErrorCode::TooManyShards, "{detail}");
    assert!(detail.contains(&most.to_string()) && detail.contains("--memory-bytes"), "{detail}");
    life.end(Death::PowerCut);
}
