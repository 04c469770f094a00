//! What the connections of one core share: the clock, and everything that is counted. One thread owns it all.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::shared::Shared;
use super::{Group, Plan};
use crate::recorder::Recorder;
use crate::verify::Ledger;

/// Pairs of numbers that a core's own account may take before it is merged into the common one: with several cores, the
/// numbers of a shard are consecutive only over all of them.
const LEDGER_RUNS_MAX: usize = 4096;

/// Buffers of sent messages that a core keeps for the next ones.
const SPARE_BUFFERS_MAX: usize = 256;

/// Time since the run's start, the same on all cores.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    pub(super) start: Instant,
    /// The start by the clock of this host, in microseconds since 1970.
    pub(super) start_us: u64,
}

impl Clock {
    pub(super) fn now_ns(self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }

    pub(super) fn until_start(self) -> Duration {
        self.start.saturating_duration_since(Instant::now())
    }

    pub(super) fn has_begun(self) -> bool {
        self.until_start().is_zero()
    }

    /// A time of the run in microseconds since 1970.
    pub(super) fn wall_us(self, ns: u64) -> u64 {
        self.start_us + ns / 1000
    }
}

/// The counts of one core.
#[derive(Debug)]
pub(super) struct Counts {
    /// One a group of producers.
    pub(super) groups: Vec<Group>,
    pub(super) ledger: Ledger,
    pub(super) lost: Vec<String>,
    /// What subscribers took.
    pub(super) pushed: Recorder,
    pub(super) by_arrival: u64,
    /// What catch-up readers took.
    pub(super) caught_up: Recorder,
    pub(super) passes: u64,
}

impl Counts {
    pub(super) fn new(plan: &Plan) -> Self {
        Self {
            groups: plan.producers.iter().map(|_| Group::new(plan)).collect(),
            ledger: plan.ledger(),
            lost: Vec::new(),
            pushed: plan.recorder(),
            by_arrival: 0,
            caught_up: plan.recorder(),
            passes: 0,
        }
    }
}

/// One core of a run.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) clock: Clock,
    pub(super) shared: Arc<Shared>,
    pub(super) counts: RefCell<Counts>,
    /// Buffers of sent messages; the last is the newest used, and the likeliest to be in the processor's cache.
    pub(super) spare: RefCell<Vec<Vec<u8>>>,
    /// Consumers whose end is the run's where nobody produces.
    pub(super) consumers: usize,
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
            let empty = counts.ledger.emptied();
            self.shared.merge_ledger(std::mem::replace(&mut counts.ledger, empty));
        }
    }
}
