//! Splits and merges of a stream's open shards, by their places among these, as plans name them.

use frame::proto::ShardDescription;
use wire::Error;

use super::Shared;

/// A step, by the place of its shard among the open ones.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// Splits a shard; the second child begins here.
    Split(usize, u128),
    /// Merges a shard with the next one.
    Merge(usize),
}

impl Step {
    /// Has it done to a stream with these open shards.
    pub(super) async fn take(self, shared: &Shared, name: &str, open: &[ShardDescription]) -> Result<(), Error> {
        match self {
            Step::Split(at, key) => shared.log.split(&shared.place, name, open[at].shard, key).await,
            Step::Merge(at) => shared.log.merge(&shared.place, name, open[at].shard, open[at + 1].shard).await,
        }
    }
}

/// The open shards of all that a stream has, in the order of their hash keys.
pub(super) fn open(shards: Vec<ShardDescription>) -> Vec<ShardDescription> {
    let mut open: Vec<ShardDescription> = shards.into_iter().filter(|shard| shard.children.is_none()).collect();
    open.sort_by_key(|shard| shard.hash_start);
    open
}
