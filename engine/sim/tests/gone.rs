//! Bug: what was known of shards that were deleted came back with each start: where they were trimmed, what producers had stored in
//! them, which of their records were damaged; and was written to the journals again. Fix: recovery asks the catalog whose it is.

#[expect(dead_code, reason = "what others ask it for")]
mod life;
mod several;

use std::collections::BTreeSet;

use engine::{Answer, Call};
use frame::batch::{Extent, Header};
use frame::limits::BLOCK_BYTES;
use frame::segment::FIRST_BATCH;
use frame::{Frame, Retention, ShardId};
use io::Pool;
use life::{Life, SEGMENT_BYTES, recovered};
use sim::{Death, Files, Surroundings, Trace, World};

const FIRST: &str = "0000-0000000001.segment";

/// Kinds of commands, and where their rows begin.
const TRIM: u8 = 22;
const PRODUCERS: u8 = 30;
const ROWS_AT: usize = 24;

fn world() -> World {
    World::new(61, Pool::new(64 << 20).expect("memory for the test"), Surroundings::calm(), Trace::default())
}

fn open(world: &World, reactors: usize) -> Life<'_> {
    Life::open_on(world, reactors).expect("nothing ends it")
}

fn delete(life: &mut Life<'_>, name: &str) {
    let answer = life.call(Call::DeleteStream { name: name.to_owned() });
    assert!(matches!(answer, Some(Answer::Deleted)), "{answer:?}");
}

/// The batches of the first segment: where they are, and their extents.
fn batches(files: &Files) -> Vec<(u64, Vec<Extent>)> {
    let (mut at, mut all) = (u64::from(FIRST_BATCH), Vec::new());
    while let Some(header) = Header::parse(&files.read(FIRST, at, BLOCK_BYTES)) {
        let mut extents = Vec::new();
        header.extents(&files.read(FIRST, at, header.length), &mut extents).expect("it is intact");
        all.push((at, extents));
        at += header.length as u64;
    }
    all
}

/// The shards of which commands tell where they are trimmed, and what producers have stored.
fn told(files: &Files) -> [BTreeSet<u32>; 2] {
    let number = |bytes: &[u8]| u32::from_le_bytes(*bytes.first_chunk().expect("rows are whole"));
    let (mut trims, mut producers) = (BTreeSet::new(), BTreeSet::new());
    for (at, extents) in batches(files) {
        for extent in extents.iter().filter(|extent| extent.shard == ShardId::CATALOG) {
            let bytes = files.read(FIRST, at + u64::from(extent.offset), extent.length as usize);
            let mut rest = &bytes[..];
            while let Ok(frame) = Frame::parse_stored(rest) {
                let data = frame.data();
                let mut rows = data.get(ROWS_AT..).unwrap_or_default();
                while !rows.is_empty() && [TRIM, PRODUCERS].contains(&data[1]) {
                    let is_trim = data[1] == TRIM;
                    let bytes = if is_trim { 16 } else { 32 + 24 * number(&rows[4..]) as usize };
                    if is_trim { &mut trims } else { &mut producers }.insert(number(rows));
                    rows = &rows[bytes..];
                }
                rest = &rest[frame.length()..];
            }
        }
    }
    [trims, producers]
}

#[test]
fn nothing_is_told_of_shards_that_were_deleted() {
    let world = world();
    let mut life = open(&world, 2);
    // The first and the third lie in the second journal.
    ["1", "2", "3"].into_iter().for_each(|name| life.create(name, Retention::of_seconds(1)));
    ["1", "3"].into_iter().for_each(|name| life.append_numbered(name, 1));
    // More than a segment, which tells where they are trimmed before it goes.
    let filling = SEGMENT_BYTES / 100_000;
    (0..filling).for_each(|_| ["1", "3"].into_iter().for_each(|name| life.append(name, "key", &[7; 100_000])));
    life.settle();
    delete(&mut life, "1");
    life.end(Death::PowerCut);
    let is_told = told(&world.files());
    assert_eq!(is_told, [BTreeSet::new(), BTreeSet::new()], "the first journal has none of them");
    // Now all go on in the first journal.
    open(&world, 1).end(Death::PowerCut);
    assert_eq!(told(&world.files()), [BTreeSet::from([3]), BTreeSet::from([3])]);
}

#[test]
fn no_record_of_a_shard_that_was_deleted_is_damaged() {
    let world = world();
    let mut life = open(&world, 1);
    ["1", "2"].into_iter().for_each(|name| life.create(name, Retention::NONE));
    (1..=3).for_each(|number| life.append_numbered("1", number));
    life.append_numbered("2", 1);
    life.end(Death::PowerCut);
    let mut files = world.files();
    let is_of_first = |extents: &[Extent]| extents.iter().any(|extent| extent.shard == ShardId(1));
    let mut of_first = batches(&files).into_iter().filter(|(_, extents)| is_of_first(extents));
    let (at, _) = of_first.next_back().expect("it has three");
    let byte = files.read(FIRST, at + 150, 1)[0];
    files.write(FIRST, at + 150, &[byte ^ 4]);
    world.load(files);
    assert!(recovered(&world).damage.records.iter().any(|records| records.shard == ShardId(1)));
    let mut life = open(&world, 1);
    delete(&mut life, "1");
    life.settle();
    life.end(Death::PowerCut);
    let records = recovered(&world).damage.records;
    assert!(records.iter().all(|records| records.shard != ShardId(1)), "{records:?}");
}
