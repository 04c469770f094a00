//! What the cores of one run share, and the only things they do: counters, the start, and the stop sign.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Instant, SystemTime};

use super::core::{Clock, UNWANTED_MAX};
use crate::metrics::Phase;
use crate::verify::Ledger;
use crate::workload::GROUPS_MAX;

/// Why a run stopped producing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Stop {
    /// Its time was over.
    Time = 1,
    /// Its bytes were sent.
    Bytes = 2,
    /// The input ended.
    InputEnd = 3,
    /// A person asked for it.
    Interrupted = 4,
    /// No connection was left.
    ConnectionsLost = 5,
    /// The input turned out to be malformed.
    InputFault = 6,
    /// Everything that was there at the start was taken.
    Tip = 7,
}

impl Stop {
    const ALL: [Self; 7] = [
        Self::Time,
        Self::Bytes,
        Self::InputEnd,
        Self::Interrupted,
        Self::ConnectionsLost,
        Self::InputFault,
        Self::Tip,
    ];
}

/// Shared between the cores of a run and whoever watches it.
#[derive(Debug, Default)]
pub struct Shared {
    start: OnceLock<(Instant, SystemTime)>,
    stop: AtomicU8,
    stopped_at: OnceLock<Instant>,
    /// Cores whose every batch has its answer.
    settled: Mutex<BTreeSet<usize>>,
    done: AtomicBool,
    /// A person waits for nothing that follows the load.
    cut: AtomicBool,
    interrupted_at: OnceLock<Instant>,
    /// Subscribers were not waited for until they had everything.
    left_behind: AtomicBool,
    /// By each group of producers.
    sent_bytes: [AtomicU64; GROUPS_MAX],
    /// Whether that is all that they may.
    exhausted: [AtomicBool; GROUPS_MAX],
    /// Consumers, by their connections where they are pushed to, that have everything that was there at the start.
    at_the_tip: AtomicUsize,
    /// The same whose connection is gone.
    gone: AtomicUsize,
    acked_bytes: AtomicU64,
    acked_records: AtomicU64,
    read_bytes: AtomicU64,
    /// Accounts that grew past what a core keeps on its own.
    ledger: Mutex<Option<Ledger>>,
}

/// How far a run has come.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Time since the start; 0 before.
    pub elapsed_s: f64,
    /// Bytes of data and keys acknowledged, or taken where nobody produces.
    pub acked_bytes: u64,
    /// Such records.
    pub acked_records: u64,
    /// Bytes of data and keys read back.
    pub read_bytes: u64,
    /// Why producing stopped, once it did.
    pub stop: Option<Stop>,
    /// Whether every core is done producing.
    pub done: bool,
}

impl Progress {
    /// How far that is for whoever asks the server meanwhile.
    pub fn phase(&self, warmup_s: f64) -> Phase {
        match () {
            () if self.stop.is_some() => Phase::After,
            () if self.elapsed_s > 0.0 && self.elapsed_s >= warmup_s => Phase::Measured,
            () => Phase::Before,
        }
    }
}

impl Shared {
    /// A run that has not started.
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// Asks all cores to stop sending; the first reason stays.
    pub fn stop(&self, why: Stop) {
        self.stopped_at.get_or_init(Instant::now);
        let _ = self.stop.compare_exchange(0, why as u8, Ordering::AcqRel, Ordering::Acquire);
    }

    /// A person asks for the end: of the load, or of what follows one that has stopped by itself.
    pub fn interrupt(&self) {
        self.interrupted_at.get_or_init(Instant::now);
        self.stop(Stop::Interrupted);
        if self.stopped() != Some(Stop::Interrupted) {
            self.cut.store(true, Ordering::Relaxed);
        }
    }

    /// Whether a person asked for the end of what follows the load.
    pub fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Relaxed)
    }

    /// Whether a person asked for the end, of the load or of what follows it.
    pub(crate) fn is_interrupted(&self) -> bool {
        self.is_cut() || self.stopped() == Some(Stop::Interrupted)
    }

    /// The same so long ago that what has not come since is not waited for.
    pub(crate) fn is_long_interrupted(&self) -> bool {
        self.interrupted_at.get().is_some_and(|at| at.elapsed() >= UNWANTED_MAX)
    }

    /// Whether a person waits no more for what is under way.
    pub(crate) fn is_given_up(&self) -> bool {
        self.is_cut() || self.is_long_interrupted()
    }

    /// A subscriber that lacks something is not waited for.
    pub(crate) fn leave_behind(&self) {
        self.left_behind.store(true, Ordering::Relaxed);
    }

    pub(super) fn has_left_behind(&self) -> bool {
        self.left_behind.load(Ordering::Relaxed)
    }

    /// Why producing stopped, once it did.
    pub fn stopped(&self) -> Option<Stop> {
        let why = self.stop.load(Ordering::Acquire);
        Stop::ALL.into_iter().find(|&stop| stop as u8 == why)
    }

    /// How long it ran before that.
    pub(super) fn ran_ns(&self) -> u64 {
        let ran =
            self.start.get().zip(self.stopped_at.get()).map(|((start, _), at)| at.saturating_duration_since(*start));
        ran.unwrap_or_default().as_nanos() as u64
    }

    /// How far the run has come.
    pub fn progress(&self) -> Progress {
        Progress {
            elapsed_s: self.start.get().map_or(0.0, |(start, _)| start.elapsed().as_secs_f64()),
            acked_bytes: self.acked_bytes.load(Ordering::Relaxed),
            acked_records: self.acked_records.load(Ordering::Relaxed),
            read_bytes: self.read_bytes.load(Ordering::Relaxed),
            stop: self.stopped(),
            done: self.done.load(Ordering::Acquire),
        }
    }

    /// When the run began, or is to begin.
    pub fn started(&self) -> Option<SystemTime> {
        self.start.get().map(|&(_, at)| at)
    }

    /// The run begins: now, or at the time that was set.
    pub(super) fn begin(&self, start_at: Option<SystemTime>) -> Clock {
        let &(start, at) = self.start.get_or_init(|| {
            let (now, here) = (Instant::now(), SystemTime::now());
            match start_at.and_then(|at| Some((at, at.duration_since(here).ok()?))) {
                Some((at, wait)) => (now + wait, at),
                None => (now, here),
            }
        });
        let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Clock { start, start_us: since.as_micros() as u64 }
    }

    pub(crate) fn count_at_the_tip(&self) {
        self.at_the_tip.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn at_the_tip(&self) -> usize {
        self.at_the_tip.load(Ordering::Relaxed)
    }

    pub(crate) fn count_gone(&self) {
        self.gone.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn gone(&self) -> usize {
        self.gone.load(Ordering::Relaxed)
    }

    /// All that a core sent is settled, or it sends nothing.
    pub(crate) fn settle(&self, core: usize) {
        self.settled.lock().unwrap_or_else(PoisonError::into_inner).insert(core);
    }

    pub(crate) fn settled(&self) -> usize {
        self.settled.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    pub(super) fn finish(&self) {
        self.done.store(true, Ordering::Release);
    }

    /// Takes `bytes` off what a group may still send; `false`, and stop, if that is less.
    pub(crate) fn reserve(&self, group: usize, bytes: u64, bytes_max: u64) -> bool {
        let sent_bytes = &self.sent_bytes[group];
        let reserved = sent_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes <= bytes_max;
        if !reserved {
            sent_bytes.fetch_sub(bytes, Ordering::Relaxed);
            self.exhausted[group].store(true, Ordering::Relaxed);
            self.stop(Stop::Bytes);
        }
        reserved
    }

    /// Whether a group has sent all its bytes.
    pub(super) fn is_exhausted(&self, group: usize) -> bool {
        self.exhausted[group].load(Ordering::Relaxed)
    }

    pub(crate) fn count_acked(&self, records: u64, bytes: u64) {
        self.acked_records.fetch_add(records, Ordering::Relaxed);
        self.acked_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn count_read(&self, bytes: u64) {
        self.read_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Merges a core's account into the common one.
    pub(super) fn merge_ledger(&self, ledger: Ledger) {
        let mut common = self.ledger.lock().expect("no core panics while it merges");
        match common.as_mut() {
            Some(common) => common.merge(ledger),
            None => *common = Some(ledger),
        }
    }

    pub(super) fn take_ledger(&self) -> Option<Ledger> {
        self.ledger.lock().expect("no core panics while it merges").take()
    }
}
