//! Waits until a moment to within microseconds.
//!
//! tokio's timers tick once a millisecond, so a timerfd, read through the ring, wakes the core shortly before the moment,
//! and the rest is spun. The spin must go on submitting and completing operations, or it would delay what it measures.
//! `tokio-uring` does both only when the runtime parks, and whoever yields or wakes itself keeps it from parking. So each turn
//! of the spin waits for an operation that does nothing: the runtime parks, submits it with all others, and is woken at once.

use std::time::Duration;

use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
use tokio_uring::fs::File;

use super::NativeError;
use super::core::Clock;

/// How long before the moment the timer wakes: longer than a core takes to wake up.
const SPIN_NS: u64 = 150_000;

/// A timer of one core.
pub(super) struct Pacer {
    timer: File,
    descriptor: std::fs::File,
    ticks: Vec<u8>,
}

impl Pacer {
    pub(super) fn new() -> Result<Self, NativeError> {
        let timer = rustix::time::timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC)
            .map_err(|error| NativeError::Ring(error.into()))?;
        let descriptor = std::fs::File::from(timer);
        let timer = descriptor.try_clone().map_err(NativeError::Ring)?;
        Ok(Self { timer: File::from_std(timer), descriptor, ticks: vec![0; 8] })
    }

    /// Waits until `due_ns` on the run's clock; ends early when `stopped` says so.
    pub(super) async fn wait_until(&mut self, due_ns: u64, clock: Clock, stopped: impl Fn() -> bool) {
        /// How often a long wait looks whether the run was stopped.
        const LOOK_NS: u64 = 50_000_000;
        loop {
            let left_ns = due_ns.saturating_sub(clock.now_ns());
            if left_ns == 0 || stopped() {
                return;
            }
            if left_ns > SPIN_NS {
                self.sleep(Duration::from_nanos((left_ns - SPIN_NS).min(LOOK_NS))).await;
            } else {
                turn().await;
            }
        }
    }

    async fn sleep(&mut self, wait: Duration) {
        let once = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: i64::from(wait.subsec_nanos().max(1)) };
        let never = Timespec { tv_sec: 0, tv_nsec: 0 };
        let setting = Itimerspec { it_interval: never, it_value: once };
        if rustix::time::timerfd_settime(&self.descriptor, TimerfdTimerFlags::empty(), &setting).is_err() {
            return turn().await;
        }
        let (read, ticks) = self.timer.read_at(std::mem::take(&mut self.ticks), 0).await;
        self.ticks = ticks;
        if read.is_err() {
            turn().await;
        }
    }
}

/// One turn of the runtime: tasks run, operations are submitted and completions taken, without sleeping.
pub(super) async fn turn() {
    // A failure is that of the ring, which the next operation on it will tell.
    let _ = tokio_uring::no_op().await;
}
