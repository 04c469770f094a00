//! SplitShard: answers once both children take records in.

use wire::shape::SplitShard;
use wire::validate::Checks;
use wire::{Error, ErrorKind};

use super::{open_shard, stream_of};
use crate::gateway::Shared;

pub(super) async fn run(shared: &Shared, input: SplitShard) -> Result<(), Error> {
    let mut checks = Checks::new();
    checks.required("shardToSplit", input.shard_to_split.as_ref());
    checks.name("shardToSplit", input.shard_to_split.as_deref());
    checks.required("newStartingHashKey", input.new_starting_hash_key.as_ref());
    checks.number("newStartingHashKey", input.new_starting_hash_key.as_deref(), 38);
    let (name, arn) = (input.stream_name.as_deref(), input.stream_arn.as_deref());
    let name = stream_of(&shared.place, &mut checks, name, arn)?;
    let shard_id = input.shard_to_split.as_deref().unwrap_or_default();
    let shard = open_shard(shared, &name, shard_id).await?;
    let key = input.new_starting_hash_key.as_deref().unwrap_or_default();
    let at = key.parse().ok().filter(|at| shard.hash_start < *at && *at <= shard.hash_end);
    let at = at.ok_or_else(|| {
        let (start, end) = (shard.hash_start, shard.hash_end);
        let message = format!(
            "NewStartingHashKey {key} is not past the first hash key of {shard_id}, {start}, and up to its last, {end}."
        );
        Error::new(ErrorKind::InvalidArgument, message)
    })?;
    shared.log.split(&shared.place, &name, shard.shard, at).await
}
