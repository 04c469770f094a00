//! Shards of which nothing tells whose they are: their numbers were given, and the command that made them was damaged, or is
//! still to come. What is found of them is kept.
//!
//! ```text
//!   a range   0 first shard | 4 the one after the last
//! ```
//!
//! Numbers are given in their order, so those of a lost command are a gap between what is known. There are as many ranges as
//! gaps, and as splits and merges that are under way.

use std::collections::BTreeMap;
use std::ops::Range;

use frame::ShardId;

pub(super) const RANGE_BYTES: usize = 8;

/// Ranges of numbers that don't touch each other: the first of each, and the one after its last.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Orphans(BTreeMap<u32, u32>);

impl Orphans {
    /// The range that has a shard.
    fn find(&self, shard: u32) -> Option<Range<u32>> {
        let (&first, &end) = self.0.range(..=shard).next_back()?;
        (shard < end).then_some(first..end)
    }

    pub(super) fn contains(&self, shard: ShardId) -> bool {
        self.find(shard.0).is_some()
    }

    /// Adds numbers that are higher than all before.
    pub(super) fn push(&mut self, shards: Range<u32>) {
        match self.0.last_entry() {
            _ if shards.is_empty() => {}
            Some(mut last) if *last.get() >= shards.start => *last.get_mut() = shards.end.max(*last.get()),
            _ => _ = self.0.insert(shards.start, shards.end),
        }
    }

    /// It is known whose a shard is, or was.
    pub(super) fn remove(&mut self, shard: ShardId) {
        let Some(Range { start, end }) = self.find(shard.0) else { return };
        self.0.remove(&start);
        let left = [start..shard.0, shard.0 + 1..end];
        self.0.extend(left.into_iter().filter(|range| !range.is_empty()).map(|range| (range.start, range.end)));
    }

    /// How many ranges there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let numbers = self.0.iter().flat_map(|(first, end)| [first, end]);
        out.extend(numbers.flat_map(|number| number.to_le_bytes()));
    }

    /// Ranges of so many; `None` if they are not as many, or not in order.
    pub(super) fn decode(bytes: &[u8], ranges: u32) -> Option<Orphans> {
        let (chunks, left) = bytes.as_chunks::<RANGE_BYTES>();
        (left.is_empty() && chunks.len() == ranges as usize).then_some(())?;
        let mut orphans = Orphans::default();
        let mut least = 0;
        for chunk in chunks {
            let number = |at: usize| Some(u32::from_le_bytes(*chunk.get(at..)?.first_chunk()?));
            let shards = number(0)?..number(4)?;
            (shards.start >= least && shards.start < shards.end).then_some(())?;
            least = shards.end.checked_add(1)?;
            orphans.push(shards);
        }
        Some(orphans)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_joined_and_parted() {
        let mut orphans = Orphans::default();
        [3..3, 3..5, 5..9, 12..13].into_iter().for_each(|range| orphans.push(range));
        assert_eq!(orphans.0, BTreeMap::from([(3, 9), (12, 13)]));
        [12, 3, 8, 5, 5, 70].into_iter().for_each(|shard| orphans.remove(ShardId(shard)));
        assert_eq!(orphans.0, BTreeMap::from([(4, 5), (6, 8)]));
        let found: Vec<u32> = (0..20).filter(|&shard| orphans.contains(ShardId(shard))).collect();
        assert_eq!(found, [4, 6, 7]);
    }

    #[test]
    fn what_is_no_list_of_ranges_is_none() {
        let mut orphans = Orphans::default();
        [3..9, 12..u32::MAX - 1].into_iter().for_each(|range| orphans.push(range));
        let mut bytes = Vec::new();
        orphans.encode(&mut bytes);
        assert_eq!((bytes.len(), Orphans::decode(&bytes, 2)), (orphans.len() * RANGE_BYTES, Some(orphans)));
        assert_eq!((Orphans::decode(&bytes, 1), Orphans::decode(&bytes[..15], 2)), (None, None));
        for numbers in [[3, 3, 7, 8], [3, 7, 7, 8], [7, 8, 3, 5], [7, u32::MAX, 8, 9]] {
            let bytes: Vec<u8> = numbers.into_iter().flat_map(u32::to_le_bytes).collect();
            assert_eq!(Orphans::decode(&bytes, 2), None, "{numbers:?}");
        }
    }
}
