//! Tests of what a stream forgets: when, in which order, and that all else of it stays.

use std::num::NonZeroU64;

use frame::{Quotas, Settings};

use super::super::super::{Annotation, Catalog};
use super::super::tests::check_open;
use super::super::{Change, Completion, ReshardError, Resharding};
use super::*;

const NAME: &str = "orders";

/// Records are kept for so long.
const KEPT_MS: u64 = 1_000_000;
const MADE_MS: u64 = 1_000_000;

fn of_retention(shards: u32, retention: Retention) -> Catalog {
    let mut catalog = Catalog::new();
    for (name, shards) in [("before", 2), (NAME, shards), ("behind", 1)] {
        let settings = Settings { quotas: Quotas::NONE, retention };
        let command = catalog.plan_create(name, shards, settings, Annotation::default(), MADE_MS).expect("legal");
        catalog.apply(&command).expect("follows");
    }
    catalog
}

fn with_stream(shards: u32) -> Catalog {
    of_retention(shards, Retention::of_seconds((KEPT_MS / 1000) as u32))
}

fn of(catalog: &Catalog) -> &Stream {
    catalog.by_name(NAME).expect("it was made")
}

fn shards(catalog: &Catalog) -> Vec<ShardId> {
    of(catalog).shards().map(|shard| shard.shard).collect()
}

fn reshard_at(catalog: &mut Catalog, change: Change, at_ms: u64) -> Result<Resharding, ReshardError> {
    let intend = catalog.plan_reshard(NAME, change)?;
    let Command::Intend(resharding) = intend else { panic!("{intend:?}") };
    let completion = Completion { created_ms: at_ms, ends: [Sequence(8), Sequence(9)] };
    for command in [intend, Command::Reshard(resharding, completion)] {
        catalog.apply(&command).expect("follows");
    }
    Ok(resharding)
}

/// What is to be forgotten at a time, of which `is_empty` says what is trimmed to its end.
fn plan(catalog: &Catalog, at_ms: u64, is_empty: impl Fn(ShardId) -> bool) -> Vec<ShardId> {
    let may_go = |shard, _: &Closed, has_expired| has_expired || is_empty(shard);
    let (forget, after) = catalog.plan_forget(StreamId(0), at_ms, may_go);
    let Some(forget) = forget else { return Vec::new() };
    assert_eq!(Command::decode(&forget.encode()), Some(forget.clone()));
    let Command::Forget(stream, shards) = forget else { panic!("{forget:?}") };
    assert_eq!((stream, after), (of(catalog).stream, Some(stream)));
    shards
}

/// Forgets what there is to be forgotten at a time, step by step.
fn forget_all(catalog: &mut Catalog, at_ms: u64) -> Vec<Vec<ShardId>> {
    let mut steps = Vec::new();
    loop {
        let shards = plan(catalog, at_ms, |_| false);
        if shards.is_empty() {
            return steps;
        }
        catalog.apply(&Command::Forget(of(catalog).stream, shards.clone())).expect("follows");
        check(catalog);
        steps.push(shards);
    }
}

/// What holds of every catalog, whatever was forgotten.
fn check(catalog: &Catalog) {
    let stream = of(catalog);
    check_open(stream);
    for shard in (0..catalog.shard_count() as u32).map(ShardId) {
        let has_it = catalog.stream_of(shard).map(|stream| stream.stream);
        assert!(!stream.has(shard) || has_it == Some(stream.stream), "shard {shard}");
        assert!(stream.has(shard) || has_it != Some(stream.stream), "shard {shard}");
    }
    for (shard, closed) in stream.closed() {
        assert!(closed.children.shards().all(|child| stream.has(child)), "the children of {shard} are there");
    }
    let snapshot = catalog.snapshot();
    assert_eq!(snapshot.len(), catalog.snapshot_bytes());
    assert_eq!(Catalog::restore(&snapshot).as_ref(), Some(catalog));
    assert_eq!(Catalog::restore(&snapshot[..snapshot.len() - 1]), None);
}

#[test]
fn the_oldest_go_first_once_their_records_have_expired() {
    let mut catalog = with_stream(1);
    let first = of(&catalog).first_shard;
    let split =
        reshard_at(&mut catalog, Change::Split { shard: first, at: 1 << 100 }, MADE_MS + 10_000).expect("legal");
    let [low, high] = [split.first_child, ShardId(split.first_child.0 + 1)];
    let merge =
        reshard_at(&mut catalog, Change::Merge { shard: low, adjacent: high }, MADE_MS + 20_000).expect("legal");
    let last = merge.first_child;
    let count = catalog.shard_count();
    let due_ms = MADE_MS + 10_000 + KEPT_MS;
    assert_eq!(plan(&catalog, due_ms - 1, |_| true), [], "records may be as new as its children");
    assert_eq!(plan(&catalog, due_ms, |_| false), [first]);
    let before = of(&catalog).find(last);
    assert_eq!(forget_all(&mut catalog, due_ms), [[first]], "what it was split into has not expired");
    assert_eq!(forget_all(&mut catalog, due_ms + 10_000), [[low, high]]);
    assert_eq!(shards(&catalog), [last]);
    assert_eq!(of(&catalog).find(last), before, "it says what it was made of");
    assert_eq!((of(&catalog).made_with(), of(&catalog).first_shard), (1, first));
    assert!(!catalog.keeps(first) && !catalog.keeps(low) && catalog.keeps(last));
    assert_eq!(
        catalog.plan_reshard(NAME, Change::Split { shard: first, at: 7 }),
        Err(ReshardError::UnknownShard(first))
    );
    // Numbers go on.
    let split = reshard_at(&mut catalog, Change::Split { shard: last, at: 7 }, MADE_MS + 2 * KEPT_MS).expect("legal");
    assert_eq!(split.first_child.0 as usize, count);
    check(&catalog);
    assert_eq!(catalog.plan_delete(NAME).and_then(|delete| catalog.apply(&delete)), Some(()));
    assert_eq!(Catalog::restore(&catalog.snapshot()), Some(catalog));
}

/// Where several generations are over, they go one after the other: who is told of children finds them.
#[test]
fn one_generation_goes_at_a_time() {
    let mut catalog = with_stream(1);
    let mut shard = of(&catalog).first_shard;
    let mut due = Vec::new();
    for generation in 1..=3 {
        let split =
            reshard_at(&mut catalog, Change::Split { shard, at: 1 << (100 - generation) }, MADE_MS + generation);
        due.push(vec![shard]);
        shard = split.expect("legal").first_child;
    }
    assert_eq!(forget_all(&mut catalog, MADE_MS + 10 * KEPT_MS), due);
}

#[test]
fn what_is_kept_without_end_is_never_forgotten() {
    let mut catalog = of_retention(1, Retention::NONE);
    let first = of(&catalog).first_shard;
    reshard_at(&mut catalog, Change::Split { shard: first, at: 7 }, MADE_MS).expect("legal");
    assert!(!catalog.may_forget());
    assert_eq!(plan(&catalog, u64::MAX, |_| true), []);
    // Kept up to a size: once it is trimmed to its end, and not at once.
    let bytes = NonZeroU64::new(1 << 20);
    let command = catalog.plan_retention(NAME, |before| Retention { bytes, ..before }).expect("it is there");
    catalog.apply(&command).expect("follows");
    assert!(catalog.may_forget());
    assert_eq!(plan(&catalog, u64::MAX, |_| false), []);
    assert_eq!(plan(&catalog, MADE_MS + CLOSED_KEPT_MS_MIN - 1, |_| true), []);
    assert_eq!(plan(&catalog, MADE_MS + CLOSED_KEPT_MS_MIN, |shard| shard == first), [first]);
    // Kept for a second: no shorter than whoever heard of the end has to go on.
    let command = catalog.plan_retention(NAME, |_| Retention::of_seconds(1)).expect("it is there");
    catalog.apply(&command).expect("follows");
    assert_eq!(plan(&catalog, MADE_MS + CLOSED_KEPT_MS_MIN - 1, |_| true), []);
    assert_eq!(plan(&catalog, MADE_MS + CLOSED_KEPT_MS_MIN, |_| false), [first]);
}

/// The bound is of shards that are kept: a stream goes on for as long as there are numbers.
#[test]
fn what_is_forgotten_leaves_room() {
    let mut catalog = with_stream(1);
    let mut whole = of(&catalog).first_shard;
    let (mut made, mut at_ms) = (1, MADE_MS);
    while made < 3 * SHARDS_KEPT_PER_STREAM_MAX {
        at_ms += KEPT_MS / 2;
        let split = match reshard_at(&mut catalog, Change::Split { shard: whole, at: 1 << 127 }, at_ms) {
            Ok(split) => split.first_child,
            Err(error) => panic!("{error:?} after {made} shards"),
        };
        let change = Change::Merge { shard: split, adjacent: ShardId(split.0 + 1) };
        whole = reshard_at(&mut catalog, change, at_ms).expect("legal").first_child;
        made += 3;
        for _ in 0..2 {
            let shards = plan(&catalog, at_ms, |_| false);
            catalog.apply(&Command::Forget(of(&catalog).stream, shards)).expect("follows");
        }
        assert!(of(&catalog).shard_count() < 16);
    }
    check(&catalog);
    assert!(catalog.shard_count() > made);
}

/// Where damage took commands, what is forgotten stays so, and what is not closed stays.
#[test]
fn what_damage_took_is_not_needed() {
    let mut catalog = with_stream(2);
    let stream = of(&catalog).stream;
    let [open, other] = [0, 1].map(|at| ShardId(of(&catalog).first_shard.0 + at));
    let (before, count) = (catalog.clone(), catalog.shard_count());
    catalog.apply(&Command::Forget(stream, vec![open])).expect("nothing follows from it");
    catalog.apply(&Command::Forget(stream, vec![ShardId(70)])).expect("nothing follows from it");
    assert_eq!(catalog, before);
    // Of a split that is lost, of a child of the first one, nothing is known but that it is over.
    let [child, grandchild] = [count, count + 2].map(|shard| ShardId(shard as u32));
    let lost = Resharding { stream, first_child: grandchild, change: Change::Split { shard: child, at: 7 } };
    let completion = Completion { created_ms: MADE_MS, ends: [Sequence(2); 2] };
    catalog.apply(&Command::Reshard(lost, completion)).expect("nothing follows from it");
    assert!(catalog.keeps(child) && catalog.keeps(grandchild), "nobody knows whose they are");
    catalog.apply(&Command::Forget(stream, vec![open, child])).expect("its number is known");
    assert!(!catalog.keeps(child) && catalog.keeps(grandchild) && catalog.keeps(open) && catalog.keeps(other));
    check(&catalog);
}

#[test]
fn what_is_left_is_whole_or_none() {
    let mut catalog = with_stream(2);
    let first = of(&catalog).first_shard;
    let split = reshard_at(&mut catalog, Change::Split { shard: first, at: 7 }, MADE_MS).expect("legal");
    reshard_at(
        &mut catalog,
        Change::Merge { shard: split.first_child, adjacent: ShardId(split.first_child.0 + 1) },
        MADE_MS,
    )
    .expect("legal");
    catalog.apply(&Command::Forget(of(&catalog).stream, vec![first])).expect("follows");
    let Some(Command::Shards(stream, left)) = of(&catalog).left() else { panic!("it has forgotten one") };
    let whole = Command::Shards(stream, left.clone());
    for command in [whole.clone(), Command::Forget(stream, vec![ShardId(3), ShardId(9)])] {
        let bytes = command.encode();
        assert_eq!(Command::decode(&bytes), Some(command));
        for length in 0..bytes.len() {
            assert_eq!(Command::decode(&bytes[..length]), None, "{length} bytes of {}", bytes.len());
        }
        assert_eq!(Command::decode(&[&bytes[..], &[0]].concat()), None, "a byte too many");
    }
    for shards in [vec![ShardId(9), ShardId(3)], vec![ShardId(3), ShardId(3)], vec![ShardId::CATALOG]] {
        assert_eq!(Command::decode(&Command::Forget(stream, shards.clone()).encode()), None, "{shards:?}");
    }
    assert_eq!(catalog.clone().apply(&whole), Some(()));
    let open = left.iter().position(|shard| shard.closed.is_none()).expect("one is open");
    let changed = |change: &dyn Fn(&mut Vec<StreamShard>)| {
        let mut shards = left.clone();
        change(&mut shards);
        catalog.clone().apply(&Command::Shards(stream, shards))
    };
    assert_eq!(changed(&|shards| _ = shards.remove(open)), None, "hash keys have no shard");
    assert_eq!(changed(&|shards| shards[open].hash_start += 1), None, "a hash key has none");
    assert_eq!(changed(&|shards| shards.clear()), None);
    assert_eq!(changed(&|shards| shards[open].shard = ShardId(1)), None, "another stream's");
    assert_eq!(changed(&|shards| shards.last_mut().expect("some").shard = ShardId(u32::MAX)), None);
    assert_eq!(catalog.clone().apply(&Command::Shards(StreamId(70), left.clone())), None, "of no stream");
}

/// Whatever is split, merged, moved and forgotten: checked after each step. The numbers follow from a seed.
#[test]
fn any_history_is_whole() {
    let mut some = 0;
    for seed in 1..=40_u128 {
        let mut state = seed;
        let mut draw = || {
            state = state.wrapping_mul(0x2360_ed05_1fc6_5da4_4385_df64_9fcc_f645).wrapping_add(1);
            state ^ state >> 67
        };
        let (mut catalog, mut forgotten) = (with_stream(draw() as u32 % 4 + 1), Vec::new());
        let mut at_ms = MADE_MS;
        for step in 0..40 {
            at_ms += draw() as u64 % KEPT_MS;
            let mut open: Vec<StreamShard> = of(&catalog).shards().filter(|shard| shard.closed.is_none()).collect();
            open.sort_by_key(|shard| shard.hash_start);
            let which = draw() as usize % open.len();
            let (one, two) = (open[which], open[(which + 1) % open.len()]);
            let (shard, width) = (one.shard, one.hash_end - one.hash_start);
            let change = match draw() % 4 {
                0 => Change::Move { shard, home: draw() as u32 % 8 },
                1 if one.hash_end < two.hash_start => Change::Merge { shard, adjacent: two.shard },
                _ => Change::Split { shard, at: one.hash_start + 1 + draw() % width.max(1) },
            };
            let planned = catalog.plan_reshard(NAME, change);
            if draw() % 8 == 0
                && let Ok(intend) = planned
            {
                // It stays under way.
                catalog.apply(&intend).expect("follows");
            } else {
                _ = reshard_at(&mut catalog, change, at_ms);
            }
            check(&catalog);
            if draw() % 4 == 0 {
                forgotten.extend(forget_all(&mut catalog, at_ms).concat());
            }
            assert!(forgotten.iter().all(|shard| !of(&catalog).has(*shard)), "seed {seed}, step {step}");
        }
        some += usize::from(!forgotten.is_empty());
    }
    assert!(some > 30, "{some} of them forget something");
}
