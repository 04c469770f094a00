//! ListShards: a page of a stream's shards, in the order in which they were made.

use frame::proto::ShardDescription;
use wire::codec::Timestamp;
use wire::iterator::ShardsPlace;
use wire::shape::{ListShards, Shards};
use wire::validate::Checks;
use wire::{Error, ErrorKind};

use super::{now_ms, shard, shard_name, stream_of};
use crate::gateway::Shared;

/// Shards of one page, whatever the limit.
const PAGE: u32 = 1000;

const FILTERS: [&str; 6] =
    ["AFTER_SHARD_ID", "AT_TRIM_HORIZON", "FROM_TRIM_HORIZON", "AT_LATEST", "AT_TIMESTAMP", "FROM_TIMESTAMP"];

pub(super) async fn run(shared: &Shared, input: ListShards) -> Result<Shards, Error> {
    let filter = input.shard_filter.clone().unwrap_or_default();
    let mut checks = Checks::new();
    checks.length("nextToken", input.next_token.as_deref(), 1, 1 << 20);
    checks.name("exclusiveStartShardId", input.exclusive_start_shard_id.as_deref());
    checks.range("maxResults", input.max_results, 1, 10_000);
    if input.shard_filter.is_some() {
        checks.required("shardFilter.type", filter.r#type.as_ref());
    }
    checks.one_of("shardFilter.type", filter.r#type.as_deref(), &FILTERS);
    checks.name("shardFilter.shardId", filter.shard_id.as_deref());
    let limit = input.max_results.and_then(|limit| u32::try_from(limit).ok()).unwrap_or(PAGE).min(PAGE);
    let (name, from, made, wanted, since_ms) = match &input.next_token {
        Some(token) => {
            checks.done()?;
            let place = resume(shared, &input, token)?;
            (place.name, place.from, Some(place.stream), Some(place.filter), place.since_ms)
        }
        None => {
            let (name, arn) = (input.stream_name.as_deref(), input.stream_arn.as_deref());
            let name = stream_of(&shared.place, &mut checks, name, arn)?;
            let from = first(&input, &filter.r#type, &filter.shard_id)?;
            let since_ms = filter.timestamp.map_or(0, |time| time.ms);
            (name, from, None, filter.r#type.clone(), since_ms)
        }
    };
    shared.rates.of_stream(&shared.place, "ListShards", &name)?;
    let kind = wanted.as_deref().unwrap_or_default();
    // All from there on: what is made of a shard comes after it, and says when it was closed. What of them came first, those before
    // tell.
    let is_of_first = matches!(kind, "AT_TRIM_HORIZON" | "AT_TIMESTAMP");
    let described_from = if is_of_first { 0 } else { from };
    let (stream, shards) = shared.log.describe(&shared.place, &name, described_from, u32::MAX).await?;
    let is_another = |created: Timestamp| created.ms / 1000 != stream.created_ms / 1000;
    if made.is_some_and(|made| made != stream.stream.0) || input.stream_creation_timestamp.is_some_and(is_another) {
        return Err(shared.place.no_stream(&name));
    }
    let closed_ms = |shard: &ShardDescription| shard::closed_ms(&shards, shard);
    let horizon_ms = shard::horizon_ms(&stream, &shared.log.time());
    // A time before all that is kept is that of the first of it, as for GetShardIterator.
    let since_ms = since_ms.max(horizon_ms).max(stream.created_ms);
    let is_wanted = |shard: &&ShardDescription| {
        let closed_ms = closed_ms(shard);
        let made_ms = if is_of_first && shard::is_first(&shards, shard) { 0 } else { shard.created_ms };
        shard_name(&stream, shard.shard).0 >= from
            && shard::is_kept(closed_ms, horizon_ms)
            && is_let_through(kind, (since_ms, horizon_ms), (made_ms, closed_ms))
    };
    let mut page: Vec<&ShardDescription> = shards.iter().filter(is_wanted).take(limit as usize + 1).collect();
    let next = (page.len() > limit as usize).then(|| page.pop()).flatten().map(|next| {
        let from = shard_name(&stream, next.shard).0;
        let (place, made_ms, stream, name) = (shared.place.clone(), now_ms(), stream.stream.0, name.clone());
        ShardsPlace { place, made_ms, stream, from, since_ms, filter: kind.to_owned(), name }.encode()
    });
    let shards = page.into_iter().map(|shard| shard::told(&stream, shard, closed_ms(shard))).collect();
    Ok(Shards { shards, next_token: next })
}

/// Whether a filter lets a shard through that was made at a time, 0 if it is one of the first, and closed at another, if it was.
fn is_let_through(filter: &str, (since_ms, horizon_ms): (u64, u64), (made_ms, closed_ms): (u64, Option<u64>)) -> bool {
    let is_open_then = closed_ms.is_none_or(|closed_ms| closed_ms > since_ms);
    match filter {
        "AT_LATEST" => closed_ms.is_none(),
        // The first ones were there before anything was.
        "AT_TRIM_HORIZON" => made_ms == 0 || made_ms < horizon_ms,
        "AT_TIMESTAMP" => made_ms <= since_ms && is_open_then,
        "FROM_TIMESTAMP" => is_open_then,
        _ => true,
    }
}

/// Where a token goes on. The service refuses a stream beside it, which boto3's paginator gives: here it may agree.
fn resume(shared: &Shared, input: &ListShards, token: &str) -> Result<ShardsPlace, Error> {
    let argument = |message: &str| Error::new(ErrorKind::InvalidArgument, message);
    let place = super::resume(ShardsPlace::decode(token), |place| place.made_ms)?;
    // Anybody can make a token: it was judged as one of that place.
    if place.place != shared.place {
        return Err(shared.place.no_stream(&place.name));
    }
    let (name, arn) = (input.stream_name.as_deref(), input.stream_arn.as_deref());
    let names_another = (name.is_some() || arn.is_some()) && shared.place.stream_of(name, arn)? != place.name;
    if names_another || input.exclusive_start_shard_id.is_some() {
        return Err(argument("NextToken cannot be provided with another stream or an ExclusiveStartShardId."));
    }
    Ok(place)
}

/// The first shard wanted.
fn first(input: &ListShards, filter: &Option<String>, filter_shard: &Option<String>) -> Result<u32, Error> {
    let has_time = input.shard_filter.as_ref().is_some_and(|filter| filter.timestamp.is_some());
    match (filter.as_deref(), filter_shard) {
        (Some("AFTER_SHARD_ID"), None) => {
            Err(Error::new(ErrorKind::InvalidArgument, "AFTER_SHARD_ID needs a ShardId."))
        }
        (Some(kind @ ("AT_TIMESTAMP" | "FROM_TIMESTAMP")), _) if !has_time => {
            Err(Error::new(ErrorKind::InvalidArgument, format!("{kind} needs a Timestamp.")))
        }
        (Some("AFTER_SHARD_ID"), Some(shard)) => shard::after(Some(shard)),
        _ => shard::after(input.exclusive_start_shard_id.as_deref()),
    }
}
