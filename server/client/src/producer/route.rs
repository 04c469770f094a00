//! From a partition key to the shard that holds it and the reactor that owns that.

use frame::ShardId;
use frame::proto::StreamDescription;
use frame::route::hash_key;

/// Where a record goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Target {
    pub(super) shard: ShardId,
    pub(super) reactor: u32,
}

/// The open shards of a stream by their hash ranges, which cover all hash keys.
#[derive(Debug)]
pub(super) struct Map {
    /// The first hash key of each, rising.
    ranges: Vec<(u128, Target)>,
}

impl Map {
    pub(super) fn of(stream: &StreamDescription) -> Map {
        let open = stream.shards.iter().filter(|shard| shard.children.is_none());
        let mut ranges: Vec<(u128, Target)> =
            open.map(|shard| (shard.hash_start, Target { shard: shard.shard, reactor: shard.reactor })).collect();
        ranges.sort_by_key(|(start, _)| *start);
        Map { ranges }
    }

    pub(super) fn target(&self, key: &[u8]) -> Target {
        let hash = hash_key(key);
        let behind = self.ranges.partition_point(|(start, _)| *start <= hash);
        let holds = behind.checked_sub(1).and_then(|at| self.ranges.get(at));
        // Of a stream without shards, which no server has, the server would say so.
        holds.map_or(Target { shard: ShardId(0), reactor: 0 }, |(_, target)| *target)
    }
}

#[cfg(test)]
mod tests {
    use frame::proto::{Children, ShardDescription};
    use frame::{Quotas, Retention, Sequence, StreamId};

    use super::*;

    fn shard(number: u32, hash_start: u128, hash_end: u128) -> ShardDescription {
        ShardDescription {
            shard: ShardId(number),
            reactor: number % 2,
            hash_start,
            hash_end,
            trim: Sequence(1),
            tip: Sequence(1),
            parent: None,
            adjacent_parent: None,
            created_ms: 0,
            children: None,
        }
    }

    #[test]
    fn keys_go_to_the_open_shard_whose_range_holds_their_md5() {
        let middle = 1 << 127;
        let mut parent = shard(1, 0, u128::MAX);
        parent.children = Some(Children { first: ShardId(2), count: 2 });
        let stream = StreamDescription {
            stream: StreamId(1),
            name: "s".to_owned(),
            created_ms: 0,
            quotas: Quotas::NONE,
            retention: Retention::default(),
            shards: vec![parent, shard(3, middle, u128::MAX), shard(2, 0, middle - 1)],
        };
        let map = Map::of(&stream);
        // RFC 1321: MD5("a") begins with 0c, MD5("abc") with 90.
        assert_eq!(map.target(b"a"), Target { shard: ShardId(2), reactor: 0 });
        assert_eq!(map.target(b"abc"), Target { shard: ShardId(3), reactor: 1 });
        assert!(stream.shards.iter().filter(|shard| shard.children.is_none()).all(|shard| {
            (0..100_u32)
                .map(|number| number.to_string())
                .all(|key| (map.target(key.as_bytes()).shard == shard.shard) == shard.holds(hash_key(key.as_bytes())))
        }));
    }
}
