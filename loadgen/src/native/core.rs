//! What the connections of one core share: the clock, and everything that is counted. One thread owns it all.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::select;
use tokio::time::sleep;

use super::pace::Turns;
use super::shared::Shared;
use super::{Group, Plan};
use crate::recorder::Recorder;
use crate::verify::Ledger;

/// Pairs of numbers that a core's own account may take before it is merged into the common one: with several cores, the
/// numbers of a shard are consecutive only over all of them.
const LEDGER_RUNS_MAX: usize = 4096;

/// Buffers of sent messages that a core keeps for the next ones.
const SPARE_BUFFERS_MAX: usize = 256;

/// How often a wait looks at the stop sign.
const LOOK: Duration = Duration::from_millis(10);

/// A server that says nothing for so long, to somebody who has asked or waits for more, is not waited for any longer.
pub(crate) const SILENCE_MAX: Duration = Duration::from_secs(30);

/// What is under way when nobody wants it any more has so long to come.
pub(crate) const UNWANTED_MAX: Duration = Duration::from_secs(1);

/// When a batch is to leave, and how many records it has.
pub(crate) type Due = (u64, u64);

/// Time since the run's start, the same on all cores.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    pub(super) start: Instant,
    /// The start by the clock of this host, in microseconds since 1970.
    pub(super) start_us: u64,
}

impl Clock {
    pub(crate) fn now_ns(self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }

    pub(crate) fn until_start(self) -> Duration {
        self.start.saturating_duration_since(Instant::now())
    }

    pub(crate) fn has_begun(self) -> bool {
        self.until_start().is_zero()
    }

    /// A time of the run in microseconds since 1970.
    pub(crate) fn wall_us(self, ns: u64) -> u64 {
        self.start_us + ns / 1000
    }
}

/// The counts of one core.
#[derive(Debug)]
pub(crate) struct Counts {
    /// One a group of producers.
    pub(crate) groups: Vec<Group>,
    pub(crate) ledger: Ledger,
    pub(crate) lost: Vec<String>,
    /// What subscribers took.
    pub(crate) pushed: Recorder,
    pub(crate) by_arrival: u64,
    pub(crate) before_sent: u64,
    /// What catch-up readers took.
    pub(crate) caught_up: Recorder,
    pub(crate) passes: u64,
}

impl Counts {
    pub(super) fn new(plan: &Plan) -> Self {
        Self {
            groups: plan.producers.iter().map(|_| Group::new(plan)).collect(),
            ledger: plan.ledger(),
            lost: Vec::new(),
            pushed: plan.recorder(),
            by_arrival: 0,
            before_sent: 0,
            caught_up: plan.recorder(),
            passes: 0,
        }
    }
}

/// Waits for so long, unless it is over before.
pub(crate) async fn sleep_unless(time: Duration, is_over: impl Fn() -> bool) {
    let until = Instant::now() + time;
    while Instant::now() < until && !is_over() {
        sleep(LOOK.min(until.saturating_duration_since(Instant::now()))).await;
    }
}

/// Waits until a person asks for the end.
pub(crate) async fn until(interrupted: &AtomicBool) {
    while !interrupted.load(Ordering::Relaxed) {
        sleep(LOOK).await;
    }
}

/// Waits until it is over, and what is under way then has had its time.
pub(crate) async fn long_over(is_over: impl Fn() -> bool) {
    while !is_over() {
        sleep(LOOK).await;
    }
    sleep(UNWANTED_MAX).await;
}

/// What comes, unless it is over before, and for a while.
pub(crate) async fn unless_over<T>(coming: impl Future<Output = T>, is_over: impl Fn() -> bool) -> Option<T> {
    select! {
        come = coming => Some(come),
        () = long_over(is_over) => None,
    }
}

/// One core of a run.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) clock: Clock,
    pub(crate) shared: Arc<Shared>,
    pub(crate) counts: RefCell<Counts>,
    /// Buffers of sent messages; the last is the newest used, and the likeliest to be in the processor's cache.
    pub(super) spare: RefCell<Vec<Vec<u8>>>,
    /// What tells how long its connections wait.
    pub(crate) turns: Turns,
    /// Consumers whose end is the run's where nobody produces.
    pub(super) consumers: usize,
}

impl Core {
    /// A core whose run begins, or is to begin.
    pub(crate) fn begin(plan: &Plan, shared: &Arc<Shared>, turns: Turns) -> Self {
        Self {
            clock: shared.begin(plan.start_at),
            shared: Arc::clone(shared),
            counts: RefCell::new(Counts::new(plan)),
            spare: RefCell::default(),
            turns,
            consumers: plan.consumers.counted(&plan.target),
        }
    }

    /// Waits until the run begins, or is stopped before.
    pub(crate) async fn until_begun(&self) {
        while !self.clock.has_begun() && !self.stopped() {
            sleep(self.clock.until_start().min(LOOK)).await;
        }
    }

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

    pub(crate) fn stopped(&self) -> bool {
        self.shared.stopped().is_some()
    }

    /// So many records were due and are not sent any more: late, and without an answer until then.
    pub(crate) fn unserved(&self, group: usize, due: Due, until_ns: u64) {
        self.unserved_n(group, due, until_ns, 1);
    }

    /// So many batches of them.
    pub(crate) fn unserved_n(&self, group: usize, (intended_ns, records): Due, until_ns: u64, batches: u32) {
        self.unserved_in_all(group, (intended_ns, records * u64::from(batches)), until_ns, batches);
    }

    /// The same of so many records in all of them.
    pub(super) fn unserved_in_all(&self, group: usize, (intended_ns, records): Due, until_ns: u64, batches: u32) {
        // Where all bytes were sent, these were not to be.
        let is_exhausted = self.shared.is_exhausted(group);
        let group = &mut self.counts.borrow_mut().groups[group];
        group.lateness.record_n(intended_ns, until_ns, batches);
        if !is_exhausted {
            group.recorder.unserved(intended_ns, until_ns, records);
        }
    }

    /// Hands a grown account over to the common one.
    pub(super) fn trim_ledger(&self, counts: &mut Counts) {
        if counts.ledger.runs() > LEDGER_RUNS_MAX {
            let empty = counts.ledger.emptied();
            self.shared.merge_ledger(std::mem::replace(&mut counts.ledger, empty));
        }
    }
}
