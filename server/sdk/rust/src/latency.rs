//! How long a record takes from put to received: an open loop of PutRecords, and consumers that are pushed what was put, all in
//! this process and by one clock. Each has a client of its own, and with it a connection, as producers and consumers have that are
//! programs of their own. Each record is received once by each consumer; requests that are under way at once may overtake each
//! other.

use std::collections::HashSet;
use std::thread;
use std::time::{Duration, Instant};

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{PutRecordsRequestEntry, ShardIteratorType, StartingPosition};
use tokio::spawn;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::tour::Outcome;

const STREAM: &str = "rust-latency";
const SHARD: &str = "shardId-000000000000";

/// 1 MB/s: ten records of 1,000 bytes with their keys, a hundred times a second.
const RECORDS: u64 = 10;
const RECORD_BYTES: usize = 1000;
const EVERY: Duration = Duration::from_millis(10);

/// What is put in this time is not counted.
const WARM_UP: Duration = Duration::from_secs(1);

/// How long the last records may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Puts for so many seconds beside so many consumers, and prints what they saw as JSON.
pub(crate) async fn measure(new: impl Fn() -> Outcome<Client>, consumers: usize, seconds: f64) -> Outcome<()> {
    let client = new()?;
    client.create_stream().stream_name(STREAM).shard_count(1).send().await?;
    let described = client.describe_stream_summary().stream_name(STREAM).send().await?;
    let arn = described.stream_description_summary().ok_or("no summary")?.stream_arn().to_owned();
    let batches = ((WARM_UP.as_secs_f64() + seconds) / EVERY.as_secs_f64()) as u64;
    let begun = Instant::now();
    let mut receiving = Vec::new();
    for number in 0..consumers {
        let registered = client
            .register_stream_consumer()
            .stream_arn(&arn)
            .consumer_name(format!("consumer-{number}"))
            .send()
            .await?;
        let consumer = registered.consumer().ok_or("no consumer")?.consumer_arn();
        let latest = StartingPosition::builder().r#type(ShardIteratorType::Latest).build()?;
        let client = new()?;
        let call = client.subscribe_to_shard().consumer_arn(consumer).shard_id(SHARD).starting_position(latest);
        let mut events = call.send().await?.event_stream;
        receiving.push(spawn(async move {
            let mut missing: HashSet<u64> = (0..batches * RECORDS).collect();
            let mut took = Vec::new();
            while !missing.is_empty() {
                let event = events.recv().await.expect("it goes on").expect("it does not end");
                let now = begun.elapsed();
                for record in event.as_subscribe_to_shard_event().expect("no other is known").records() {
                    let (number, due) = told(record.data().as_ref());
                    assert!(missing.remove(&number), "record {number} came twice, or was never put");
                    if number >= counted_from() {
                        took.push((now - due).as_micros() as u64);
                    }
                }
            }
            took
        }));
    }
    put(&client, begun, batches).await?;
    let mut seen = Vec::new();
    for one in receiving {
        seen.extend(timeout(PATIENCE, one).await.map_err(|_| "records are missing")??);
    }
    tell(consumers, seen);
    Ok(())
}

/// The first record after the warm-up.
fn counted_from() -> u64 {
    (WARM_UP.as_millis() / EVERY.as_millis()) as u64 * RECORDS
}

/// Puts each batch when it is due, whatever became of those before.
async fn put(client: &Client, begun: Instant, batches: u64) -> Outcome<()> {
    let mut putting = Vec::new();
    let mut due_batches = pace(batches);
    while let Some((batch, due)) = due_batches.recv().await {
        let entries = (0..RECORDS).map(|at| entry(batch * RECORDS + at, due - begun)).collect::<Result<Vec<_>, _>>()?;
        let client = client.clone();
        putting.push(spawn(async move {
            let answer = client.put_records().stream_name(STREAM).set_records(Some(entries)).send().await;
            assert_eq!(answer.expect("it is stored").failed_record_count(), Some(0));
        }));
    }
    for one in putting {
        one.await?;
    }
    Ok(())
}

/// Tells of each batch when it is due. A thread of its own: tokio's timers are up to two milliseconds late.
fn pace(batches: u64) -> mpsc::UnboundedReceiver<(u64, Instant)> {
    let (tell, due_batches) = mpsc::unbounded_channel();
    let start = Instant::now();
    thread::spawn(move || {
        for batch in 0..batches {
            let due = start + EVERY * batch as u32;
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if tell.send((batch, due)).is_err() {
                return;
            }
        }
    });
    due_batches
}

/// A record that tells its number and when it was due.
fn entry(number: u64, due: Duration) -> Result<PutRecordsRequestEntry, aws_sdk_kinesis::error::BuildError> {
    let key = format!("{number:016}");
    let mut data = vec![b'.'; RECORD_BYTES - key.len()];
    data[..8].copy_from_slice(&number.to_le_bytes());
    data[8..16].copy_from_slice(&(due.as_nanos() as u64).to_le_bytes());
    PutRecordsRequestEntry::builder().data(Blob::new(data)).partition_key(key).build()
}

fn told(data: &[u8]) -> (u64, Duration) {
    let word = |at: usize| u64::from_le_bytes(data[at..at + 8].try_into().expect("eight bytes"));
    (word(0), Duration::from_nanos(word(8)))
}

fn tell(consumers: usize, mut took_us: Vec<u64>) {
    took_us.sort_unstable();
    let at = |share: f64| took_us[((took_us.len() - 1) as f64 * share) as usize];
    println!(
        "{{\"consumers\":{consumers},\"received\":{},\"latency_us\":{{\"p50\":{},\"p99\":{},\"p99.9\":{},\"max\":{}}}}}",
        took_us.len(),
        at(0.5),
        at(0.99),
        at(0.999),
        at(1.0)
    );
}
