//! Tests of a stream's lineage: what may be split and merged, what becomes of it, and that nothing of it is forgotten.

use frame::{Quotas, Sequence, ShardId};

use super::super::{Catalog, Command, GoOn};
use super::*;

const NAME: &str = "orders";

fn with_stream(shards: u32) -> Catalog {
    let mut catalog = Catalog::new();
    for (name, shards) in [("before", 2), (NAME, shards), ("behind", 1)] {
        let command =
            catalog.plan_create(name, shards, Quotas::NONE.into(), Annotation::default(), 1_000).expect("legal");
        catalog.apply(&command).expect("follows");
    }
    catalog
}

fn of(catalog: &Catalog) -> &Stream {
    catalog.by_name(NAME).expect("it was made")
}

/// Plans a change and carries it out, as a reactor does.
fn reshard(catalog: &mut Catalog, change: Change, ends: [u64; 2]) -> Result<Resharding, ReshardError> {
    let intend = catalog.plan_reshard(NAME, change)?;
    let Command::Intend(resharding) = intend else { panic!("{intend:?}") };
    let completion = Completion { created_ms: 2_000, ends: ends.map(Sequence) };
    for command in [intend, Command::Reshard(resharding, completion)] {
        assert_eq!(Command::decode(&command.encode()), Some(command.clone()));
        catalog.apply(&command).expect("follows");
        check(catalog);
    }
    Ok(resharding)
}

/// Open shards hold each hash key once, and each shard is found.
pub(super) fn check_open(stream: &Stream) {
    let mut open: Vec<StreamShard> = stream.shards().filter(|shard| shard.closed.is_none()).collect();
    open.sort_by_key(|shard| shard.hash_start);
    let mut due = 0_u128;
    for shard in &open {
        assert_eq!(shard.hash_start, due, "{open:?}");
        assert_eq!((stream.route(shard.hash_start), stream.route(shard.hash_end)), (shard.shard, shard.shard));
        due = shard.hash_end.wrapping_add(1);
    }
    assert_eq!((due, open.len()), (0, stream.open_count() as usize), "{open:?}");
    assert!(stream.shards().all(|shard| stream.find(shard.shard) == Some(shard)));
}

/// What holds of every catalog: open shards hold each hash key once, and a snapshot says all.
fn check(catalog: &Catalog) {
    let stream = of(catalog);
    check_open(stream);
    assert!(stream.shards().is_sorted_by_key(|shard| shard.shard));
    let snapshot = catalog.snapshot();
    assert_eq!(snapshot.len(), catalog.snapshot_bytes());
    assert_eq!(Catalog::restore(&snapshot).as_ref(), Some(catalog));
}

#[test]
fn a_split_closes_one_and_opens_two() {
    let mut catalog = with_stream(1);
    let parent = of(&catalog).first_shard;
    let made = reshard(&mut catalog, Change::Split { shard: parent, at: 1 << 100 }, [8, 0]).expect("legal");
    let stream = of(&catalog);
    let [low, high] =
        [made.first_child, ShardId(made.first_child.0 + 1)].map(|child| stream.find(child).expect("made"));
    assert_eq!((low.hash_start, low.hash_end), (0, (1 << 100) - 1));
    assert_eq!((high.hash_start, high.hash_end), (1 << 100, u128::MAX));
    assert_eq!((low.parent, low.adjacent_parent, low.created_ms), (Some(parent), None, 2_000));
    let closed = Closed { end: Sequence(8), children: Children { first: low.shard, count: 2 } };
    assert_eq!(stream.find(parent).and_then(|shard| shard.closed), Some(closed));
    assert!(!stream.takes(parent) && stream.takes(low.shard) && stream.takes(high.shard));
    assert_eq!((stream.made_with(), stream.open_count()), (1, 2));
    assert_eq!(stream.closed().collect::<Vec<_>>(), [(parent, closed)]);
}

#[test]
fn a_merge_closes_two_and_opens_one() {
    let mut catalog = with_stream(3);
    let first = of(&catalog).first_shard.0;
    let [low, high, other] = [first, first + 1, first + 2].map(ShardId);
    // The order in which they are named does not matter.
    let made = reshard(&mut catalog, Change::Merge { shard: high, adjacent: low }, [5, 9]).expect("legal");
    let stream = of(&catalog);
    let child = stream.find(made.first_child).expect("made");
    assert_eq!((child.parent, child.adjacent_parent), (Some(low), Some(high)));
    assert_eq!(stream.find(low).and_then(|low| low.closed).map(|closed| closed.end), Some(Sequence(5)));
    assert_eq!(stream.find(high).and_then(|high| high.closed).map(|closed| closed.end), Some(Sequence(9)));
    assert_eq!((child.hash_start, child.hash_end + 1), (0, stream.find(other).expect("made").hash_start));
}

/// Parents are fenced from the intent on, and whoever finds the intent alone knows what is to be ended.
#[test]
fn an_intent_fences() {
    let mut catalog = with_stream(2);
    let first = of(&catalog).first_shard;
    let intend = catalog.plan_reshard(NAME, Change::Split { shard: first, at: 7 }).expect("legal");
    catalog.apply(&intend).expect("follows");
    check(&catalog);
    let stream = of(&catalog);
    assert!(stream.is_fenced(first) && !stream.takes(first) && stream.has(first));
    assert_eq!(stream.route(6), first, "nothing goes elsewhere yet");
    let [resharding] = stream.intents() else { panic!("{:?}", stream.intents()) };
    assert!(resharding.children().shards().all(|child| !stream.has(child)));
    assert!(catalog.shard_count() >= resharding.next_shard(), "the children's numbers are theirs");
    let again = catalog.plan_reshard(NAME, Change::Split { shard: first, at: 9 });
    assert_eq!(again, Err(ReshardError::InProgress(first)));
}

/// A moved shard is itself, with another home; of several moves the last one counts, and is all that is kept.
#[test]
fn a_move_changes_the_home_alone() {
    let mut catalog = with_stream(2);
    let first = of(&catalog).first_shard;
    let before: Vec<StreamShard> = of(&catalog).shards().collect();
    let intend = catalog.plan_reshard(NAME, Change::Move { shard: first, home: 3 }).expect("legal");
    catalog.apply(&intend).expect("follows");
    check(&catalog);
    let stream = of(&catalog);
    assert!(stream.is_fenced(first) && !stream.takes(first));
    assert_eq!((stream.moves_to(first), stream.homes().count()), (Some(3), 0));
    let split = catalog.plan_reshard(NAME, Change::Split { shard: first, at: 7 });
    assert_eq!(split, Err(ReshardError::InProgress(first)));
    let Command::Intend(resharding) = intend else { panic!("{intend:?}") };
    catalog
        .apply(&Command::Reshard(resharding, Completion { created_ms: 7, ends: [Sequence(9); 2] }))
        .expect("follows");
    check(&catalog);
    assert_eq!(of(&catalog).shards().collect::<Vec<_>>(), before);
    assert!(of(&catalog).takes(first) && of(&catalog).moves_to(first).is_none());
    let bytes = catalog.snapshot_bytes();
    for home in [0, 2, 1] {
        let moved = reshard(&mut catalog, Change::Move { shard: first, home }, [12, 0]).expect("legal");
        assert_eq!((moved.children().count, moved.moved()), (0, Some((first, home))));
        assert_eq!(catalog.homes().collect::<Vec<_>>(), [(first, home)]);
        assert_eq!(catalog.snapshot_bytes(), bytes, "it does not grow");
    }
    // Its children live where their numbers say, until they are moved as well.
    let made = reshard(&mut catalog, Change::Split { shard: first, at: 7 }, [15, 0]).expect("legal");
    let child = ShardId(made.first_child.0 + 1);
    reshard(&mut catalog, Change::Move { shard: made.first_child, home: 5 }, [2, 0]).expect("legal");
    reshard(&mut catalog, Change::Move { shard: child, home: 6 }, [2, 0]).expect("legal");
    assert_eq!(catalog.homes().collect::<Vec<_>>(), [(first, 1), (made.first_child, 5), (child, 6)]);
    let closed = catalog.plan_reshard(NAME, Change::Move { shard: first, home: 0 });
    assert_eq!(closed, Err(ReshardError::Closed(first)));
    reshard(&mut catalog, Change::Merge { shard: made.first_child, adjacent: child }, [4, 5]).expect("legal");
}

/// Where damage took *intend*, or what made the shard, what is left counts as far as it can.
#[test]
fn a_move_needs_its_shard_alone() {
    let mut catalog = with_stream(2);
    let stream = of(&catalog).stream;
    let moved = |shard| {
        let resharding = Resharding { stream, first_child: shard, change: Change::Move { shard, home: 1 } };
        Command::Reshard(resharding, Completion { created_ms: 7, ends: [Sequence(9), Sequence(0)] })
    };
    let (first, unknown) = (of(&catalog).first_shard, ShardId(70));
    catalog.apply(&moved(first)).expect("follows");
    catalog.apply(&moved(unknown)).expect("nothing follows from it");
    check(&catalog);
    assert_eq!(catalog.homes().collect::<Vec<_>>(), [(first, 1)]);
    assert_eq!(catalog.shard_count(), 71, "its number is given all the same");
}

#[test]
fn what_may_not_be_is_told_apart() {
    let mut catalog = with_stream(4);
    let first = of(&catalog).first_shard.0;
    let shard = |at: u32| ShardId(first + at);
    let range = of(&catalog).find(shard(1)).expect("made");
    let error = |catalog: &Catalog, change| catalog.plan_reshard(NAME, change).expect_err("illegal");
    let split = |shard, at| Change::Split { shard, at };
    let bounds = ReshardError::HashKey { start: range.hash_start, end: range.hash_end };
    for at in [0, range.hash_start, range.hash_end + 1, u128::MAX] {
        assert_eq!(error(&catalog, split(shard(1), at)), bounds, "{at}");
    }
    assert_eq!(error(&catalog, split(shard(9), 1)), ReshardError::UnknownShard(shard(9)));
    assert_eq!(error(&catalog, split(ShardId(1), 1)), ReshardError::UnknownShard(ShardId(1)), "another stream's");
    assert_eq!(error(&catalog, split(ShardId::CATALOG, 1)), ReshardError::UnknownShard(ShardId::CATALOG));
    for (one, two) in [(0, 2), (1, 1), (0, 3), (3, 1)] {
        let merge = Change::Merge { shard: shard(one), adjacent: shard(two) };
        assert_eq!(error(&catalog, merge), ReshardError::NotNeighbours, "{one} and {two}");
    }
    let none = catalog.plan_reshard("nowhere", split(shard(0), 7)).expect_err("there is none");
    assert_eq!(none, ReshardError::UnknownStream);
    reshard(&mut catalog, split(shard(1), range.hash_end), [1, 0]).expect("the last key is a range of its own");
    assert_eq!(error(&catalog, split(shard(1), range.hash_end)), ReshardError::Closed(shard(1)));
    let merge = Change::Merge { shard: shard(0), adjacent: shard(1) };
    assert_eq!(error(&catalog, merge), ReshardError::Closed(shard(1)));
}

#[test]
fn a_stream_has_so_many_shards_and_no_more() {
    let catalog = with_stream(SHARDS_PER_STREAM_MAX as u32);
    let stream = of(&catalog);
    let first = stream.find(stream.first_shard).expect("made");
    let split = Change::Split { shard: first.shard, at: first.hash_end };
    assert_eq!(catalog.plan_reshard(NAME, split), Err(ReshardError::Full));
    let merge = Change::Merge { shard: first.shard, adjacent: ShardId(first.shard.0 + 1) };
    assert!(catalog.plan_reshard(NAME, merge).is_ok(), "one less");
    // So many at once, and no more.
    let mut catalog = with_stream(200);
    let first = of(&catalog).first_shard.0;
    for at in 0..=RESHARDINGS_PER_STREAM_MAX as u32 {
        let shard = of(&catalog).find(ShardId(first + at)).expect("made");
        let planned = catalog.plan_reshard(NAME, Change::Split { shard: shard.shard, at: shard.hash_end });
        match planned {
            Ok(command) if at < RESHARDINGS_PER_STREAM_MAX as u32 => catalog.apply(&command).expect("follows"),
            planned => assert_eq!(planned, Err(ReshardError::Busy), "number {at}"),
        }
    }
}

/// Where damage took commands, what follows from them changes nothing, and what stands by itself counts.
#[test]
fn what_damage_took_is_not_needed() {
    let whole = {
        let mut catalog = with_stream(1);
        let shard = of(&catalog).first_shard;
        reshard(&mut catalog, Change::Split { shard, at: 1 << 90 }, [8, 0]).expect("legal");
        catalog
    };
    let commands: Vec<(Resharding, Option<Completion>)> = of(&whole).reshardings().collect();
    let [(resharding, Some(completion))] = commands[..] else { panic!("{commands:?}") };
    let mut without_intent = with_stream(1);
    without_intent.apply(&Command::Reshard(resharding, completion)).expect("it says all");
    assert_eq!(without_intent, whole);
    // Of a child that nobody knows.
    let mut without_both = with_stream(1);
    let orphan = Resharding {
        first_child: ShardId(resharding.first_child.0 + 2),
        change: Change::Split { shard: resharding.first_child, at: 7 },
        ..resharding
    };
    for command in [Command::Intend(orphan), Command::Reshard(orphan, completion)] {
        without_both.apply(&command).expect("nothing follows from it");
        check(&without_both);
        assert_eq!(of(&without_both), of(&with_stream(1)));
        assert_eq!(without_both.shard_count(), orphan.next_shard(), "its numbers are given all the same");
    }
    let past = Resharding { first_child: ShardId(u32::MAX), ..orphan };
    assert_eq!(without_both.apply(&Command::Intend(past)), None, "no data directory has so many");
}

#[test]
fn a_deleted_stream_takes_its_reshardings_along() {
    let mut catalog = with_stream(2);
    let shard = of(&catalog).first_shard;
    reshard(&mut catalog, Change::Split { shard, at: 7 }, [8, 0]).expect("legal");
    let command = catalog.plan_delete(NAME).expect("it is there");
    catalog.apply(&command).expect("follows");
    assert_eq!(catalog.snapshot().len(), catalog.snapshot_bytes());
    assert_eq!(Catalog::restore(&catalog.snapshot()), Some(catalog));
}

#[test]
fn half_a_command_is_none() {
    let change = Change::Merge { shard: ShardId(3), adjacent: ShardId(4) };
    let resharding = Resharding { stream: StreamId(1), first_child: ShardId(9), change };
    let completion = Completion { created_ms: 7, ends: [Sequence(1), Sequence(2)] };
    let change = Change::Move { shard: ShardId(9), home: 4 };
    let moved = Resharding { stream: StreamId(1), first_child: ShardId(9), change };
    for command in [
        Command::Intend(resharding),
        Command::Reshard(resharding, completion),
        Command::Intend(moved),
        Command::Reshard(moved, completion),
    ] {
        let bytes = command.encode();
        assert_eq!(Command::decode(&bytes), Some(command.clone()));
        for length in 0..bytes.len() {
            assert_eq!(Command::decode(&bytes[..length]), None, "{length} bytes of {}", bytes.len());
        }
        assert_eq!(Command::decode(&[&bytes[..], &[0]].concat()), None, "a byte too many");
    }
    let rows = Command::GoOn(Vec::new()).encode();
    assert_eq!(Command::decode(&rows), Some(Command::GoOn(Vec::<GoOn>::new())), "others are as they were");
}

/// Whatever is split and merged: checked after each step. The numbers follow from a seed.
#[test]
fn any_history_is_whole() {
    for seed in 1..=40_u128 {
        let mut state = seed;
        let mut draw = || {
            state = state.wrapping_mul(0x2360_ed05_1fc6_5da4_4385_df64_9fcc_f645).wrapping_add(1);
            state ^ state >> 67
        };
        let mut catalog = with_stream(draw() as u32 % 4 + 1);
        for step in 0..25 {
            let mut open: Vec<StreamShard> = of(&catalog).shards().filter(|shard| shard.closed.is_none()).collect();
            open.sort_by_key(|shard| shard.hash_start);
            let which = draw() as usize % open.len();
            let (one, two) = (open[which], open[(which + 1) % open.len()]);
            let (shard, width) = (one.shard, one.hash_end - one.hash_start);
            let is_split = width > 0 && draw() % 2 == 0;
            let is_move = draw() % 4 == 0;
            let change = if is_move {
                Change::Move { shard, home: draw() as u32 % 8 }
            } else if is_split {
                Change::Split { shard, at: one.hash_start + 1 + draw() % width }
            } else {
                Change::Merge { shard, adjacent: two.shard }
            };
            let meet = |low: StreamShard, high: StreamShard| low.hash_end.checked_add(1) == Some(high.hash_start);
            let is_legal = is_move || is_split || meet(one, two) || meet(two, one);
            assert_eq!(reshard(&mut catalog, change, [4, 5]).is_ok(), is_legal, "seed {seed}, step {step}: {change:?}");
        }
    }
}
