//! The members of requests and answers, by the names that the service model gives them.
//!
//! Every member of a request may be missing; what must be there is for the action to check. Members that are not known are
//! passed over, as the service does. A member that is not given is never written as null.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, Serializer};

/// Bytes, which travel as base64.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Blob(
    /// The bytes.
    pub Vec<u8>,
);

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Blob, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Blob;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("base64")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Blob, E> {
                STANDARD.decode(text).map(Blob).map_err(|error| E::custom(format_args!("not base64: {error}")))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

/// A time, which travels as seconds with a fraction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timestamp {
    /// Milliseconds since 1970.
    pub ms: u64,
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.ms as f64 / 1e3)
    }
}

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
        timestamp: f64,
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
        timestamp: f64,
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
