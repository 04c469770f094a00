//! DescribeStream: a stream and a page of its shards, in the order in which they were made.

use wire::Error;
use wire::codec::Timestamp;
use wire::shape::{DescribeStream, DescribedStream, StreamDescription};
use wire::validate::Checks;

use super::{encryption, retention, shard, state, stream_of};
use crate::gateway::Shared;
use crate::gateway::extras::Extras;

/// Shards of one page, whatever the limit.
const PAGE: usize = 100;

pub(super) async fn run(shared: &Shared, input: DescribeStream) -> Result<DescribedStream, Error> {
    let mut checks = Checks::new();
    checks.range("limit", input.limit, 1, 10_000);
    checks.name("exclusiveStartShardId", input.exclusive_start_shard_id.as_deref());
    let (name, arn) = (input.stream_name.as_deref(), input.stream_arn.as_deref());
    let name = stream_of(&shared.place, &mut checks, name, arn)?;
    let from = shard::after(input.exclusive_start_shard_id.as_deref())?;
    // All from there on: what is made of a shard comes after it, and says when it was closed.
    let (stream, shards) = shared.log.describe(&shared.place, &name, from, u32::MAX).await?;
    let horizon_ms = shard::horizon_ms(&stream, &shared.log.time());
    let limit = input.limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(PAGE).min(PAGE);
    let told = shards.iter().map(|shard| (shard, shard::closed_ms(&shards, shard)));
    let mut told = told.filter(|(_, closed_ms)| shard::is_kept(*closed_ms, horizon_ms));
    let page = told.by_ref().take(limit).map(|(shard, closed_ms)| shard::told(&stream, shard, closed_ms)).collect();
    let has_more_shards = told.next().is_some();
    let extras = Extras::of(&stream)?;
    let stream_description = StreamDescription {
        stream_arn: shared.place.arn(&stream.name),
        stream_status: state::status(&extras),
        stream_mode_details: state::mode(&extras),
        shards: page,
        has_more_shards,
        retention_period_hours: retention::told_hours(stream.retention),
        stream_creation_timestamp: Timestamp { ms: stream.created_ms },
        enhanced_monitoring: state::monitoring(&extras),
        encryption_type: encryption::told(&stream),
        key_id: encryption::key(&stream),
        stream_name: stream.name,
    };
    Ok(DescribedStream { stream_description })
}
