//! Subscriptions of the native client's crate against the real server: one that is slow beside one that is not, and whole streams
//! through splits and merges.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ::client::{
    Fault, Producer, ProducerOptions, Quotas, Record, Sequence, ShardId, Start, StreamDescription, StreamStart,
    StreamSubscription,
};
use tokio::time::{Instant, timeout};

use crate::admin::samples;
use crate::native::{KEYS, connect, give, key_of, next, start_at};
use crate::rig::{PATIENCE, directory};

/// What lies with a subscriber that takes nothing is what it granted; nothing of the rest is lost, and others don't wait for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_subscriber_is_pushed_what_it_granted_and_hinders_nobody() {
    const RECORDS: u64 = 3000;
    const DATA_BYTES: usize = 16 << 10;
    /// What the crate grants a shard.
    const CREDIT_BYTES: u64 = 1 << 20;
    let directory = directory();
    let server = start_at(&directory.path().join("data"), 0);
    let client = connect(&server).await;
    client.create_stream("wide", 1, Quotas::NONE).await.unwrap();
    let producer = client.producer("wide", ProducerOptions::named("n")).await.unwrap();
    let data_of = |number: u64| [&number.to_le_bytes()[..], &vec![number as u8; DATA_BYTES]].concat();
    producer.append(b"k", &data_of(1)).await.unwrap();
    let mut slow = client.subscribe("wide", ShardId(1), Sequence(1)).await.unwrap();
    let mut quick = client.subscribe("wide", ShardId(1), Sequence(1)).await.unwrap();
    for subscription in [&mut slow, &mut quick] {
        assert_eq!(next(subscription).await.unwrap().data, data_of(1));
    }
    let reading = tokio::spawn(async move {
        for number in 2..=RECORDS {
            let record = next(&mut quick).await.unwrap();
            assert!(record.sequence == Sequence(number) && record.data == data_of(number), "{number}");
        }
        quick
    });
    for number in 2..=RECORDS {
        drop(producer.send(b"k", &data_of(number)).await.unwrap());
    }
    producer.close().await.unwrap();
    let _quick = reading.await.unwrap();
    // The quick one is not behind. What the slow one is not behind by was pushed, and lies with it.
    let lags = samples(&server).into_iter().filter(|(name, _)| name.starts_with("millstream_subscriber_lag_records{"));
    let behind: Vec<u64> = lags.map(|(_, records)| records as u64).filter(|records| *records > 0).collect();
    assert_eq!(behind.len(), 1, "{behind:?}");
    let pushed = RECORDS - behind[0];
    assert!(pushed <= CREDIT_BYTES / DATA_BYTES as u64 + 2, "{pushed} records were pushed, and nobody took them");
    for number in 2..=RECORDS {
        let record = next(&mut slow).await.unwrap();
        assert!(record.sequence == Sequence(number) && record.data == data_of(number), "{number}");
    }
    server.stop();
}

/// Bug, found on reading: a record that was acknowledged after `subscribe` from the latest on was never told, where it was stored
/// before the first `next`. Mechanism: the server was told `Latest` on the first `next` alone, and again after each connection that was
/// lost before anything came. Fix: it begins at the tip that the shard had when it was subscribed to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_latest_is_what_comes_after_the_subscription() {
    let directory = directory();
    let data = directory.path().join("data");
    let mut server = start_at(&data, 0);
    let port = server.address.port();
    let client = connect(&server).await;
    // A shard of either reactor.
    client.create_stream("latest", 2, Quotas::NONE).await.unwrap();
    let producer = client.producer("latest", ProducerOptions::named("n")).await.unwrap();
    append(&producer, 0..100).await;
    let mut subscriptions = Vec::new();
    for shard in [ShardId(1), ShardId(2)] {
        subscriptions.push(client.subscribe("latest", shard, Start::Latest).await.unwrap());
    }
    append(&producer, 100..200).await;
    server.kill();
    server = start_at(&data, port);
    let mut told = Vec::new();
    for subscription in &mut subscriptions {
        let first = next(subscription).await.unwrap();
        told.push(number_of(&first));
        let mut before = first.sequence;
        while let Ok(record) = timeout(Duration::from_millis(500), subscription.next()).await {
            let record = record.unwrap().unwrap();
            assert!(record.sequence > before);
            (before, told) = (record.sequence, [told, vec![number_of(&record)]].concat());
        }
    }
    told.sort_unstable();
    assert!(told.into_iter().eq(100..200));
    server.stop();
}

/// The next records, by calls that are dropped again and again before anything came.
async fn take(subscription: &mut StreamSubscription, count: usize) -> Vec<Record> {
    let began = Instant::now();
    let mut taken = Vec::new();
    while taken.len() < count {
        assert!(began.elapsed() < PATIENCE, "{} of {count} came", taken.len());
        if let Ok(record) = timeout(Duration::from_millis(5), subscription.next()).await {
            taken.push(record.unwrap().expect("the stream has open shards"));
        }
    }
    taken
}

fn number_of(record: &Record) -> usize {
    std::str::from_utf8(&record.data).unwrap().split(' ').next().unwrap().parse().unwrap()
}

/// All of these numbers came, each once, those of each key in order, and nothing of a shard before the last of its parents.
fn check(records: &[Record], numbers: std::ops::Range<usize>, stream: &StreamDescription) {
    let mut found: BTreeMap<&[u8], Vec<usize>> = BTreeMap::new();
    for record in records {
        found.entry(&record.key).or_default().push(number_of(record));
    }
    for key in numbers.clone().take(KEYS) {
        let expected: Vec<usize> = (key..numbers.end).step_by(KEYS).collect();
        assert!(found[key_of(key).as_bytes()] == expected, "key {key}: {:?}", found[key_of(key).as_bytes()]);
    }
    assert_eq!(records.len(), numbers.len());
    for shard in &stream.shards {
        let first = records.iter().position(|record| record.shard == shard.shard).unwrap_or(usize::MAX);
        for parent in shard.parents() {
            let last = records.iter().rposition(|record| record.shard == parent);
            assert!(last.is_none_or(|last| last < first), "shard {} before the end of {parent}", shard.shard);
        }
    }
}

async fn append(producer: &Producer, numbers: std::ops::Range<usize>) {
    give(producer, numbers).await;
    producer.flush().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_whole_stream_no_shard_comes_before_its_parents() {
    const STEP: usize = 2000;
    let directory = directory();
    let data = directory.path().join("data");
    let mut server = start_at(&data, 0);
    let port = server.address.port();
    let client = connect(&server).await;
    client.create_stream("whole", 2, Quotas::NONE).await.unwrap();
    let producer = client.producer("whole", ProducerOptions::named("n")).await.unwrap();
    let mut followed = client.subscribe_stream("whole", StreamStart::Oldest).await.unwrap();
    let mut records = Vec::new();
    append(&producer, 0..STEP).await;
    // Some are taken, and the rest is on its way or behind when shards are closed.
    records.extend(take(&mut followed, STEP / 2).await);
    // Shard 1 in 3 and 4; 4 and its neighbour 2 in 5.
    client.split_shard("whole", ShardId(1), 1 << 126).await.unwrap();
    append(&producer, STEP..2 * STEP).await;
    client.merge_shards("whole", ShardId(4), ShardId(2)).await.unwrap();
    append(&producer, 2 * STEP..3 * STEP).await;
    records.extend(take(&mut followed, 2 * STEP).await);
    server.kill();
    server = start_at(&data, port);
    let middle = client.describe_stream("whole").await.unwrap().shards[4].hash_start + (1 << 126);
    client.split_shard("whole", ShardId(5), middle).await.unwrap();
    let mut latest = client.subscribe_stream("whole", StreamStart::Latest).await.unwrap();
    append(&producer, 3 * STEP..4 * STEP).await;
    records.extend(take(&mut followed, STEP + STEP / 2).await);
    // One record more, so that it is seen if anything came that is older.
    append(&producer, 4 * STEP..4 * STEP + 1).await;
    let mut newest = take(&mut latest, STEP + 1).await;
    newest.sort_by_key(number_of);
    assert!(newest.iter().map(number_of).eq(3 * STEP..4 * STEP + 1));
    let stream = client.describe_stream("whole").await.unwrap();
    assert_eq!(stream.shards.len(), 7);
    let used: BTreeSet<ShardId> = records.iter().map(|record| record.shard).collect();
    assert_eq!(used.len(), 7, "each shard has some");
    records.extend(take(&mut followed, 1).await);
    check(&records, 0..4 * STEP + 1, &stream);

    // All that is closed by now is there at once, and so is what a time is given for that lies before.
    let since = StreamStart::Since(stream.created_ms - 1000);
    for start in [StreamStart::Oldest, since] {
        let mut from_there = client.subscribe_stream("whole", start).await.unwrap();
        check(&take(&mut from_there, 4 * STEP + 1).await, 0..4 * STEP + 1, &stream);
    }
    client.delete_stream("whole").await.unwrap();
    for _ in 0..3 {
        let error = timeout(PATIENCE, followed.next()).await.unwrap().unwrap_err();
        assert_eq!(error.fault(), Fault::Caller, "{error}");
    }
    assert_eq!(timeout(PATIENCE, followed.next()).await.unwrap().unwrap(), None, "each open shard has told");
    server.stop();
}
