//! Which segments to compact: the emptiest, with neighbours that are sparse or short, when too much of the disk is dead; and short ones
//! that are many.

use std::ops::Range;

use frame::batch::{EXTENT_BYTES, batch_bytes};
use frame::limits::{BLOCK_BYTES, EXTENTS_PER_SEGMENT_MAX};

use crate::journal::Sealed;
use crate::limits::{BATCH_BYTES_TARGET, COMPACTION_JOINED_MIN, COMPACTION_SHORT_SHARE};

/// A sealed segment and what of it lives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) sealed: Sealed,
    pub(crate) live: Live,
    /// Whether it may be compacted: nobody else has records in it, and no start needs it as it is.
    pub(crate) may_move: bool,
}

/// How much of a segment lives.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Live {
    pub(crate) bytes: u64,
    pub(crate) extents: usize,
}

impl Entry {
    fn bytes(&self) -> u64 {
        u64::from(self.sealed.bytes)
    }

    /// What it would take by itself, compacted: in one batch, as more of them are no longer.
    fn kept_bytes(&self) -> u64 {
        if self.live.extents == 0 {
            return self.bytes();
        }
        let batch = batch_bytes(self.live.bytes as usize, self.live.extents) as u64;
        (2 * BLOCK_BYTES as u64 + batch + u64::from(self.sealed.footer_length)).min(self.bytes())
    }

    /// So much of it is dead that it is worth copying what lives.
    fn is_sparse(&self, worth: Worth) -> bool {
        (self.bytes() - self.kept_bytes()) * worth.share() >= self.bytes()
    }

    /// Its file is short, as it was compacted, or left for a shard that moved: with its neighbours it makes fewer.
    fn is_short(&self, segment_bytes: u64) -> bool {
        self.bytes() * COMPACTION_SHORT_SHARE <= segment_bytes
    }
}

/// How much must be dead: a quarter, which keeps the disk under one and a half times what lives; little, where records are
/// refused for want of space.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Worth {
    Usual,
    Full,
}

impl Worth {
    fn share(self) -> u64 {
        match self {
            Worth::Usual => 4,
            Worth::Full => 16,
        }
    }
}

/// Whether so much of a journal is dead that it should be compacted: a share of it, and of a segment.
pub(crate) fn is_worth_it(entries: &[Entry], segment_bytes: u64, worth: Worth) -> bool {
    let bytes: u64 = entries.iter().map(Entry::bytes).sum();
    let dead: u64 = bytes - entries.iter().map(Entry::kept_bytes).sum::<u64>();
    dead * worth.share() > bytes && dead * worth.share() > segment_bytes
}

/// The next run of at most so many to compact into one segment, if any: `entries` are all of a journal, in its order.
pub(crate) fn choose(entries: &[Entry], segment_bytes: u64, worth: Worth, run_max: usize) -> Option<Range<usize>> {
    let is_movable = |entry: &Entry| entry.may_move && entry.is_sparse(worth);
    let movable = (0..entries.len()).filter(|&at| is_movable(&entries[at]) && fits(&entries[at..=at], segment_bytes));
    // In thousandths of its bytes: the file's length is never 0.
    let emptiest = movable.min_by_key(|&at| entries[at].kept_bytes() * 1000 / entries[at].bytes().max(1))?;
    let mut run = emptiest..emptiest + 1;
    while run.len() < run_max {
        let after = run.start..run.end + 1;
        let before = run.start.saturating_sub(1)..run.end;
        let joins = |at: usize| {
            let entry = entries.get(at).filter(|_| !run.contains(&at));
            entry.is_some_and(|entry| entry.may_move && (entry.is_sparse(worth) || entry.is_short(segment_bytes)))
        };
        if joins(run.end) && fits(&entries[after.clone()], segment_bytes) {
            run = after;
        } else if run.start > 0 && joins(run.start - 1) && fits(&entries[before.clone()], segment_bytes) {
            run = before;
        } else {
            break;
        }
    }
    Some(run)
}

/// The longest run of short segments that are many, if any, whatever of them lives. The longest of them is no more than half of the run: so
/// what is copied is in a file of twice the length each time, and no byte is copied more often than a short file's length is doubled.
pub(crate) fn join(entries: &[Entry], segment_bytes: u64, run_max: usize) -> Option<Range<usize>> {
    let joins = |entry: &Entry| entry.may_move && entry.live.extents > 0 && entry.is_short(segment_bytes);
    let runs = (0..entries.len()).flat_map(|start| {
        let ends = (start + 1..=entries.len()).take(run_max);
        let runs = ends.map(move |end| start..end);
        runs.take_while(|run| joins(&entries[run.end - 1]) && fits(&entries[run.clone()], segment_bytes))
    });
    let is_worth_it = |run: &Range<usize>| {
        let bytes = || entries[run.clone()].iter().map(Entry::kept_bytes);
        run.len() >= COMPACTION_JOINED_MIN && bytes().max().unwrap_or(0) * 2 <= bytes().sum()
    };
    runs.filter(is_worth_it).max_by_key(|run| (run.len(), std::cmp::Reverse(run.start)))
}

/// Whether what lives of a run fits one segment, whatever its batches and its footer add, and is gathered in short time.
fn fits(run: &[Entry], segment_bytes: u64) -> bool {
    let live: u64 = run.iter().map(|entry| entry.live.bytes).sum();
    let extents: usize = run.iter().map(|entry| entry.live.extents).sum();
    let footers: u64 = run.iter().map(|entry| u64::from(entry.sealed.footer_length)).sum();
    let room = segment_bytes - segment_bytes / 8;
    extents <= EXTENTS_PER_SEGMENT_MAX && live + footers <= room
}

/// Bytes that the copy of a run takes at most. Two batches that follow each other are longer than one may be, so there are at
/// most twice as many as the longest would be, and one; each has a header and ends in a whole block. Its footer is no longer
/// than those of the run together.
pub(super) fn copy_bytes_max(run: &[Entry]) -> u64 {
    let block = BLOCK_BYTES as u64;
    let of_entry = |entry: &Entry| entry.live.bytes + (entry.live.extents * EXTENT_BYTES) as u64;
    let live: u64 = run.iter().map(of_entry).sum();
    let batches = 2 * live / (BATCH_BYTES_TARGET as u64 - 2 * block) + 1;
    let footers: u64 = run.iter().map(|entry| u64::from(entry.sealed.footer_length)).sum();
    // Header and trailer.
    let ends = 2 * block;
    (live + batches * 2 * block + footers + ends).next_multiple_of(block)
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
