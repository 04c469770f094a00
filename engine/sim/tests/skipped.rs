//! Bug: damage right behind numbers that recovery had skipped was told of the number that was asked for, so that who went on past that one
//! was told the same again, two million times. Fix: an answer first says that the numbers before the damage are passed over.

#[expect(dead_code, reason = "what others ask it for")]
mod life;
mod several;

use std::ops::Range;

use engine::{Answer, Call, Counts};
use frame::proto::{ErrorCode, Read, Start};
use frame::{Frame, Retention, Sequence};
use io::Pool;
use life::{Life, SEGMENT_BYTES};
use sim::{Death, Files, Surroundings, Trace, World};

const NAME: &str = "skipping";
const BEFORE: u64 = 5;
const RECORD_BYTES: usize = 100_000;

fn world() -> World {
    let pool = Pool::new(32 << 20).expect("memory for the test");
    World::new(31, pool, Surroundings::calm(), Trace::default())
}

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

fn read(life: &mut Life<'_>, from: Sequence, bytes_max: u32) -> Answer {
    let (stream, shards) = life.describe(NAME).expect("nothing ends it");
    let read = Read { stream, shard: shards[0].shard, start: Start::At(from), bytes_max };
    life.call(Call::Read { read, frames_max: u32::MAX, counts: Counts::Nothing }).expect("nothing ends it")
}

/// A shard with `BEFORE` records, and one more that the power cut left torn.
fn cut_short(world: &World) -> Life<'_> {
    let mut life = Life::open(world).expect("nothing ends it");
    life.create(NAME, Retention::NONE);
    append(&mut life, BEFORE, 1);
    append(&mut life, 1, 9);
    again(world, life, 9)
}

/// The next life, in which the first record of these bytes is damaged.
fn again<'a>(world: &'a World, life: Life<'a>, byte: u8) -> Life<'a> {
    life.end(Death::PowerCut);
    let mut files = world.files();
    damage(&mut files, byte);
    world.load(files);
    Life::open(world).expect("nothing ends it")
}

#[test]
fn damage_behind_skipped_numbers_is_told_where_it_is() {
    let world = world();
    let mut life = cut_short(&world);
    // Until the first of them is sealed, and more.
    append(&mut life, u64::from(SEGMENT_BYTES) * 3 / RECORD_BYTES as u64, 2);
    life.settle();
    let (stream, shards) = life.describe(NAME).expect("nothing ends it");
    let numbers = life.read(stream, &shards[0]).expect("nothing ends it").into_iter().map(|(number, _)| number.0);
    let numbers: Vec<u64> = numbers.collect();
    assert!(numbers[..BEFORE as usize] == [1, 2, 3, 4, 5] && numbers[BEFORE as usize] > 1_000_000, "{numbers:?}");
    let mut life = again(&world, life, 2);
    let mut read = |from: Sequence| read(&mut life, from, 1000);
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

/// Reads on and on, of each answer what comes next, from number 1 to the end: the numbers that are told of, and those that are
/// called damaged.
fn told(life: &mut Life<'_>, bytes_max: u32) -> (Vec<u64>, Vec<Range<u64>>) {
    let (_, shards) = life.describe(NAME).expect("nothing ends it");
    let (mut intact, mut damaged, mut from) = (Vec::new(), Vec::new(), Sequence(1));
    while from < shards[0].tip {
        match read(life, from, bytes_max) {
            Answer::Records(result, frames) => {
                let mut rest = &frames[..];
                while let Ok(frame) = Frame::parse(rest) {
                    intact.push(frame.sequence().0);
                    rest = &rest[frame.length()..];
                }
                assert!(result.next > from, "it stays at {from}");
                from = result.next;
            }
            Answer::Failed(failure) => {
                assert_eq!(failure.code, ErrorCode::Damaged, "{failure}");
                let Range { start, end } = failure.damaged.expect("they are named");
                assert_eq!(start, from);
                damaged.push(start.0..end.0);
                from = end;
            }
            answer => panic!("{answer:?}"),
        }
    }
    (intact, damaged)
}

#[test]
fn damage_behind_damage_hides_none() {
    let world = world();
    let mut life = Life::open(&world).expect("nothing ends it");
    life.create(NAME, Retention::NONE);
    append(&mut life, BEFORE, 1);
    // Each in a batch of its own. What follows says that all of it is durable.
    append(&mut life, 1, 9);
    append(&mut life, 1, 3);
    append(&mut life, BEFORE, 1);
    let mut life = again(&world, life, 9);
    append(&mut life, u64::from(SEGMENT_BYTES) * 2 / RECORD_BYTES as u64, 1);
    life.settle();
    // Recovery found the first; the other is in a segment that is sealed by now.
    let mut life = again(&world, life, 3);
    let (first, second) = (BEFORE + 1, BEFORE + 2);
    for bytes_max in [1000, 1 << 20] {
        let (intact, damaged) = told(&mut life, bytes_max);
        assert_eq!(damaged, [first..second, second..second + 1], "{bytes_max} bytes at once");
        let due = (1..=2 * BEFORE + 2).filter(|number| ![first, second].contains(number));
        assert!(due.eq(intact.into_iter().take(2 * BEFORE as usize)), "{bytes_max} bytes at once");
    }
    life.end(Death::PowerCut);
}

#[test]
fn a_compacted_segment_hides_no_damage() {
    const OTHER: &str = "other";
    const KEPT: &str = "kept";
    let world = world();
    let mut life = cut_short(&world);
    life.create(OTHER, Retention::NONE);
    append(&mut life, 1, 9);
    let other = |life: &mut Life<'_>, records| (0..records).for_each(|_| life.append(OTHER, "key", &[1; RECORD_BYTES]));
    other(&mut life, 2);
    // The only one behind numbers that were skipped is damaged, and so are those that are skipped because of it.
    let mut life = again(&world, life, 9);
    life.create(KEPT, Retention::NONE);
    life.append(KEPT, "key", &[1; RECORD_BYTES]);
    other(&mut life, u64::from(SEGMENT_BYTES) * 3 / RECORD_BYTES as u64);
    append(&mut life, 1, 1);
    // Of all those segments one is made, which spans the damage, and has nothing of the shard but what lies before it.
    let deleted = life.call(Call::DeleteStream { name: OTHER.to_owned() });
    assert!(matches!(deleted, Some(Answer::Deleted)), "{deleted:?}");
    life.settle();
    let answer = read(&mut life, Sequence(BEFORE + 1), 1000);
    let Answer::Records(passed, _) = answer else { panic!("{answer:?}") };
    assert!(passed.records == 0 && passed.next.0 > BEFORE + 1_000_000, "{passed:?}");
    let Answer::Failed(failure) = read(&mut life, passed.next, 1000) else { panic!("it is damaged") };
    // All are told at once, up to the only record behind them.
    let (_, shards) = life.describe(NAME).expect("nothing ends it");
    let last = Sequence(shards[0].tip.0 - 1);
    assert_eq!((failure.code, failure.damaged), (ErrorCode::Damaged, Some(passed.next..last)));
    assert!(matches!(read(&mut life, last, 1000), Answer::Records(result, _) if result.records == 1));
    life.end(Death::PowerCut);
}
