//! Streams through the native client's crate, against the real server: listed, changed, split, merged, moved, deleted, at any of
//! its reactors, also after a restart that nobody told of.

use std::num::NonZeroU32;

use ::client::{Client, ErrorCode, Fault, ProducerOptions, Quotas, RequestError, Retention, Sequence, ShardId};

use crate::native::{connect, options, start_at};
use crate::rig::{directory, run};

fn code(error: &RequestError) -> Option<ErrorCode> {
    match error {
        RequestError::Refused(failure) => Some(failure.code),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_are_listed_changed_and_deleted_at_any_reactor() {
    let directory = directory();
    let data = directory.path().join("data");
    let mut server = start_at(&data, 0);
    let port = server.address.port();
    let client = connect(&server).await;
    assert!(client.list_streams().await.unwrap().is_empty());
    // More than the server names at once.
    let names: Vec<String> = (0..230).map(|number| format!("s{number:03}")).collect();
    for name in &names {
        client.create_stream(name, 1, Quotas::NONE).await.unwrap();
    }
    assert_eq!(client.list_streams().await.unwrap(), names);

    let other = Client::connect(options(server.reactors[1])).await.unwrap();
    let quotas = Quotas { write_records: NonZeroU32::new(7), ..Quotas::NONE };
    assert_eq!(other.set_quotas("s000", quotas).await.unwrap().quotas, quotas);
    let retention = Retention { seconds: NonZeroU32::new(3600), ..Retention::NONE };
    assert_eq!(other.set_retention("s000", retention).await.unwrap().retention, retention);

    for (asked, name) in [(&client, "s001"), (&other, "s002")] {
        let producer = asked.producer(name, ProducerOptions::default()).await.unwrap();
        let shard = producer.append(b"k", b"d").await.unwrap().shard;
        let mut records = asked.subscribe(name, shard, Sequence(1)).await.unwrap();
        assert_eq!(records.next().await.unwrap().unwrap().data, b"d");
        asked.delete_stream(name).await.unwrap();
        // Gone for everybody when that returns, and for who reads it.
        for client in [&client, &other] {
            assert_eq!(code(&client.describe_stream(name).await.unwrap_err()), Some(ErrorCode::UnknownStream));
        }
        let error = records.next().await.unwrap_err();
        assert_eq!(error.fault(), Fault::Caller, "{error}");
        let error = asked.delete_stream(name).await.unwrap_err();
        assert_eq!((code(&error), error.fault()), (Some(ErrorCode::UnknownStream), Fault::Caller), "{error}");
    }
    assert_eq!(run(server.command(["streams", "delete", "s003"]), b"").good().text(), "s003: deleted\n");
    let refusal = run(server.command(["streams", "delete", "s003"]), b"").refusal();
    assert!(refusal.contains("there is no stream s003"), "{refusal}");

    // Still so after a restart, of which the clients find out when they ask, also for what is asked for once.
    server.kill();
    server = start_at(&data, port);
    client.delete_stream("s004").await.unwrap();
    assert_eq!(client.list_streams().await.unwrap(), [&names[..1], &names[5..]].concat());
    let made = client.create_stream("s001", 1, Quotas::NONE).await.unwrap();
    assert!(made.shards[0].tip == Sequence(1), "it is another stream");
    server.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shards_are_split_merged_and_moved() {
    let directory = directory();
    let data = directory.path().join("data");
    let mut server = start_at(&data, 0);
    let port = server.address.port();
    let client = connect(&server).await;
    client.create_stream("s", 2, Quotas::NONE).await.unwrap();
    server.kill();
    server = start_at(&data, port);
    // Shard 1 in 3 and 4; 4 and its neighbour 2 in 5.
    let stream = client.split_shard("s", ShardId(1), 1 << 126).await.unwrap();
    assert_eq!(stream.shards.len(), 4);
    assert_eq!((stream.shards[3].hash_start, stream.shards[3].parent), (1 << 126, Some(ShardId(1))));
    let error = client.split_shard("s", ShardId(1), 1 << 126).await.unwrap_err();
    assert_eq!(error.fault(), Fault::Caller, "{error}");
    let stream = client.merge_shards("s", ShardId(4), ShardId(2)).await.unwrap();
    let merged = &stream.shards[4];
    assert!(merged.parents().eq([ShardId(4), ShardId(2)]), "{merged:?}");
    let other = 1 - merged.reactor;
    let stream = client.move_shard("s", ShardId(5), other).await.unwrap();
    assert_eq!(stream.shards[4].reactor, other);
    assert_eq!(client.describe_stream("s").await.unwrap().shards.len(), 5);
    server.stop();
}
