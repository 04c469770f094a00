//! The cache of the tail: the newest durable batches, as they were written, within a budget.
//!
//! Memory that is written again soon is still in the processor's cache; going through the whole budget, the reactor spent a
//! fifth more on each record of 1 KiB. So no more is kept than readers near the tail make use of: a read that came too late
//! doubles it, and it is halved after a budget's worth of batches that nobody needed it for.

use std::collections::VecDeque;

use frame::{Position, SegmentNumber};
use io::Buf;

use crate::limits::TAIL_KEPT_BYTES_MIN;

#[derive(Debug)]
struct Cached {
    position: Position,
    buf: Buf,
}

/// The newest batches, oldest first.
#[derive(Debug)]
pub(crate) struct Tail {
    batches: VecDeque<Cached>,
    held_bytes: usize,
    budget_bytes: usize,
    /// What is kept now, of the budget.
    kept_bytes: usize,
    /// Bytes added since a reader needed more than half of what is kept.
    unneeded_bytes: usize,
}

impl Tail {
    pub(crate) fn new(budget_bytes: usize) -> Tail {
        Tail {
            batches: VecDeque::with_capacity(budget_bytes / 4096),
            held_bytes: 0,
            budget_bytes,
            kept_bytes: budget_bytes.min(TAIL_KEPT_BYTES_MIN),
            unneeded_bytes: 0,
        }
    }

    /// Bytes of the pool that it keeps.
    pub(crate) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Adds a batch that has just become durable, and lets go of the oldest past what is kept.
    pub(crate) fn push(&mut self, position: Position, buf: Buf) {
        self.held_bytes += buf.held_bytes();
        self.unneeded_bytes += buf.held_bytes();
        if self.unneeded_bytes > self.budget_bytes {
            self.unneeded_bytes = 0;
            self.kept_bytes = (self.kept_bytes / 2).max(self.budget_bytes.min(TAIL_KEPT_BYTES_MIN));
        }
        self.batches.push_back(Cached { position, buf });
        while self.held_bytes > self.kept_bytes && self.evict() {}
    }

    /// Lets go of the oldest batch, so that its memory can be used again once nobody sends from it.
    pub(crate) fn evict(&mut self) -> bool {
        let Some(oldest) = self.batches.pop_front() else { return false };
        self.held_bytes -= oldest.buf.held_bytes();
        true
    }

    /// Lets go of the batches up to the end of a segment: what lies there is not what was written.
    pub(crate) fn forget_to(&mut self, segment: SegmentNumber) {
        while self.batches.front().is_some_and(|oldest| oldest.position.segment() <= segment) && self.evict() {}
    }

    /// Somebody reads from `position` on: what is kept follows.
    pub(crate) fn asked(&mut self, position: Position) {
        let Some(newest) = self.batches.back() else { return };
        // Exact within a segment, which is where readers of the tail are.
        let distance = newest.position.0.saturating_sub(position.0) as usize;
        if distance > self.budget_bytes {
            return;
        }
        if distance > self.kept_bytes / 2 {
            self.unneeded_bytes = 0;
        }
        if self.find(position).is_none() {
            self.kept_bytes = (self.kept_bytes * 2).min(self.budget_bytes);
        }
    }

    /// The batch that holds the byte at `position`, and that byte's place in it.
    pub(crate) fn find(&self, position: Position) -> Option<(&Buf, usize)> {
        let after = self.batches.partition_point(|batch| batch.position <= position);
        let batch = self.batches.get(after.checked_sub(1)?)?;
        let offset = (position.0 - batch.position.0) as usize;
        (offset < batch.buf.len()).then_some((&batch.buf, offset))
    }
}

#[cfg(test)]
#[path = "tail_tests.rs"]
mod tests;
