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
    shard: ShardId,
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

/// What an extent that is added needs of those before it.
#[derive(Clone, Copy, Debug)]
struct Step {
    previous: u32,
    /// Of the previous one.
    depth: u32,
    /// Where the previous one jumps to, and in the end where this one does.
    over: u32,
    over_depth: u32,
    /// Where that one jumps to.
    far: u32,
}

/// Durable extents of one segment.
#[derive(Debug)]
pub(crate) struct Index {
    entries: Vec<Entry>,
    chains: Vec<Chain>,
    /// Filled and emptied within a call.
    steps: Vec<Step>,
}

impl Index {
    /// An empty index. `nexts` are the shards' next numbers, by shard, as the segment begins.
    pub(crate) fn new(nexts: impl Iterator<Item = Sequence>) -> Index {
        let mut index =
            Index { entries: Vec::with_capacity(EXTENTS_PER_SEGMENT_MAX), chains: Vec::new(), steps: Vec::new() };
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

    /// Adds the newest extents of some shards, each of another: those of one batch. In passes, so that what several of them
    /// need and the cache has not is fetched at once, not one after the other.
    pub(crate) fn push(&mut self, extents: impl Iterator<Item = (ShardId, PlacedExtent)> + Clone) {
        let Index { entries, chains, steps } = self;
        steps.clear();
        steps.extend(extents.clone().map(|(shard, _)| {
            let previous = chains[shard.0 as usize].last;
            let (depth, over) = entries.get(previous as usize).map_or((0, NONE), |before| (before.depth, before.jump));
            Step { previous, depth, over, over_depth: 0, far: NONE }
        }));
        for step in steps.iter_mut() {
            if let Some(over) = entries.get(step.over as usize) {
                (step.over_depth, step.far) = (over.depth, over.jump);
            }
        }
        for step in steps.iter_mut() {
            let far = entries.get(step.far as usize);
            let same_stretch = far.is_some_and(|far| step.depth - step.over_depth == step.over_depth - far.depth);
            step.over = if same_stretch { step.far } else { step.previous };
        }
        for (step, (shard, extent)) in steps.iter().zip(extents) {
            let this = entries.len() as u32;
            let (jump, depth) = match entries.get_mut(step.previous as usize) {
                None => (this, 0),
                Some(before) => {
                    debug_assert!(before.extent.last_sequence() < extent.first_sequence);
                    before.next = this;
                    (step.over, step.depth + 1)
                }
            };
            entries.push(Entry { extent, shard, previous: step.previous, next: NONE, jump, depth });
            chains[shard.0 as usize].last = this;
        }
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

    /// All extents, by shard. One pass in the order of the table and no chain followed: with a thousand shards each step of
    /// a chain misses the cache, and appends wait while a segment is sealed.
    pub(crate) fn by_shard(&self) -> ByShard {
        let mut ends = vec![0; self.chains.len()];
        for entry in &self.entries {
            ends[entry.shard.0 as usize] += 1;
        }
        let mut sum = 0;
        for end in &mut ends {
            // Where the shard's extents begin; it ends up where they end.
            sum += std::mem::replace(end, sum);
        }
        let mut extents = vec![PlacedExtent::default(); self.entries.len()];
        for entry in &self.entries {
            let at = &mut ends[entry.shard.0 as usize];
            extents[*at as usize] = entry.extent;
            *at += 1;
        }
        ByShard { extents, ends }
    }
}

/// The extents of an index, grouped.
#[derive(Debug)]
pub(crate) struct ByShard {
    extents: Vec<PlacedExtent>,
    /// Where the extents of each shard end, and so those of the next begin.
    ends: Vec<u32>,
}

impl ByShard {
    /// The extents of a shard, in their order.
    pub(crate) fn extents(&self, shard: ShardId) -> &[PlacedExtent] {
        let at = shard.0 as usize;
        let end = |at: usize| self.ends.get(at).map_or(0, |&end| end as usize);
        let start = at.checked_sub(1).map_or(0, end);
        self.extents.get(start..end(at)).unwrap_or_default()
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
                let batch = [(ShardId(1), extent(10 + at * 5)), (ShardId(2), extent(1 + at * 3))];
                index.push(batch.into_iter());
            }
            for at in 0..extents {
                for (from, expected) in [(10 + at * 5, at), (12 + at * 5, at), (13 + at * 5, at + 1)] {
                    let found = index.extents_from(ShardId(1), Sequence(from)).next();
                    assert_eq!(found, (expected < extents).then(|| extent(10 + expected * 5)));
                }
            }
            assert_eq!(index.extents_from(ShardId(1), Sequence(0)).count(), extents as usize);
            assert_eq!(index.extents_from(ShardId(0), Sequence(0)).count(), 0);
            let all = index.by_shard();
            assert_eq!(all.extents(ShardId(2)), (0..extents).map(|at| extent(1 + at * 3)).collect::<Vec<_>>());
            assert_eq!(all.extents(ShardId(1)), (0..extents).map(|at| extent(10 + at * 5)).collect::<Vec<_>>());
            assert_eq!((all.extents(ShardId(0)), all.extents(ShardId(3))), (&[][..], &[][..]));
        }
    }

    #[test]
    fn finding_takes_logarithmic_steps() {
        let mut index = Index::new([Sequence(1)].into_iter());
        for at in 0..100_000 {
            index.push(std::iter::once((ShardId(0), extent(1 + at * 3))));
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
