//! Which reactor owns a shard: a function of its number and of how many reactors there are, the same everywhere.

use frame::{JournalNumber, ShardId};

/// The owners of all shards, as one of so many reactors sees them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Owners {
    reactors: u32,
    own: u32,
}

impl Owners {
    /// As reactor number `own` of `reactors`, at least one, sees them.
    pub(crate) fn new(reactors: usize, own: usize) -> Owners {
        debug_assert!(own < reactors);
        Owners { reactors: reactors as u32, own: own as u32 }
    }

    /// How many reactors there are.
    pub(crate) fn reactors(self) -> usize {
        self.reactors as usize
    }

    /// This reactor's number.
    pub(crate) fn own(self) -> usize {
        self.own as usize
    }

    /// The owner of a shard.
    #[inline]
    pub(crate) fn of(self, shard: ShardId) -> usize {
        (shard.0 % self.reactors) as usize
    }

    /// Whose part it is to drop a journal's segments: its own reactor's, or the first's where it has none.
    pub(crate) fn keeper(self, journal: JournalNumber) -> usize {
        if journal.0 < self.reactors { journal.0 as usize } else { 0 }
    }

    /// Whether this reactor owns a shard. With one reactor that costs a branch, which is always the same.
    #[inline]
    pub(crate) fn is_own(self, shard: ShardId) -> bool {
        self.reactors == 1 || shard.0 % self.reactors == self.own
    }
}
