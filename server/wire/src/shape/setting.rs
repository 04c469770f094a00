//! What is set of one stream beside its shards.

use super::StreamModeDetails;

request!(
    /// Has a stream be provisioned or on demand.
    UpdateStreamMode {
        #[serde(rename = "StreamARN")]
        stream_arn: String,
        #[serde(deserialize_with = "super::structure::structure")]
        stream_mode_details: StreamModeDetails,
        warm_throughput_mi_bps: i64,
    }
);

request!(
    /// Sets how large a record may be.
    UpdateMaxRecordSize {
        #[serde(rename = "StreamARN")]
        stream_arn: String,
        max_record_size_in_ki_b: i64,
    }
);

request!(
    /// Sets what a stream on demand takes in without growing first.
    UpdateStreamWarmThroughput {
        stream_name: String,
        #[serde(rename = "StreamARN")]
        stream_arn: String,
        warm_throughput_mi_bps: i64,
    }
);

request!(
    /// Sets how records find their shards.
    UpdateStreamRecordDistributionStrategy {
        #[serde(rename = "StreamARN")]
        stream_arn: String,
        record_distribution_strategy: String,
    }
);

request!(
    /// More or fewer metrics of single shards.
    EnhancedMonitoring {
        stream_name: String,
        #[serde(rename = "StreamARN")]
        stream_arn: String,
        #[serde(deserialize_with = "super::few::texts")]
        shard_level_metrics: Vec<String>,
    }
);

request!(
    /// Has records encrypted where they are kept, or not any more.
    StreamEncryption {
        stream_name: String,
        #[serde(rename = "StreamARN")]
        stream_arn: String,
        encryption_type: String,
        key_id: String,
    }
);

answer!(
    /// What a stream takes in without growing first, and what it is to take in.
    WarmThroughput {
        #[serde(skip_serializing_if = "Option::is_none")]
        target_mi_bps: Option<u32>,
        current_mi_bps: u32,
    }
);

answer!(
    /// The same, and of which stream.
    UpdatedWarmThroughput {
        stream_name: String,
        #[serde(rename = "StreamARN")]
        stream_arn: String,
        warm_throughput: WarmThroughput,
    }
);

answer!(
    /// Metrics of single shards before and after a change.
    ChangedMonitoring {
        stream_name: String,
        #[serde(rename = "StreamARN")]
        stream_arn: String,
        current_shard_level_metrics: Vec<&'static str>,
        desired_shard_level_metrics: Vec<&'static str>,
    }
);
