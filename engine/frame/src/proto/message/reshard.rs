//! Shards split, merged and moved, and what became of a shard that is closed.

use super::fields::{Control, FieldsOf, put_text};
use super::kind::Kind;
use crate::id::ShardId;
use crate::limits::STREAM_NAME_BYTES_MAX;
use crate::proto::Violation;

/// The shards that go on where a closed one ended: two after a split, one after a merge.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Children {
    /// The one with the lowest hash keys.
    pub first: ShardId,
    /// How many; their numbers follow each other.
    pub count: u32,
}

/// Split a shard. Answered by the stream once its children take records in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SplitShard {
    /// The stream's name.
    pub name: String,
    /// An open shard of it.
    pub shard: ShardId,
    /// The first hash key of the second child.
    pub at: u128,
}

/// Merge two open shards whose hash ranges meet. Answered by the stream once their child takes records in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MergeShards {
    /// The stream's name.
    pub name: String,
    /// One of them.
    pub shard: ShardId,
    /// The other.
    pub adjacent: ShardId,
}

/// Move an open shard to another reactor. Answered by the stream once the shard takes records in there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MoveShard {
    /// The stream's name.
    pub name: String,
    /// An open shard of it.
    pub shard: ShardId,
    /// The number of the reactor.
    pub reactor: u32,
}

impl Children {
    /// Their numbers, by hash range.
    pub fn shards(self) -> impl Iterator<Item = ShardId> {
        (self.first.0..self.first.0.saturating_add(self.count)).map(ShardId)
    }

    /// As in messages: zeros for none.
    pub(super) fn put(children: Option<Children>, out: &mut Vec<u8>) {
        let (first, count) = children.map_or((0, 0), |children| (children.first.0, children.count));
        out.extend_from_slice(&first.to_le_bytes());
        out.extend_from_slice(&count.to_le_bytes());
    }

    pub(super) fn join(first: u32, count: u32) -> Result<Option<Children>, Violation> {
        match (first, count) {
            (0, 0) => Ok(None),
            (1.., 1 | 2) => Ok(Some(Children { first: ShardId(first), count })),
            _ => Err(Violation::Malformed("a shard has no such children")),
        }
    }
}

impl Control for SplitShard {
    const KIND: Kind = Kind::SplitShard;

    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.shard.0.to_le_bytes());
        out.extend_from_slice(&self.at.to_le_bytes());
        put_text(out, &self.name);
    }

    fn take(FieldsOf(fields): &mut FieldsOf<'_>) -> Result<SplitShard, Violation> {
        let (shard, at) = (ShardId(fields.u32()?), fields.u128()?);
        Ok(SplitShard { shard, at, name: fields.text(STREAM_NAME_BYTES_MAX)? })
    }
}

impl Control for MergeShards {
    const KIND: Kind = Kind::MergeShards;

    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.shard.0.to_le_bytes());
        out.extend_from_slice(&self.adjacent.0.to_le_bytes());
        put_text(out, &self.name);
    }

    fn take(FieldsOf(fields): &mut FieldsOf<'_>) -> Result<MergeShards, Violation> {
        let (shard, adjacent) = (ShardId(fields.u32()?), ShardId(fields.u32()?));
        Ok(MergeShards { shard, adjacent, name: fields.text(STREAM_NAME_BYTES_MAX)? })
    }
}

impl Control for MoveShard {
    const KIND: Kind = Kind::MoveShard;

    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.shard.0.to_le_bytes());
        out.extend_from_slice(&self.reactor.to_le_bytes());
        put_text(out, &self.name);
    }

    fn take(FieldsOf(fields): &mut FieldsOf<'_>) -> Result<MoveShard, Violation> {
        let (shard, reactor) = (ShardId(fields.u32()?), fields.u32()?);
        Ok(MoveShard { shard, reactor, name: fields.text(STREAM_NAME_BYTES_MAX)? })
    }
}
