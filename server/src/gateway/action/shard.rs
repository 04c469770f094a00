//! Shards as the actions on them find and tell them.

use engine::{Stream, Time};
use frame::ShardId;
use frame::proto::ShardDescription;
use wire::name::ShardName;
use wire::shape::{SequenceNumberRange, Shard};
use wire::{Error, ErrorKind};

use super::{hash_key_range, sequence_number, shard_name};

/// When a shard was closed, if it was; `shards` are those that come after it.
pub(super) fn closed_ms(shards: &[ShardDescription], shard: &ShardDescription) -> Option<u64> {
    let child = shard.children?.first;
    // They lie in the order in which they were made.
    let at = shards.binary_search_by_key(&child, |other| other.shard).ok()?;
    Some(shards[at].created_ms)
}

/// What is older than this has expired by the log's clock. Of a stream that keeps its records for ever nothing has, nor while the
/// log holds everything.
pub(super) fn horizon_ms(stream: &Stream, time: &Time) -> u64 {
    let kept_ms = stream.retention.seconds.map_or(u64::MAX, |seconds| u64::from(seconds.get()) * 1000);
    time.expiry_ms.map_or(0, |now_ms| now_ms.saturating_sub(kept_ms))
}

/// Whether there may be something in a shard that has not expired, or may come: others are not told of.
pub(super) fn is_kept(closed_ms: Option<u64>, horizon_ms: u64) -> bool {
    closed_ms.is_none_or(|closed_ms| closed_ms >= horizon_ms)
}

/// Whether nothing came before a shard, as far as that is known: it was made with its stream, or what it was made of has expired and
/// is forgotten. `shards` are all of the stream.
pub(super) fn is_first(shards: &[ShardDescription], shard: &ShardDescription) -> bool {
    shard.parents().all(|parent| shards.binary_search_by_key(&parent, |other| other.shard).is_err())
}

/// A shard as callers see it.
pub(super) fn told(stream: &Stream, shard: &ShardDescription, closed_ms: Option<u64>) -> Shard {
    let name = shard_name(stream, shard.shard);
    let number = |number, arrival_ms| sequence_number(shard.created_ms / 1000, name, number, arrival_ms);
    let parent = |parent: Option<ShardId>| parent.map(|parent| shard_name(stream, parent).to_string());
    Shard {
        shard_id: name.to_string(),
        parent_shard_id: parent(shard.parent),
        adjacent_parent_shard_id: parent(shard.adjacent_parent),
        hash_key_range: hash_key_range(shard),
        sequence_number_range: SequenceNumberRange {
            starting_sequence_number: number(0, shard.created_ms),
            // Nothing in it arrived after it was closed.
            ending_sequence_number: closed_ms.map(|closed_ms| number(shard.tip.0 - 1, closed_ms)),
        },
    }
}

/// The first shard after one of this name; the first of all without.
pub(super) fn after(name: Option<&str>) -> Result<u32, Error> {
    let Some(name) = name else { return Ok(0) };
    let invalid = || Error::new(ErrorKind::InvalidArgument, "The ShardId is not one of a shard.");
    ShardName::parse(name).map(|shard| shard.0 + 1).ok_or_else(invalid)
}
