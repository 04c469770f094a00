//! The shards as one journal knows them: how far each has come in it. For a shard of another reactor that is where it left
//! this journal, or where it has yet to begin.

use std::collections::BTreeMap;

use frame::batch::Extent;
use frame::proto::{ErrorCode, Failure};
use frame::{Sequence, ShardId};

use crate::trims::Trim;
use crate::watermark::Trimmed;

/// One shard's numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Shard {
    /// What the next frame takes.
    pub(crate) next: Sequence,
    /// What follows the newest record that is durable as a whole: the end, for whoever reads.
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
        Err(Failure::new(ErrorCode::UnknownSequence, detail))
    }
}

/// How far a shard is durable that ends within a large record, and the newest arrival so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Stored {
    pub(crate) next: Sequence,
    pub(crate) arrival_ms: u64,
}

/// All shards, by number. Number 0 is the catalog's own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Shards {
    all: Vec<Shard>,
    /// From where each is kept, as far as that was ever said. Apart, as appends have no use for it.
    trims: BTreeMap<ShardId, Trimmed>,
    /// Trim points on their way to the disk.
    trims_to_come: usize,
    /// Those that hold more than may be seen: their durable frames end within a large record, or recovery skipped numbers after
    /// their end. Few, if any.
    within: BTreeMap<ShardId, Stored>,
}

impl Shards {
    /// The catalog's shard alone.
    pub(crate) fn new() -> Shards {
        Shards { all: vec![Shard::NEW], trims: BTreeMap::new(), trims_to_come: 0, within: BTreeMap::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// Adds new shards, up to `count` in all.
    pub(crate) fn grow(&mut self, count: usize) {
        self.all.resize(count, Shard::NEW);
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (ShardId, &Shard)> {
        self.all.iter().enumerate().map(|(number, shard)| (ShardId(number as u32), shard))
    }

    pub(crate) fn find(&self, shard: ShardId) -> Option<&Shard> {
        self.all.get(shard.0 as usize)
    }

    pub(crate) fn shard_mut(&mut self, shard: ShardId) -> &mut Shard {
        &mut self.all[shard.0 as usize]
    }

    /// The first number of a shard that has not expired.
    pub(crate) fn trimmed_to(&self, shard: ShardId) -> Sequence {
        self.trims.get(&shard).map_or(Sequence(1), |trimmed| trimmed.first_kept())
    }

    /// Where a shard begins, for whoever reads: nobody sees past its end, although the first parts of a record that goes on
    /// there may have expired.
    pub(crate) fn first_kept(&self, shard: ShardId) -> Sequence {
        let end = self.find(shard).map_or(Sequence(1), |shard| shard.durable_next);
        self.trimmed_to(shard).min(end)
    }

    /// Of a shard what lies before a number has expired.
    ///
    /// # Panics
    /// If it was never stored.
    pub(crate) fn trim(&mut self, trim: Trim) {
        let durable = self.stored(trim.shard).next;
        self.trims.entry(trim.shard).or_insert(Trimmed::NONE).raise(trim.to, durable);
    }

    /// All trim points of shards as wanted.
    pub(crate) fn trims(&self, is_wanted: impl Fn(ShardId) -> bool) -> Vec<Trim> {
        let all = self.trims.iter().filter(|(shard, _)| is_wanted(**shard));
        all.map(|(&shard, trimmed)| Trim { shard, to: trimmed.first_kept() }).collect()
    }

    /// How many trim points there are, once those are durable that are on their way to the disk.
    pub(crate) fn trims_max(&self) -> usize {
        self.trims.len() + self.trims_to_come
    }

    /// So many trim points are on their way to the disk.
    pub(crate) fn expect_trims(&mut self, to_come: usize) {
        self.trims_to_come = to_come;
    }

    /// Whether nothing was ever stored in a shard, nor said of it, as far as this journal goes.
    pub(crate) fn is_new(&self, shard: ShardId) -> bool {
        self.stored(shard).next == Shard::NEW.next && !self.trims.contains_key(&shard)
    }

    /// Forgets the trim point of a shard that is gone.
    pub(crate) fn forget_trim(&mut self, shard: ShardId) {
        self.trims.remove(&shard);
    }

    /// How far the shard is durable, whoever may see it.
    pub(crate) fn stored(&self, shard: ShardId) -> Stored {
        let state = self.all[shard.0 as usize];
        let visible = Stored { next: state.durable_next, arrival_ms: state.durable_arrival_ms };
        self.within.get(&shard).copied().unwrap_or(visible)
    }

    /// An extent of a live shard has become durable, and all of its records with it.
    pub(crate) fn make_durable(&mut self, extent: &Extent) {
        let shard = self.shard_mut(extent.shard);
        assert!(extent.first_sequence >= shard.durable_next, "shard {} went back", extent.shard);
        shard.durable_next = extent.last_sequence().next();
        shard.durable_arrival_ms = extent.arrival_ms;
        assert!(shard.durable_next <= shard.next, "shard {} is durable past what was given", extent.shard);
        if !self.within.is_empty() {
            self.within.remove(&extent.shard);
        }
    }

    /// An extent of a live shard has become durable that ends within a large record, the first part of which bears number
    /// `open`: what is from there on is not to be seen before the record is whole.
    pub(crate) fn make_durable_within(&mut self, extent: &Extent, open: Sequence) {
        let stored = Stored { next: extent.last_sequence().next(), arrival_ms: extent.arrival_ms };
        let before = self.stored(extent.shard).next;
        let shard = self.shard_mut(extent.shard);
        assert!(extent.first_sequence >= before, "shard {} went back", extent.shard);
        assert!(stored.next <= shard.next, "shard {} is durable past what was given", extent.shard);
        assert!((shard.durable_next..stored.next).contains(&open), "shard {} hides what was seen", extent.shard);
        shard.durable_next = open;
        if open > extent.first_sequence {
            shard.durable_arrival_ms = extent.arrival_ms;
        }
        self.within.insert(extent.shard, stored);
    }

    /// An extent was found by recovery.
    pub(crate) fn recover(&mut self, extent: &Extent) {
        let shard = self.shard_mut(extent.shard);
        shard.next = extent.last_sequence().next();
        shard.durable_next = shard.next;
        shard.arrival_ms = shard.arrival_ms.max(extent.arrival_ms);
        shard.durable_arrival_ms = shard.arrival_ms;
    }

    /// A shard gets nothing more, and ends here: whatever numbers recovery skipped after it.
    pub(crate) fn close(&mut self, shard: ShardId, end: Sequence) {
        let stored = self.stored(shard);
        let state = self.shard_mut(shard);
        state.durable_next = end;
        state.next = end.max(state.next);
        if stored.next > end {
            self.within.insert(shard, stored);
        } else {
            self.within.remove(&shard);
        }
    }

    /// Nothing in a shard arrives before it was made.
    pub(crate) fn begin_at(&mut self, shard: ShardId, created_ms: u64) {
        let state = self.shard_mut(shard);
        state.arrival_ms = state.arrival_ms.max(created_ms);
    }

    /// A shard goes on here with these numbers, all before them lies elsewhere.
    pub(crate) fn go_on(&mut self, shard: ShardId, next: Sequence, arrival_ms: u64) {
        let known = self.shard_mut(shard);
        debug_assert!(next >= known.next, "shard {shard} goes back");
        *known = Shard::at(next, arrival_ms.max(known.arrival_ms));
        self.within.remove(&shard);
    }

    /// Every shard's next number skips `count`.
    pub(crate) fn skip(&mut self, count: u64) {
        self.skip_from(ShardId::CATALOG, count);
    }

    /// The same for the shards from a number on.
    pub(crate) fn skip_from(&mut self, first: ShardId, count: u64) {
        for shard in self.all.iter_mut().skip(first.0 as usize) {
            shard.next = Sequence(shard.next.0 + count);
            shard.durable_next = shard.next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Footers have room for trim points before they are true.
    #[test]
    fn trim_points_to_come_count() {
        let (mut shards, shard) = (Shards::new(), ShardId(1));
        shards.grow(3);
        assert!(shards.is_new(shard) && shards.is_new(ShardId(2)));
        shards.go_on(shard, Sequence(9), 5);
        shards.expect_trims(1);
        assert_eq!(shards.trims_max(), 1);
        shards.trim(Trim { shard, to: Sequence(9) });
        shards.expect_trims(0);
        assert_eq!(shards.trims_max(), 1);
        assert!(!shards.is_new(shard) && shards.is_new(ShardId(2)));
    }

    #[test]
    fn a_shard_that_comes_back_is_as_long_as_it_was_told() {
        let (mut shards, shard) = (Shards::new(), ShardId(1));
        shards.grow(2);
        shards.shard_mut(shard).next = Sequence(2);
        let part = Extent { shard, count: 1, offset: 0, length: 8, first_sequence: Sequence(1), arrival_ms: 1 };
        shards.make_durable_within(&part, Sequence(1));
        // It was away, and got more there.
        shards.go_on(shard, Sequence(9), 5);
        assert_eq!(shards.stored(shard), Stored { next: Sequence(9), arrival_ms: 5 });
        shards.trim(Trim { shard, to: Sequence(9) });
        assert_eq!(shards.first_kept(shard), Sequence(9));
    }
}
