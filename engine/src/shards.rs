//! The shard set of one reactor: how far each shard has come.

use frame::batch::Extent;
use frame::proto::{ErrorCode, Failure};
use frame::{Sequence, ShardId};

/// One shard's numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Shard {
    /// What the next record takes.
    pub(crate) next: Sequence,
    /// What follows the newest durable record.
    pub(crate) durable_next: Sequence,
    /// The newest arrival given. The next is never before it, whatever the wall clock does.
    pub(crate) arrival_ms: u64,
    /// The newest arrival of a durable record.
    pub(crate) durable_arrival_ms: u64,
}

impl Shard {
    pub(crate) const NEW: Shard = Shard::at(Sequence(1), 0);

    /// A shard whose next record takes `next` and whose newest came at `arrival_ms`, all of it durable.
    pub(crate) const fn at(next: Sequence, arrival_ms: u64) -> Shard {
        Shard { next, durable_next: next, arrival_ms, durable_arrival_ms: arrival_ms }
    }

    /// That readers may begin at `from`, which is no later than what follows the newest durable record. `number` is the
    /// shard's own.
    pub(crate) fn check_given(&self, number: ShardId, from: Sequence) -> Result<(), Failure> {
        if from <= self.durable_next {
            return Ok(());
        }
        let last = self.durable_next.0 - 1;
        let detail = format!("shard {number} has records up to {last}; {from} was never given");
        Err(Failure { code: ErrorCode::UnknownSequence, detail })
    }
}

/// All shards, by number. Number 0 is the catalog's own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Shards(Vec<Shard>);

impl Shards {
    /// The catalog's shard alone.
    pub(crate) fn new() -> Shards {
        Shards(vec![Shard::NEW])
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Adds new shards, up to `count` in all.
    pub(crate) fn grow(&mut self, count: usize) {
        self.0.resize(count, Shard::NEW);
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (ShardId, &Shard)> {
        self.0.iter().enumerate().map(|(number, shard)| (ShardId(number as u32), shard))
    }

    pub(crate) fn find(&self, shard: ShardId) -> Option<&Shard> {
        self.0.get(shard.0 as usize)
    }

    pub(crate) fn shard_mut(&mut self, shard: ShardId) -> &mut Shard {
        &mut self.0[shard.0 as usize]
    }

    /// An extent of a live shard has become durable.
    pub(crate) fn make_durable(&mut self, extent: &Extent) {
        let shard = self.shard_mut(extent.shard);
        assert!(extent.first_sequence >= shard.durable_next, "shard {} went back", extent.shard);
        shard.durable_next = extent.last_sequence().next();
        shard.durable_arrival_ms = extent.arrival_ms;
        assert!(shard.durable_next <= shard.next, "shard {} is durable past what was given", extent.shard);
    }

    /// An extent was found by recovery.
    pub(crate) fn recover(&mut self, extent: &Extent) {
        let shard = self.shard_mut(extent.shard);
        shard.next = extent.last_sequence().next();
        shard.durable_next = shard.next;
        shard.arrival_ms = shard.arrival_ms.max(extent.arrival_ms);
        shard.durable_arrival_ms = shard.arrival_ms;
    }

    /// Every shard's next number skips `count`.
    pub(crate) fn skip(&mut self, count: u64) {
        for shard in &mut self.0 {
            shard.next = Sequence(shard.next.0 + count);
            shard.durable_next = shard.next;
        }
    }
}
