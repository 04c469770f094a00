//! Clocks of the kernel.

use rustix::time::{ClockId, Timespec, clock_gettime};

/// The clocks that the engine reads.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock;

impl Clock {
    /// Nanoseconds that never go back.
    pub fn mono_ns(self) -> u64 {
        nanoseconds(clock_gettime(ClockId::Monotonic))
    }

    /// Milliseconds since 1970.
    pub fn wall_ms(self) -> u64 {
        nanoseconds(clock_gettime(ClockId::Realtime)) / 1_000_000
    }

    /// Milliseconds since boot, sleep included.
    pub fn boottime_ms(self) -> u64 {
        nanoseconds(clock_gettime(ClockId::Boottime)) / 1_000_000
    }
}

/// CPU time of the calling thread, in nanoseconds.
pub fn thread_cpu_ns() -> u64 {
    nanoseconds(clock_gettime(ClockId::ThreadCPUTime))
}

fn nanoseconds(time: Timespec) -> u64 {
    time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
}
