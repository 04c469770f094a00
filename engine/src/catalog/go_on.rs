//! Shards that go on in a journal, as all before lies in others: what the catalog knows does not change by it.

use frame::{Sequence, ShardId};

use super::FIXED_BYTES;

pub(super) const GO_ON_ROW_BYTES: usize = 24;

/// Rows of one *go on*, which is one record.
pub(crate) const GO_ON_ROWS_MAX: usize = 32 << 10;
const _: () = assert!(FIXED_BYTES + GO_ON_ROWS_MAX * GO_ON_ROW_BYTES + 64 <= frame::limits::RECORD_BYTES_MAX);

/// Shards that go on in a journal with the same numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct GoOn {
    /// The first of them; the others follow.
    pub(crate) shard: ShardId,
    pub(crate) shards: u32,
    /// What the next record of each takes.
    pub(crate) next: Sequence,
    /// The newest arrival given so far.
    pub(crate) arrival_ms: u64,
}

impl GoOn {
    /// Which shards.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = ShardId> + use<> {
        (self.shard.0..self.shard.0.saturating_add(self.shards)).map(ShardId)
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.shard.0.to_le_bytes());
        out.extend_from_slice(&self.shards.to_le_bytes());
        out.extend_from_slice(&self.next.0.to_le_bytes());
        out.extend_from_slice(&self.arrival_ms.to_le_bytes());
    }

    pub(super) fn decode(row: &[u8; GO_ON_ROW_BYTES]) -> GoOn {
        let (words, _) = row.as_chunks::<8>();
        let [numbers, next, arrival_ms] = [0, 1, 2].map(|at| u64::from_le_bytes(words[at]));
        GoOn { shard: ShardId(numbers as u32), shards: (numbers >> 32) as u32, next: Sequence(next), arrival_ms }
    }
}
