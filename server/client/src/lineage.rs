//! In which order the shards of a stream are read: none before all that it was made of have ended.

use std::collections::{BTreeMap, BTreeSet};

use frame::ShardId;
use frame::proto::{Children, StreamDescription};

/// Shards that wait for their parents.
#[derive(Default, Debug)]
pub(crate) struct Lineage {
    /// Those that were begun, and of them those that have ended.
    begun: BTreeSet<ShardId>,
    ended: BTreeSet<ShardId>,
    /// The parents that have not ended, of each.
    waits_for: BTreeMap<ShardId, BTreeSet<ShardId>>,
    /// Of two shards that were merged one has ended, in these; who made the child is not described.
    half_merged: BTreeSet<ShardId>,
}

impl Lineage {
    /// All shards of a stream from its first ones on. Also returns those that wait for none.
    pub(crate) fn of(stream: &StreamDescription) -> (Lineage, Vec<ShardId>) {
        // Parents that are not described any more have expired.
        let described: BTreeSet<ShardId> = stream.shards.iter().map(|shard| shard.shard).collect();
        let (mut lineage, mut first) = (Lineage::default(), Vec::new());
        for shard in &stream.shards {
            let parents: BTreeSet<ShardId> = shard.parents().filter(|parent| described.contains(parent)).collect();
            if parents.is_empty() {
                first.push(shard.shard);
            } else {
                lineage.waits_for.insert(shard.shard, parents);
            }
        }
        lineage.begun.extend(&first);
        (lineage, first)
    }

    /// Those that are open alone, which have begun.
    pub(crate) fn of_open(stream: &StreamDescription) -> Lineage {
        let all = || stream.shards.iter();
        let ended = all().filter(|shard| shard.children.is_some()).map(|shard| shard.shard).collect();
        Lineage { begun: all().map(|shard| shard.shard).collect(), ended, ..Lineage::default() }
    }

    /// A shard that was begun has been forgotten, as all of it has expired, and maybe some that were made of it. The shards that may
    /// be read now, of those that there are.
    pub(crate) fn look_again(&mut self, stream: &StreamDescription) -> Vec<ShardId> {
        let described: BTreeSet<ShardId> = stream.shards.iter().map(|shard| shard.shard).collect();
        let mut due = Vec::new();
        self.waits_for.clear();
        for shard in stream.shards.iter().filter(|shard| !self.begun.contains(&shard.shard)) {
            self.half_merged.remove(&shard.shard);
            let goes_on = |parent: &ShardId| described.contains(parent) && !self.ended.contains(parent);
            let parents: BTreeSet<ShardId> = shard.parents().filter(goes_on).collect();
            if parents.is_empty() {
                due.push(shard.shard);
            } else {
                self.waits_for.insert(shard.shard, parents);
            }
        }
        self.begun.extend(&due);
        due
    }

    /// The shards that may be read now that one has ended.
    pub(crate) fn end(&mut self, shard: ShardId, children: Children) -> Vec<ShardId> {
        let mut due = Vec::new();
        self.ended.insert(shard);
        for child in children.shards() {
            match self.waits_for.get_mut(&child) {
                Some(parents) => {
                    parents.remove(&shard);
                    if parents.is_empty() {
                        self.waits_for.remove(&child);
                        due.push(child);
                    }
                }
                // It was made since: of both of two shards, if it is alone, and both were open then and are followed.
                None if children.count == 1 && self.half_merged.insert(child) => {}
                None => {
                    self.half_merged.remove(&child);
                    due.push(child);
                }
            }
        }
        self.begun.extend(&due);
        due
    }
}

#[cfg(test)]
mod tests {
    use frame::proto::ShardDescription;
    use frame::{Quotas, Retention, Sequence, StreamId};

    use super::*;

    fn stream(shards: &[(u32, &[u32])]) -> StreamDescription {
        let shard = |&(shard, parents): &(u32, &[u32])| ShardDescription {
            shard: ShardId(shard),
            reactor: 0,
            hash_start: 0,
            hash_end: 0,
            trim: Sequence(1),
            tip: Sequence(1),
            parent: parents.first().copied().map(ShardId),
            adjacent_parent: parents.get(1).copied().map(ShardId),
            created_ms: 0,
            children: None,
        };
        StreamDescription {
            stream: StreamId(1),
            name: "s".to_owned(),
            created_ms: 0,
            quotas: Quotas::NONE,
            retention: Retention::NONE,
            shards: shards.iter().map(shard).collect(),
        }
    }

    fn children(first: u32, count: u32) -> Children {
        Children { first: ShardId(first), count }
    }

    #[test]
    fn children_come_after_all_of_their_parents() {
        // 1 is split in 3 and 4; 4 and 2 are merged in 5; of 6 the parent has expired.
        let (mut lineage, first) =
            Lineage::of(&stream(&[(1, &[]), (2, &[]), (3, &[1]), (4, &[1]), (5, &[4, 2]), (6, &[9])]));
        assert_eq!(first, [ShardId(1), ShardId(2), ShardId(6)]);
        assert!(lineage.end(ShardId(2), children(5, 1)).is_empty());
        assert_eq!(lineage.end(ShardId(1), children(3, 2)), [ShardId(3), ShardId(4)]);
        assert_eq!(lineage.end(ShardId(4), children(5, 1)), [ShardId(5)]);
        // And those that are made later: 3 is split in 7 and 8, 7 and 5 are merged in 10.
        assert_eq!(lineage.end(ShardId(3), children(7, 2)), [ShardId(7), ShardId(8)]);
        assert!(lineage.end(ShardId(5), children(10, 1)).is_empty());
        assert_eq!(lineage.end(ShardId(7), children(10, 1)), [ShardId(10)]);
    }

    #[test]
    fn what_goes_on_behind_shards_that_are_forgotten_is_found() {
        // 1 is split in 3 and 4, which are merged in 5; 2 is read.
        let before = stream(&[(1, &[]), (2, &[]), (3, &[1]), (4, &[1]), (5, &[3, 4])]);
        let (mut lineage, first) = Lineage::of(&before);
        assert_eq!(first, [ShardId(1), ShardId(2)]);
        // While 1 is read, it and those made of it expire; 5 and 2 are merged in 6.
        let after = stream(&[(2, &[]), (5, &[3, 4]), (6, &[5, 2])]);
        assert_eq!(lineage.look_again(&after), [ShardId(5)]);
        assert!(lineage.look_again(&after).is_empty(), "once");
        assert!(lineage.end(ShardId(2), children(6, 1)).is_empty());
        assert_eq!(lineage.end(ShardId(5), children(6, 1)), [ShardId(6)]);
        // Who began with what was open has no use for what was closed.
        let mut closed = stream(&[(1, &[]), (3, &[1]), (4, &[1])]);
        closed.shards[0].children = Some(children(3, 2));
        let mut lineage = Lineage::of_open(&closed);
        assert_eq!(lineage.end(ShardId(3), children(7, 1)), []);
        assert_eq!(lineage.look_again(&stream(&[(1, &[]), (4, &[1]), (7, &[3, 4])])), []);
        assert_eq!(lineage.end(ShardId(4), children(7, 1)), [ShardId(7)]);
    }
}
