//! What producers that number their records have stored, shard by shard: by this a record that is sent again is known.
//!
//! A producer counts its records with one counter, in the order in which it sends them, so in each shard its numbers rise,
//! with gaps. A number is judged when its record's turn for a commit batch has come, after all that its shard received before:
//!
//! ```text
//!   above the highest                  new: it is stored, unless a lower one was refused and has not come again
//!   not above it, in the window        stored before: it gets the sequence number that it got then
//!   not above it, a gap in the window  passed: it was never stored, and its place in the order is gone
//!   below the window                   stored before, and its sequence number is no longer known
//! ```
//!
//! After one refusal all that the producer sends to that shard is refused, until the refused number comes again; from there
//! on no number is taken above the highest that was refused before that one has come. Else what was sent behind a refused
//! record would be stored before it, and its retry be taken for a repetition.
//!
//! A shard that was made by a split or merge stores nothing that its parents have stored: what they know is lent to its owner,
//! and a retry gets the sequence number that it got there. What the parents refused is not known to it. So for a while it
//! refuses, once, each number of a producer that is lower than all that it heard before: then that one and all before it come
//! again, in their order, and it begins with the lowest. So does a shard that was moved here, with each producer that it has not heard
//! since: what the reactor that owned it before refused, because it had moved, is not known here either.
//!
//! The frames themselves hold the numbers: recovery rebuilds the table from each journal's newest footer, which holds its
//! rows, and the batches after it. Nothing is asked of the clock, and nothing is allocated for a producer that is known.

mod order;
mod owed;
mod rows;

use std::collections::BTreeMap;

use frame::proto::ErrorCode;
use frame::{Numbered, ProducerId, RecordNumber, Sequence, ShardId};

use crate::limits::{CHILD_YOUNG_NS, PRODUCERS_PER_SHARD_MAX, RUNS_PER_PRODUCER_MAX};
use crate::slots::Slots;
use order::{Links, Order};
pub(crate) use owed::Owed;
pub(crate) use rows::{Row, decode, encode, joined, newest_of, records_of};

const NONE: u32 = u32::MAX;

/// What an entry takes in memory, with its place among the others; and a run.
const ENTRY_BYTES: usize = size_of::<Entry>() + 2 * size_of::<(ShardId, ProducerId, u32)>();
const RUN_BYTES: usize = size_of::<(Run, u32)>() + size_of::<u32>();

/// Numbers without gaps between them whose sequence numbers have none either.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Run {
    pub(crate) number: u64,
    pub(crate) sequence: u64,
    pub(crate) count: u32,
}

impl Run {
    fn end(&self) -> u64 {
        self.number + u64::from(self.count)
    }

    fn find(&self, number: u64) -> Option<Sequence> {
        (self.number..self.end()).contains(&number).then(|| Sequence(self.sequence + (number - self.number)))
    }
}

/// One producer in one shard. Reused.
#[derive(Debug, Default)]
struct Entry {
    shard: ShardId,
    producer: ProducerId,
    /// Which use of the slot it is.
    life: u32,
    /// The highest number in a commit batch, and the highest that is durable. 0: none.
    highest: u64,
    durable: u64,
    /// What is below this was stored or skipped, and nobody knows which.
    known_from: u64,
    owed: Option<Owed>,
    /// Whether it is of a shard of another reactor, for children of it: that one's footers tell of it.
    is_lent: bool,
    /// Whether nothing of it has come since the shard was moved here.
    is_unheard: bool,
    /// The newest results, by rising number.
    first_run: u32,
    last_run: u32,
    runs: u32,
    links: [Links; 3],
}

/// What is to be done with a number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// It is new.
    New,
    /// It was stored before, under this sequence number, and may not be durable yet.
    Stored(Sequence),
    /// It is refused.
    Refused(ErrorCode),
}

/// A number in a commit batch, the highest of its producer and shard in there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Placed {
    slot: u32,
    life: u32,
    number: u64,
}

impl Placed {
    /// Whether it is of the same producer and shard, and so takes the place of a lower number in the same batch.
    pub(crate) fn is_of_same(&self, other: &Placed) -> bool {
        (self.slot, self.life) == (other.slot, other.life)
    }
}

/// Where an entry stands: among all, among those of its shard, and among those that have results.
const ALL: usize = 0;
const OF_SHARD: usize = 1;
const WITH_RESULTS: usize = 2;

/// All that is known of producers in the shards of one reactor, or of one journal.
#[derive(Debug)]
pub(crate) struct Producers {
    by_name: BTreeMap<(ShardId, ProducerId), u32>,
    entries: Slots<Entry>,
    /// Runs with the one that follows in the same entry.
    runs: Slots<(Run, u32)>,
    all: Order,
    of_shards: BTreeMap<ShardId, Order>,
    with_results: Order,
    /// Shards that were made of others, or moved here, a short while ago, until when that is so.
    young: BTreeMap<ShardId, u64>,
    /// Who was looked for last.
    last: Option<(ShardId, ProducerId, u32)>,
    entries_max: usize,
    runs_max: usize,
    /// Whether any numbered record has come: footers need room for what they become.
    is_used: bool,
}

impl Producers {
    /// A table that takes no more than `bytes` of memory, nor of a footer.
    pub(crate) fn within(bytes: usize) -> Producers {
        const { assert!(rows::ROW_BYTES <= ENTRY_BYTES && rows::RUN_BYTES <= RUN_BYTES) };
        Producers {
            by_name: BTreeMap::new(),
            entries: Slots::new(),
            runs: Slots::new(),
            all: Order::default(),
            of_shards: BTreeMap::new(),
            with_results: Order::default(),
            young: BTreeMap::new(),
            last: None,
            entries_max: (bytes / 2 / ENTRY_BYTES).max(1),
            runs_max: (bytes / 2 / RUN_BYTES).max(1),
            is_used: false,
        }
    }

    /// A numbered record is on its way.
    pub(crate) fn expect(&mut self) {
        self.is_used = true;
    }

    /// What is to be done with a number whose turn has come.
    pub(crate) fn judge(&mut self, shard: ShardId, numbered: Numbered) -> Verdict {
        let Some(slot) = self.find(shard, numbered.producer) else { return Verdict::New };
        let RecordNumber(number) = numbered.number;
        let entry = &mut self.entries[slot];
        if number > entry.highest {
            return match &mut entry.owed {
                Some(owed) if !owed.lets_in(number) => {
                    *owed = owed.refused(number);
                    Verdict::Refused(ErrorCode::OutOfOrder)
                }
                _ => Verdict::New,
            };
        }
        if number < entry.known_from {
            return Verdict::Refused(ErrorCode::StoredBefore);
        }
        self.result(slot, number).map_or(Verdict::Refused(ErrorCode::NumberPassed), Verdict::Stored)
    }

    /// The same in a shard that was made of others, or moved, and of which shard a result is. The record's hash key was in the
    /// `ancestors` before, the newest first.
    pub(crate) fn judge_descended(
        &mut self,
        shard: ShardId,
        numbered: Numbered,
        ancestors: impl Iterator<Item = ShardId>,
        now_ns: u64,
    ) -> (ShardId, Verdict) {
        let mut verdict = self.judge(shard, numbered);
        if let Verdict::Stored(_) = verdict {
            return (shard, verdict);
        }
        for ancestor in ancestors {
            match self.judge(ancestor, numbered) {
                stored @ Verdict::Stored(_) => return (ancestor, stored),
                before @ Verdict::Refused(ErrorCode::StoredBefore) => verdict = before,
                passed @ Verdict::Refused(ErrorCode::NumberPassed) if !verdict.is_stored_before() => verdict = passed,
                // What an ancestor waits for does not come to it any more.
                Verdict::New | Verdict::Refused(_) => {}
            }
        }
        if verdict == Verdict::New && self.is_young(shard, now_ns) && self.may_be_preceded(shard, numbered) {
            self.owe(shard, numbered);
            verdict = Verdict::Refused(ErrorCode::OutOfOrder);
        }
        (shard, verdict)
    }

    /// Whether a shard has heard of its producer too little to know that no lower number is to come: it is the first, or lower than
    /// all that it refused.
    fn may_be_preceded(&mut self, shard: ShardId, numbered: Numbered) -> bool {
        let Some(slot) = self.find(shard, numbered.producer) else { return true };
        let entry = &mut self.entries[slot];
        let is_first = std::mem::take(&mut entry.is_unheard);
        is_first || entry.owed.is_some_and(|owed| owed.waits_from_above(numbered.number.0))
    }

    /// A shard of this reactor was made of others.
    pub(crate) fn opened(&mut self, shard: ShardId, now_ns: u64) {
        self.young.insert(shard, now_ns + CHILD_YOUNG_NS);
    }

    /// A shard was moved to this reactor.
    pub(crate) fn moved_here(&mut self, shard: ShardId, now_ns: u64) {
        self.opened(shard, now_ns);
        let slots: Vec<u32> =
            self.of_shards.get(&shard).map_or_else(Vec::new, |order| order.iter::<OF_SHARD>(&self.entries).collect());
        slots.into_iter().for_each(|slot| self.entries[slot].is_unheard = true);
    }

    /// Whether a shard was made of others or moved here, and no time has shown yet that it was long ago.
    pub(crate) fn is_watched(&self, shard: ShardId) -> bool {
        !self.young.is_empty() && self.young.contains_key(&shard)
    }

    fn is_young(&mut self, shard: ShardId, now_ns: u64) -> bool {
        let is_young = self.young.get(&shard).is_some_and(|&until_ns| now_ns < until_ns);
        if !is_young {
            self.young.remove(&shard);
        }
        is_young
    }

    /// A number was refused that is new: what comes after it has to wait until it comes again.
    pub(crate) fn owe(&mut self, shard: ShardId, numbered: Numbered) {
        let slot = self.touch(shard, numbered.producer);
        let RecordNumber(number) = numbered.number;
        let entry = &mut self.entries[slot];
        if number <= entry.highest {
            return;
        }
        entry.owed = Some(entry.owed.map_or(Owed::of(number), |owed| owed.owing(number)));
    }

    /// A new number is in a commit batch, under this sequence number.
    pub(crate) fn stored(&mut self, shard: ShardId, numbered: Numbered, sequence: Sequence) -> Placed {
        let slot = self.touch(shard, numbered.producer);
        let RecordNumber(number) = numbered.number;
        let entry = &mut self.entries[slot];
        debug_assert!(number > entry.highest, "it was judged to be new");
        entry.highest = number;
        entry.owed = entry.owed.and_then(|owed| owed.after(number));
        let life = entry.life;
        self.add_run(slot, Run { number, sequence: sequence.0, count: 1 });
        Placed { slot, life, number }
    }

    /// The batch of these numbers is durable.
    pub(crate) fn make_durable(&mut self, placed: &[Placed]) {
        for &Placed { slot, life, number } in placed {
            let entry = &mut self.entries[slot];
            if entry.life == life {
                entry.durable = entry.durable.max(number);
            }
        }
    }

    /// Recovery has found a number in a batch.
    pub(crate) fn recover(&mut self, shard: ShardId, numbered: Numbered, sequence: Sequence) {
        self.is_used = true;
        if self.judge(shard, numbered) == Verdict::New {
            let placed = self.stored(shard, numbered, sequence);
            self.make_durable(&[placed]);
        }
    }

    /// A shard of a stream that is gone.
    pub(crate) fn forget(&mut self, shard: ShardId) {
        self.young.remove(&shard);
        while let Some(order) = self.of_shards.get(&shard) {
            self.drop_entry(order.oldest());
        }
    }

    /// The sequence number of a number in the window.
    fn result(&self, slot: u32, number: u64) -> Option<Sequence> {
        let mut at = self.entries[slot].first_run;
        while at != NONE {
            let (run, next) = self.runs[at];
            if let Some(sequence) = run.find(number) {
                return Some(sequence);
            }
            if run.number > number {
                return None;
            }
            at = next;
        }
        None
    }

    fn find(&mut self, shard: ShardId, producer: ProducerId) -> Option<u32> {
        if let Some((last_shard, last_producer, slot)) = self.last
            && (last_shard, last_producer) == (shard, producer)
        {
            return Some(slot);
        }
        let slot = *self.by_name.get(&(shard, producer))?;
        self.last = Some((shard, producer, slot));
        Some(slot)
    }

    /// The entry of a producer, which is the newest used from here on, and is made if there is none: then the oldest goes
    /// where there is no room.
    fn touch(&mut self, shard: ShardId, producer: ProducerId) -> u32 {
        if let Some(slot) = self.find(shard, producer) {
            if self.all.newest() != slot {
                self.unlink(slot);
                self.link(slot);
            }
            return slot;
        }
        if let Some(order) = self.of_shards.get(&shard).filter(|order| order.len() >= PRODUCERS_PER_SHARD_MAX) {
            self.drop_entry(order.oldest());
        }
        while self.by_name.len() >= self.entries_max {
            self.drop_entry(self.all.oldest());
        }
        let slot = self.entries.take();
        let entry = &mut self.entries[slot];
        let life = entry.life.wrapping_add(1);
        *entry = Entry { shard, producer, life, first_run: NONE, last_run: NONE, ..Entry::default() };
        self.by_name.insert((shard, producer), slot);
        self.last = Some((shard, producer, slot));
        self.link(slot);
        slot
    }

    fn link(&mut self, slot: u32) {
        let shard = self.entries[slot].shard;
        self.all.push::<ALL>(&mut self.entries, slot);
        self.of_shards.entry(shard).or_default().push::<OF_SHARD>(&mut self.entries, slot);
        if self.entries[slot].runs > 0 {
            self.with_results.push::<WITH_RESULTS>(&mut self.entries, slot);
        }
    }

    fn unlink(&mut self, slot: u32) {
        let shard = self.entries[slot].shard;
        self.all.remove::<ALL>(&mut self.entries, slot);
        if let Some(order) = self.of_shards.get_mut(&shard) {
            order.remove::<OF_SHARD>(&mut self.entries, slot);
        }
        if self.entries[slot].runs > 0 {
            self.with_results.remove::<WITH_RESULTS>(&mut self.entries, slot);
        }
    }

    fn drop_entry(&mut self, slot: u32) {
        while self.drop_oldest_run(slot) {}
        self.unlink(slot);
        let entry = &mut self.entries[slot];
        entry.life = entry.life.wrapping_add(1);
        let (shard, producer) = (entry.shard, entry.producer);
        self.by_name.remove(&(shard, producer));
        if self.of_shards.get(&shard).is_some_and(Order::is_empty) {
            self.of_shards.remove(&shard);
        }
        if self.last.is_some_and(|(_, _, last)| last == slot) {
            self.last = None;
        }
        self.entries.release(slot);
    }

    /// Adds a result behind all others of an entry. Where there is no room the oldest results go of the entry that was not used
    /// for longest: else those of shards that were closed long ago would leave everybody else a single one.
    fn add_run(&mut self, slot: u32, run: Run) {
        let last = self.entries[slot].last_run;
        if last != NONE {
            let (known, _) = &mut self.runs[last];
            let continues = known.end() == run.number && known.sequence + u64::from(known.count) == run.sequence;
            if continues && let Some(count) = known.count.checked_add(run.count) {
                known.count = count;
                return;
            }
        }
        if self.entries[slot].runs as usize >= RUNS_PER_PRODUCER_MAX {
            self.drop_oldest_run(slot);
        }
        while self.runs.in_use() >= self.runs_max {
            self.drop_oldest_run(self.with_results.oldest());
        }
        let number = self.runs.take();
        self.runs[number] = (run, NONE);
        let entry = &mut self.entries[slot];
        let last = std::mem::replace(&mut entry.last_run, number);
        entry.runs += 1;
        if last == NONE {
            entry.first_run = number;
            self.with_results.push::<WITH_RESULTS>(&mut self.entries, slot);
        } else {
            self.runs[last].1 = number;
        }
    }

    /// Lets go of an entry's oldest result. `false` if it has none.
    fn drop_oldest_run(&mut self, slot: u32) -> bool {
        let entry = &mut self.entries[slot];
        let first = entry.first_run;
        if first == NONE {
            return false;
        }
        let (run, next) = self.runs[first];
        entry.known_from = run.end();
        entry.first_run = next;
        entry.runs -= 1;
        if next == NONE {
            entry.last_run = NONE;
            self.with_results.remove::<WITH_RESULTS>(&mut self.entries, slot);
        }
        self.runs.release(first);
        true
    }
}

impl Verdict {
    fn is_stored_before(self) -> bool {
        self == Verdict::Refused(ErrorCode::StoredBefore)
    }
}

#[cfg(test)]
#[path = "producers_tests.rs"]
mod tests;
