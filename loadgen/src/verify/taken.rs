//! What a subscriber was pushed, kept like the account itself, and held against it once that is complete.

use frame::{Sequence, ShardId};

use super::{Account, Fault, Faults, Ledger, Shards, digest};

/// Everything that one subscriber was given.
#[derive(Clone, Debug)]
pub struct Taken {
    shards: Shards,
    accounts: Vec<Account>,
    /// The last number of each shard.
    before: Vec<u64>,
    faults: Faults,
}

impl Taken {
    /// Nothing yet, of these shards.
    pub fn new(shards: Shards) -> Self {
        let count = shards.ids.len();
        Self { shards, accounts: vec![Account::default(); count], before: vec![0; count], faults: Faults::default() }
    }

    /// Takes one record. Its bytes have been compared with `checksum`, its payload's.
    pub fn record(&mut self, shard: ShardId, sequence: Sequence, checksum: u64) {
        let Some(slot) = self.shards.slot(shard) else {
            return self.faults.push(Fault::Unaccounted { shard, sequence });
        };
        let before = std::mem::replace(&mut self.before[slot], sequence.0);
        if sequence.0 <= before {
            return self.faults.push(Fault::NotRising { shard, before: Sequence(before), after: sequence });
        }
        let account = &mut self.accounts[slot];
        account.count += 1;
        account.sum = account.sum.wrapping_add(digest(sequence.0, checksum));
        account.runs.insert(sequence.0);
    }

    /// Takes one record whose bytes differ from its own checksum.
    pub fn damaged(&mut self, shard: ShardId, sequence: Sequence) {
        self.faults.push(Fault::Damaged { shard, sequence });
    }

    /// Notes that the server gives nothing of a shard from a number on.
    pub fn unreadable(&mut self, shard: ShardId, from: Sequence, reason: String) {
        self.faults.push(Fault::Unreadable { shard, from, reason });
    }

    /// How many records.
    pub fn count(&self) -> u64 {
        self.accounts.iter().map(|account| account.count).sum()
    }

    /// What is wrong with it, by the account of all that was acknowledged. Where the fate of records is unknown, so many
    /// may be there that were not acknowledged.
    pub fn compare(mut self, ledger: &Ledger) -> Faults {
        let (mut beyond, mut faults) = (Vec::new(), std::mem::take(&mut self.faults));
        for (slot, (mine, theirs)) in self.accounts.iter().zip(&ledger.accounts).enumerate() {
            let shard = self.shards.ids[slot];
            let lost = theirs.runs.without(&mine.runs);
            let more = mine.runs.without(&theirs.runs);
            if lost.is_empty() && more.is_empty() && mine.sum != theirs.sum {
                faults.push(Fault::Changed { shard });
            }
            for (first, last) in lost {
                faults.push(Fault::Lost { shard, first: Sequence(first), last: Sequence(last) });
            }
            beyond.extend(more.into_iter().flat_map(|(first, last)| first..=last).map(|number| (shard, number)));
        }
        let permitted = ledger.unknown.len();
        for &(shard, number) in beyond.iter().skip(permitted) {
            faults.push(Fault::Unaccounted { shard, sequence: Sequence(number) });
        }
        faults
    }
}
