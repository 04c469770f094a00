//! Bug: an opening of several batches that went on to the next segment sealed the one before as if the first of them had not been: its
//! footer said that shards which go on in this journal were where it had left them. Mechanism: what the batches say was done once all of
//! them were durable. Fix: it is done after each.

#[expect(dead_code, reason = "what others ask it for")]
mod life;
mod several;

use frame::batch::{Extent, FLAG_EPOCH_START, Header};
use frame::limits::BLOCK_BYTES;
use frame::segment::{FIRST_BATCH, Footer, Trailer};
use frame::{Epoch, Retention, Sequence, ShardId};
use io::Pool;
use life::{Life, SEGMENT_BYTES};
use sim::{Death, Files, Surroundings, Trace, World};

const RECORDS: u64 = 5;
/// Of so many bytes, these fill a segment but for some blocks.
const FILLING_BYTES: usize = 100_000;
const FILLING: usize = SEGMENT_BYTES as usize / (FILLING_BYTES + 3000) - 2;

const FIRST: &str = "0000-0000000001.segment";
const SECOND: &str = "0000-0000000002.segment";

fn world(files: Option<&Files>) -> World {
    let pool = Pool::new(64 << 20).expect("memory for the test");
    let world = World::new(59, pool, Surroundings::calm(), Trace::default());
    files.into_iter().for_each(|files| world.load(files.clone()));
    world
}

fn open(world: &World, reactors: usize) -> Life<'_> {
    Life::open_on(world, reactors).expect("nothing ends it")
}

/// The newest batch of a segment, and whether it has commands.
fn newest_batch(files: &Files, name: &str) -> Option<(Header, bool)> {
    let (mut at, mut newest) = (u64::from(FIRST_BATCH), None);
    while let Some(header) = Header::parse(&files.read(name, at, BLOCK_BYTES)) {
        let mut extents: Vec<Extent> = Vec::new();
        header.extents(&files.read(name, at, header.length), &mut extents).expect("it is intact");
        at += header.length as u64;
        newest = Some((header, extents.iter().any(|extent| extent.shard == ShardId::CATALOG)));
    }
    newest
}

/// The first segment's footer, once it is sealed.
fn footer(files: &Files) -> Option<Footer> {
    let trailer_at = files.length(FIRST) - BLOCK_BYTES as u64;
    let trailer = Trailer::parse(&files.read(FIRST, trailer_at, BLOCK_BYTES))?;
    Footer::parse(files.read(FIRST, u64::from(trailer.footer.offset()), trailer.footer_length as usize))
}

#[test]
fn a_segment_is_sealed_with_what_the_first_batch_said() {
    let world = self::world(None);
    let mut life = open(&world, 2);
    ["1", "2"].into_iter().for_each(|name| life.create(name, Retention::NONE));
    (1..=RECORDS).for_each(|number| life.append_numbered("1", number));
    (0..FILLING).for_each(|_| life.append("2", "key", &[7; FILLING_BYTES]));
    life.end(Death::PowerCut);
    let mut files = world.files();
    let mut crossed = 0;
    loop {
        // The first shard goes on in the first journal: one batch says so, and one what its producer has stored.
        let world = self::world(Some(&files));
        let mut life = open(&world, 1);
        life.settle();
        life.end(Death::PowerCut);
        let after = world.files();
        if let Some(footer) = footer(&after) {
            let (last, says) = newest_batch(&after, FIRST).expect("it has some");
            let epoch: Epoch = newest_batch(&after, SECOND).expect("it goes on there").0.head.epoch;
            if last.head.epoch < epoch {
                break;
            }
            let row = footer.shard(ShardId(1)).expect("it lists all");
            assert_eq!((row.first, row.next, row.extents), (Sequence(RECORDS + 1), Sequence(RECORDS + 1), 0));
            crossed += u32::from(says && last.head.flags & FLAG_EPOCH_START != 0);
        }
        // A life that keeps its two reactors adds one batch.
        let world = self::world(Some(&files));
        open(&world, 2).end(Death::PowerCut);
        files = world.files();
    }
    assert!(crossed > 0, "no opening went on to the next segment between its batches");
}
