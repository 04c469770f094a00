//! Which reactor owns a shard: a function of its home and of how many reactors there are, the same everywhere. A shard's home is
//! its own number until it is moved, and then the reactor that it was moved to.

use std::collections::BTreeMap;
use std::sync::Arc;

use frame::{JournalNumber, ShardId};

/// The owners of all shards, as one of so many reactors sees them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Owners {
    reactors: u32,
    own: u32,
    /// How often shards were moved in this life, and the homes of those that ever were.
    moves: u64,
    homes: Arc<BTreeMap<ShardId, u32>>,
}

impl Owners {
    /// As reactor number `own` of `reactors`, at least one, sees them, where none was moved.
    pub(crate) fn new(reactors: usize, own: usize) -> Owners {
        debug_assert!(own < reactors);
        Owners { reactors: reactors as u32, own: own as u32, moves: 0, homes: Arc::default() }
    }

    /// As another reactor sees them.
    pub(crate) fn seen_by(&self, own: usize) -> Owners {
        Owners { own: own as u32, ..self.clone() }
    }

    /// Some shards were moved. Tells whether there are any.
    pub(crate) fn move_all(&mut self, moved: impl Iterator<Item = (ShardId, u32)>) -> bool {
        self.moves += 1;
        Arc::make_mut(&mut self.homes).extend(moved);
        !self.homes.is_empty()
    }

    /// How often shards were moved: two reactors that say the same agree on the owner of each.
    pub(crate) fn moves(&self) -> u64 {
        self.moves
    }

    /// How many reactors there are.
    pub(crate) fn reactors(&self) -> usize {
        self.reactors as usize
    }

    /// This reactor's number.
    pub(crate) fn own(&self) -> usize {
        self.own as usize
    }

    /// The owner of a shard.
    #[inline]
    pub(crate) fn of(&self, shard: ShardId) -> usize {
        self.at(self.home(shard))
    }

    /// The home of a shard.
    #[inline]
    pub(crate) fn home(&self, shard: ShardId) -> u32 {
        let moved = if self.homes.is_empty() { None } else { self.homes.get(&shard) };
        moved.map_or(shard.0, |&home| home)
    }

    /// Who owns what has a home. There may be fewer reactors than when it was moved there.
    #[inline]
    pub(crate) fn at(&self, home: u32) -> usize {
        (home % self.reactors) as usize
    }

    /// Whose part it is to drop a journal's segments: its own reactor's, or the first's where it has none.
    pub(crate) fn keeper(&self, journal: JournalNumber) -> usize {
        if journal.0 < self.reactors { journal.0 as usize } else { 0 }
    }

    /// Whether this reactor owns a shard. With one reactor that costs a branch, which is always the same.
    #[inline]
    pub(crate) fn is_own(&self, shard: ShardId) -> bool {
        self.reactors == 1 || self.of(shard) == self.own()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_is_a_number_or_where_it_was_moved_to() {
        let mut owners = Owners::new(3, 1);
        assert!(!owners.move_all(std::iter::empty()));
        assert_eq!([1, 2, 3, 7].map(|shard| owners.of(ShardId(shard))), [1, 2, 0, 1]);
        assert!(owners.move_all([(ShardId(7), 2), (ShardId(3), 4)].into_iter()));
        assert_eq!([1, 2, 3, 7].map(|shard| owners.of(ShardId(shard))), [1, 2, 1, 2]);
        assert!(owners.is_own(ShardId(3)) && !owners.is_own(ShardId(7)));
        assert!(owners.seen_by(2).is_own(ShardId(7)));
    }
}
