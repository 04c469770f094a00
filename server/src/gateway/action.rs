//! The API's actions, one file each: from a request's body to an answer's.

mod create_stream;
mod decrease_stream_retention_period;
mod delete_stream;
mod describe_stream_summary;
mod get_records;
mod get_shard_iterator;
mod increase_stream_retention_period;
mod list_shards;
mod list_streams;
mod merge_shards;
mod put_record;
mod put_records;
mod retention;
mod split_shard;

use std::time::{SystemTime, UNIX_EPOCH};

use engine::{Outcome, Stream};
use frame::proto::ShardDescription;
use serde::Serialize;
use serde::de::DeserializeOwned;
use wire::iterator::LIFETIME_MS;
use wire::name::{Place, ShardName};
use wire::sequence::SequenceNumber;
use wire::shape::{HashKeyRange, StoredRecord};
use wire::validate::Checks;
use wire::{Error, ErrorKind};

use super::Shared;
use super::log;

/// Data and key of one record together.
const RECORD_BYTES_MAX: usize = frame::limits::RECORD_BYTES_MAX;

/// The actions that there are.
const NAMES: [&str; 13] = [
    "CreateStream",
    "DecreaseStreamRetentionPeriod",
    "DeleteStream",
    "DescribeStreamSummary",
    "GetRecords",
    "GetShardIterator",
    "IncreaseStreamRetentionPeriod",
    "ListShards",
    "ListStreams",
    "MergeShards",
    "PutRecord",
    "PutRecords",
    "SplitShard",
];

/// The action of a name, if there is one.
pub(super) fn named(name: &str) -> Option<&'static str> {
    NAMES.into_iter().find(|action| *action == name)
}

/// Bytes that making an answer takes that may be long, and waits for room: 10 MiB of data and keys as they were read, or put
/// together, as records, and in base64; a page of shards. Other answers are short, so that storing never waits for those who read.
pub(super) fn long_answer_bytes(action: &str) -> Option<u32> {
    match action {
        "GetRecords" => Some(48 << 20),
        "ListShards" => Some(1 << 20),
        _ => None,
    }
}

/// Carries an action out.
pub(super) async fn run(shared: &Shared, action: &str, body: &[u8]) -> Result<Vec<u8>, Error> {
    match action {
        "CreateStream" => create_stream::run(shared, parse(body)?).await.map(nothing),
        "DecreaseStreamRetentionPeriod" => {
            decrease_stream_retention_period::run(shared, parse(body)?).await.map(nothing)
        }
        "DeleteStream" => delete_stream::run(shared, parse(body)?).await.map(nothing),
        "DescribeStreamSummary" => describe_stream_summary::run(shared, parse(body)?).await.and_then(write),
        "GetRecords" => get_records::run(shared, parse(body)?).await.and_then(write),
        "GetShardIterator" => get_shard_iterator::run(shared, parse(body)?).await.and_then(write),
        "IncreaseStreamRetentionPeriod" => {
            increase_stream_retention_period::run(shared, parse(body)?).await.map(nothing)
        }
        "ListShards" => list_shards::run(shared, parse(body)?).await.and_then(write),
        "ListStreams" => list_streams::run(shared, parse(body)?).await.and_then(write),
        "MergeShards" => merge_shards::run(shared, parse(body)?).await.map(nothing),
        "PutRecord" => put_record::run(shared, parse(body)?).await.and_then(write),
        "PutRecords" => put_records::run(shared, parse(body)?).await.and_then(write),
        "SplitShard" => split_shard::run(shared, parse(body)?).await.map(nothing),
        _ => Err(Error::new(ErrorKind::UnknownOperation, "")),
    }
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    let unreadable = |message: String| Error::new(ErrorKind::Serialization, message);
    // A list would be taken for the members in their order.
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(unreadable("The body of a request is a JSON object.".to_owned()));
    }
    serde_json::from_slice(body).map_err(|error| unreadable(error.to_string()))
}

fn write<T: Serialize>(answer: T) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(&answer).map_err(|error| Error::new(ErrorKind::InternalFailure, error.to_string()))
}

/// Actions that have nothing to say answer with no bytes.
fn nothing((): ()) -> Vec<u8> {
    Vec::new()
}

/// Milliseconds since 1970.
fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// What `NextToken` says, if it is a token and still good.
fn resume<T>(place: Option<T>, made_ms: impl FnOnce(&T) -> u64) -> Result<T, Error> {
    let place = place.ok_or_else(|| Error::new(ErrorKind::InvalidArgument, "Invalid NextToken."))?;
    if now_ms().saturating_sub(made_ms(&place)) > LIFETIME_MS {
        return Err(Error::new(ErrorKind::ExpiredNextToken, "NextToken has expired; list from the start."));
    }
    Ok(place)
}

/// The stream that a request means.
fn stream_of(place: &Place, checks: &mut Checks, name: Option<&str>, arn: Option<&str>) -> Result<String, Error> {
    checks.stream_name(name).length("streamARN", arn, 1, 2048).done()?;
    place.stream_of(name, arn)
}

/// A shard by the name that the API gives it, open or closed, and its stream.
async fn shard_of(shared: &Shared, stream: &str, name: &str) -> Result<(Stream, ShardDescription), Error> {
    let no_shard = || shared.place.no_shard(name, stream);
    let shard = ShardName::parse(name).ok_or_else(no_shard)?;
    let (stream, found) = shared.log.describe(&shared.place, stream, shard.0, 1).await?;
    let found = found.first().copied().filter(|found| shard_name(&stream, found.shard) == shard);
    found.map(|found| (stream, found)).ok_or_else(no_shard)
}

/// The same, of a shard that is to be split or merged.
async fn open_shard(shared: &Shared, stream: &str, name: &str) -> Result<ShardDescription, Error> {
    let (_, shard) = shard_of(shared, stream, name).await?;
    if shard.children.is_some() {
        let message = format!("Shard {name} in stream {stream} was split or merged before.");
        return Err(Error::new(ErrorKind::InvalidArgument, message));
    }
    Ok(shard)
}

/// A shard's hash keys, as callers see them.
fn hash_key_range(shard: &ShardDescription) -> HashKeyRange {
    HashKeyRange { starting_hash_key: shard.hash_start.to_string(), ending_hash_key: shard.hash_end.to_string() }
}

/// A record's sequence number, as callers see it.
fn sequence_number(made_ms: u64, shard: ShardName, number: u64, arrival_ms: u64) -> String {
    let shard_made_s = made_ms / 1000;
    SequenceNumber { shard_made_s, shard: shard.0, number, arrival_s: arrival_ms / 1000 }.to_string()
}

/// The name of a shard that the engine knows by a number of its own.
fn shard_name(stream: &Stream, shard: frame::ShardId) -> ShardName {
    ShardName(shard.0.saturating_sub(stream.first_shard.0))
}

/// Encodes a record into `frames`.
fn encode(frames: &mut Vec<u8>, data: &[u8], key: &str, explicit_hash_key: Option<&str>) -> Result<(), Error> {
    let argument = |message: String| Error::new(ErrorKind::InvalidArgument, message);
    let hash_key = explicit_hash_key.map(|text| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|_| digits).ok_or_else(|| {
            let rule = "Invalid ExplicitHashKey. ExplicitHashKey must be in the range: [0, 2^128-1].";
            argument(format!("{rule} Specified value was {text}"))
        })
    });
    frame::frame::encode(frames, key.as_bytes(), hash_key.transpose()?, data)
        .map_err(|_| argument(format!("A record has at most {RECORD_BYTES_MAX} bytes of data and partition key.")))
}

/// What is said of a shard that has taken in, or given, what it may.
fn rate_exceeded(place: &Place, name: &str, shard: ShardName) -> String {
    format!("Rate exceeded for shard {shard} in stream {name} under account {}.", place.account)
}

/// Where a record is, or the error that says why it is nowhere.
fn stored(place: &Place, stream: &Stream, outcome: Outcome) -> Result<StoredRecord, Error> {
    match outcome {
        Outcome::Durable { shard, made_ms, sequence, arrival_ms } => {
            let shard = shard_name(stream, shard);
            let sequence_number = sequence_number(made_ms, shard, sequence.0, arrival_ms);
            Ok(StoredRecord { shard_id: shard.to_string(), sequence_number })
        }
        Outcome::Throttled(code, shard) => {
            Err(Error::new(log::kind(code), rate_exceeded(place, &stream.name, shard_name(stream, shard))))
        }
        Outcome::Refused(code) => {
            let message = match log::kind(code) {
                log::THROTTLED => {
                    format!("Rate exceeded for stream {} under account {}.", stream.name, place.account)
                }
                _ => "Internal service failure.".to_owned(),
            };
            Err(Error::new(log::kind(code), message))
        }
    }
}
