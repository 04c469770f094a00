//! The batches of one connection that are not settled yet, in the order in which they were sent.
//!
//! Acknowledgements may come batch by batch, part by part, and overtake one another; a batch is settled only when all
//! before it are, so that the order of the records is known when their numbers are compared.

use std::collections::VecDeque;

use frame::proto::AckResult;

use super::{Broken, Fault, Ledger, Number, Unknown};
use crate::recorder::BatchTimes;

/// One record as sent.
#[derive(Clone, Copy, Debug)]
pub struct SentRecord {
    /// The checksum of its payload, as in its frame.
    pub checksum: u64,
    /// Its bytes: data and key.
    pub bytes: u32,
}

/// One batch as sent. Its buffer returns through [`InFlight::spare`].
#[derive(Debug, Default)]
pub struct SentBatch {
    /// The request it was sent as.
    pub request: u64,
    /// When it was meant to leave.
    pub intended_ns: u64,
    /// When it was submitted.
    pub sent_ns: u64,
    /// Its records.
    pub records: Vec<SentRecord>,
    fates: Vec<Option<AckResult>>,
    open: usize,
    /// Whether a record of it was acknowledged.
    is_stored: bool,
}

/// What one acknowledgement said of one batch.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Acked {
    /// When the batch was meant to leave.
    pub intended_ns: u64,
    /// When it was submitted.
    pub sent_ns: u64,
    /// Records acknowledged now.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Records refused now.
    pub refused: u64,
    /// Whether every record of the batch has its answer.
    pub complete: bool,
    /// Whether that is so and not all of them were refused.
    pub stored: bool,
}

/// The unsettled batches of one connection.
#[derive(Debug)]
pub struct InFlight {
    connection: u32,
    batches: VecDeque<SentBatch>,
    /// The order of the first record of the first batch.
    order: u64,
    /// The highest number acknowledged in each shard slot.
    last: Vec<Number>,
    spare: Vec<SentBatch>,
}

impl InFlight {
    /// A connection that has sent nothing, to shards of this ledger.
    pub fn new(connection: u32, ledger: &Ledger) -> Self {
        let last = vec![Number::default(); ledger.accounts.len()];
        Self { connection, batches: VecDeque::new(), order: 0, last, spare: Vec::new() }
    }

    /// An empty batch to fill.
    pub fn spare(&mut self) -> SentBatch {
        self.spare.pop().unwrap_or_default()
    }

    /// Batches with records that have no answer yet.
    pub fn outstanding(&self) -> usize {
        self.batches.iter().filter(|batch| batch.open > 0).count()
    }

    /// What of each batch has no answer by now, and since when it waits.
    pub fn unanswered(&self, now_ns: u64) -> impl Iterator<Item = (BatchTimes, u64)> + '_ {
        let open = self.batches.iter().filter(|batch| batch.open > 0);
        open.map(move |batch| {
            let times = BatchTimes { intended_ns: batch.intended_ns, sent_ns: batch.sent_ns, acked_ns: now_ns };
            (times, batch.open as u64)
        })
    }

    /// Takes a batch that is on its way. Requests rise.
    pub fn sent(&mut self, mut batch: SentBatch) {
        debug_assert!(self.batches.back().is_none_or(|last| last.request < batch.request));
        batch.open = batch.records.len();
        batch.is_stored = false;
        batch.fates.clear();
        batch.fates.resize(batch.open, None);
        self.batches.push_back(batch);
    }

    /// Takes what an acknowledgement says of one batch.
    pub fn acknowledged(
        &mut self,
        request: u64,
        results: impl Iterator<Item = (u32, AckResult)>,
        ledger: &mut Ledger,
    ) -> Acked {
        let connection = self.connection;
        let Ok(at) = self.batches.binary_search_by_key(&request, |batch| batch.request) else {
            ledger.faults.push(Fault::StrayAck { connection, request });
            return Acked::default();
        };
        let batch = &mut self.batches[at];
        let mut acked = Acked { intended_ns: batch.intended_ns, sent_ns: batch.sent_ns, ..Acked::default() };
        for (index, result) in results {
            let fate = batch.fates.get_mut(index as usize);
            match fate {
                None => ledger.faults.push(Fault::StrayAck { connection, request }),
                Some(Some(_)) => ledger.faults.push(Fault::AnsweredTwice { connection, request, index }),
                Some(fate) => {
                    *fate = Some(result);
                    batch.open -= 1;
                    match result {
                        AckResult::Durable(..) => {
                            acked.records += 1;
                            acked.bytes += u64::from(batch.records[index as usize].bytes);
                        }
                        AckResult::Refused(_) | AckResult::Throttled(..) => acked.refused += 1,
                    }
                }
            }
        }
        batch.is_stored |= acked.records > 0;
        acked.complete = batch.open == 0;
        acked.stored = acked.complete && batch.is_stored;
        while self.batches.front().is_some_and(|batch| batch.open == 0) {
            let mut batch = self.batches.pop_front().expect("there is a front");
            self.settle(&batch, ledger, None);
            batch.records.clear();
            self.spare.push(batch);
        }
        acked
    }

    /// Accounts for everything still here: the connection ended, and what has no answer is unknown.
    pub fn ended(mut self, ledger: &mut Ledger) {
        if self.batches.is_empty() {
            return;
        }
        let mut broken = Broken { connection: self.connection, floors: self.last.clone(), between: Vec::new() };
        for batch in std::mem::take(&mut self.batches) {
            self.settle(&batch, ledger, Some(&mut broken));
        }
        ledger.broken.push(broken);
    }

    fn settle(&mut self, batch: &SentBatch, ledger: &mut Ledger, mut broken: Option<&mut Broken>) {
        let connection = self.connection;
        for (record, fate) in batch.records.iter().zip(&batch.fates) {
            let (order, checksum) = (self.order, record.checksum);
            self.order += 1;
            match *fate {
                None => ledger.unknown.push(Unknown { connection, order, checksum }),
                Some(AckResult::Refused(code) | AckResult::Throttled(code, _)) => {
                    ledger.add_refused(&code.to_string(), checksum);
                }
                Some(AckResult::Durable(shard, sequence)) => {
                    let sequence = Number::from(sequence);
                    let Some(slot) = ledger.shards.slot(shard) else {
                        ledger.faults.push(Fault::Unaccounted { shard, sequence });
                        continue;
                    };
                    let earlier = self.last[slot];
                    if sequence <= earlier {
                        ledger.faults.push(Fault::OutOfOrder { connection, shard, earlier, later: sequence });
                    }
                    self.last[slot] = earlier.max(sequence);
                    ledger.add_acknowledged(slot, sequence, checksum);
                    if let Some(broken) = broken.as_deref_mut() {
                        broken.between.push((slot, order, sequence));
                    }
                }
            }
        }
    }
}
