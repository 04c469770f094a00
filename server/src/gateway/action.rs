//! The API's actions, one file each: from a request's body to an answer's.

mod account;
mod add_tags_to_stream;
mod consumer;
mod create_stream;
mod decrease_stream_retention_period;
mod delete_resource_policy;
mod delete_stream;
mod deregister_stream_consumer;
mod describe_account_settings;
mod describe_limits;
mod describe_stream;
mod describe_stream_consumer;
mod describe_stream_summary;
mod disable_enhanced_monitoring;
mod enable_enhanced_monitoring;
mod encryption;
mod get_records;
mod get_resource_policy;
mod get_shard_iterator;
mod holdings;
mod increase_stream_retention_period;
mod list_shards;
mod list_stream_consumers;
mod list_streams;
mod list_tags_for_resource;
mod list_tags_for_stream;
mod merge_shards;
mod monitoring;
mod placement;
mod position;
mod put_record;
mod put_records;
mod put_resource_policy;
mod register_stream_consumer;
mod remove_tags_from_stream;
mod resource;
mod retention;
mod shard;
mod split_shard;
mod start_stream_encryption;
mod state;
mod stop_stream_encryption;
mod subscribe_to_shard;
mod tag_resource;
mod tags;
mod untag_resource;
mod update_account_settings;
mod update_max_record_size;
mod update_shard_count;
mod update_stream_mode;
mod update_stream_record_distribution_strategy;
mod update_stream_warm_throughput;
mod warm_throughput;

use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use engine::{Outcome, Stream};
use frame::ShardId;
use frame::limits::LARGE_RECORD_BYTES_MAX;
use frame::parts::Record;
use frame::proto::{Children, ShardDescription};
use tokio::sync::SemaphorePermit;
use wire::codec::{Blob, Text, Timestamp};
use wire::iterator::LIFETIME_MS;
use wire::name::{Place, ShardName};
use wire::sequence::SequenceNumber;
use wire::shape::{self, ChildShard, HashKeyRange, PutManyRecords, PutRecords, Request, StoredRecord};
use wire::shape::{RECORD_KEPT_BYTES, RECORDS_DEFAULT, RECORDS_MAX};
use wire::validate::Checks;
use wire::{Codec, Error, ErrorKind, Pieces};

pub(super) use self::holdings::Adding;
pub(super) use self::subscribe_to_shard::Events;
use super::access::{self, Caller};
use super::body::BodyRoom;
use super::extras::Extras;
use super::{
    ANSWER_BYTES_IN_PROGRESS_MAX, Common, OUTCOME_BYTES_IN_PROGRESS_MAX, PARSED_BYTES_IN_PROGRESS_MAX, Shared, log,
    rates,
};
use crate::config::{GET_RECORDS_BYTES_MAX, GET_RECORDS_MAX};
use crate::room::Taken;

/// The actions that there are.
pub(crate) const NAMES: [&str; 40] = [
    "AddTagsToStream",
    "CreateStream",
    "DecreaseStreamRetentionPeriod",
    "DeleteResourcePolicy",
    "DeleteStream",
    "DeregisterStreamConsumer",
    "DescribeAccountSettings",
    "DescribeLimits",
    "DescribeStream",
    "DescribeStreamConsumer",
    "DescribeStreamSummary",
    "DisableEnhancedMonitoring",
    "EnableEnhancedMonitoring",
    "GetRecords",
    "GetResourcePolicy",
    "GetShardIterator",
    "IncreaseStreamRetentionPeriod",
    "ListShards",
    "ListStreamConsumers",
    "ListStreams",
    "ListTagsForResource",
    "ListTagsForStream",
    "MergeShards",
    "PutRecord",
    "PutRecords",
    "PutResourcePolicy",
    "RegisterStreamConsumer",
    "RemoveTagsFromStream",
    "SplitShard",
    "StartStreamEncryption",
    "StopStreamEncryption",
    "SubscribeToShard",
    "TagResource",
    "UntagResource",
    "UpdateAccountSettings",
    "UpdateMaxRecordSize",
    "UpdateShardCount",
    "UpdateStreamMode",
    "UpdateStreamRecordDistributionStrategy",
    "UpdateStreamWarmThroughput",
];

/// The action of a name, if there is one.
pub(super) fn named(name: &str) -> Option<&'static str> {
    NAMES.into_iter().find(|action| *action == name)
}

/// Whether an action changes what a stream, a consumer or the account is.
pub(super) fn changes_streams(action: &str) -> bool {
    let reads = ["Describe", "Get", "List"].iter().any(|word| action.starts_with(word));
    !(reads || matches!(action, "PutRecord" | "PutRecords" | "SubscribeToShard"))
}

/// Room for an answer that may be long: for 10 MiB of data and keys as they were read, or put together, and in base64, or as much as
/// the server is told to give; for a page of shards. Other answers are short, but for what becomes of very many records, which has room
/// of its own: so storing never waits for those who read.
async fn room_for_answer(common: &Common, action: &str) -> Option<Taken> {
    let bytes = match action {
        "GetRecords" => records_room(common.limits.get_records, common.limits.get_records_bytes),
        "ListShards" => 1 << 20,
        _ => return None,
    };
    Some(common.answers.take(bytes).await)
}

/// What it takes to answer so many records of so many bytes. One comes however little is let through.
const fn records_room(records: usize, bytes: usize) -> u32 {
    let bytes = if bytes < LARGE_RECORD_BYTES_MAX { LARGE_RECORD_BYTES_MAX } else { bytes };
    (bytes / 5 * 24 + records.saturating_sub(10_000) * RECORD_ROOM_BYTES) as u32
}

/// A small record of many, with its frame and in a list that grows.
const RECORD_ROOM_BYTES: usize = 384;

/// What became of a record, as it is kept and told at the longest.
const OUTCOME_BYTES: usize = 1 << 10;

const _: () = assert!(
    records_room(GET_RECORDS_MAX, GET_RECORDS_BYTES_MAX) as usize <= ANSWER_BYTES_IN_PROGRESS_MAX,
    "there is room for each answer"
);
const _: () = assert!(
    RECORDS_MAX * OUTCOME_BYTES <= OUTCOME_BYTES_IN_PROGRESS_MAX
        && RECORDS_MAX * RECORD_KEPT_BYTES <= PARSED_BYTES_IN_PROGRESS_MAX,
    "there is room for each request"
);
const _: () = assert!(
    2 * size_of::<shape::Record>() + frame::frame::HEADER_BYTES <= RECORD_ROOM_BYTES,
    "a list that grows has room for twice as many"
);

/// Room for records that are looked at, which take more than their bytes do where a request may have many of them. Whoever has it
/// waits for nobody who reads.
async fn room_for_many<'a>(common: &'a Common, body: &[u8]) -> SemaphorePermit<'a> {
    // In CBOR the least is a byte.
    let records = body.len().min(RECORDS_MAX);
    let permit = common.parsing.acquire_many((records * RECORD_KEPT_BYTES) as u32).await;
    permit.expect("it is never closed")
}

/// Room for what becomes of more records than the service takes, until that is sent. None of those who read wait for it, nor does
/// storing for them.
async fn room_for_outcomes(common: &Common, count: usize) -> Option<Taken> {
    if count <= RECORDS_DEFAULT {
        return None;
    }
    Some(common.outcomes.take((count * OUTCOME_BYTES) as u32).await)
}

/// Reads a request: what its action works with, and what is asked of it, once its caller may ask that.
async fn hear<T: Request>(
    common: &Arc<Common>,
    caller: Caller,
    action: &str,
    codec: Codec,
    body: &[u8],
) -> Result<(Arc<Shared>, T), Error> {
    let input: T = codec.parse(body)?;
    let shared = access::authorize(common, caller, action, input.names()).await?;
    Ok((shared, input))
}

/// What an action answers.
pub(super) enum Said {
    /// All of it, and the room that making it took, if it may be long.
    Body(Vec<u8>, Option<Taken>),
    /// Records, the bytes that they take here until they are sent, and the room that finding them took.
    Records(Pieces<shape::Record>, usize, Option<Taken>),
    /// Events as they come.
    Events(Events),
}

/// Carries an action out for a caller, if it may. What is stored keeps the room of its body until it is.
pub(super) async fn run(
    common: &Arc<Common>,
    caller: Caller,
    action: &str,
    codec: Codec,
    (body, room): (&[u8], BodyRoom),
) -> Result<Said, Error> {
    /// Hears the request, has the action answer, and writes that.
    macro_rules! call {
        ($action:ident) => {{
            let (shared, input) = hear(common, caller, action, codec, body).await?;
            let room = room_for_answer(common, action).await;
            let answer = $action::run(&shared, input).await?;
            codec.write(&answer).map(|body| Said::Body(body, room))
        }};
    }
    /// The same of one that has nothing to say: it answers with no bytes.
    macro_rules! tell {
        ($action:ident) => {{
            let (shared, input) = hear(common, caller, action, codec, body).await?;
            let () = $action::run(&shared, input).await?;
            Ok(Said::Body(Vec::new(), None))
        }};
    }
    match action {
        "AddTagsToStream" => tell!(add_tags_to_stream),
        "CreateStream" => tell!(create_stream),
        "DecreaseStreamRetentionPeriod" => tell!(decrease_stream_retention_period),
        "DeleteResourcePolicy" => tell!(delete_resource_policy),
        "DeleteStream" => tell!(delete_stream),
        "DeregisterStreamConsumer" => tell!(deregister_stream_consumer),
        "DescribeAccountSettings" => call!(describe_account_settings),
        "DescribeLimits" => call!(describe_limits),
        "DescribeStream" => call!(describe_stream),
        "DescribeStreamConsumer" => call!(describe_stream_consumer),
        "DescribeStreamSummary" => call!(describe_stream_summary),
        "DisableEnhancedMonitoring" => call!(disable_enhanced_monitoring),
        "EnableEnhancedMonitoring" => call!(enable_enhanced_monitoring),
        "GetRecords" => {
            let (shared, input) = hear(common, caller, action, codec, body).await?;
            let room = room_for_answer(common, action).await;
            let found = get_records::run(&shared, input).await?;
            let pieces = Pieces::new(codec, &found.place, get_records::LIST, found.records)?;
            Ok(Said::Records(pieces, found.bytes, room))
        }
        "GetResourcePolicy" => call!(get_resource_policy),
        "GetShardIterator" => call!(get_shard_iterator),
        "IncreaseStreamRetentionPeriod" => tell!(increase_stream_retention_period),
        "ListShards" => call!(list_shards),
        "ListStreamConsumers" => call!(list_stream_consumers),
        "ListStreams" => call!(list_streams),
        "ListTagsForResource" => call!(list_tags_for_resource),
        "ListTagsForStream" => call!(list_tags_for_stream),
        "MergeShards" => tell!(merge_shards),
        "PutRecord" => {
            let (shared, input) = hear(common, caller, action, codec, body).await?;
            let answer = put_record::run(&shared, input, room).await?;
            codec.write(&answer).map(|body| Said::Body(body, None))
        }
        "PutRecords" => {
            // Where a request may have more records than the service takes, up to the most that any server takes are kept.
            let (shared, input, looked_at) = if common.limits.put_records <= RECORDS_DEFAULT {
                let (shared, input) = hear::<PutRecords>(common, caller, action, codec, body).await?;
                (shared, input, None)
            } else {
                let looked_at = room_for_many(common, body).await;
                let (shared, input) = hear::<PutManyRecords>(common, caller, action, codec, body).await?;
                (shared, input.into(), Some(looked_at))
            };
            let (together, outcomes, answer_room) = put_records::run(&shared, input, (room, looked_at)).await?;
            let body = Pieces::new(codec, &together, put_records::LIST, outcomes)?.whole()?;
            Ok(Said::Body(body, answer_room))
        }
        "PutResourcePolicy" => tell!(put_resource_policy),
        "RegisterStreamConsumer" => call!(register_stream_consumer),
        "RemoveTagsFromStream" => tell!(remove_tags_from_stream),
        "SplitShard" => tell!(split_shard),
        "StartStreamEncryption" => tell!(start_stream_encryption),
        "StopStreamEncryption" => tell!(stop_stream_encryption),
        "SubscribeToShard" => {
            let (shared, input) = hear(common, caller, action, codec, body).await?;
            subscribe_to_shard::run(&shared, codec, input).await.map(Said::Events)
        }
        "TagResource" => tell!(tag_resource),
        "UntagResource" => tell!(untag_resource),
        "UpdateAccountSettings" => call!(update_account_settings),
        "UpdateMaxRecordSize" => tell!(update_max_record_size),
        "UpdateShardCount" => call!(update_shard_count),
        "UpdateStreamMode" => tell!(update_stream_mode),
        "UpdateStreamRecordDistributionStrategy" => tell!(update_stream_record_distribution_strategy),
        "UpdateStreamWarmThroughput" => call!(update_stream_warm_throughput),
        _ => Err(Error::new(ErrorKind::UnknownOperation, "")),
    }
}

/// Milliseconds since 1970 by the wall clock, which tokens and what is noted are dated by. What is stored is dated by the log's.
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
    checks.stream_name(name).stream_arn(arn).done()?;
    place.stream_of(name, arn)
}

/// A shard by the name that the API gives it, open or closed, and its stream. The log forgets those of which all has expired.
async fn shard_of(shared: &Shared, stream: &str, name: &str) -> Result<(Stream, ShardDescription), Error> {
    let no_shard = || shared.place.no_shard(name, stream);
    let shard = ShardName::parse(name).ok_or_else(no_shard)?;
    let (stream, found) = shared.log.describe(&shared.place, stream, shard.0, 1).await?;
    let found = found.first().copied().filter(|found| shard_name(&stream, found.shard) == shard);
    found.map(|found| (stream, found)).ok_or_else(no_shard)
}

/// The same, of a shard that is to be split or merged, and may be, with its whole name.
async fn open_shard(shared: &Shared, stream: &str, name: &str) -> Result<(ShardName, ShardDescription), Error> {
    let (stream, shard) = shard_of(shared, stream, name).await?;
    let extras = Extras::of(&stream)?;
    state::be_active(&shared.place, &stream, &extras)?;
    state::be_provisioned(&shared.place, &stream, &extras)?;
    let name = shard_name(&stream, shard.shard);
    if shard.children.is_some() {
        let message = format!(
            "Shard {name} in stream {} under account {} has already been merged or split, and thus is not eligible for merging or \
             splitting.",
            stream.name, shared.place.account
        );
        return Err(Error::new(ErrorKind::InvalidArgument, message));
    }
    Ok((name, shard))
}

/// The shards that go on where a closed one ended, in a stream whose first shard is this; and when that one ended.
async fn child_shards(
    shared: &Shared,
    (stream, first_shard): (&str, ShardId),
    children: Children,
) -> Result<(Vec<ChildShard>, u64), Error> {
    let first = children.first.0.saturating_sub(first_shard.0);
    let (stream, found) = shared.log.describe(&shared.place, stream, first, children.count).await?;
    let name = |shard| shard_name(&stream, shard).to_string();
    let child = |child: &ShardDescription| ChildShard {
        shard_id: name(child.shard),
        parent_shards: child.parents().map(name).collect(),
        hash_key_range: hash_key_range(child),
    };
    let found = || found.iter().filter(|found| children.shards().any(|child| child == found.shard));
    let closed_ms = found().map(|child| child.created_ms).min().unwrap_or_else(|| shared.log.time().arrival_ms);
    Ok((found().map(child).collect(), closed_ms))
}

/// A shard's hash keys, as callers see them.
fn hash_key_range(shard: &ShardDescription) -> HashKeyRange {
    HashKeyRange { starting_hash_key: shard.hash_start.to_string(), ending_hash_key: shard.hash_end.to_string() }
}

/// A record's sequence number, as callers see it.
fn sequence_number(shard_made_s: u64, shard: ShardName, number: u64, arrival_ms: u64) -> SequenceNumber {
    SequenceNumber { shard_made_s, shard: shard.0, number, arrival_s: arrival_ms / 1000 }
}

/// A record with its key and data, as callers see it.
fn told_record(
    (shard_made_s, shard): (u64, ShardName),
    record: &Record<'_>,
    (key, data): (Bytes, Bytes),
    encrypted: bool,
) -> shape::Record {
    shape::Record {
        sequence_number: sequence_number(shard_made_s, shard, record.sequence.0, record.arrival_ms),
        approximate_arrival_timestamp: Timestamp { ms: record.arrival_ms },
        data: Blob(data),
        partition_key: Text(key),
        encryption_type: encrypted.then_some(encryption::KMS),
    }
}

/// The name of a shard that the engine knows by a number of its own.
pub(super) fn shard_name(stream: &Stream, shard: ShardId) -> ShardName {
    ShardName(shard.0.saturating_sub(stream.first_shard.0))
}

/// Encodes a record into `frames`, if it is no larger than that. Its data is called `member`.
fn encode(
    frames: &mut Vec<u8>,
    (data, key): (&[u8], &str),
    hash_key: Option<u128>,
    (member, bytes_max): (impl fmt::Display, usize),
) -> Result<(), Error> {
    if data.len() > bytes_max {
        let message = format!(
            "1 validation error detected: Value at '{member}' failed to satisfy constraint: Member must have length less than or equal to \
             {bytes_max}"
        );
        return Err(Error::new(ErrorKind::Validation, message));
    }
    let is_right =
        data.len() + key.len() <= bytes_max && frame::parts::encode(frames, key.as_bytes(), hash_key, [data]).is_ok();
    is_right.then_some(()).ok_or_else(|| {
        let message = format!("A record of this stream has at most {bytes_max} bytes of data and partition key.");
        Error::new(ErrorKind::InvalidArgument, message)
    })
}

/// How large a record of a stream may be, whose largest is so large: only for one that is larger than usual it is looked up.
async fn record_bytes_max(shared: &Shared, stream: &str, largest: usize) -> Result<usize, Error> {
    let usual = state::RECORD_KIB_DEFAULT;
    let kib = if largest <= (usual as usize) << 10 {
        usual
    } else {
        let (stream, _) = shared.log.describe(&shared.place, stream, 0, 0).await?;
        Extras::of(&stream)?.record_kib_max.unwrap_or(usual)
    };
    Ok((kib as usize) << 10)
}

/// Ends a request for a stream that is there, if it was only to tell whether it would succeed.
async fn end_if_dry(shared: &Shared, stream: &str, is_dry_run: Option<bool>) -> Result<(), Error> {
    if is_dry_run != Some(true) {
        return Ok(());
    }
    shared.log.describe(&shared.place, stream, 0, 0).await?;
    let message = "The request was rejected because the DryRun parameter was specified.";
    Err(Error::new(ErrorKind::DryRunOperation, message))
}

/// What is said of a shard that has taken in, or given, what it may.
fn rate_exceeded(place: &Place, name: &str, shard: ShardName) -> String {
    format!("Rate exceeded for shard {shard} in stream {name} under account {}.", place.account)
}

/// Where a record is, or the error that says why it is nowhere.
fn stored(place: &Place, stream: &Stream, outcome: Outcome) -> Result<StoredRecord, Error> {
    match outcome {
        Outcome::Durable { shard, made_ms, sequence, arrival_ms } => {
            let shard_id = shard_name(stream, shard);
            let sequence_number = sequence_number(made_ms / 1000, shard_id, sequence.0, arrival_ms);
            Ok(StoredRecord { shard_id, sequence_number, encryption_type: None })
        }
        Outcome::Throttled(code, shard) => {
            Err(Error::new(log::kind(code), rate_exceeded(place, &stream.name, shard_name(stream, shard))))
        }
        Outcome::Refused(code) => {
            let message = match log::kind(code) {
                log::THROTTLED => rates::exceeded(place, &stream.name),
                ErrorKind::KmsNotFound => {
                    format!("The key that stream {} is encrypted with is not found.", stream.name)
                }
                _ => "Internal service failure.".to_owned(),
            };
            Err(Error::new(log::kind(code), message))
        }
    }
}
