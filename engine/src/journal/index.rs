//! The index of the open segment: every durable extent, findable by shard and sequence number.
//!
//! One flat table without an allocation as it grows. The extents of a shard lie together in blocks, each twice as long as
//! the one before, up to a bound:
//!
//! ```text
//!   shard 1:  [a] <-> [b c] <-> [d e f .]        the newest block has room for one more
//!   shard 2:  [g] <-> [h .]
//! ```
//!
//! Adding one touches the shard's row and the next place of its newest block, and nothing that is old. Finding a number
//! steps back over blocks, then halves one. A footer reads block after block.

use frame::limits::EXTENTS_PER_SEGMENT_MAX;
use frame::segment::PlacedExtent;
use frame::{Sequence, ShardId};

const NONE: u32 = u32::MAX;

/// The longest block. Making one is a short step, and stepping back over blocks of a single busy shard as well.
const BLOCK_EXTENTS_MAX: u32 = 4096;

/// Memory of one extent. The places of a shard's blocks are less than twice its extents, and its blocks few.
pub(crate) const ENTRY_BYTES: usize = 2 * size_of::<PlacedExtent>() + size_of::<Block>();

/// Consecutive extents of one shard.
#[derive(Clone, Copy, Debug)]
struct Block {
    start: u32,
    end: u32,
    previous: u32,
    next: u32,
}

/// One shard's blocks.
#[derive(Clone, Copy, Debug)]
struct Row {
    /// Its newest block.
    block: u32,
    /// Where its next extent goes, and where that block ends.
    next: u32,
    end: u32,
    first_sequence: Sequence,
}

impl Row {
    const fn new(first_sequence: Sequence) -> Row {
        Row { block: NONE, next: 0, end: 0, first_sequence }
    }
}

/// Gives a shard its next block.
#[cold]
fn begin_block(row: &mut Row, blocks: &mut Vec<Block>, extents: &mut Vec<PlacedExtent>) {
    let previous = row.block;
    let length = blocks.get(previous as usize).map_or(1, |block| 2 * (block.end - block.start));
    row.block = blocks.len() as u32;
    row.next = extents.len() as u32;
    row.end = row.next + length.min(BLOCK_EXTENTS_MAX);
    extents.resize(row.end as usize, PlacedExtent::default());
    blocks.push(Block { start: row.next, end: row.end, previous, next: NONE });
    if let Some(before) = blocks.get_mut(previous as usize) {
        before.next = row.block;
    }
}

/// Durable extents of one segment.
#[derive(Debug, Default)]
pub(crate) struct Index {
    extents: Vec<PlacedExtent>,
    blocks: Vec<Block>,
    rows: Vec<Row>,
}

impl Index {
    /// An empty index. `nexts` are the shards' next numbers, by shard, as the segment begins.
    pub(crate) fn new(nexts: impl Iterator<Item = Sequence>) -> Index {
        let mut index = Index {
            extents: Vec::with_capacity(2 * EXTENTS_PER_SEGMENT_MAX),
            blocks: Vec::with_capacity(EXTENTS_PER_SEGMENT_MAX),
            rows: Vec::new(),
        };
        index.restart(nexts);
        index
    }

    /// Forgets everything, for the next segment.
    pub(crate) fn restart(&mut self, nexts: impl Iterator<Item = Sequence>) {
        self.extents.clear();
        self.blocks.clear();
        self.rows.clear();
        self.rows.extend(nexts.map(Row::new));
    }

    /// Adds shards that were just made, up to `count` in all.
    pub(crate) fn grow(&mut self, count: usize) {
        self.rows.resize(count, Row::new(Sequence(1)));
    }

    /// A shard goes on in this segment with `next`, unless it has records here already: all before that lies elsewhere.
    pub(crate) fn go_on(&mut self, shard: ShardId, next: Sequence) {
        let row = &mut self.rows[shard.0 as usize];
        if row.block == NONE {
            row.first_sequence = next;
        }
    }

    /// Adds the newest extent of a shard. Inlined, so that its fields go from registers to their place: on the way over
    /// the stack each would wait for the one before, whose place is not in the cache.
    #[inline]
    pub(crate) fn push(&mut self, shard: ShardId, extent: PlacedExtent) {
        let row = &mut self.rows[shard.0 as usize];
        if row.next == row.end {
            begin_block(row, &mut self.blocks, &mut self.extents);
        }
        self.extents[row.next as usize] = extent;
        row.next += 1;
    }

    /// The shard's extents from the first on that is as wanted: all after it are, too.
    pub(crate) fn extents_where(
        &self,
        shard: ShardId,
        is_as_wanted: impl Fn(&PlacedExtent) -> bool,
    ) -> impl Iterator<Item = PlacedExtent> + '_ {
        let mut number = self.rows.get(shard.0 as usize).map_or(NONE, |row| row.block);
        while let Some(block) = self.blocks.get(number as usize) {
            if block.previous == NONE || !is_as_wanted(&self.extents[block.start as usize]) {
                break;
            }
            number = block.previous;
        }
        let mut rest = self.block(shard, number);
        rest = &rest[rest.partition_point(|extent| !is_as_wanted(extent))..];
        std::iter::from_fn(move || {
            if rest.is_empty() {
                number = self.blocks.get(number as usize)?.next;
                rest = self.block(shard, number);
            }
            let (&extent, others) = rest.split_first()?;
            rest = others;
            Some(extent)
        })
    }

    /// All extents of a shard, in their order.
    pub(crate) fn extents(&self, shard: ShardId) -> impl Iterator<Item = PlacedExtent> + '_ {
        self.extents_where(shard, |_| true)
    }

    /// The shard's next number when the segment began.
    pub(crate) fn first_sequence(&self, shard: ShardId) -> Option<Sequence> {
        self.rows.get(shard.0 as usize).map(|row| row.first_sequence)
    }

    /// What a block of the shard holds.
    fn block(&self, shard: ShardId, number: u32) -> &[PlacedExtent] {
        let Some(block) = self.blocks.get(number as usize) else { return &[] };
        let row = &self.rows[shard.0 as usize];
        let end = if number == row.block { row.next } else { block.end };
        &self.extents[block.start as usize..end as usize]
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
        for extents in [1_u64, 2, 3, 10, 1000, 20_000] {
            let mut index = Index::new([Sequence(1); 3].into_iter());
            for at in 0..extents {
                index.push(ShardId(1), extent(10 + at * 5));
                index.push(ShardId(2), extent(1 + at * 3));
            }
            for at in 0..extents {
                for (from, expected) in [(10 + at * 5, at), (12 + at * 5, at), (13 + at * 5, at + 1)] {
                    let found = index.extents_where(ShardId(1), |extent| extent.last_sequence().0 >= from).next();
                    assert_eq!(found, (expected < extents).then(|| extent(10 + expected * 5)));
                }
            }
            let all: Vec<PlacedExtent> = index.extents(ShardId(1)).collect();
            assert_eq!(all, (0..extents).map(|at| extent(10 + at * 5)).collect::<Vec<_>>());
            let rest: Vec<PlacedExtent> =
                index.extents_where(ShardId(2), |extent| extent.first_sequence.0 >= 4).collect();
            assert_eq!(rest, (1..extents).map(|at| extent(1 + at * 3)).collect::<Vec<_>>());
            assert_eq!(index.extents(ShardId(0)).chain(index.extents(ShardId(3))).count(), 0);
        }
    }

    #[test]
    fn it_never_outgrows_its_memory() {
        for shards in [1_usize, 7, 1000, EXTENTS_PER_SEGMENT_MAX / 5, EXTENTS_PER_SEGMENT_MAX] {
            let mut index = Index::new(vec![Sequence(1); shards].into_iter());
            let rooms = (index.extents.capacity(), index.blocks.capacity());
            for number in 0..EXTENTS_PER_SEGMENT_MAX {
                index.push(ShardId((number % shards) as u32), extent(1 + 3 * (number / shards) as u64));
            }
            assert_eq!((index.extents.capacity(), index.blocks.capacity()), rooms, "{shards} shards");
            let bytes = index.extents.len() * size_of::<PlacedExtent>() + index.blocks.len() * size_of::<Block>();
            assert!(bytes <= EXTENTS_PER_SEGMENT_MAX * ENTRY_BYTES, "{shards} shards");
        }
    }
}
