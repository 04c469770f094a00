//! Appends between their first byte and their acknowledgement: who waits for which results.

use frame::RequestId;
use frame::proto::AckResult;

use crate::slots::Slots;
use crate::token::Peer;

/// One append of one connection. Reused.
#[derive(Debug, Default)]
pub(crate) struct Append {
    pub(crate) peer: Peer,
    pub(crate) request: RequestId,
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
}

impl Append {
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
    pub(crate) fn begin(&mut self, peer: Peer, request: RequestId) -> u32 {
        let number = self.0.take();
        let append = &mut self.0[number];
        append.results.clear();
        (append.peer, append.request, append.bytes) = (peer, request, 0);
        (append.open, append.waiting, append.unknown, append.abandoned) = (true, 0, false, false);
        number
    }

    /// A record of it waits for its batch.
    pub(crate) fn wait(&mut self, number: u32) {
        self.0[number].waiting += 1;
    }

    /// What a record will be told, or, for a refusal, is told.
    pub(crate) fn result(&mut self, number: u32, index: u32, result: AckResult) {
        self.0[number].results.push((index, result));
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
        self.0.release(number);
    }
}
