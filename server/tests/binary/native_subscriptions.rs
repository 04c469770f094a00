//! Subscriptions of the native client's crate against the real server: one that is slow beside one that is not.

use ::client::{ProducerOptions, Quotas, Sequence, ShardId};

use crate::admin::samples;
use crate::native::{connect, next, start_at};
use crate::rig::directory;

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
