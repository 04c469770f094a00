//! Shards: listed, split, merged and counted.

use crate::codec::Timestamp;
use crate::sequence::SequenceNumber;

request!(
    /// Lists a stream's shards.
    ListShards {
        stream_name: String,
        #[serde(rename = "StreamARN")]
        stream_arn: String,
        next_token: String,
        exclusive_start_shard_id: String,
        max_results: i64,
        #[serde(deserialize_with = "super::structure::structure")]
        shard_filter: ShardFilter,
        stream_creation_timestamp: Timestamp,
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
    /// Has a stream brought to another number of shards.
    UpdateShardCount {
        stream_name: String,
        #[serde(rename = "StreamARN")]
        stream_arn: String,
        target_shard_count: i64,
        scaling_type: String,
    }
);

answer!(
    /// From how many shards to how many a stream goes.
    ShardCounts {
        stream_name: String,
        #[serde(rename = "StreamARN")]
        stream_arn: String,
        current_shard_count: u32,
        target_shard_count: u32,
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
        starting_sequence_number: SequenceNumber,
        #[serde(skip_serializing_if = "Option::is_none")]
        ending_sequence_number: Option<SequenceNumber>,
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
