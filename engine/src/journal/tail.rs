//! The cache of the tail: the newest durable batches, as they were written, within a budget.

use std::collections::VecDeque;

use frame::Position;
use io::Buf;

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
}

impl Tail {
    pub(crate) fn new(budget_bytes: usize) -> Tail {
        Tail { batches: VecDeque::with_capacity(budget_bytes / 4096), held_bytes: 0, budget_bytes }
    }

    /// Bytes of the pool that it keeps.
    pub(crate) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Adds a batch that has just become durable, and lets go of the oldest past the budget.
    pub(crate) fn push(&mut self, position: Position, buf: Buf) {
        self.held_bytes += buf.held_bytes();
        self.batches.push_back(Cached { position, buf });
        while self.held_bytes > self.budget_bytes && self.evict() {}
    }

    /// Lets go of the oldest batch, so that its memory can be used again once nobody sends from it.
    pub(crate) fn evict(&mut self) -> bool {
        let Some(oldest) = self.batches.pop_front() else { return false };
        self.held_bytes -= oldest.buf.held_bytes();
        true
    }

    /// The batch that holds the byte at `position`, and that byte's place in it.
    pub(crate) fn find(&self, position: Position) -> Option<(&Buf, usize)> {
        let after = self.batches.partition_point(|batch| batch.position <= position);
        let batch = self.batches.get(after.checked_sub(1)?)?;
        let offset = (position.0 - batch.position.0) as usize;
        (offset < batch.buf.len()).then_some((&batch.buf, offset))
    }
}
