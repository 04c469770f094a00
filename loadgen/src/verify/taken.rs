//! What a subscriber was pushed, kept like the account itself, and held against it once that is complete.

use std::ops::Range;

use frame::ShardId;

use super::runs::numbers;
use super::{Account, Fault, Faults, Ledger, Number, Shards, digest};

/// Everything that one subscriber was given.
#[derive(Clone, Debug)]
pub struct Taken {
    shards: Shards,
    accounts: Vec<Account>,
    /// The last number of each shard.
    before: Vec<Number>,
    foreign: u64,
    /// Records of earlier looks.
    passed: u64,
    /// Whether others write the same shards.
    is_shared: bool,
    faults: Faults,
}

impl Taken {
    /// Nothing yet, of these shards; whether others write them too.
    pub fn new(shards: Shards, is_shared: bool) -> Self {
        let count = shards.ids.len();
        let (accounts, before) = (vec![Account::default(); count], vec![Number::default(); count]);
        Self { shards, accounts, before, foreign: 0, passed: 0, is_shared, faults: Faults::default() }
    }

    /// Takes one record. Its bytes have been compared with `checksum`, its payload's.
    pub fn record(&mut self, shard: ShardId, sequence: impl Into<Number>, checksum: u64) {
        let sequence = sequence.into();
        let Some(slot) = self.rises(shard, sequence) else { return };
        let account = &mut self.accounts[slot];
        account.count += 1;
        account.sum = account.sum.wrapping_add(digest(sequence, checksum));
        account.runs.insert(sequence);
    }

    /// Takes one record that says it is another run's.
    pub fn foreign(&mut self, shard: ShardId, sequence: impl Into<Number>) {
        let sequence = sequence.into();
        if self.rises(shard, sequence).is_some() {
            self.foreign += 1;
            if !self.is_shared {
                self.faults.push(Fault::Foreign { shard, sequence });
            }
        }
    }

    /// Takes one record that lies before this run's.
    pub fn earlier(&mut self, shard: ShardId, sequence: impl Into<Number>) {
        self.foreign += u64::from(self.rises(shard, sequence.into()).is_some());
    }

    /// The slot of a shard in which this number is the next.
    fn rises(&mut self, shard: ShardId, sequence: Number) -> Option<usize> {
        let Some(slot) = self.shards.slot(shard) else {
            self.faults.push(Fault::Unaccounted { shard, sequence });
            return None;
        };
        let before = std::mem::replace(&mut self.before[slot], sequence);
        if sequence <= before {
            self.faults.push(Fault::NotRising { shard, before, after: sequence });
            return None;
        }
        Some(slot)
    }

    /// Takes one record whose bytes differ from its own checksum.
    pub fn damaged(&mut self, shard: ShardId, sequence: impl Into<Number>) {
        self.faults.push(Fault::Damaged { shard, sequence: sequence.into() });
    }

    /// Notes that the server called these numbers damaged, and goes on behind them.
    pub fn lost(&mut self, shard: ShardId, numbers: Range<impl Into<Number>>) {
        let (first, end): (Number, Number) = (numbers.start.into(), numbers.end.into());
        self.faults.push(Fault::LostByServer { shard, first, last: end.before() });
    }

    /// Notes that the server gives nothing of a shard from a number on.
    pub fn unreadable(&mut self, shard: ShardId, from: impl Into<Number>, reason: String) {
        self.faults.push(Fault::Unreadable { shard, from: from.into(), reason });
    }

    /// How many records, those of other runs left out.
    pub fn count(&self) -> u64 {
        self.passed + self.accounts.iter().map(|account| account.count).sum::<u64>()
    }

    /// Begins to look at the same shards once more, and returns what was taken so far, for the next look to be held against;
    /// faults and counts stay here.
    pub fn restart(&mut self) -> Self {
        let mut earlier = Self::new(self.shards.clone(), self.is_shared);
        self.passed = self.count();
        std::mem::swap(&mut self.accounts, &mut earlier.accounts);
        std::mem::swap(&mut self.before, &mut earlier.before);
        earlier
    }

    /// How many records of other runs, or from before this one.
    pub fn count_foreign(&self) -> u64 {
        self.foreign
    }

    /// What is wrong with it so far, whatever the account says.
    pub fn faults(self) -> Faults {
        self.faults
    }

    /// What an earlier look at the same shards, from the same numbers on, was given and this one was not.
    pub fn misses(&mut self, earlier: &Self) {
        for (slot, (mine, theirs)) in self.accounts.iter().zip(&earlier.accounts).enumerate() {
            let shard = self.shards.ids[slot];
            for (first, last) in theirs.runs.without(&mine.runs) {
                self.faults.push(Fault::Lost { shard, first, last });
            }
        }
    }

    /// What is wrong with it, by the account of all that was acknowledged, of whose shards these are some. Where the fate of
    /// records is unknown, so many may be there that were not acknowledged, whatever they are: a sum does not tell which of several
    /// records it is of. Reading back does, of what the stream has.
    pub fn compare(self, ledger: &Ledger) -> Faults {
        self.compare_to(ledger, false)
    }

    /// The same as far as it went: of each shard up to the last number it was given.
    pub fn compare_so_far(self, ledger: &Ledger) -> Faults {
        self.compare_to(ledger, true)
    }

    fn compare_to(mut self, ledger: &Ledger, so_far: bool) -> Faults {
        let (mut beyond, mut faults) = (Vec::new(), std::mem::take(&mut self.faults));
        for (slot, mine) in self.accounts.iter().enumerate() {
            let shard = self.shards.ids[slot];
            let mut theirs = ledger.shards.slot(shard).map(|slot| ledger.accounts[slot].clone()).unwrap_or_default();
            if so_far {
                theirs.runs.cut_after(self.before[slot]);
            }
            let lost = theirs.runs.without(&mine.runs);
            let more = mine.runs.without(&theirs.runs);
            if !so_far && lost.is_empty() && more.is_empty() && mine.sum != theirs.sum {
                faults.push(Fault::Changed { shard });
            }
            for (first, last) in lost {
                faults.push(Fault::Lost { shard, first, last });
            }
            beyond.extend(more.into_iter().flat_map(numbers).map(|number| (shard, number)));
        }
        let permitted = ledger.unknown.len();
        for &(shard, number) in beyond.iter().skip(permitted) {
            faults.push(Fault::Unaccounted { shard, sequence: number });
        }
        faults
    }
}
