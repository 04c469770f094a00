//! Records: stored and read.

use super::{ChildShard, Entries};
use crate::codec::{Blob, Codec, Text, Timestamp};
use crate::error::Error;
use crate::name::ShardName;
use crate::pieces::Item;
use crate::sequence::SequenceNumber;
use crate::values::{self, Kind};

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

/// What stands before each member of a record that is stored, and at its end.
struct StoredNames {
    shard: &'static [u8],
    number: &'static [u8],
    end: &'static [u8],
}

impl StoredNames {
    #[inline]
    fn of(codec: Codec) -> StoredNames {
        match codec {
            Codec::Json => StoredNames { shard: b"{\"ShardId\":\"", number: b"\",\"SequenceNumber\":\"", end: b"\"}" },
            // A map of two, and texts of 20 and 56 bytes.
            Codec::Cbor => {
                StoredNames { shard: b"\xa2\x67ShardId\x74", number: b"\x6eSequenceNumber\x78\x38", end: b"" }
            }
        }
    }
}

/// By hand, as a record is, where it is stored.
impl Item for RecordOutcome {
    fn write(&self, codec: Codec, out: &mut Vec<u8>) -> Result<(), Error> {
        let RecordOutcome::Stored(StoredRecord { shard_id, sequence_number, encryption_type: None }) = self else {
            return codec.write_to(out, self);
        };
        let names = StoredNames::of(codec);
        out.extend_from_slice(names.shard);
        out.extend_from_slice(&shard_id.text());
        out.extend_from_slice(names.number);
        out.extend_from_slice(&sequence_number.digits());
        out.extend_from_slice(names.end);
        Ok(())
    }

    fn length(&self, codec: Codec) -> Result<usize, Error> {
        let RecordOutcome::Stored(StoredRecord { encryption_type: None, .. }) = self else {
            return codec.length_of(self);
        };
        let names = StoredNames::of(codec);
        let members = names.shard.len() + names.number.len() + names.end.len();
        Ok(members + ShardName::LENGTH + SequenceNumber::DIGITS)
    }
}

/// What a record has before each of its members. In CBOR the map's head comes before all.
struct Names {
    number: &'static [u8],
    time: &'static [u8],
    data: &'static [u8],
    key: &'static [u8],
    encryption: &'static [u8],
}

impl Names {
    #[inline]
    fn of(codec: Codec) -> Names {
        match codec {
            Codec::Json => Names {
                number: b"{\"SequenceNumber\":\"",
                time: b"\",\"ApproximateArrivalTimestamp\":",
                data: b",\"Data\":",
                key: b",\"PartitionKey\":",
                encryption: b",\"EncryptionType\":",
            },
            Codec::Cbor => Names {
                number: b"\x6eSequenceNumber\x78\x38",
                time: b"\x78\x1bApproximateArrivalTimestamp",
                data: b"\x64Data",
                key: b"\x6cPartitionKey",
                encryption: b"\x6eEncryptionType",
            },
        }
    }
}

/// By hand, as thousands come with one answer: neither the members' names nor digits need a look for what must be escaped.
impl Item for Record {
    fn write(&self, codec: Codec, out: &mut Vec<u8>) -> Result<(), Error> {
        let (names, has_key) = (Names::of(codec), !self.partition_key.is_empty());
        if codec == Codec::Cbor {
            values::head(out, Kind::Map, 3 + u64::from(has_key) + u64::from(self.encryption_type.is_some()));
        }
        out.extend_from_slice(names.number);
        out.extend_from_slice(&self.sequence_number.digits());
        out.extend_from_slice(names.time);
        self.approximate_arrival_timestamp.write(codec, out)?;
        out.extend_from_slice(names.data);
        self.data.write(codec, out)?;
        if has_key {
            out.extend_from_slice(names.key);
            self.partition_key.write(codec, out)?;
        }
        if let Some(name) = self.encryption_type {
            out.extend_from_slice(names.encryption);
            codec.write_to(out, name)?;
        }
        if codec == Codec::Json {
            out.push(b'}');
        }
        Ok(())
    }

    fn length(&self, codec: Codec) -> Result<usize, Error> {
        let names = Names::of(codec);
        // The map's end, or its head.
        let mut bytes = 1 + names.number.len() + SequenceNumber::DIGITS;
        bytes += names.time.len() + self.approximate_arrival_timestamp.length(codec)?;
        bytes += names.data.len() + self.data.length(codec)?;
        if !self.partition_key.is_empty() {
            bytes += names.key.len() + self.partition_key.length(codec)?;
        }
        if let Some(name) = self.encryption_type {
            bytes += names.encryption.len() + codec.length_of(name)?;
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
            let written = |codec| {
                let mut by_hand = Vec::new();
                record.write(codec, &mut by_hand).expect("it can be written");
                assert_eq!(record.length(codec).expect("it can be written"), by_hand.len());
                (by_hand, codec.write(&record).expect("it can be written"))
            };
            let (by_hand, other) = written(Codec::Cbor);
            prop_assert_eq!(by_hand, other);
            let read = |json: Vec<u8>| serde_json::from_slice::<serde_json::Value>(&json).expect("JSON");
            let (by_hand, other) = written(Codec::Json);
            prop_assert_eq!(read(by_hand), read(other));
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
            for codec in [Codec::Json, Codec::Cbor] {
                let mut by_hand = Vec::new();
                outcome.write(codec, &mut by_hand).expect("it can be written");
                prop_assert_eq!(outcome.length(codec).expect("it can be written"), by_hand.len());
                prop_assert_eq!(by_hand, codec.write(&outcome).expect("it can be written"));
            }
        }
    }
}
