//! Clocks of the kernel.

use std::sync::OnceLock;

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

    /// Which boot of the machine that is: the first 4 bytes of its id, all of which are random. 0 if the kernel doesn't tell it.
    pub fn boot(self) -> u32 {
        static BOOT: OnceLock<u32> = OnceLock::new();
        *BOOT.get_or_init(|| std::fs::read_to_string(BOOT_ID).map_or(0, |id| first_bytes(&id)))
    }
}

/// A UUID in hexadecimal.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

fn first_bytes(id: &str) -> u32 {
    id.get(..8).and_then(|digits| u32::from_str_radix(digits, 16).ok()).unwrap_or(0)
}

/// CPU time of the calling thread, in nanoseconds.
pub fn thread_cpu_ns() -> u64 {
    nanoseconds(clock_gettime(ClockId::ThreadCPUTime))
}

fn nanoseconds(time: Timespec) -> u64 {
    time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boot_is_known_by_the_beginning_of_its_id() {
        assert_eq!(first_bytes("7f1e2d3c-0b5a-4c1e-9d57-0e6f1a2b3c4d\n"), 0x7f1e_2d3c);
        assert_eq!([first_bytes(""), first_bytes("none of it")], [0, 0]);
        assert_eq!(Clock.boot(), Clock.boot());
    }
}
