//! Waits until a moment to within microseconds.
//!
//! tokio's timers tick once a millisecond, so a timerfd, read through the runtime, wakes the core shortly before the moment,
//! and the rest is spun. The spin must go on submitting and completing operations, or it would delay what it measures.
//! `tokio-uring` does both only when the runtime parks, and whoever yields or wakes itself keeps it from parking. So each turn
//! of the spin waits for an operation that does nothing: the runtime parks, submits it with all others, and is woken at once.
//! Plain tokio asks epoll, without waiting, whenever all tasks have yielded: there a turn is to yield.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
use tokio::net::unix::pipe::Receiver;
use tokio_uring::fs::File;

use super::NativeError;
use super::core::Clock;
use super::runtime::{Kind, kind};

/// How long before the moment the timer wakes: longer than a core takes to wake up.
const SPIN_NS: u64 = 150_000;

/// How long somebody whose every moment has passed keeps a core from all else.
const BEHIND_NS: u64 = 200_000;

/// A timerfd, and how its end is waited for.
enum Timer {
    Ring {
        timer: File,
        ticks: Vec<u8>,
    },
    /// Read as a pipe is, which is what it looks like; tokio's own type for other descriptors is unsafe to make.
    Epoll(Receiver),
}

/// How many whole turns all tasks of a core have had.
#[derive(Clone, Debug, Default)]
pub(crate) struct Turns(Rc<Cell<u64>>);

impl Turns {
    pub(crate) fn now(&self) -> u64 {
        self.0.get()
    }

    pub(crate) fn count(&self) {
        self.0.set(self.0.get() + 1);
    }
}

/// Whether what a core waits for since one turn is still the other end's to give by another: a whole turn has begun and ended in
/// between, in which all that was there was read. One that is under way when a wait begins may have read before.
pub(crate) fn outlasts(since: u64, turn: u64) -> bool {
    turn >= since.saturating_add(2)
}

/// A timer of one core.
pub(crate) struct Pacer {
    timer: Timer,
    descriptor: std::fs::File,
    /// When others of the core last had a turn.
    turned_ns: u64,
    turns: Turns,
}

impl Pacer {
    pub(crate) fn new(turns: &Turns) -> Result<Self, NativeError> {
        // Through the ring a read that would not wait is of no use; of epoll's, each is tried first.
        let flags = match kind() {
            Kind::Ring => TimerfdFlags::CLOEXEC,
            Kind::Epoll => TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK,
        };
        let descriptor = rustix::time::timerfd_create(TimerfdClockId::Monotonic, flags).map_err(io::Error::from);
        let descriptor = std::fs::File::from(descriptor.map_err(NativeError::Timer)?);
        let timer = descriptor.try_clone().map_err(NativeError::Timer)?;
        let timer = match kind() {
            Kind::Ring => Timer::Ring { timer: File::from_std(timer), ticks: vec![0; 8] },
            Kind::Epoll => Timer::Epoll(Receiver::from_file_unchecked(timer).map_err(NativeError::Timer)?),
        };
        Ok(Self { timer, descriptor, turned_ns: 0, turns: turns.clone() })
    }

    /// Lets all tasks of the core have a turn.
    pub(crate) async fn turn(&mut self, clock: Clock) {
        whole_turn().await;
        self.turns.count();
        self.turned_ns = clock.now_ns();
    }

    /// Waits until `due_ns` on the run's clock; ends early when `stopped` says so. Where the moment has passed others of the core
    /// have a turn now and then all the same: whoever is behind would never let them send, or take an answer.
    pub(crate) async fn wait_until(&mut self, due_ns: u64, clock: Clock, stopped: impl Fn() -> bool) {
        /// How often a long wait looks whether the run was stopped.
        const LOOK_NS: u64 = 50_000_000;
        loop {
            let now_ns = clock.now_ns();
            let left_ns = due_ns.saturating_sub(now_ns);
            let is_over = left_ns == 0 || stopped();
            if is_over && now_ns.saturating_sub(self.turned_ns) < BEHIND_NS {
                return;
            }
            match left_ns > SPIN_NS && !is_over {
                true => self.sleep(Duration::from_nanos((left_ns - SPIN_NS).min(LOOK_NS))).await,
                false => self.turn(clock).await,
            }
            self.turned_ns = clock.now_ns();
            if is_over {
                return;
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
        let read = match &mut self.timer {
            Timer::Ring { timer, ticks } => {
                let (read, read_into) = timer.read_at(std::mem::take(ticks), 0).await;
                *ticks = read_into;
                read
            }
            Timer::Epoll(timer) => loop {
                match timer.readable().await {
                    Err(error) => break Err(error),
                    Ok(()) => match timer.try_read(&mut [0; 8]) {
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                        read => break read,
                    },
                }
            },
        };
        if read.is_err() {
            turn().await;
        }
    }
}

/// One turn of the runtime that leaves nobody out. Who drives a core is asked first, and of the others only some at a time; a task
/// waits in line behind all that are ready, and its operation is submitted, and told of, after theirs.
pub(crate) async fn whole_turn() {
    tokio::task::spawn_local(turn()).await.expect("a turn does not panic");
}

/// One turn of the runtime: tasks run, operations are submitted and completions taken, without sleeping.
pub(super) async fn turn() {
    match kind() {
        // A failure is that of the ring, which the next operation on it will tell.
        Kind::Ring => drop(tokio_uring::no_op().await),
        Kind::Epoll => tokio::task::yield_now().await,
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;
    use std::time::Instant;

    use super::super::runtime::run_pinned;
    use super::*;

    /// Bug, found on reading: of many connections some had no turn between two looks at who waits. Mechanism: whoever paces is asked
    /// before them, and a round of the runtime is for a few dozen tasks. Fix: a turn waits in line behind them all.
    #[test]
    fn a_turn_is_everybodys() {
        const TASKS: usize = 1000;
        let core = core_affinity::get_core_ids().unwrap()[0].id;
        let had_theirs = run_pinned(core, || async {
            let turns = Turns::default();
            let mut pacer = Pacer::new(&turns).unwrap();
            let clock = Clock { start: Instant::now(), start_us: 0 };
            let count = Rc::new(Cell::new(0));
            for _ in 0..TASKS {
                let count = Rc::clone(&count);
                tokio::task::spawn_local(async move {
                    turn().await;
                    count.set(count.get() + 1);
                });
            }
            while clock.now_ns() < BEHIND_NS {}
            pacer.wait_until(0, clock, || false).await;
            (count.get(), turns.now())
        });
        assert_eq!(had_theirs.unwrap(), (TASKS, 1));
    }
}
