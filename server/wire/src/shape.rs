//! The members of requests and answers, by the names that the service model gives them.
//!
//! Every member of a request may be missing; what must be there is for the action to check. Members that are not known are
//! passed over, as the service does. A member that is not given is never written as null.

use std::collections::BTreeMap;

use crate::codec::{Blob, Timestamp};

/// A request: all members optional.
macro_rules! request {
    ($(#[$doc:meta])* $name:ident { $($(#[$rename:meta])* $member:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, serde::Deserialize)]
        #[serde(rename_all = "PascalCase", default)]
        #[expect(missing_docs, reason = "the members are the service model's")]
        pub struct $name { $($(#[$rename])* pub $member: Option<$type>,)* }
    };
}

/// An answer, or a part of one.
macro_rules! answer {
    ($(#[$doc:meta])* $name:ident { $($(#[$attribute:meta])* $member:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, serde::Serialize)]
        #[serde(rename_all = "PascalCase")]
        #[expect(missing_docs, reason = "the members are the service model's")]
        pub struct $name { $($(#[$attribute])* pub $member: $type,)* }
    };
}

request!(
    /// Makes a stream.
    CreateStream {
        stream_name: String,
        shard_count: i64,
        stream_mode_details: StreamModeDetails,
    }
);

request!(
    /// Provisioned or on demand.
    StreamModeDetails {
        stream_mode: String,
    }
);

request!(
    /// Names a stream, and nothing else: of DeleteStream and DescribeStreamSummary.
    StreamReference {
        stream_name: String,
        #[serde(rename = "StreamARN")]
        stream_arn: String,
    }
);

request!(
    /// For how long a stream keeps its records.
    RetentionPeriod {
        stream_name: String,
        #[serde(rename = "StreamARN")]
        stream_arn: String,
        retention_period_hours: i64,
    }
);

request!(
    /// Lists streams.
    ListStreams {
        limit: i64,
        exclusive_start_stream_name: String,
        next_token: String,
    }
);

request!(
    /// Lists a stream's shards.
    ListShards {
        stream_name: String,
        #[serde(rename = "StreamARN")]
        stream_arn: String,
        next_token: String,
        exclusive_start_shard_id: String,
        max_results: i64,
        shard_filter: ShardFilter,
    }
);

request!(
    /// Which shards are wanted.
    ShardFilter {
        r#type: String,
        shard_id: String,
        timestamp: Timestamp,
    }
);

request!(
    /// Stores one record.
    PutRecord {
        stream_name: String,
        #[serde(rename = "StreamARN")]
        stream_arn: String,
        data: Blob,
        partition_key: String,
        explicit_hash_key: String,
        sequence_number_for_ordering: String,
    }
);

request!(
    /// Stores up to 500 records.
    PutRecords {
        stream_name: String,
        #[serde(rename = "StreamARN")]
        stream_arn: String,
        records: Vec<PutRecordsEntry>,
    }
);

request!(
    /// One record to be stored.
    PutRecordsEntry {
        data: Blob,
        partition_key: String,
        explicit_hash_key: String,
    }
);

request!(
    /// Splits a shard.
    SplitShard {
        stream_name: String,
        #[serde(rename = "StreamARN")]
        stream_arn: String,
        shard_to_split: String,
        new_starting_hash_key: String,
    }
);

request!(
    /// Merges two shards.
    MergeShards {
        stream_name: String,
        #[serde(rename = "StreamARN")]
        stream_arn: String,
        shard_to_merge: String,
        adjacent_shard_to_merge: String,
    }
);

request!(
    /// Asks for a place in a shard.
    GetShardIterator {
        stream_name: String,
        #[serde(rename = "StreamARN")]
        stream_arn: String,
        shard_id: String,
        shard_iterator_type: String,
        starting_sequence_number: String,
        timestamp: Timestamp,
    }
);

request!(
    /// Reads from a place on.
    GetRecords {
        shard_iterator: String,
        limit: i64,
        #[serde(rename = "StreamARN")]
        stream_arn: String,
    }
);

request!(
    /// Registers a consumer.
    RegisterStreamConsumer {
        #[serde(rename = "StreamARN")]
        stream_arn: String,
        consumer_name: String,
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
        starting_position: StartingPosition,
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
    /// A stream without its shards.
    DescribeStreamSummary {
        stream_description_summary: StreamDescriptionSummary,
    }
);

answer!(
    /// A stream without its shards.
    StreamDescriptionSummary {
        stream_name: String,
        #[serde(rename = "StreamARN")]
        stream_arn: String,
        stream_status: &'static str,
        stream_mode_details: StreamMode,
        retention_period_hours: u32,
        stream_creation_timestamp: Timestamp,
        enhanced_monitoring: [EnhancedMetrics; 1],
        encryption_type: &'static str,
        open_shard_count: u32,
        consumer_count: u32,
    }
);

answer!(
    /// Provisioned or on demand.
    StreamMode {
        stream_mode: &'static str,
    }
);

answer!(
    /// Metrics of single shards.
    EnhancedMetrics {
        shard_level_metrics: [&'static str; 0],
    }
);

answer!(
    /// Streams, in the order of their names.
    Streams {
        stream_names: Vec<String>,
        has_more_streams: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        next_token: Option<String>,
        stream_summaries: Vec<StreamSummary>,
    }
);

answer!(
    /// A stream in a list.
    StreamSummary {
        stream_name: String,
        #[serde(rename = "StreamARN")]
        stream_arn: String,
        stream_status: &'static str,
        stream_mode_details: StreamMode,
        stream_creation_timestamp: Timestamp,
    }
);

answer!(
    /// Shards.
    Shards {
        shards: Vec<Shard>,
        #[serde(skip_serializing_if = "Option::is_none")]
        next_token: Option<String>,
    }
);

answer!(
    /// One shard.
    Shard {
        shard_id: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        parent_shard_id: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        adjacent_parent_shard_id: Option<String>,
        hash_key_range: HashKeyRange,
        sequence_number_range: SequenceNumberRange,
    }
);

answer!(
    /// Hash keys, from the first to the last.
    HashKeyRange {
        starting_hash_key: String,
        ending_hash_key: String,
    }
);

answer!(
    /// Sequence numbers, from before the first on; of a closed shard to its last.
    SequenceNumberRange {
        starting_sequence_number: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        ending_sequence_number: Option<String>,
    }
);

answer!(
    /// Where a record is.
    StoredRecord {
        shard_id: String,
        sequence_number: String,
    }
);

answer!(
    /// What became of several records.
    StoredRecords {
        failed_record_count: u32,
        records: Vec<RecordOutcome>,
    }
);

/// What became of one of several records.
#[derive(Clone, Debug, serde::Serialize)]
#[serde(untagged)]
pub enum RecordOutcome {
    /// It is stored.
    Stored(StoredRecord),
    /// It is not.
    Failed(FailedRecord),
}

answer!(
    /// Why a record is not stored.
    FailedRecord {
        error_code: &'static str,
        error_message: String,
    }
);

answer!(
    /// A place in a shard.
    Iterator {
        shard_iterator: String,
    }
);

answer!(
    /// Records, and where to go on.
    Records {
        records: Vec<Record>,
        #[serde(skip_serializing_if = "Option::is_none")]
        next_shard_iterator: Option<String>,
        millis_behind_latest: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        child_shards: Option<Vec<ChildShard>>,
    }
);

answer!(
    /// A shard that goes on where a closed one ended.
    ChildShard {
        shard_id: String,
        parent_shards: Vec<String>,
        hash_key_range: HashKeyRange,
    }
);

answer!(
    /// A record.
    Record {
        sequence_number: String,
        approximate_arrival_timestamp: Timestamp,
        data: Blob,
        partition_key: String,
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
        continuation_sequence_number: Option<String>,
        millis_behind_latest: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        child_shards: Option<Vec<ChildShard>>,
    }
);
