//! Appends between their first byte and their acknowledgement: who waits for which results.

use frame::proto::{AckResult, ErrorCode};
use frame::{Sequence, ShardId};

use crate::handle::Asker;
use crate::limits::RESULTS_KEPT;
use crate::slots::Slots;

/// One append of a connection or a call. Reused.
#[derive(Debug, Default)]
pub(crate) struct Append {
    pub(crate) asker: Asker,
    /// Credit to be given back.
    pub(crate) bytes: u64,
    /// Whether records may still arrive.
    open: bool,
    /// Records whose batch is not durable yet.
    waiting: u32,
    /// Whether its connection ended before it was whole: nobody is told of it.
    pub(crate) abandoned: bool,
    /// Whether some record's fate is unknown: then no acknowledgement may claim anything.
    pub(crate) unknown: bool,
    /// A result a record, by its index in the append, in the order of their batches.
    pub(crate) results: Vec<(u32, AckResult)>,
    /// Unless a connection's: from which of its results on records arrived when.
    arrivals: Vec<(usize, u64)>,
}

impl Append {
    /// When the record of each result arrived; 0 for what was refused before any arrived.
    pub(crate) fn arrivals(&self) -> impl Iterator<Item = u64> + '_ {
        let mut runs = self.arrivals.iter().peekable();
        let mut arrival_ms = 0;
        (0..self.results.len()).map(move |at| {
            while let Some((_, next_ms)) = runs.next_if(|(from, _)| *from <= at) {
                arrival_ms = *next_ms;
            }
            arrival_ms
        })
    }

    fn is_done(&self) -> bool {
        !self.open && self.waiting == 0
    }
}

/// All appends that are not acknowledged yet.
#[derive(Debug)]
pub(crate) struct Appends(Slots<Append>);

impl Appends {
    pub(crate) fn new() -> Appends {
        Appends(Slots::new())
    }

    /// An append begins.
    pub(crate) fn begin(&mut self, asker: Asker) -> u32 {
        let number = self.0.take();
        let append = &mut self.0[number];
        append.results.clear();
        append.arrivals.clear();
        (append.asker, append.bytes) = (asker, 0);
        (append.open, append.waiting, append.unknown, append.abandoned) = (true, 0, false, false);
        number
    }

    /// A record of it waits for its batch.
    pub(crate) fn wait(&mut self, number: u32) {
        self.0[number].waiting += 1;
    }

    /// What a record will be told once its batch is durable.
    pub(crate) fn stored(&mut self, number: u32, index: u32, shard: ShardId, sequence: Sequence, arrival_ms: u64) {
        let append = &mut self.0[number];
        let is_dated = !matches!(append.asker, Asker::Peer(..));
        if is_dated && append.arrivals.last().is_none_or(|&(_, last_ms)| last_ms != arrival_ms) {
            append.arrivals.push((append.results.len(), arrival_ms));
        }
        append.results.push((index, AckResult::Durable(shard, sequence)));
    }

    /// A record is refused.
    pub(crate) fn refuse(&mut self, number: u32, index: u32, code: ErrorCode) {
        self.0[number].results.push((index, AckResult::Refused(code)));
    }

    /// A record is refused, as its shard has taken in what it may. It was to wait, and is to be settled.
    pub(crate) fn throttle(&mut self, number: u32, index: u32, code: ErrorCode, shard: ShardId) {
        self.0[number].results.push((index, AckResult::Throttled(code, shard)));
    }

    /// All its records have arrived. Whether it is done.
    pub(crate) fn end(&mut self, number: u32, bytes: u64) -> bool {
        let append = &mut self.0[number];
        append.open = false;
        append.bytes = bytes;
        append.is_done()
    }

    /// So many of its records are settled. Whether it is done.
    pub(crate) fn settle(&mut self, number: u32, records: u32) -> bool {
        let append = &mut self.0[number];
        append.waiting -= records;
        append.is_done()
    }

    /// Nobody knows what became of so many of its records. Whether it is done.
    pub(crate) fn settle_unknown(&mut self, number: u32, records: u32) -> bool {
        self.0[number].unknown = true;
        self.settle(number, records)
    }

    /// Its connection ended before all its records arrived. Whether it is done.
    pub(crate) fn abandon(&mut self, number: u32) -> bool {
        self.0[number].abandoned = true;
        self.end(number, 0)
    }

    pub(crate) fn find(&self, number: u32) -> &Append {
        &self.0[number]
    }

    /// It was acknowledged, or its connection is gone.
    pub(crate) fn release(&mut self, number: u32) {
        self.0[number].results.shrink_to(RESULTS_KEPT);
        self.0.release(number);
    }
}
