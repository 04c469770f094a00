//! MergeShards: answers once the child takes records in.

use wire::Error;
use wire::shape::MergeShards;
use wire::validate::Checks;

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
    let shard = open_shard(shared, &name, input.shard_to_merge.as_deref().unwrap_or_default()).await?;
    let adjacent = open_shard(shared, &name, input.adjacent_shard_to_merge.as_deref().unwrap_or_default()).await?;
    shared.log.merge(&shared.place, &name, shard.shard, adjacent.shard).await
}
