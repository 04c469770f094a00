//! A limit in bytes is the whole stream's, whoever owns its shards: below it everything is kept, and above it the oldest go.

mod life;

use std::num::NonZeroU64;

use engine::{Answer, Call};
use frame::proto::ShardDescription;
use frame::{Retention, Sequence, ShardId};
use io::Pool;
use life::{Life, SEGMENT_BYTES};
use sim::{Death, Surroundings, Trace, World};

const NAME: &str = "limited";
const REACTORS: usize = 3;
const RECORD_BYTES: usize = 100_000;
const LIMIT_BYTES: u64 = 40 << 20;

fn world(seed: u64) -> World {
    let pool = Pool::new(32 << 20).expect("memory for the test");
    World::new(seed, pool, Surroundings::calm(), Trace::default())
}

fn open(world: &World) -> Life<'_> {
    let mut life = Life::open_on(world, REACTORS).expect("nothing ends it");
    life.create(NAME, Retention { seconds: None, bytes: NonZeroU64::new(LIMIT_BYTES) });
    life
}

/// Appends so many bytes to the open shards, as keys fall.
fn append(life: &mut Life<'_>, bytes: u64) {
    for number in 0..bytes / RECORD_BYTES as u64 {
        life.append(NAME, &number.to_string(), &[number as u8; RECORD_BYTES]);
    }
}

fn shards(life: &mut Life<'_>) -> Vec<ShardDescription> {
    life.describe(NAME).expect("nothing ends it").1
}

fn open_shards(life: &mut Life<'_>) -> Vec<ShardDescription> {
    shards(life).into_iter().filter(|shard| shard.children.is_none()).collect()
}

fn ask(life: &mut Life<'_>, call: Call) {
    let answer = life.call(call);
    assert!(!matches!(answer, None | Some(Answer::Failed(_))), "{answer:?}");
}

fn split(life: &mut Life<'_>, shard: &ShardDescription) {
    let at = shard.hash_start + (shard.hash_end - shard.hash_start) / 2;
    ask(life, Call::SplitShard { name: NAME.to_owned(), shard: shard.shard, at });
}

fn merge(life: &mut Life<'_>, shard: ShardId, adjacent: ShardId) {
    ask(life, Call::MergeShards { name: NAME.to_owned(), shard, adjacent });
}

fn move_to(life: &mut Life<'_>, shard: ShardId, reactor: u32) {
    ask(life, Call::MoveShard { name: NAME.to_owned(), shard, reactor });
}

/// Bytes that are kept of all shards, each of which is read from where it begins to its end.
fn kept(life: &mut Life<'_>) -> u64 {
    let (stream, shards) = life.describe(NAME).expect("nothing ends it");
    let mut bytes = 0;
    for shard in shards {
        let found = life.read(stream, &shard).expect("nothing ends it");
        assert_eq!(found.len() as u64, shard.tip.0 - shard.trim.0, "shard {}", shard.shard.0);
        bytes += found.iter().map(|(_, data)| data.len() as u64).sum::<u64>();
    }
    bytes
}

/// Bug: each reactor had a fixed part of a stream's limit, by the number of its shards. Closed shards kept their part although they
/// held little: of a stream that was resharded often, records went below the limit.
#[test]
fn below_a_limit_everything_is_kept() {
    let world = world(21);
    let mut life = open(&world);
    for _ in 0..3 {
        append(&mut life, 1 << 20);
        let parent = open_shards(&mut life).remove(0);
        split(&mut life, &parent);
        append(&mut life, 1 << 20);
        let children = open_shards(&mut life);
        merge(&mut life, children[0].shard, children[1].shard);
    }
    // All in one shard, far more than its part by number.
    append(&mut life, LIMIT_BYTES - (8 << 20));
    life.settle();
    assert!(shards(&mut life).iter().all(|shard| shard.trim == Sequence(1)));
    let before = kept(&mut life);
    assert!(before > LIMIT_BYTES - (9 << 20), "{before} bytes are left");
    // Neither does anything go where all of it comes to one reactor.
    life.end(Death::PowerCut);
    let mut life = Life::open(&world).expect("nothing ends it");
    life.settle();
    assert_eq!(kept(&mut life), before);
}

/// A shard that goes to another reactor and back, and to the third: it is never counted twice.
#[test]
fn a_shard_that_moves_is_counted_once() {
    let world = world(22);
    let mut life = open(&world);
    append(&mut life, LIMIT_BYTES / 2);
    let shard = open_shards(&mut life).remove(0);
    let away = [1, 2].map(|step| (shard.reactor + step) % REACTORS as u32);
    for reactor in [away[0], shard.reactor, away[1], away[0]] {
        move_to(&mut life, shard.shard, reactor);
        append(&mut life, 2 << 20);
        life.settle();
        assert_eq!(shards(&mut life)[0].trim, Sequence(1), "at reactor {reactor}");
    }
    assert!(kept(&mut life) > LIMIT_BYTES / 2 + (7 << 20));
}

/// As one grows, the others give up of what they have, also those to which nothing comes any more.
#[test]
fn above_a_limit_the_oldest_go_at_all_reactors() {
    let world = world(23);
    let mut life = open(&world);
    append(&mut life, LIMIT_BYTES * 3 / 4);
    life.settle();
    let parent = open_shards(&mut life).remove(0);
    split(&mut life, &parent);
    for _ in 0..16 {
        append(&mut life, LIMIT_BYTES / 8);
        life.settle();
        let bytes = kept(&mut life);
        // Of what is not sealed nothing goes, and what goes does so by the extent.
        let most = LIMIT_BYTES + (REACTORS as u64 + 1) * u64::from(SEGMENT_BYTES);
        assert!(bytes <= most, "{bytes} bytes are left of {LIMIT_BYTES}");
    }
    let bytes = kept(&mut life);
    assert!(bytes >= LIMIT_BYTES - u64::from(SEGMENT_BYTES), "{bytes} bytes are left of {LIMIT_BYTES}");
    let shards = shards(&mut life);
    assert!(shards.iter().all(|shard| shard.trim > Sequence(1)), "{shards:?}");
}
