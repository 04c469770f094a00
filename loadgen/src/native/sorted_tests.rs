//! Records by owners: all that are drawn, each to its owner, in batches that are full, and never one owner far ahead.

use std::collections::HashMap;

use frame::proto::{Credit, Reactors, Welcome};
use frame::route::{even_range, hash_key};
use frame::{Sequence, ShardId};

use super::*;
use crate::native::Shard;
use crate::workload::Recipe;

fn limits(records: u32) -> BatchLimits {
    let credit = Credit { bytes: 32 << 20, batches: 64 };
    BatchLimits::new(
        records,
        &Welcome {
            version: 1,
            reactors: Reactors::default(),
            features: 0,
            epoch: 1,
            append_bytes_max: 16 << 20,
            append_records_max: 1000,
            credit,
        },
    )
}

/// Streams of four shards, the last of which has an owner of its own.
fn keys(streams: u32) -> Vec<Keys> {
    let reactors = Reactors { own: 0, count: 2, first_port: 7000 };
    let target = Target { reactors, ..Target::new(([127, 0, 0, 1], 7000).into()) };
    let shard = |at: u32| Shard {
        id: ShardId(at),
        oldest: Sequence(1),
        first: Sequence(1),
        tip: Sequence(1),
        reactor: at / 3,
        keys: Some(even_range(at as usize, 4)),
    };
    let stream = |id| Stream { id: StreamId(id), shards: (0..4).map(shard).collect() };
    (0..streams).map(|id| Keys::of(&stream(id), &target)).collect()
}

fn part(stream: usize, owner: usize) -> Part {
    Part { id: StreamId(stream as u32), stream, owner }
}

fn sorted(choice: &str, streams: u32) -> Sorted {
    let recipe = Recipe::new("uniform:0..900".parse().unwrap(), choice.parse().unwrap(), 7);
    Sorted::new(recipe.lane(0), keys(streams))
}

/// The owner that the ranges of hash keys name.
fn owner_of(drawn: &Drawn) -> usize {
    usize::from(hash_key(&drawn.key) >= even_range(3, 4).0)
}

#[test]
fn batches_are_of_one_owner_and_leave_in_the_order_in_which_they_fill() {
    let (mut sorted, mut lane) = (sorted("zipf:100,1.1", 1), sorted("zipf:100,1.1", 1).lane);
    let (mut counts, mut records) = ([0_u64; 2], HashMap::new());
    for _ in 0..2000 {
        let (stream, owner, batch) = sorted.next(limits(50));
        assert_eq!((stream, batch.stream, batch.records.len()), (0, StreamId(0), 50));
        assert!(batch.records.iter().all(|drawn| owner_of(drawn) == owner));
        counts[owner] += 50;
        batch.records.iter().for_each(|drawn| *records.entry(drawn.key).or_insert(0_i64) += 1);
    }
    // As often as the keys alone say, but for less than a batch of each owner, and those drawn ahead.
    let mut expected = [0_u64; 2];
    for _ in 0..100_000 {
        let drawn = lane.draw();
        expected[owner_of(&drawn)] += 1;
        *records.entry(drawn.key).or_insert(0) -= 1;
    }
    assert!(counts[0].abs_diff(expected[0]) < 100 && counts[1].abs_diff(expected[1]) < 100, "{counts:?} {expected:?}");
    assert!(records.values().all(|off| off.abs() < 100), "{records:?}");
}

#[test]
fn an_owner_that_does_not_take_its_share_holds_the_others_up() {
    let mut sorted = sorted("distinct", 1);
    let (slow, quick) = (Rc::new(Notify::new()), Rc::new(Notify::new()));
    let (mut taken, mut next) = (0, 0);
    let waiter = |number, wake| Waiter { number, wake };
    while let Some(batch) = sorted.take(&[part(0, 0)], &mut next, limits(10), waiter(0, &quick)) {
        assert!(batch.records.iter().all(|drawn| owner_of(drawn) == 0));
        taken += 1;
    }
    // A quarter is the other's: 80 that wait for it, a batch at most that was not full.
    assert!((18..35).contains(&taken), "{taken}");
    let is_woken = || tokio_uring::start(async { tokio::time::timeout(MS, quick.notified()).await.is_ok() });
    for batch in 0..4 {
        assert!(!is_woken(), "after {batch}");
        sorted.take(&[part(0, 1)], &mut next, limits(10), waiter(1, &slow)).unwrap();
    }
    // Half of what held it up is gone with the last record of the fifth.
    sorted.take(&[part(0, 1)], &mut next, limits(10), waiter(1, &slow)).unwrap();
    assert!(is_woken());
    assert!(sorted.take(&[part(0, 0)], &mut next, limits(10), waiter(0, &quick)).is_some());
    // Nor does it where nobody is left to take it.
    while sorted.take(&[part(0, 0)], &mut next, limits(10), waiter(0, &quick)).is_some() {}
    sorted.close(part(0, 1));
    assert!(is_woken());
    for _ in 0..100 {
        sorted.take(&[part(0, 0)], &mut next, limits(10), waiter(0, &quick)).unwrap();
    }
}

const MS: std::time::Duration = std::time::Duration::from_millis(1);

#[test]
fn a_connection_that_is_held_up_in_one_stream_goes_on_in_another() {
    let mut sorted = sorted("distinct", 2);
    let wake = Rc::new(Notify::new());
    let parts = [part(0, 0), part(1, 0)];
    let mut next = 0;
    let waiter = Waiter { number: 0, wake: &wake };
    // Of the first stream nothing more is to be had for this owner.
    while sorted.take(&parts[..1], &mut 0, limits(10), waiter).is_some() {}
    let streams: Vec<StreamId> =
        (0..3).map(|_| sorted.take(&parts, &mut next, limits(10), waiter).unwrap().stream).collect();
    assert_eq!(streams, [StreamId(1); 3]);
    while sorted.take(&parts, &mut next, limits(10), waiter).is_some() {}
    // Whoever holds them up has something to take in both.
    let other = Waiter { number: 1, wake: &wake };
    let others = [part(0, 1), part(1, 1)];
    let streams: Vec<StreamId> =
        (0..4).map(|_| sorted.take(&others, &mut next, limits(10), other).unwrap().stream).collect();
    assert_eq!(streams.iter().filter(|stream| **stream == StreamId(0)).count(), 2, "in turn");
}

#[test]
fn large_records_fill_a_batch_by_their_bytes() {
    let recipe = Recipe::new("6MiB".parse().unwrap(), "distinct".parse().unwrap(), 7);
    let mut sorted = Sorted::new(recipe.lane(0), keys(1));
    for _ in 0..20 {
        let (_, _, batch) = sorted.next(limits(50));
        assert_eq!(batch.records.len(), 2, "a third one is beyond 16 MiB");
    }
}
