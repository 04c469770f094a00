//! Streams as a whole.

use std::collections::BTreeMap;

use super::{Shard, WarmThroughput};
use crate::codec::Timestamp;

request!(
    /// Makes a stream.
    CreateStream {
        stream_name: String,
        shard_count: i64,
        #[serde(deserialize_with = "super::structure::structure")]
        stream_mode_details: StreamModeDetails,
        #[serde(deserialize_with = "super::few::pairs")]
        tags: BTreeMap<String, String>,
        warm_throughput_mi_bps: i64,
        max_record_size_in_ki_b: i64,
        record_distribution_strategy: String,
    }
);

request!(
    /// Provisioned or on demand.
    StreamModeDetails {
        stream_mode: String,
    }
);

request!(
    /// Names a stream, and nothing else: of DescribeStreamSummary.
    StreamReference {
        stream_name: String,
        #[serde(rename = "StreamARN")]
        stream_arn: String,
    }
);

request!(
    /// Removes a stream.
    DeleteStream {
        stream_name: String,
        #[serde(rename = "StreamARN")]
        stream_arn: String,
        enforce_consumer_deletion: bool,
    }
);

request!(
    /// Asks for a stream and a page of its shards.
    DescribeStream {
        stream_name: String,
        #[serde(rename = "StreamARN")]
        stream_arn: String,
        limit: i64,
        exclusive_start_shard_id: String,
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

answer!(
    /// A stream and some of its shards.
    DescribedStream {
        stream_description: StreamDescription,
    }
);

answer!(
    /// A stream and some of its shards.
    StreamDescription {
        stream_name: String,
        #[serde(rename = "StreamARN")]
        stream_arn: String,
        stream_status: &'static str,
        stream_mode_details: StreamMode,
        shards: Vec<Shard>,
        has_more_shards: bool,
        retention_period_hours: u32,
        stream_creation_timestamp: Timestamp,
        enhanced_monitoring: [EnhancedMetrics; 1],
        encryption_type: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        key_id: Option<String>,
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
        #[serde(skip_serializing_if = "Option::is_none")]
        key_id: Option<String>,
        open_shard_count: u32,
        consumer_count: u32,
        #[serde(skip_serializing_if = "Option::is_none")]
        warm_throughput: Option<WarmThroughput>,
        max_record_size_in_ki_b: u32,
        record_distribution_strategy: &'static str,
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
        shard_level_metrics: Vec<&'static str>,
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
