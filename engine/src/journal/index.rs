//! The index of the open segment: every durable extent, findable by shard and sequence number.
//!
//! One flat table, filled in the order of the journal, so that nothing is allocated as it grows. The extents of a shard
//! are chained both ways; each also jumps back over a power-of-two-like stretch (a skew-binary list, Myers 1983), so that
//! finding a number takes a logarithmic number of steps.

use frame::limits::EXTENTS_PER_SEGMENT_MAX;
use frame::segment::PlacedExtent;
use frame::{Sequence, ShardId};

const NONE: u32 = u32::MAX;

#[derive(Clone, Copy, Debug)]
struct Entry {
    extent: PlacedExtent,
    previous: u32,
    next: u32,
    jump: u32,
    depth: u32,
}

/// Memory of one entry.
pub(crate) const ENTRY_BYTES: usize = size_of::<Entry>();

#[derive(Clone, Copy, Debug)]
struct Chain {
    last: u32,
    first_sequence: Sequence,
}

/// Durable extents of one segment.
#[derive(Debug)]
pub(crate) struct Index {
    entries: Vec<Entry>,
    chains: Vec<Chain>,
}

impl Index {
    /// An empty index. `nexts` are the shards' next numbers, by shard, as the segment begins.
    pub(crate) fn new(nexts: impl Iterator<Item = Sequence>) -> Index {
        let mut index = Index { entries: Vec::with_capacity(EXTENTS_PER_SEGMENT_MAX), chains: Vec::new() };
        index.restart(nexts);
        index
    }

    /// Forgets everything, for the next segment.
    pub(crate) fn restart(&mut self, nexts: impl Iterator<Item = Sequence>) {
        self.entries.clear();
        self.chains.clear();
        self.chains.extend(nexts.map(|first_sequence| Chain { last: NONE, first_sequence }));
    }

    /// Adds shards that were just made, up to `count` in all.
    pub(crate) fn grow(&mut self, count: usize) {
        self.chains.resize(count, Chain { last: NONE, first_sequence: Sequence(1) });
    }

    /// Adds the newest extent of `shard`.
    pub(crate) fn push(&mut self, shard: ShardId, extent: PlacedExtent) {
        let chain = &mut self.chains[shard.0 as usize];
        let this = self.entries.len() as u32;
        let previous = chain.last;
        let (jump, depth) = match self.entries.get(previous as usize) {
            None => (this, 0),
            Some(before) => {
                let over = &self.entries[before.jump as usize];
                let same_stretch = before.depth - over.depth == over.depth - self.entries[over.jump as usize].depth;
                (if same_stretch { over.jump } else { previous }, before.depth + 1)
            }
        };
        if let Some(before) = self.entries.get_mut(previous as usize) {
            debug_assert!(before.extent.last_sequence() < extent.first_sequence);
            before.next = this;
        }
        self.entries.push(Entry { extent, previous, next: NONE, jump, depth });
        chain.last = this;
    }

    /// The shard's extents from the one that holds `from`, or the first after it.
    pub(crate) fn extents_from(&self, shard: ShardId, from: Sequence) -> impl Iterator<Item = PlacedExtent> + '_ {
        let holds = |at: u32| self.entries.get(at as usize).is_some_and(|e| e.extent.last_sequence() >= from);
        let mut at = self.chains.get(shard.0 as usize).map_or(NONE, |chain| chain.last);
        if !holds(at) {
            at = NONE;
        }
        while let Some(entry) = self.entries.get(at as usize) {
            if entry.jump != at && holds(entry.jump) {
                at = entry.jump;
            } else if holds(entry.previous) {
                at = entry.previous;
            } else {
                break;
            }
        }
        std::iter::from_fn(move || {
            let entry = self.entries.get(at as usize)?;
            at = entry.next;
            Some(entry.extent)
        })
    }

    /// The shard's next number when the segment began.
    pub(crate) fn first_sequence(&self, shard: ShardId) -> Option<Sequence> {
        self.chains.get(shard.0 as usize).map(|chain| chain.first_sequence)
    }

    /// All extents of a shard in order, gathered in `into`.
    pub(crate) fn collect(&self, shard: ShardId, into: &mut Vec<PlacedExtent>) {
        into.clear();
        let mut at = self.chains.get(shard.0 as usize).map_or(NONE, |chain| chain.last);
        while let Some(entry) = self.entries.get(at as usize) {
            into.push(entry.extent);
            at = entry.previous;
        }
        into.reverse();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extent(number: u64) -> PlacedExtent {
        PlacedExtent {
            offset: number as u32 * 64,
            length: 64,
            count: 3,
            first_sequence: Sequence(number),
            arrival_ms: number,
        }
    }

    #[test]
    fn every_number_is_found() {
        for extents in [1_u64, 2, 3, 10, 1000] {
            let mut index = Index::new([Sequence(1); 3].into_iter());
            for at in 0..extents {
                index.push(ShardId(1), extent(10 + at * 5));
                index.push(ShardId(2), extent(1 + at * 3));
            }
            for at in 0..extents {
                for (from, expected) in [(10 + at * 5, at), (12 + at * 5, at), (13 + at * 5, at + 1)] {
                    let found = index.extents_from(ShardId(1), Sequence(from)).next();
                    assert_eq!(found, (expected < extents).then(|| extent(10 + expected * 5)));
                }
            }
            assert_eq!(index.extents_from(ShardId(1), Sequence(0)).count(), extents as usize);
            assert_eq!(index.extents_from(ShardId(0), Sequence(0)).count(), 0);
            let mut all = Vec::new();
            index.collect(ShardId(2), &mut all);
            assert_eq!(all, (0..extents).map(|at| extent(1 + at * 3)).collect::<Vec<_>>());
        }
    }

    #[test]
    fn finding_takes_logarithmic_steps() {
        let mut index = Index::new([Sequence(1)].into_iter());
        for at in 0..100_000 {
            index.push(ShardId(0), extent(1 + at * 3));
        }
        let mut at = 99_999_u32;
        let mut steps = 0;
        while at != 0 {
            let entry = &index.entries[at as usize];
            at = if entry.jump == at { entry.previous } else { entry.jump };
            steps += 1;
        }
        assert!(steps < 64, "{steps} jumps to the start");
    }
}
