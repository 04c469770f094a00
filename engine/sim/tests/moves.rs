//! What moves of shards between reactors cost, and what becomes of those that fail.

#[expect(dead_code, reason = "what others ask it for")]
mod life;
mod several;

use engine::{Answer, Call, Config};
use frame::Retention;
use frame::proto::ErrorCode;
use io::Pool;
use life::{Life, SEGMENT_BYTES};
use sim::{Death, Files, Surroundings, Trace, World};

const NAME: &str = "moved";
const MOVES: usize = 26;
/// So many files the process may have open, and so many moves are tried.
const FILES_MAX: usize = 400;
const MOVES_TRIED: usize = 300;
/// Beside a stream that is moved, of another one: so much that little of a segment is dead once what moved is.
const KEPT: &str = "kept";
const KEPT_BYTES: usize = 100_000;
/// What is written for a move.
const BATCHES_AND_FOOTER: u64 = 64 << 10;

fn world(seed: u64) -> World {
    World::new(seed, Pool::new(64 << 20).expect("memory for the test"), Surroundings::calm(), Trace::default())
}

fn segment_bytes(files: &Files) -> u64 {
    files.names().filter(|name| name.ends_with(".segment")).map(|name| files.length(name)).sum()
}

/// Has a stream's one shard moved to the other of two reactors.
fn move_over(life: &mut Life<'_>) -> Answer {
    let (_, shards) = life.describe(NAME).expect("nothing ends it");
    let (shard, reactor) = (shards[0].shard, 1 - shards[0].reactor);
    life.call(Call::MoveShard { name: NAME.to_owned(), shard, reactor }).expect("nothing ends it")
}

/// Bug: each move of a shard took a whole segment, however little was in it, so that moves filled the disk. Mechanism: the owner seals its
/// open segment, whose file stayed as long as it was. Fix: it is cut behind its footer.
#[test]
fn a_move_costs_what_was_written() {
    let world = world(61);
    let config = || Config {
        segment_bytes: SEGMENT_BYTES,
        accept_clock: true,
        disk_bytes: 8 * u64::from(SEGMENT_BYTES),
        ..Config::default()
    };
    let mut life = Life::open_with(&world, 2, config()).expect("nothing ends it");
    life.create(NAME, Retention::NONE);
    for _ in 0..MOVES {
        life.append(NAME, "key", &[7; 100]);
        let answer = move_over(&mut life);
        assert!(matches!(answer, Answer::Stream(..)), "{answer:?}");
        life.settle();
    }
    life.end(Death::Killed);
    // Each reactor has an open segment, and one that is ready.
    let most = 4 * u64::from(SEGMENT_BYTES) + MOVES as u64 * BATCHES_AND_FOOTER;
    let bytes = segment_bytes(&world.files());
    assert!(bytes <= most, "{bytes} bytes for {MOVES} moves");
    for reactors in [2, 1, 2] {
        let mut life = Life::open_with(&world, reactors, config()).expect("nothing ends it");
        let (stream, shards) = life.describe(NAME).expect("nothing ends it");
        assert_eq!(life.read(stream, &shards[0]).expect("nothing ends it").len(), MOVES);
        life.end(Death::PowerCut);
    }
}

/// Bug: whoever moved shards for long had a log that could take nothing in, nor be opened, for want of open files. Mechanism: each move
/// leaves a segment, which stays as long as what is in it. Fix: none is begun once segments might need half of the files that may be open.
#[test]
fn moves_end_before_open_files_do() {
    let world = world(64);
    world.limit_open_files(FILES_MAX);
    let config =
        || Config { segment_bytes: SEGMENT_BYTES, accept_clock: true, files_max: FILES_MAX, ..Config::default() };
    let mut life = Life::open_with(&world, 2, config()).expect("nothing ends it");
    life.create(NAME, Retention::NONE);
    let (mut moved, mut refused) = (0, 0);
    for _ in 0..MOVES_TRIED {
        life.append(NAME, "key", &[7; 100]);
        match move_over(&mut life) {
            Answer::Stream(..) => moved += 1,
            Answer::Failed(failure) => {
                assert!(failure.code == ErrorCode::Busy && failure.detail.contains("LimitNOFILE"), "{failure:?}");
                refused += 1;
            }
            answer => panic!("{answer:?}"),
        }
        life.settle();
    }
    assert!(moved > FILES_MAX / 10 && refused > 0, "{moved} were moved, {refused} refused");
    life.end(Death::PowerCut);
    assert!(world.files().names().count() < FILES_MAX / 4, "{moved} were moved");
    for reactors in [1, 2] {
        let mut life = Life::open_with(&world, reactors, config()).expect("nothing ends it");
        let (stream, shards) = life.describe(NAME).expect("nothing ends it");
        assert_eq!(life.read(stream, &shards[0]).expect("nothing ends it").len(), MOVES_TRIED);
        if reactors == 2 {
            assert!(matches!(move_over(&mut life), Answer::Failed(_)));
            // Once less is kept there is room for more.
            let set = Call::SetRetention { name: NAME.to_owned(), retention: Retention::of_seconds(1) };
            assert!(matches!(life.call(set), Some(Answer::Stream(..))));
            life.settle();
            let answer = move_over(&mut life);
            assert!(matches!(answer, Answer::Stream(..)), "{answer:?}");
        }
        life.end(Death::PowerCut);
    }
}

/// Bug: segments that were left for shards which moved stayed for as long as anything of others lived in them, however many. Mechanism: what
/// lives was compacted only beside much that was dead. Fix: short ones that follow each other are joined, once nobody else needs them.
#[test]
fn segments_that_were_left_are_joined_once_what_moved_has_expired() {
    let world = world(65);
    let mut life = Life::open_on(&world, 2).expect("nothing ends it");
    life.create(KEPT, Retention::NONE);
    life.create(NAME, Retention::of_seconds(1));
    for number in 0..MOVES_TRIED {
        life.append(KEPT, "key", &[number as u8; KEPT_BYTES]);
        life.append(NAME, "key", &[7; 100]);
        let answer = move_over(&mut life);
        assert!(matches!(answer, Answer::Stream(..)), "{answer:?}");
        life.settle();
    }
    life.end(Death::PowerCut);
    // Each second move leaves one with records of the other stream.
    let segments = world.files().names().filter(|name| name.ends_with(".segment")).count();
    assert!(segments < MOVES_TRIED / 8, "{segments} segments after {MOVES_TRIED} moves");
    for reactors in [2, 1, 2] {
        let mut life = Life::open_on(&world, reactors).expect("nothing ends it");
        let (stream, shards) = life.describe(KEPT).expect("nothing ends it");
        let found = life.read(stream, &shards[0]).expect("nothing ends it");
        let numbers = || (0..MOVES_TRIED).map(|number| number as u8);
        assert!(found.iter().map(|(_, data)| data[0]).eq(numbers()), "{reactors} reactors");
        life.settle();
        life.end(Death::PowerCut);
    }
}

/// What a power cut undid of that a start does again.
#[test]
fn a_start_cuts_what_the_last_life_had_not() {
    let world = world(62);
    let mut life = Life::open_on(&world, 2).expect("nothing ends it");
    life.create(NAME, Retention::NONE);
    life.append(NAME, "key", &[7; 100]);
    let name = format!("{:04}-0000000001.segment", life.describe(NAME).expect("nothing ends it").1[0].reactor);
    let answer = move_over(&mut life);
    assert!(matches!(answer, Answer::Stream(..)), "{answer:?}");
    life.end(Death::Killed);
    assert!(world.files().length(&name) > BATCHES_AND_FOOTER, "the move did not wait for it");
    Life::open_on(&world, 2).expect("nothing ends it").end(Death::Killed);
    assert!(world.files().length(&name) <= BATCHES_AND_FOOTER);
}

/// Bug: a shard whose next owner could not open a segment took nothing in until that could be opened, maybe for ever, and whoever had it
/// moved was never answered. Mechanism: the opening was tried again and again. Fix: the shard goes on where it was, and that is said.
#[test]
fn a_shard_stays_whose_segments_cant_be_opened() {
    let world = world(63);
    let mut life = Life::open_on(&world, 2).expect("nothing ends it");
    life.create(NAME, Retention::NONE);
    for tries in 0..3 {
        life.append(NAME, "key", &[tries; 100]);
        let before = life.describe(NAME).expect("nothing ends it").1[0].reactor;
        world.limit_open_files(0);
        let answer = move_over(&mut life);
        let Answer::Failed(failure) = &answer else { panic!("{answer:?}") };
        assert!(failure.code == ErrorCode::Busy, "{failure:?}");
        for words in ["stays where it is", "more open files (ulimit -Hn, LimitNOFILE=)"] {
            assert!(failure.detail.contains(words), "{words} is not in: {failure:?}");
        }
        life.settle();
        assert_eq!(life.describe(NAME).expect("nothing ends it").1[0].reactor, before);
        life.append(NAME, "key", &[tries; 100]);
        world.limit_open_files(usize::MAX);
        life.settle();
    }
    let answer = move_over(&mut life);
    assert!(matches!(answer, Answer::Stream(..)), "{answer:?}");
    life.append(NAME, "key", &[3; 100]);
    for reactors in [2, 1, 2] {
        life.end(Death::PowerCut);
        life = Life::open_on(&world, reactors).expect("nothing ends it");
        let (stream, shards) = life.describe(NAME).expect("nothing ends it");
        assert_eq!(life.read(stream, &shards[0]).expect("nothing ends it").len(), 7);
    }
    life.end(Death::PowerCut);
}
