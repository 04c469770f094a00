//! Consumers, and what is pushed to them.

use std::collections::BTreeMap;

use super::{ChildShard, Record};
use crate::codec::Timestamp;
use crate::sequence::SequenceNumber;

request!(
    /// Registers a consumer.
    RegisterStreamConsumer {
        #[serde(rename = "StreamARN")]
        stream_arn: String,
        consumer_name: String,
        #[serde(deserialize_with = "super::few::pairs")]
        tags: BTreeMap<String, String>,
    }
);

request!(
    /// Names a consumer, by its ARN or by its stream's and its name: of DeregisterStreamConsumer and DescribeStreamConsumer.
    ConsumerReference {
        #[serde(rename = "StreamARN")]
        stream_arn: String,
        consumer_name: String,
        #[serde(rename = "ConsumerARN")]
        consumer_arn: String,
    }
);

request!(
    /// Lists a stream's consumers.
    ListStreamConsumers {
        #[serde(rename = "StreamARN")]
        stream_arn: String,
        next_token: String,
        max_results: i64,
        stream_creation_timestamp: Timestamp,
    }
);

request!(
    /// Asks to be pushed a shard's records.
    SubscribeToShard {
        #[serde(rename = "ConsumerARN")]
        consumer_arn: String,
        shard_id: String,
        #[serde(deserialize_with = "super::structure::structure")]
        starting_position: StartingPosition,
        dry_run: bool,
    }
);

request!(
    /// A place in a shard.
    StartingPosition {
        r#type: String,
        sequence_number: String,
        timestamp: Timestamp,
    }
);

answer!(
    /// A consumer, as it was registered.
    RegisteredConsumer {
        consumer: Consumer,
    }
);

answer!(
    /// A consumer.
    Consumer {
        consumer_name: String,
        #[serde(rename = "ConsumerARN")]
        consumer_arn: String,
        consumer_status: &'static str,
        consumer_creation_timestamp: Timestamp,
    }
);

answer!(
    /// A consumer and its stream.
    DescribedConsumer {
        consumer_description: ConsumerDescription,
    }
);

answer!(
    /// A consumer and its stream.
    ConsumerDescription {
        consumer_name: String,
        #[serde(rename = "ConsumerARN")]
        consumer_arn: String,
        consumer_status: &'static str,
        consumer_creation_timestamp: Timestamp,
        #[serde(rename = "StreamARN")]
        stream_arn: String,
    }
);

answer!(
    /// Consumers, in the order of their names.
    Consumers {
        consumers: Vec<Consumer>,
        #[serde(skip_serializing_if = "Option::is_none")]
        next_token: Option<String>,
    }
);

answer!(
    /// Records that are pushed. Without a number to go on from it is the last.
    SubscribeToShardEvent {
        records: Vec<Record>,
        #[serde(skip_serializing_if = "Option::is_none")]
        continuation_sequence_number: Option<SequenceNumber>,
        millis_behind_latest: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        child_shards: Option<Vec<ChildShard>>,
    }
);
