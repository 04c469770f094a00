//! ListShards: a page of a stream's shards. All of them are open, so every filter but AFTER_SHARD_ID lets all through.

use wire::iterator::ShardsPlace;
use wire::name::ShardName;
use wire::shape::{HashKeyRange, ListShards, SequenceNumberRange, Shard, Shards};
use wire::validate::Checks;
use wire::{Error, ErrorKind};

use super::{now_ms, sequence_number, shard_name, stream_of};
use crate::gateway::Shared;

/// Shards of one page, whatever the limit.
const PAGE: u32 = 1000;

const FILTERS: [&str; 6] =
    ["AFTER_SHARD_ID", "AT_TRIM_HORIZON", "FROM_TRIM_HORIZON", "AT_LATEST", "AT_TIMESTAMP", "FROM_TIMESTAMP"];

pub(super) async fn run(shared: &Shared, input: ListShards) -> Result<Shards, Error> {
    let filter = input.shard_filter.clone().unwrap_or_default();
    let mut checks = Checks::new();
    checks.length("nextToken", input.next_token.as_deref(), 1, 1 << 20);
    checks.length("exclusiveStartShardId", input.exclusive_start_shard_id.as_deref(), 1, 128);
    checks.range("maxResults", input.max_results, 1, 10_000);
    checks.one_of("shardFilter.type", filter.r#type.as_deref(), &FILTERS);
    let limit = input.max_results.and_then(|limit| u32::try_from(limit).ok()).unwrap_or(PAGE).min(PAGE);
    let (name, from, made) = match &input.next_token {
        Some(token) => {
            checks.done()?;
            let place = resume(shared, &input, token)?;
            (place.name, place.from, Some(place.stream))
        }
        None => {
            let (name, arn) = (input.stream_name.as_deref(), input.stream_arn.as_deref());
            let name = stream_of(&shared.place, &mut checks, name, arn)?;
            (name, first(&input, &filter.r#type, &filter.shard_id)?, None)
        }
    };
    let (stream, shards) = shared.log.describe(&shared.place, &name, from, limit).await?;
    if made.is_some_and(|made| made != stream.stream.0) {
        return Err(shared.place.no_stream(&name));
    }
    let next = from.saturating_add(shards.len() as u32);
    let next = (next < stream.shards)
        .then(|| ShardsPlace { made_ms: now_ms(), stream: stream.stream.0, from: next, name: name.clone() }.encode());
    let shards = shards.iter().map(|shard| {
        let name = shard_name(&stream, shard.shard);
        Shard {
            shard_id: name.to_string(),
            hash_key_range: HashKeyRange {
                starting_hash_key: shard.hash_start.to_string(),
                ending_hash_key: shard.hash_end.to_string(),
            },
            sequence_number_range: SequenceNumberRange {
                starting_sequence_number: sequence_number(&stream, name, 0, stream.created_ms),
            },
        }
    });
    Ok(Shards { shards: shards.collect(), next_token: next })
}

/// Where a token goes on. The service refuses a stream beside it, which boto3's paginator gives: here it may agree.
fn resume(shared: &Shared, input: &ListShards, token: &str) -> Result<ShardsPlace, Error> {
    let argument = |message: &str| Error::new(ErrorKind::InvalidArgument, message);
    let place = super::resume(ShardsPlace::decode(token), |place| place.made_ms)?;
    let (name, arn) = (input.stream_name.as_deref(), input.stream_arn.as_deref());
    let names_another = (name.is_some() || arn.is_some()) && shared.place.stream_of(name, arn)? != place.name;
    if names_another || input.exclusive_start_shard_id.is_some() {
        return Err(argument("NextToken cannot be provided with another stream or an ExclusiveStartShardId."));
    }
    Ok(place)
}

/// The first shard wanted.
fn first(input: &ListShards, filter: &Option<String>, filter_shard: &Option<String>) -> Result<u32, Error> {
    let argument = |message: &str| Error::new(ErrorKind::InvalidArgument, message);
    let after = match (filter.as_deref(), filter_shard) {
        (Some("AFTER_SHARD_ID"), None) => return Err(argument("AFTER_SHARD_ID needs a ShardId.")),
        (Some("AFTER_SHARD_ID"), Some(shard)) => Some(shard),
        _ => input.exclusive_start_shard_id.as_ref(),
    };
    let Some(after) = after else { return Ok(0) };
    let after = ShardName::parse(after).ok_or_else(|| argument("The ShardId is not one of a shard."))?;
    Ok(after.0 + 1)
}
