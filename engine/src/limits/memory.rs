//! How one memory budget is shared out.

use super::{
    BACKLOG_BYTES_MIN, GUESTS_SHARE, LARGE_BYTES_MAX, LARGE_BYTES_MIN, MEMORY_BYTES_MIN, PRODUCERS_BYTES_MAX,
    READ_WINDOWS_BYTES_MAX, RECEIVE_SHARE,
};

/// One memory budget, shared out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Memory {
    /// Receive buffers, shared by all connections.
    pub receive_bytes: usize,
    /// The aligned pool: commit batches in flight, the cache of the tail, and reads in progress.
    pub pool_bytes: usize,
    /// Of the pool: what the cache of the tail may keep.
    pub tail_bytes: usize,
    /// Of the pool: what commit batches may take until they are handed on.
    pub commit_bytes: usize,
    /// Footers kept for reads of older segments.
    pub footer_bytes: usize,
    /// The index of the open segment.
    pub index_bytes: usize,
    /// Large records that arrive, or wait for commit batches, and frames that arrive in several receives.
    pub large_bytes: usize,
    /// What producers that number their records have stored.
    pub producer_bytes: usize,
    /// Connections, and records that straddled receives and wait for commit batches.
    pub connection_bytes: usize,
}

impl Memory {
    /// Shares out `budget` bytes, which are at least [`MEMORY_BYTES_MIN`].
    pub fn share(budget: usize) -> Memory {
        let budget = budget.max(MEMORY_BYTES_MIN);
        let receive_bytes = (budget / RECEIVE_SHARE).min(64 << 20);
        // Half of the budget, down to a power of two: the pool is one region of that size.
        let pool_bytes = 1 << (budget / 2).ilog2();
        let tail_bytes = pool_bytes / 2;
        let commit_bytes = pool_bytes - tail_bytes - READ_WINDOWS_BYTES_MAX;
        let footer_bytes = budget / 16;
        let index_bytes = frame::limits::EXTENTS_PER_SEGMENT_MAX * crate::journal::INDEX_ENTRY_BYTES;
        let large_bytes = (budget / 8).clamp(LARGE_BYTES_MIN, LARGE_BYTES_MAX);
        let producer_bytes = (budget / 32).min(PRODUCERS_BYTES_MAX);
        let connection_bytes =
            budget - receive_bytes - pool_bytes - footer_bytes - index_bytes - large_bytes - producer_bytes;
        Memory {
            receive_bytes,
            pool_bytes,
            tail_bytes,
            commit_bytes,
            footer_bytes,
            index_bytes,
            large_bytes,
            producer_bytes,
            connection_bytes,
        }
    }

    /// What all clients together may have left untaken: half of what connections take, but not too little for a few.
    pub fn backlog_bytes(&self) -> usize {
        (self.connection_bytes / 2).max(BACKLOG_BYTES_MIN)
    }

    /// What may wait for clients of other reactors.
    pub fn guests_bytes(&self) -> usize {
        self.backlog_bytes() / GUESTS_SHARE
    }

    /// What all shares add up to.
    pub fn total_bytes(&self) -> usize {
        let shares =
            [self.footer_bytes, self.index_bytes, self.large_bytes, self.producer_bytes, self.connection_bytes];
        self.receive_bytes + self.pool_bytes + shares.iter().sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{BATCH_BYTES_TARGET, WRITES_IN_FLIGHT_MAX};

    #[test]
    fn the_shares_add_up() {
        for budget in [MEMORY_BYTES_MIN, 200 << 20, 512 << 20, 4 << 30] {
            let memory = Memory::share(budget);
            assert_eq!(memory.total_bytes(), budget);
            assert!(
                memory.commit_bytes >= WRITES_IN_FLIGHT_MAX / 2 * BATCH_BYTES_TARGET,
                "budget {budget}: {memory:?}"
            );
        }
    }
}
