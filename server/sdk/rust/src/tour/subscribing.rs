//! SubscribeToShard: what there is, what comes meanwhile, a sign of life, a takeover, and the end where a shard was split.
//! By the API's reference of SubscribeToShard and its event, which leaves open how often there is a sign of life.

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::operation::subscribe_to_shard::{SubscribeToShardError, SubscribeToShardOutput};
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{ShardIteratorType, StartingPosition, SubscribeToShardEvent};

use super::{Outcome, data_of, key_of};

const STREAM: &str = "rust-pushed";
const SHARD: &str = "shardId-000000000000";
const BEFORE: usize = 200;
const MEANWHILE: usize = 20;
const MIDDLE: u128 = 1 << 127;

/// One consumer, and the sequence numbers of what was put.
struct Tour<'a> {
    client: &'a Client,
    consumer: String,
    numbers: Vec<String>,
}

pub(crate) async fn check(client: &Client) -> Outcome<()> {
    client.create_stream().stream_name(STREAM).shard_count(1).send().await?;
    let described = client.describe_stream_summary().stream_name(STREAM).send().await?;
    let arn = described.stream_description_summary().ok_or("no summary")?.stream_arn();
    let registered = client.register_stream_consumer().stream_arn(arn).consumer_name("rust").send().await?;
    let consumer = registered.consumer().ok_or("no consumer")?.consumer_arn().to_owned();
    let mut tour = Tour { client, consumer, numbers: Vec::new() };
    tour.put(BEFORE).await?;
    let mut first = tour.subscribe(position(ShardIteratorType::TrimHorizon, None)).await?;
    tour.pushed_meanwhile(&mut first).await?;
    println!("rust: SubscribeToShard pushes what there is, then what is put meanwhile, in order");
    let latest = || position(ShardIteratorType::Latest, None);
    let refusal = tour.send(latest()).await.err().ok_or("a second subscription at once was not refused")?;
    assert!(refusal.is_resource_in_use_exception(), "{refusal:?}");
    println!("rust: SubscribeToShard within five seconds of another of the consumer is a ResourceInUseException");
    let event = next(&mut first).await?.ok_or("it ended")?;
    assert_eq!((event.records().len(), event.millis_behind_latest()), (0, 0));
    println!("rust: SubscribeToShard says something every five seconds, where to go on among it");
    let from = position(ShardIteratorType::AfterSequenceNumber, Some(event.continuation_sequence_number().to_owned()));
    let mut second = tour.subscribe(from).await?;
    let taken = loop {
        match first.event_stream.recv().await {
            Ok(Some(_)) => {}
            Ok(None) => return Err("the subscription that was taken over ended without an error".into()),
            Err(error) => break error.into_service_error(),
        }
    };
    assert!(taken.is_resource_in_use_exception(), "{taken:?}");
    println!("rust: SubscribeToShard after five seconds takes over; the one before fails with ResourceInUseException");
    tour.ended_by_split(&mut second).await?;
    println!("rust: SubscribeToShard ends where the shard was split: ChildShards, and no ContinuationSequenceNumber");
    Ok(())
}

fn position(kind: ShardIteratorType, number: Option<String>) -> StartingPosition {
    StartingPosition::builder().r#type(kind).set_sequence_number(number).build().expect("it has a type")
}

async fn next(subscription: &mut SubscribeToShardOutput) -> Outcome<Option<SubscribeToShardEvent>> {
    let event = subscription.event_stream.recv().await?;
    Ok(event.map(|event| event.as_subscribe_to_shard_event().expect("no other is known").clone()))
}

impl Tour<'_> {
    async fn put(&mut self, count: usize) -> Outcome<()> {
        for number in self.numbers.len()..self.numbers.len() + count {
            let put = self.client.put_record().stream_name(STREAM).data(Blob::new(data_of(number)));
            self.numbers.push(put.partition_key(key_of(number)).send().await?.sequence_number().to_owned());
        }
        Ok(())
    }

    async fn send(&self, from: StartingPosition) -> Result<SubscribeToShardOutput, SubscribeToShardError> {
        let call = self.client.subscribe_to_shard().consumer_arn(&self.consumer).shard_id(SHARD);
        call.starting_position(from).send().await.map_err(|error| error.into_service_error())
    }

    async fn subscribe(&self, from: StartingPosition) -> Outcome<SubscribeToShardOutput> {
        Ok(self.send(from).await?)
    }

    /// That the event's records are those from `at` on; the number after them.
    fn same(&self, event: &SubscribeToShardEvent, at: usize) -> usize {
        for (number, record) in (at..).zip(event.records()) {
            assert_eq!(Some(record.sequence_number()), self.numbers.get(number).map(String::as_str), "record {number}");
            assert_eq!(record.partition_key(), Some(key_of(number).as_str()), "record {number}");
            assert_eq!(record.data().as_ref(), data_of(number), "record {number}");
        }
        at + event.records().len()
    }

    async fn pushed_meanwhile(&mut self, subscription: &mut SubscribeToShardOutput) -> Outcome<()> {
        let mut at = 0;
        while at < BEFORE + MEANWHILE {
            let event = next(subscription).await?.ok_or("it ended")?;
            at = self.same(&event, at);
            if at == BEFORE && self.numbers.len() == BEFORE {
                self.put(MEANWHILE).await?;
            }
        }
        Ok(())
    }

    async fn ended_by_split(&mut self, subscription: &mut SubscribeToShardOutput) -> Outcome<()> {
        let mut at = self.numbers.len();
        self.put(MEANWHILE).await?;
        let split = self.client.split_shard().stream_name(STREAM).shard_to_split(SHARD);
        split.new_starting_hash_key(MIDDLE.to_string()).send().await?;
        let mut last = None;
        while let Some(event) = next(subscription).await? {
            assert!(last.is_none(), "something follows the end");
            at = self.same(&event, at);
            // The SDK makes an empty text of a number that is not there.
            let ended = event.continuation_sequence_number().is_empty();
            assert_eq!(ended, event.child_shards.is_some(), "{event:?}");
            last = event.child_shards;
        }
        assert_eq!(at, self.numbers.len());
        let children = last.ok_or("it ended without children")?;
        let spans = children.iter().map(|child| {
            assert_eq!(child.parent_shards(), [SHARD]);
            let span = child.hash_key_range().expect("a shard has a range");
            (span.starting_hash_key().to_owned(), span.ending_hash_key().to_owned())
        });
        let expected = [(0, MIDDLE - 1), (MIDDLE, u128::MAX)].map(|(from, to)| (from.to_string(), to.to_string()));
        assert_eq!(spans.collect::<Vec<_>>(), expected);
        Ok(())
    }
}
