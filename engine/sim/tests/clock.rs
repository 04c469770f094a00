//! The time that retention goes by, over lives that end with the power.

#[expect(dead_code, reason = "what others ask it for")]
mod life;
mod several;

use std::sync::Arc;

use engine::{Answer, Call, Outcome};
use frame::proto::ShardDescription;
use frame::{Quotas, Retention, Settings};
use io::Pool;
use life::Life;
use sim::{Death, Surroundings, Trace, World};

const SECOND_NS: u64 = 1_000_000_000;
const DAY_NS: u64 = 86_400 * SECOND_NS;
const HOUR_MS: u64 = 3_600_000;
const TEN_YEARS_MS: i64 = 3650 * 24 * 3_600_000;

/// Lets so much time pass.
fn wait(life: &mut Life<'_>, world: &World, ns: u64) {
    let until_ns = world.now_ns() + ns;
    while world.now_ns() < until_ns {
        world.wake_at(until_ns);
        life.settle();
    }
}

/// Bug: a power cut after days in which no stream had a retention made every later life hold all expiry. Mechanism: the superblock was
/// told the time only while something expired, so the next life took the days for a wall clock that had jumped. Fix: it is told
/// always.
#[test]
fn days_without_retention_hold_nothing_back() {
    // Seeds with which the power is away for no longer than a start allows for.
    for seed in [2, 3, 4] {
        let world = World::new(seed, Pool::new(16 << 20).expect("memory"), Surroundings::calm(), Trace::default());
        let mut life = Life::open_by(&world, 1, false).expect("nothing ends it");
        life.create("kept", Retention::NONE);
        wait(&mut life, &world, 10 * DAY_NS);
        life.end(Death::PowerCut);
        let mut life = Life::open_by(&world, 1, false).expect("nothing ends it");
        life.create("short", Retention::of_seconds(3));
        life.append("short", "key", b"data");
        let (stream, shards) = life.describe("short").expect("nothing ends it");
        assert_eq!(life.read(stream, &shards[0]).expect("nothing ends it").len(), 1);
        wait(&mut life, &world, 5 * SECOND_NS);
        assert_eq!(life.read(stream, &shards[0]).expect("nothing ends it"), [], "seed {seed}: it has expired");
        life.end(Death::PowerCut);
    }
}

fn world() -> World {
    World::new(1, Pool::new(16 << 20).expect("memory"), Surroundings::calm(), Trace::default())
}

/// Splits the open shard with the highest hash keys. When the last of its children was made.
fn split(life: &mut Life<'_>, name: &str) -> u64 {
    let open = |shards: &[ShardDescription]| *shards.last().expect("there is one");
    let last = open(&life.describe(name).expect("nothing ends it").1);
    let at = last.hash_start + (last.hash_end - last.hash_start) / 2;
    let answer = life.call(Call::SplitShard { name: name.to_owned(), shard: last.shard, at });
    assert!(matches!(answer, Some(Answer::Stream(..))), "{answer:?}");
    open(&life.describe(name).expect("nothing ends it").1).created_ms
}

/// Appends to the shard with the highest hash keys. When that arrived.
fn append_to_last(life: &mut Life<'_>, name: &str) -> u64 {
    let mut frames = Vec::new();
    frame::frame::encode(&mut frames, b"key", Some(u128::MAX), b"data").expect("it is legal");
    let answer = life.call(Call::Append { name: name.to_owned(), frames });
    let Some(Answer::Appended(_, outcomes)) = answer else { panic!("{answer:?}") };
    let [Outcome::Durable { arrival_ms, .. }] = outcomes[..] else { panic!("{outcomes:?}") };
    arrival_ms
}

/// Bug: records of a stream that was split once never expired, if the wall clock had been years ahead as it was made. Mechanism: the
/// stream was dated by the wall clock as it was, its children after it, and their records no earlier than they. Fix: streams are
/// dated as arrivals are.
#[test]
fn a_stream_is_not_dated_by_a_clock_that_jumped() {
    let world = world();
    let mut life = Life::open_by(&world, 1, false).expect("nothing ends it");
    let began_ms = world.wall_ms();
    world.set_wall_by(TEN_YEARS_MS);
    let (name, settings) = ("jumped".to_owned(), Settings { quotas: Quotas::NONE, retention: Retention::NONE });
    let answer = life.call(Call::CreateStream { name, shards: 1, settings, annotation: Arc::default() });
    let Some(Answer::Stream(stream, _)) = answer else { panic!("{answer:?}") };
    world.set_wall_by(-TEN_YEARS_MS);
    let most_ms = |world: &World| world.wall_ms() + HOUR_MS + 2000;
    assert!((began_ms..most_ms(&world)).contains(&stream.created_ms), "{}", stream.created_ms);
    let made_ms = split(&mut life, "jumped");
    assert!((stream.created_ms / 1000 + 1..most_ms(&world) / 1000).contains(&(made_ms / 1000)), "{made_ms}");
    let arrival_ms = append_to_last(&mut life, "jumped");
    assert!((made_ms..most_ms(&world)).contains(&arrival_ms), "{arrival_ms}");
    life.end(Death::Killed);
}

/// What was dated by a clock that was years ahead stays so, and its children are dated after it; their records are dated as others.
#[test]
fn records_do_not_follow_parents_that_are_dated_years_ahead() {
    let world = world();
    world.set_wall_by(TEN_YEARS_MS);
    let mut life = Life::open_by(&world, 1, false).expect("nothing ends it");
    life.create("ahead", Retention::of_seconds(3));
    let child_ms = split(&mut life, "ahead");
    assert!(child_ms > world.wall_ms() - 2000);
    life.end(Death::Killed);
    world.set_wall_by(-TEN_YEARS_MS);
    // It is believed, and what there was before is dated ahead of it.
    let mut life = Life::open(&world).expect("nothing ends it");
    let in_time = |arrival_ms: u64| arrival_ms <= world.wall_ms() + HOUR_MS;
    assert!(in_time(append_to_last(&mut life, "ahead")), "a child that this life found");
    let grandchild_ms = split(&mut life, "ahead");
    assert!(
        grandchild_ms / 1000 > child_ms / 1000,
        "numbers of children begin in a later second than those of parents"
    );
    assert!(in_time(append_to_last(&mut life, "ahead")), "a child of this life");
    let (stream, shards) = life.describe("ahead").expect("nothing ends it");
    let last = shards.last().expect("it is there");
    assert_eq!(life.read(stream, last).expect("nothing ends it").len(), 1);
    wait(&mut life, &world, 5 * SECOND_NS);
    assert_eq!(life.read(stream, last).expect("nothing ends it"), [], "it has expired");
    life.end(Death::Killed);
}

/// Bug: the time that a machine was off was lost to what expires, where it was up for longer than before as the log was opened. Mechanism:
/// that looked like the same boot. Fix: the superblock tells which boot it was.
#[test]
fn the_time_that_a_machine_was_off_counts() {
    const KEPT_MS: u64 = 3000;
    let mut looked_at = 0;
    for seed in 1..=20 {
        let world = World::new(seed, Pool::new(16 << 20).expect("memory"), Surroundings::calm(), Trace::default());
        // The first boot is long; the others are looked at right at their beginnings, which are about as late.
        Life::open(&world).expect("nothing ends it").end(Death::PowerCut);
        let mut life = Life::open(&world).expect("nothing ends it");
        life.create("short", Retention::of_seconds(KEPT_MS as u32 / 1000));
        life.append("short", "key", b"data");
        let stored_ms = world.wall_ms();
        life.end(Death::PowerCut);
        // Otherwise nothing expires, or not yet: a minute may be lost.
        if (KEPT_MS + 61_000..HOUR_MS).contains(&(world.wall_ms() - stored_ms)) {
            let mut life = Life::open_by(&world, 1, false).expect("nothing ends it");
            let (stream, shards) = life.describe("short").expect("nothing ends it");
            assert_eq!(life.read(stream, &shards[0]).expect("nothing ends it"), [], "seed {seed}: it has expired");
            life.end(Death::PowerCut);
            looked_at += 1;
        }
    }
    assert!(looked_at >= 5, "of {looked_at} only");
}
