//! What the connections of one core share: the clock, and everything that is counted. One thread owns it all.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Instant;

use super::shared::Shared;
use crate::recorder::Recorder;
use crate::schedule::Lateness;
use crate::verify::Ledger;

/// Pairs of numbers that a core's own account may take before it is merged into the common one: with several cores, the
/// numbers of a shard are consecutive only over all of them.
const LEDGER_RUNS_MAX: usize = 4096;

/// Buffers of sent messages that a core keeps for the next ones.
const SPARE_BUFFERS_MAX: usize = 256;

/// Time since the run's start, the same on all cores.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock(pub(super) Instant);

impl Clock {
    pub(super) fn now_ns(self) -> u64 {
        self.0.elapsed().as_nanos() as u64
    }
}

/// The counts of one core.
#[derive(Debug)]
pub(super) struct Counts {
    pub(super) recorder: Recorder,
    pub(super) ledger: Ledger,
    pub(super) lateness: Lateness,
    pub(super) batches: u64,
    pub(super) waited_for_credit: u64,
    pub(super) lost: Vec<String>,
    /// What subscribers were pushed, from when it was meant to be sent.
    pub(super) pushed: Recorder,
}

impl Counts {
    pub(super) fn new(recorder: Recorder, ledger: Ledger) -> Self {
        let pushed = recorder.clone();
        let lateness = Lateness::default();
        Self { recorder, ledger, lateness, batches: 0, waited_for_credit: 0, lost: Vec::new(), pushed }
    }
}

/// One core of a run.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) clock: Clock,
    pub(super) shared: Arc<Shared>,
    pub(super) bytes_max: u64,
    pub(super) counts: RefCell<Counts>,
    /// Buffers of sent messages; the last is the newest used, and the likeliest to be in the processor's cache.
    pub(super) spare: RefCell<Vec<Vec<u8>>>,
}

impl Core {
    /// A buffer for a message.
    pub(super) fn spare_buffer(&self) -> Vec<u8> {
        self.spare.borrow_mut().pop().unwrap_or_default()
    }

    /// Keeps the buffer of a message that was sent.
    pub(super) fn keep_buffer(&self, buffer: Vec<u8>) {
        let mut spare = self.spare.borrow_mut();
        if spare.len() < SPARE_BUFFERS_MAX {
            spare.push(buffer);
        }
    }

    pub(super) fn stopped(&self) -> bool {
        self.shared.stopped().is_some()
    }

    /// Hands a grown account over to the common one.
    pub(super) fn trim_ledger(&self, counts: &mut Counts) {
        if counts.ledger.runs() > LEDGER_RUNS_MAX {
            let empty = Ledger::new(counts.ledger.shards().clone());
            self.shared.merge_ledger(std::mem::replace(&mut counts.ledger, empty));
        }
    }
}
