//! The shapes of the API in JSON, those of their members that are used.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize};

use super::base64::decode;
use super::cbor;
use super::pipe::ANSWER_BYTES_MAX;
use super::raw::Raw;

/// The most that an answer with records may have: 10 MiB of data in base64, and what each of 10,000 records says beside.
const RECORDS_BYTES_MAX: usize = 32 << 20;

/// Characters of an error's message that are told.
const MESSAGE_CHARS: usize = 300;

/// What a request's header calls an operation.
pub(super) fn target(operation: &str) -> String {
    format!("Kinesis_20131202.{operation}")
}

/// The most that an operation's answer may have.
pub(super) fn answer_bytes_max(operation: &str) -> usize {
    if operation == "GetRecords" { RECORDS_BYTES_MAX } else { ANSWER_BYTES_MAX }
}

/// An error, as it is told in a body.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Failure {
    /// Its name alone; the status if the body tells none.
    pub(super) name: String,
    pub(super) message: String,
}

impl Failure {
    pub(super) fn of(status: u16, body: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct Told {
            #[serde(rename = "__type")]
            name: Option<String>,
            #[serde(alias = "Message")]
            message: Option<String>,
        }
        let told: Option<Told> = serde_json::from_slice(body).ok();
        let told = told.map(|told| (told.name, told.message)).or_else(|| cbor::failure(body));
        let (name, message) = told.unwrap_or_default();
        let name = name.map(|name| name.rsplit('#').next().unwrap_or_default().to_owned());
        let message: String = message.unwrap_or_default().chars().take(MESSAGE_CHARS).collect();
        Self { name: name.filter(|name| !name.is_empty()).unwrap_or_else(|| format!("HTTP {status}")), message }
    }
}

/// Nothing that is looked at.
#[derive(Debug, Deserialize)]
pub(super) struct Nothing {}

/// Names a stream.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct StreamName<'a> {
    pub(super) stream_name: &'a str,
}

/// Makes a stream.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct CreateStream<'a> {
    pub(super) stream_name: &'a str,
    pub(super) shard_count: u32,
}

/// Has a stream encrypted.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct StartStreamEncryption<'a> {
    pub(super) stream_name: &'a str,
    pub(super) encryption_type: &'static str,
    pub(super) key_id: &'a str,
}

/// Removes a stream, with what reads it.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DeleteStream<'a> {
    pub(super) stream_name: &'a str,
    pub(super) enforce_consumer_deletion: bool,
}

/// A stream.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DescribedStream {
    pub(super) stream_description_summary: StreamSummary,
}

/// A stream.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct StreamSummary {
    #[serde(rename = "StreamARN")]
    pub(super) stream_arn: String,
    pub(super) stream_status: String,
    /// Seconds since 1970. Not every endpoint keeps to that, and few runs want it.
    #[serde(default)]
    pub(super) stream_creation_timestamp: Option<serde_json::Value>,
}

/// Asks for a page of shards: of a stream by its name, or where the page before ended.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListShards<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) stream_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next_token: Option<&'a str>,
}

/// A page of shards.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Shards {
    pub(super) shards: Vec<Shard>,
    pub(super) next_token: Option<String>,
}

/// A shard.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Shard {
    pub(super) shard_id: String,
    pub(super) sequence_number_range: NumberRange,
}

/// What numbers a shard has.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct NumberRange {
    pub(super) ending_sequence_number: Option<String>,
}

/// What became of one record.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PutOutcome<'a> {
    #[serde(borrow)]
    pub(super) shard_id: Option<Text<'a>>,
    pub(super) sequence_number: Option<Raw<'a>>,
    pub(super) error_code: Option<Text<'a>>,
}

/// A text as it stands in an answer, where that has no escapes.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

/// What became of several.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PutOutcomes<'a> {
    #[serde(borrow)]
    pub(super) records: Vec<PutOutcome<'a>>,
}

/// Asks for a place in a shard.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GetShardIterator<'a> {
    pub(super) stream_name: &'a str,
    pub(super) shard_id: &'a str,
    #[serde(flatten)]
    pub(super) place: Place,
}

/// A place in a shard.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "ShardIteratorType")]
pub(super) enum Place {
    /// The oldest record.
    #[serde(rename = "TRIM_HORIZON")]
    Oldest,
    /// What comes.
    #[serde(rename = "LATEST")]
    Latest,
    /// This record.
    #[serde(rename = "AT_SEQUENCE_NUMBER")]
    At {
        /// Its number.
        #[serde(rename = "StartingSequenceNumber")]
        number: String,
    },
    /// What follows this record.
    #[serde(rename = "AFTER_SEQUENCE_NUMBER")]
    After {
        /// Its number.
        #[serde(rename = "StartingSequenceNumber")]
        number: String,
    },
    /// What arrived then or later: seconds since 1970.
    #[serde(rename = "AT_TIMESTAMP")]
    Since {
        /// Then.
        #[serde(rename = "Timestamp")]
        seconds: f64,
    },
}

/// A place in a shard.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Iterator {
    pub(super) shard_iterator: String,
}

/// Reads from a place on.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GetRecords<'a> {
    pub(super) shard_iterator: &'a str,
    pub(super) limit: u32,
}

/// Records, and where to go on.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Records<'a> {
    #[serde(borrow)]
    pub(super) records: Vec<Record<'a>>,
    /// None at the end of a closed shard.
    pub(super) next_shard_iterator: Option<String>,
    #[serde(default)]
    pub(super) millis_behind_latest: u64,
}

/// A record, where the answer has it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Record<'a> {
    #[serde(borrow)]
    pub(super) sequence_number: Raw<'a>,
    #[serde(borrow)]
    pub(super) data: Data<'a>,
    #[serde(borrow, default)]
    pub(super) partition_key: Cow<'a, str>,
    /// Seconds since 1970.
    #[serde(default)]
    pub(super) approximate_arrival_timestamp: f64,
}

/// A record's data, where the answer has it.
#[derive(Debug)]
pub(super) enum Data<'a> {
    /// In JSON.
    Base64(Raw<'a>),
    /// In CBOR.
    Bytes(Cow<'a, [u8]>),
}

impl<'de: 'a, 'a> Deserialize<'de> for Data<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Raw::deserialize(deserializer).map(Self::Base64)
    }
}

impl Data<'_> {
    /// The bytes, in `room` unless they are there as they are. `None` if what stands for them is no base64.
    pub(super) fn decode<'r>(&'r self, room: &'r mut Vec<u8>) -> Option<&'r [u8]> {
        match self {
            Self::Base64(digits) => decode(digits, room),
            Self::Bytes(bytes) => Some(bytes),
        }
    }
}

/// Registers a consumer.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct RegisterStreamConsumer<'a> {
    #[serde(rename = "StreamARN")]
    pub(super) stream_arn: &'a str,
    pub(super) consumer_name: &'a str,
}

/// Names a consumer.
#[derive(Serialize)]
pub(super) struct ConsumerArn<'a> {
    #[serde(rename = "ConsumerARN")]
    pub(super) consumer_arn: &'a str,
}

/// A consumer, as it was registered or is described.
#[derive(Debug, Deserialize)]
pub(super) struct ToldConsumer {
    #[serde(rename = "Consumer", alias = "ConsumerDescription")]
    pub(super) consumer: Consumer,
}

/// A consumer.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Consumer {
    #[serde(rename = "ConsumerARN")]
    pub(super) consumer_arn: String,
    pub(super) consumer_status: String,
}

/// Asks to be pushed a shard's records.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct SubscribeToShard<'a> {
    #[serde(rename = "ConsumerARN")]
    pub(super) consumer_arn: &'a str,
    pub(super) shard_id: &'a str,
    pub(super) starting_position: StartingPosition,
}

/// A place in a shard, as a subscription has it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct StartingPosition {
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence_number: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<f64>,
}

impl From<Place> for StartingPosition {
    fn from(place: Place) -> Self {
        let (r#type, sequence_number, timestamp) = match place {
            Place::Oldest => ("TRIM_HORIZON", None, None),
            Place::Latest => ("LATEST", None, None),
            Place::At { number } => ("AT_SEQUENCE_NUMBER", Some(number), None),
            Place::After { number } => ("AFTER_SEQUENCE_NUMBER", Some(number), None),
            Place::Since { seconds } => ("AT_TIMESTAMP", None, Some(seconds)),
        };
        Self { r#type, sequence_number, timestamp }
    }
}

/// Records that are pushed; without a number to go on from they are the last.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PushedRecords<'a> {
    #[serde(borrow)]
    pub(super) records: Vec<Record<'a>>,
    pub(super) continuation_sequence_number: Option<String>,
    #[serde(default)]
    pub(super) millis_behind_latest: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_told_by_their_names() {
        let named = |status, body: &str| Failure::of(status, body.as_bytes());
        let expect = |name: &str, message: &str| Failure { name: name.to_owned(), message: message.to_owned() };
        assert_eq!(named(400, r#"{"__type":"com.amazonaws#XException","message":"m"}"#), expect("XException", "m"));
        assert_eq!(named(400, r#"{"__type":"XException","Message":"m"}"#), expect("XException", "m"));
        assert_eq!(named(503, "<html>"), expect("HTTP 503", ""));
        assert_eq!(named(400, "{}"), expect("HTTP 400", ""));
        assert!(named(400, &format!(r#"{{"message":"{}"}}"#, "m".repeat(10_000))).message.len() == MESSAGE_CHARS);
    }

    #[test]
    fn places_are_written_as_the_api_has_them() {
        let written =
            |place| serde_json::to_string(&GetShardIterator { stream_name: "s", shard_id: "i", place }).unwrap();
        let rest = r#"{"StreamName":"s","ShardId":"i","ShardIteratorType":"#;
        assert_eq!(written(Place::Oldest), format!(r#"{rest}"TRIM_HORIZON"}}"#));
        let after = Place::After { number: "7".to_owned() };
        assert_eq!(written(after), format!(r#"{rest}"AFTER_SEQUENCE_NUMBER","StartingSequenceNumber":"7"}}"#));
        let since = Place::Since { seconds: 1.5 };
        assert_eq!(written(since), format!(r#"{rest}"AT_TIMESTAMP","Timestamp":1.5}}"#));
    }
}
