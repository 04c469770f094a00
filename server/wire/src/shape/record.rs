//! Records: stored and read.

use super::{ChildShard, Entries};
use crate::codec::{Blob, Text, Timestamp};
use crate::name::ShardName;
use crate::sequence::SequenceNumber;

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
        dry_run: bool,
    }
);

request!(
    /// Stores up to 500 records.
    PutRecords {
        stream_name: String,
        #[serde(rename = "StreamARN")]
        stream_arn: String,
        records: Entries,
        dry_run: bool,
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
        dry_run: bool,
    }
);

request!(
    /// Reads from a place on.
    GetRecords {
        shard_iterator: String,
        limit: i64,
        #[serde(rename = "StreamARN")]
        stream_arn: String,
        dry_run: bool,
    }
);

answer!(
    /// Where a record is.
    StoredRecord {
        shard_id: ShardName,
        sequence_number: SequenceNumber,
        #[serde(skip_serializing_if = "Option::is_none")]
        encryption_type: Option<&'static str>,
    }
);

answer!(
    /// What became of several records.
    StoredRecords {
        failed_record_count: u32,
        records: Vec<RecordOutcome>,
        #[serde(skip_serializing_if = "Option::is_none")]
        encryption_type: Option<&'static str>,
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
    /// Where to go on after records. They follow, in an answer made of [`Pieces`](crate::Pieces).
    RecordsPlace {
        #[serde(skip_serializing_if = "Option::is_none")]
        next_shard_iterator: Option<String>,
        millis_behind_latest: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        child_shards: Option<Vec<ChildShard>>,
    }
);

answer!(
    /// A record.
    Record {
        sequence_number: SequenceNumber,
        approximate_arrival_timestamp: Timestamp,
        data: Blob,
        #[serde(skip_serializing_if = "Text::is_empty")]
        partition_key: Text,
        #[serde(skip_serializing_if = "Option::is_none")]
        encryption_type: Option<&'static str>,
    }
);
