//! Records: stored and read.

use super::{ChildShard, Entries};
use crate::base64;
use crate::codec::{Blob, Codec, Text, Timestamp};
use crate::digits;
use crate::error::Error;
use crate::name::ShardName;
use crate::pieces::Item;
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
        #[serde(deserialize_with = "super::entries::usual")]
        records: Entries,
        dry_run: bool,
    }
);

request!(
    /// The same of a server that takes more: up to [`RECORDS_MAX`](super::RECORDS_MAX) are kept.
    PutManyRecords {
        stream_name: String,
        #[serde(rename = "StreamARN")]
        stream_arn: String,
        #[serde(deserialize_with = "super::entries::many")]
        records: Entries,
        dry_run: bool,
    }
);

impl From<PutManyRecords> for PutRecords {
    fn from(PutManyRecords { stream_name, stream_arn, records, dry_run }: PutManyRecords) -> PutRecords {
        PutRecords { stream_name, stream_arn, records, dry_run }
    }
}

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
    /// What became of several records together. What became of each follows, in an answer made of [`Pieces`](crate::Pieces).
    StoredRecords {
        failed_record_count: u32,
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

/// What stands before each member of a record that is stored, in JSON.
const SHARD: &[u8] = b"{\"ShardId\":\"";
const SEQUENCE_NUMBER: &[u8] = b"\",\"SequenceNumber\":\"";
const END: &[u8] = b"\"}";

/// In JSON by hand, as a record is, where it is stored.
impl Item for RecordOutcome {
    fn write(&self, codec: Codec, out: &mut Vec<u8>) -> Result<(), Error> {
        match self {
            RecordOutcome::Stored(StoredRecord { shard_id, sequence_number, encryption_type: None })
                if codec == Codec::Json =>
            {
                out.extend_from_slice(SHARD);
                out.extend_from_slice(&shard_id.text());
                out.extend_from_slice(SEQUENCE_NUMBER);
                out.extend_from_slice(&sequence_number.digits());
                out.extend_from_slice(END);
                Ok(())
            }
            other => codec.write_to(out, other),
        }
    }

    fn length(&self, codec: Codec) -> Result<usize, Error> {
        match self {
            RecordOutcome::Stored(StoredRecord { encryption_type: None, .. }) if codec == Codec::Json => {
                let members = SHARD.len() + SEQUENCE_NUMBER.len() + END.len();
                Ok(members + ShardName::LENGTH + SequenceNumber::DIGITS)
            }
            other => codec.length_of(other),
        }
    }
}

/// What a record has before each of its members in JSON.
const NUMBER: &[u8] = b"{\"SequenceNumber\":\"";
const TIME: &[u8] = b"\",\"ApproximateArrivalTimestamp\":";
const DATA: &[u8] = b",\"Data\":\"";
const KEY: &[u8] = b",\"PartitionKey\":";
const ENCRYPTION: &[u8] = b",\"EncryptionType\":";

/// In JSON by hand, as thousands come with one answer: neither the members' names nor digits need a look for what must be escaped.
impl Item for Record {
    fn write(&self, codec: Codec, out: &mut Vec<u8>) -> Result<(), Error> {
        if codec != Codec::Json {
            return codec.write_to(out, self);
        }
        let ms = self.approximate_arrival_timestamp.ms;
        out.extend_from_slice(NUMBER);
        out.extend_from_slice(&self.sequence_number.digits());
        out.extend_from_slice(TIME);
        out.extend_from_slice(itoa::Buffer::new().format(ms / 1000).as_bytes());
        out.push(b'.');
        out.extend_from_slice(&digits::eight(ms % 1000)[5..]);
        out.extend_from_slice(DATA);
        base64::append(&self.data.0, out);
        out.push(b'"');
        if !self.partition_key.is_empty() {
            out.extend_from_slice(KEY);
            codec.write_to(out, &self.partition_key)?;
        }
        if let Some(name) = self.encryption_type {
            out.extend_from_slice(ENCRYPTION);
            codec.write_to(out, name)?;
        }
        out.push(b'}');
        Ok(())
    }

    fn length(&self, codec: Codec) -> Result<usize, Error> {
        if codec != Codec::Json {
            return codec.length_of(self);
        }
        let seconds = itoa::Buffer::new().format(self.approximate_arrival_timestamp.ms / 1000).len();
        let mut bytes = NUMBER.len() + SequenceNumber::DIGITS + TIME.len() + seconds + ".000".len();
        bytes += DATA.len() + base64::digits(self.data.0.len()) + "\"}".len();
        if !self.partition_key.is_empty() {
            bytes += KEY.len() + codec.length_of(&self.partition_key)?;
        }
        if let Some(name) = self.encryption_type {
            bytes += ENCRYPTION.len() + codec.length_of(name)?;
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn records_by_hand_are_as_by_the_library(
            (number, ms) in (0_u64.., 0_u64..4_000_000_000_000),
            data in proptest::collection::vec(any::<u8>(), 0..3_000),
            key in proptest::collection::vec(any::<u8>(), 0..40),
            encrypted: bool,
        ) {
            let record = Record {
                sequence_number: SequenceNumber { shard_made_s: ms / 2_000, shard: 7, number, arrival_s: ms / 1_000 },
                approximate_arrival_timestamp: Timestamp { ms },
                data: Blob(data.into()),
                partition_key: Text(Bytes::from(key)),
                encryption_type: encrypted.then_some("KMS"),
            };
            let mut by_hand = Vec::new();
            record.write(Codec::Json, &mut by_hand).expect("it can be written");
            prop_assert_eq!(record.length(Codec::Json).expect("it can be written"), by_hand.len());
            let by_hand: serde_json::Value = serde_json::from_slice(&by_hand).expect("JSON");
            let other = Codec::Json.write(&record).expect("it can be written");
            prop_assert_eq!(by_hand, serde_json::from_slice::<serde_json::Value>(&other).expect("JSON"));
        }

        #[test]
        fn outcomes_by_hand_are_as_by_the_library(
            (shard, number, s) in (0..=i32::MAX as u32, 0_u64.., 0_u64..4_000_000_000),
            encrypted: bool,
            failed: bool,
        ) {
            let sequence_number = SequenceNumber { shard_made_s: s / 2, shard, number, arrival_s: s };
            let encryption_type = encrypted.then_some("KMS");
            let outcome = match failed {
                false => RecordOutcome::Stored(StoredRecord { shard_id: ShardName(shard), sequence_number, encryption_type }),
                true => RecordOutcome::Failed(FailedRecord { error_code: "InternalFailure", error_message: "\"".to_owned() }),
            };
            let mut by_hand = Vec::new();
            outcome.write(Codec::Json, &mut by_hand).expect("it can be written");
            prop_assert_eq!(outcome.length(Codec::Json).expect("it can be written"), by_hand.len());
            prop_assert_eq!(by_hand, Codec::Json.write(&outcome).expect("it can be written"));
        }
    }
}
