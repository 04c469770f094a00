//! SplitShard: answers once both children take records in.

use wire::shape::SplitShard;
use wire::validate::Checks;
use wire::{Error, ErrorKind};

use super::holdings::{Adds, Holdings};
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
    let (shard_id, shard) = open_shard(shared, &name, input.shard_to_split.as_deref().unwrap_or_default()).await?;
    let key = input.new_starting_hash_key.as_deref().unwrap_or_default();
    let (start, end) = (shard.hash_start, shard.hash_end);
    let at = key.parse().ok().filter(|at| start < *at && start + 1 < *at && *at < end);
    let at = at.ok_or_else(|| {
        let message = format!(
            "NewStartingHashKey {key} used in SplitShard() on shard {shard_id} in stream {name} under account {} is not both \
             greater than one plus the shard's StartingHashKey {start} and less than the shard's EndingHashKey {end}.",
            shared.place.account
        );
        Error::new(ErrorKind::InvalidArgument, message)
    })?;
    let holdings = Holdings::of(shared, Adds { shards: true, on_demand: false }).await?;
    holdings.have_room_for(1)?;
    shared.log.split(&shared.place, &name, shard.shard, at).await
}
