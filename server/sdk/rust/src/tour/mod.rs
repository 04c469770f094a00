//! What the SDK does with a server: 10,000 records are put, read back and compared; what is not there is asked for; records are
//! pushed. Each behaviour is printed once it was shown, by what the API's reference says of the operations that its name
//! has; five reads a second are in "Quotas and limits" of the developer guide.

mod subscribing;

use std::collections::HashMap;
use std::error::Error;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::{BehaviorVersion, Credentials, Region, SharedHttpClient};
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{PutRecordsRequestEntry, Shard, ShardIteratorType};

const STREAM: &str = "rust-records";
const SHARDS: i32 = 3;
const RECORDS: usize = 10_000;

pub(crate) type Outcome<T> = Result<T, Box<dyn Error>>;

/// A client with connections of its own.
pub(crate) fn client(endpoint: &str, (id, secret): (&str, &str), http: SharedHttpClient) -> Client {
    let config = aws_sdk_kinesis::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new(id, secret, None, None, "given"))
        .http_client(http)
        .endpoint_url(endpoint)
        .build();
    Client::from_conf(config)
}

/// All of it, against a server that has none of its streams.
pub(crate) async fn all(client: &Client) -> Outcome<()> {
    client.create_stream().stream_name(STREAM).shard_count(SHARDS).send().await?;
    let places = put(client).await?;
    read_all(client, Some(&places)).await?;
    ask_for_what_is_not_there(client).await?;
    subscribing::check(client).await
}

/// What [`all`] put, after the server was started again.
pub(crate) async fn again(client: &Client) -> Outcome<()> {
    read_all(client, None).await?;
    println!("rust: after kill -9 every record is there");
    Ok(())
}

fn data_of(number: usize) -> Vec<u8> {
    (0..1 + number % 1000).map(|at| (number * 31 + at * 7) as u8).collect()
}

fn key_of(number: usize) -> String {
    format!("key-{number}")
}

/// Puts all records; where each is.
async fn put(client: &Client) -> Outcome<HashMap<usize, (String, String)>> {
    let mut places = HashMap::new();
    for first in (0..RECORDS).step_by(500) {
        let numbers = first..(first + 500).min(RECORDS);
        let entries = numbers.clone().map(|number| {
            PutRecordsRequestEntry::builder().data(Blob::new(data_of(number))).partition_key(key_of(number)).build()
        });
        let entries = entries.collect::<Result<Vec<_>, _>>()?;
        let answer = client.put_records().stream_name(STREAM).set_records(Some(entries)).send().await?;
        assert_eq!((answer.failed_record_count(), answer.records().len()), (Some(0), numbers.len()));
        for (number, record) in numbers.zip(answer.records()) {
            let (shard, sequence) = (record.shard_id().unwrap(), record.sequence_number().unwrap());
            places.insert(number, (shard.to_owned(), sequence.to_owned()));
        }
    }
    let answer = client.put_record().stream_name(STREAM).data(Blob::new(b"last")).partition_key("last").send().await?;
    assert_eq!(answer.sequence_number().len(), 56);
    println!("rust: PutRecords answers entry for entry, PutRecord with where the record is");
    Ok(places)
}

/// Reads every shard from its horizon: each record once, in order, unchanged, where it was said to be.
async fn read_all(client: &Client, places: Option<&HashMap<usize, (String, String)>>) -> Outcome<()> {
    let shards = client.list_shards().stream_name(STREAM).send().await?;
    assert_eq!(shards.shards().len(), SHARDS as usize);
    let mut seen = vec![false; RECORDS];
    let mut last_seen = false;
    for shard in shards.shards() {
        let mut before = shard.sequence_number_range().unwrap().starting_sequence_number().to_owned();
        for (sequence, key, data) in read(client, shard).await? {
            assert!(sequence > before, "{sequence} does not follow {before}");
            before = sequence.clone();
            if key == "last" {
                last_seen = true;
                continue;
            }
            let number: usize = key.strip_prefix("key-").ok_or("a strange key")?.parse()?;
            assert_eq!(data, data_of(number), "record {number}");
            assert!(!std::mem::replace(&mut seen[number], true), "record {number} came twice");
            if let Some(places) = places {
                assert_eq!(places[&number], (shard.shard_id().to_owned(), sequence), "record {number}");
            }
        }
    }
    assert!(last_seen && seen.iter().all(|seen| *seen), "records are missing");
    println!("rust: GetRecords gives each record once, unchanged, in order; an open shard's iterator goes on");
    Ok(())
}

async fn read(client: &Client, shard: &Shard) -> Outcome<Vec<(String, String, Vec<u8>)>> {
    let iterator = client
        .get_shard_iterator()
        .stream_name(STREAM)
        .shard_id(shard.shard_id())
        .shard_iterator_type(ShardIteratorType::TrimHorizon)
        .send()
        .await?;
    let (mut iterator, mut found) = (iterator.shard_iterator().map(str::to_owned), Vec::new());
    loop {
        let answer = client.get_records().set_shard_iterator(iterator).send().await?;
        for record in answer.records() {
            let data = record.data().clone().into_inner();
            found.push((
                record.sequence_number().to_owned(),
                record.partition_key().unwrap_or_default().to_owned(),
                data,
            ));
        }
        iterator = Some(answer.next_shard_iterator().ok_or("an open shard's iterator goes on")?.to_owned());
        if answer.millis_behind_latest() == Some(0) {
            return Ok(found);
        }
    }
}

/// Twenty reads in a row of a shard that answers five a second: the SDK's own retries carry it through.
pub(crate) async fn beyond_limits(client: &Client) -> Outcome<()> {
    let stream = "rust-limited";
    client.create_stream().stream_name(stream).shard_count(1).send().await?;
    client.put_record().stream_name(stream).data(Blob::new(b"x")).partition_key("k").send().await?;
    let iterator = client.get_shard_iterator().stream_name(stream).shard_id("shardId-000000000000");
    let iterator = iterator.shard_iterator_type(ShardIteratorType::TrimHorizon).send().await?;
    let begun = std::time::Instant::now();
    for _ in 0..20 {
        let answer = client.get_records().set_shard_iterator(iterator.shard_iterator.clone()).send().await;
        match answer {
            Ok(answer) => assert_eq!(answer.records().len(), 1),
            // Its retries were used up: a caller waits and goes on.
            Err(error) => {
                let error = error.into_service_error();
                assert!(error.is_provisioned_throughput_exceeded_exception(), "{error:?}");
                tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            }
        }
    }
    assert!(begun.elapsed().as_secs() >= 1, "twenty reads took {:?}", begun.elapsed());
    println!("rust: a shard answers five reads a second, and the SDK's own retries carry on");
    Ok(())
}

async fn ask_for_what_is_not_there(client: &Client) -> Outcome<()> {
    let refusal = client.describe_stream_summary().stream_name("nowhere").send().await;
    assert!(refusal.unwrap_err().into_service_error().is_resource_not_found_exception());
    let refusal = client.create_stream().stream_name(STREAM).shard_count(SHARDS).send().await;
    assert!(refusal.unwrap_err().into_service_error().is_resource_in_use_exception());
    let refusal = client.get_records().shard_iterator("AAAAAAAAAAE=").send().await;
    assert!(refusal.unwrap_err().into_service_error().is_invalid_argument_exception());
    client.create_stream().stream_name("rust-short-lived").shard_count(1).send().await?;
    client.delete_stream().stream_name("rust-short-lived").send().await?;
    let names = client.list_streams().send().await?;
    assert!(names.stream_names().iter().any(|name| name == STREAM));
    assert!(!names.stream_names().iter().any(|name| name == "rust-short-lived"));
    println!("rust: errors come by type, and ListStreams has no stream that was deleted");
    Ok(())
}
