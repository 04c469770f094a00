//! MergeShards: answers once the child takes records in.

use frame::proto::ShardDescription;
use wire::shape::MergeShards;
use wire::validate::Checks;
use wire::{Error, ErrorKind};

use super::{open_shard, stream_of};
use crate::gateway::Shared;

pub(super) async fn run(shared: &Shared, input: MergeShards) -> Result<(), Error> {
    let mut checks = Checks::new();
    checks.required("shardToMerge", input.shard_to_merge.as_ref());
    checks.name("shardToMerge", input.shard_to_merge.as_deref());
    checks.required("adjacentShardToMerge", input.adjacent_shard_to_merge.as_ref());
    checks.name("adjacentShardToMerge", input.adjacent_shard_to_merge.as_deref());
    let (name, arn) = (input.stream_name.as_deref(), input.stream_arn.as_deref());
    let name = stream_of(&shared.place, &mut checks, name, arn)?;
    let (one, other) = (input.shard_to_merge.as_deref(), input.adjacent_shard_to_merge.as_deref());
    let (one, shard) = open_shard(shared, &name, one.unwrap_or_default()).await?;
    let (other, adjacent) = open_shard(shared, &name, other.unwrap_or_default()).await?;
    let meets = |low: &ShardDescription, high: &ShardDescription| low.hash_end.checked_add(1) == Some(high.hash_start);
    if !meets(&shard, &adjacent) && !meets(&adjacent, &shard) {
        let account = &shared.place.account;
        let message = format!(
            "Shards {one} and {other} in stream {name} under account {account} are not an adjacent pair of shards eligible for merging"
        );
        return Err(Error::new(ErrorKind::InvalidArgument, message));
    }
    shared.log.merge(&shared.place, &name, shard.shard, adjacent.shard).await
}
