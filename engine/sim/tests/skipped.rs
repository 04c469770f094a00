//! Bug: damage right behind numbers that recovery had skipped was told of the number that was asked for, so that who went on past that one
//! was told the same again, two million times. Fix: an answer first says that the numbers before the damage are passed over.

mod life;
mod several;

use engine::{Answer, Call};
use frame::proto::{ErrorCode, Read, Start};
use frame::{Retention, Sequence};
use io::Pool;
use life::{Life, SEGMENT_BYTES};
use sim::{Death, Files, Surroundings, Trace, World};

const NAME: &str = "skipping";
const BEFORE: u64 = 5;
const RECORD_BYTES: usize = 100_000;

fn append(life: &mut Life<'_>, records: u64, byte: u8) {
    (0..records).for_each(|_| life.append(NAME, "key", &[byte; RECORD_BYTES]));
}

/// Changes some bytes of the first record whose bytes are these.
fn damage(files: &mut Files, byte: u8) {
    let find = |name: &str| {
        let bytes = files.read(name, 0, files.length(name) as usize);
        let at = bytes.windows(1000).position(|some| some.iter().all(|&of| of == byte))?;
        Some((name.to_owned(), at as u64))
    };
    let (name, at) = files.names().find_map(find).expect("it is there");
    files.write(&name, at + 500, &[!byte; 8]);
}

#[test]
fn damage_behind_skipped_numbers_is_told_where_it_is() {
    let pool = Pool::new(32 << 20).expect("memory for the test");
    let world = World::new(31, pool, Surroundings::calm(), Trace::default());
    let mut life = Life::open(&world).expect("nothing ends it");
    life.create(NAME, Retention::NONE);
    append(&mut life, BEFORE, 1);
    append(&mut life, 1, 9);
    life.end(Death::PowerCut);
    // The last one is as a write that was cut off left it.
    let mut files = world.files();
    damage(&mut files, 9);
    world.load(files);
    let mut life = Life::open(&world).expect("nothing ends it");
    // Until the first of them is sealed, and more.
    append(&mut life, u64::from(SEGMENT_BYTES) * 3 / RECORD_BYTES as u64, 2);
    life.settle();
    let (stream, shards) = life.describe(NAME).expect("nothing ends it");
    let numbers = life.read(stream, &shards[0]).expect("nothing ends it").into_iter().map(|(number, _)| number.0);
    let numbers: Vec<u64> = numbers.collect();
    assert!(numbers[..BEFORE as usize] == [1, 2, 3, 4, 5] && numbers[BEFORE as usize] > 1_000_000, "{numbers:?}");
    life.end(Death::PowerCut);
    let mut files = world.files();
    damage(&mut files, 2);
    world.load(files);
    let mut life = Life::open(&world).expect("nothing ends it");
    let (stream, shards) = life.describe(NAME).expect("nothing ends it");
    let mut read = |from: Sequence| {
        let read = Read { stream, shard: shards[0].shard, start: Start::At(from), bytes_max: 1000 };
        life.call(Call::Read { read, frames_max: u32::MAX, counts: false }).expect("nothing ends it")
    };
    let Answer::Records(result, _) = read(Sequence(BEFORE)) else { panic!("that one is intact") };
    assert_eq!((result.records, result.next), (1, Sequence(BEFORE + 1)));
    // Nothing but that the numbers up to the damage are passed over.
    let answer = read(result.next);
    let Answer::Records(passed, _) = answer else { panic!("{answer:?}") };
    assert!(passed.records == 0 && passed.next.0 > BEFORE + 1_000_000, "{passed:?}");
    let Answer::Failed(failure) = read(passed.next) else { panic!("it is damaged") };
    assert_eq!(failure.code, ErrorCode::Damaged, "{failure}");
    let Answer::Records(behind, _) = read(passed.next.next()) else { panic!("the next is intact") };
    assert_eq!((behind.records, behind.next), (1, Sequence(passed.next.0 + 2)));
    life.end(Death::PowerCut);
}
