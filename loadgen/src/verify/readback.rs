//! Compares what is read back with the account: each shard from its first record to its last, in any interleaving.

use std::collections::BTreeMap;
use std::ops::Range;

use frame::ShardId;

use super::{Fault, Faults, Ledger, Number, digest};

/// What verification found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Verdict {
    /// Records acknowledged.
    pub acknowledged: u64,
    /// Records refused.
    pub refused: u64,
    /// Records whose fate was unknown.
    pub unknown: u64,
    /// Those of the unknown that were found in the stream.
    pub unknown_present: u64,
    /// Records read back, those of other runs left out.
    pub read: u64,
    /// Records of other runs.
    pub foreign: u64,
    /// What is wrong, if anything.
    pub faults: Faults,
}

impl Verdict {
    /// Whether the log kept its word.
    pub fn good(&self) -> bool {
        self.faults.count() == 0
    }
}

/// How far one shard has been compared.
#[derive(Clone, Debug, Default)]
struct Progress {
    /// The last number read.
    before: Number,
    /// The run that the next number may lie in.
    run: usize,
    /// The next acknowledged number expected, once inside that run.
    expected: Number,
    sum: u64,
    lost: bool,
}

/// An ongoing comparison.
#[derive(Debug)]
pub struct Readback {
    ledger: Ledger,
    progress: Vec<Progress>,
    read: u64,
    foreign: u64,
    /// Unknown records not found yet, by checksum: indices into the ledger's list.
    unknown: BTreeMap<u64, Vec<usize>>,
    /// Where unknown records were found: connection, slot, order, number.
    found: Vec<(u32, usize, u64, Number)>,
}

impl Readback {
    /// Begins to compare with a complete account.
    pub fn new(ledger: Ledger) -> Self {
        let progress = vec![Progress::default(); ledger.accounts.len()];
        let mut unknown = BTreeMap::<u64, Vec<usize>>::new();
        for (index, record) in ledger.unknown.iter().enumerate() {
            unknown.entry(record.checksum).or_default().push(index);
        }
        Self { ledger, progress, read: 0, foreign: 0, unknown, found: Vec::new() }
    }

    /// The shards to read.
    pub fn shards(&self) -> &[ShardId] {
        self.ledger.shards.ids()
    }

    /// Whether a number was acknowledged in this shard that lies after all that were read.
    pub fn awaits(&self, shard: ShardId) -> bool {
        let Some(slot) = self.ledger.shards.slot(shard) else { return false };
        self.ledger.accounts[slot].runs.as_slice().last().is_some_and(|run| run.1 > self.progress[slot].before)
    }

    /// Takes one record read. Its bytes have been compared with `checksum`, its payload's.
    pub fn record(&mut self, shard: ShardId, sequence: impl Into<Number>, checksum: u64) {
        let sequence = sequence.into();
        self.read += 1;
        if let Some(slot) = self.beyond(shard, sequence, checksum) {
            self.beyond_account(slot, sequence, checksum);
        }
    }

    /// Takes one record that says it is another run's. One under a number that was acknowledged to this one is held against
    /// the account like its own.
    pub fn foreign(&mut self, shard: ShardId, sequence: impl Into<Number>, checksum: u64) {
        let sequence = sequence.into();
        if self.beyond(shard, sequence, checksum).is_some() {
            self.foreign += 1;
            if !self.ledger.is_shared {
                self.ledger.faults.push(Fault::Foreign { shard, sequence });
            }
        }
    }

    /// Holds a record against what was acknowledged; its shard's slot if that says nothing of its number.
    fn beyond(&mut self, shard: ShardId, sequence: Number, checksum: u64) -> Option<usize> {
        let Some(slot) = self.ledger.shards.slot(shard) else {
            self.ledger.faults.push(Fault::Unaccounted { shard, sequence });
            return None;
        };
        let before = self.progress[slot].before;
        if sequence <= before {
            self.ledger.faults.push(Fault::NotRising { shard, before, after: sequence });
            return None;
        }
        self.progress[slot].before = sequence;
        self.pass_to(slot, sequence);
        let progress = &mut self.progress[slot];
        let runs = self.ledger.accounts[slot].runs.as_slice();
        if runs.get(progress.run).is_none_or(|run| run.0 > sequence) {
            return Some(slot);
        }
        progress.sum = progress.sum.wrapping_add(digest(sequence, checksum));
        progress.expected = sequence.next();
        None
    }

    /// Takes one record whose bytes differ from its own checksum.
    pub fn damaged(&mut self, shard: ShardId, sequence: impl Into<Number>) {
        let sequence = sequence.into();
        self.read += 1;
        self.ledger.faults.push(Fault::Damaged { shard, sequence });
        if let Some(slot) = self.ledger.shards.slot(shard) {
            self.pass_to(slot, sequence);
            let progress = &mut self.progress[slot];
            progress.before = progress.before.max(sequence);
            progress.expected = sequence.next();
            progress.lost = true;
        }
    }

    /// Notes that the server called these numbers damaged, and goes on behind them.
    pub fn lost(&mut self, shard: ShardId, numbers: Range<impl Into<Number>>) {
        let (first, end): (Number, Number) = (numbers.start.into(), numbers.end.into());
        let last = end.before();
        self.ledger.faults.push(Fault::LostByServer { shard, first, last });
        if let Some(slot) = self.ledger.shards.slot(shard) {
            self.pass_to(slot, first);
            let progress = &mut self.progress[slot];
            progress.before = progress.before.max(last);
            progress.expected = progress.expected.max(end);
            progress.lost = true;
        }
    }

    /// Notes that the server gives nothing of a shard from a number on.
    pub fn unreadable(&mut self, shard: ShardId, from: impl Into<Number>, reason: String) {
        self.ledger.faults.push(Fault::Unreadable { shard, from: from.into(), reason });
    }

    /// Moves to the run that holds `number` or the first after it, telling what was acknowledged before and not read.
    fn pass_to(&mut self, slot: usize, number: Number) {
        let progress = &mut self.progress[slot];
        let runs = self.ledger.accounts[slot].runs.as_slice();
        while let Some(&(first, last)) = runs.get(progress.run) {
            let missing_from = progress.expected.max(first);
            let missing_to = last.min(number.before());
            if missing_from <= missing_to {
                let shard = self.ledger.shards.ids[slot];
                self.ledger.faults.push(Fault::Lost { shard, first: missing_from, last: missing_to });
                progress.lost = true;
                progress.expected = missing_to.next();
            }
            if last >= number {
                return;
            }
            progress.run += 1;
        }
    }

    /// A record outside what was acknowledged: an unknown one, at most once, or one too many.
    fn beyond_account(&mut self, slot: usize, sequence: Number, checksum: u64) {
        let shard = self.ledger.shards.ids[slot];
        let unknown = &self.ledger.unknown;
        let candidate = self.unknown.get_mut(&checksum).and_then(|indices| {
            let at = (0..indices.len()).min_by_key(|&at| unknown[indices[at]].order)?;
            Some(unknown[indices.swap_remove(at)])
        });
        match candidate {
            Some(record) => self.found.push((record.connection, slot, record.order, sequence)),
            None if self.ledger.refused.contains_key(&checksum) => {
                self.ledger.faults.push(Fault::RefusedPresent { shard, sequence });
            }
            None => self.ledger.faults.push(Fault::Unaccounted { shard, sequence }),
        }
    }

    /// Ends the comparison: what was not read by now is not there.
    pub fn finish(mut self) -> Verdict {
        for slot in 0..self.progress.len() {
            self.pass_to(slot, Number::MAX);
            let shard = self.ledger.shards.ids[slot];
            if !self.progress[slot].lost && self.progress[slot].sum != self.ledger.accounts[slot].sum {
                self.ledger.faults.push(Fault::Changed { shard });
            }
        }
        self.check_unknown_order();
        Verdict {
            acknowledged: self.ledger.acknowledged(),
            refused: self.ledger.refused().map(|(_, count)| count).sum(),
            unknown: self.ledger.unknown(),
            unknown_present: self.found.len() as u64,
            read: self.read,
            foreign: self.foreign,
            faults: self.ledger.faults,
        }
    }

    /// Unknown records that are there must lie, within a shard, in the order in which their connection sent them, and
    /// between those of its records that were acknowledged.
    fn check_unknown_order(&mut self) {
        for broken in &self.ledger.broken {
            let connection = broken.connection;
            let found =
                self.found.iter().filter(|found| found.0 == connection).map(|&(_, slot, order, n)| (slot, order, n));
            let mut placed: Vec<(usize, u64, Number)> = found.chain(broken.between.iter().copied()).collect();
            placed.sort_unstable();
            let mut before = (usize::MAX, Number::default());
            for (slot, _, number) in placed {
                let earlier = if before.0 == slot { before.1 } else { broken.floors[slot] };
                if number <= earlier {
                    self.ledger.faults.push(Fault::OutOfOrder {
                        connection,
                        shard: self.ledger.shards.ids[slot],
                        earlier,
                        later: number,
                    });
                }
                before = (slot, earlier.max(number));
            }
        }
    }
}
