//! How old records were when they came: by their stamps, or by their arrival.

use std::time::{Duration, Instant};

use frame::parts;

use super::*;
use crate::native::{Consumers, Plan, Target};
use crate::verify::Shards;
use crate::workload::Recipe;

const SHARD: ShardId = ShardId(3);
const START_US: u64 = 1_800_000_000_000_000;
const MS: u64 = 1_000_000;

fn counts() -> Counts {
    let target = Target::new(([127, 0, 0, 1], 1).into());
    let consumers = Consumers::default();
    Counts::new(&Plan {
        target,
        producers: Vec::new(),
        warmup: Duration::ZERO,
        start_at: None,
        duration: None,
        cores: vec![0],
        seed: 1,
        is_shared: true,
        consumers,
    })
}

fn taker(timing: Timing) -> Taker {
    let clock = Clock { start: Instant::now(), start_us: START_US };
    Taker::new(None, timing, clock, Taken::new(Shards::new(vec![SHARD]), true))
}

/// A frame of this data that arrived so many milliseconds after the start.
fn frame(data: &[u8], number: u64, arrival_ms: i64) -> Vec<u8> {
    let mut bytes = Vec::new();
    parts::encode(&mut bytes, b"key", None, [data]).unwrap();
    frame::frame::stamp(&mut bytes, SHARD, Sequence(number), (START_US / 1000).wrapping_add_signed(arrival_ms));
    bytes
}

fn stamped(intended_ms: i64) -> Vec<u8> {
    let recipe = Recipe::new("40".parse().unwrap(), "distinct".parse().unwrap(), 1);
    let mut lane = recipe.lane(0);
    lane.intend(Some(START_US.wrapping_add_signed(1000 * intended_ms)));
    lane.record().data().concat()
}

#[test]
fn a_stamp_is_believed_where_its_time_lies_before_the_arrival() {
    let (mut taker, mut counts) = (taker(Timing::Age), counts());
    for (number, data, arrival_ms) in [
        // Meant for 10 ms after the start, arrived at 12.
        (1, stamped(10), 12),
        // Somebody else's data, which has no time.
        (2, vec![7; 40], 30),
        // Meant for long before.
        (3, stamped(-120_000), 35),
        // From before the run.
        (4, stamped(-20), -10),
    ] {
        let bytes = frame(&data, number, arrival_ms);
        assert_eq!(taker.take(SHARD, &bytes, 50 * MS, &mut counts), Ok(43));
    }
    taker.flush(50 * MS, &mut counts);
    let latency = counts.pushed.latency();
    assert_eq!((latency.len(), counts.by_arrival, counts.pushed.total().records), (3, 2, 4));
    let ages: Vec<u64> = latency.iter_recorded().map(|value| value.value_iterated_to() / MS).collect();
    assert_eq!(ages, [15, 20, 40]);
    assert_eq!((taker.taken.count(), taker.taken.faults().count()), (4, 0));
}

/// Bug, found on reading: where this host's clock was behind, records were told to have taken no time, without a word. Mechanism: an
/// age below 0 counted as 0. Fix: such records are counted, and the run is marked.
#[test]
fn what_comes_before_it_was_sent_is_counted() {
    let (mut taker, mut counts) = (taker(Timing::Age), counts());
    // Taken 50 ms after the start: by their stamps, and by when they arrived.
    for (number, data, arrival_ms) in
        [(1, stamped(60), 61), (2, stamped(70), 71), (3, vec![7; 40], 51), (4, stamped(49), 50), (5, vec![7; 40], 50)]
    {
        taker.take(SHARD, &frame(&data, number, arrival_ms), 50 * MS, &mut counts).unwrap();
    }
    taker.flush(50 * MS, &mut counts);
    assert_eq!((counts.before_sent, counts.by_arrival, counts.pushed.latency().len()), (3, 2, 5));
}

#[test]
fn who_reads_from_the_beginning_counts_what_was_there_apart() {
    let (mut taker, mut counts) = (taker(Timing::None).with_earlier([(SHARD, Sequence(2))].into_iter()), counts());
    for number in [1, 2, 3] {
        taker.take(SHARD, &frame(&[1; 20], number, 0), 0, &mut counts).unwrap();
    }
    taker.flush(0, &mut counts);
    assert_eq!((taker.taken.count(), taker.taken.count_foreign()), (2, 1));
    assert_eq!(counts.pushed.total().records, 0, "nothing is timed");
    let mut damaged = frame(&[1; 20], 4, 0);
    *damaged.last_mut().unwrap() ^= 1;
    assert!(taker.take(SHARD, &damaged, 0, &mut counts).is_ok());
    assert_eq!(taker.taken.faults().count(), 1);
}
