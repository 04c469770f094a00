//! The time that retention goes by: where the wall clock once stood, and real elapsed time since.
//!
//! The wall clock may jump; the boot clock does not, and goes on while the machine sleeps. So what expires is decided by the
//! wall clock as it was when the data directory was first opened, and by how much the boot clock has counted since; the
//! superblock carries both from one life to the next. Where they disagree with the wall clock by more than an hour as a life
//! begins, nobody knows which is right, and nothing expires: until the wall clock agrees again, or an operator says that it
//! is to be believed.
//!
//! ```text
//!   superblock: (time, boot clock) --same boot--> time + what the boot clock has counted --+-- near the wall clock --> [runs]
//!                                  --reboot-----> time + what the new boot has counted ----+-- far from it ---------> [held]
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use frame::superblock::Superblock;
use io::Io;

use crate::limits::CLOCK_DIFFERS_MS_MAX;

/// Between what the wall clock and the boot clock say of the time that passed, in one boot whose id changed. Of a reboot this much may
/// be lost.
const SAME_BOOT_MS: u64 = 60_000;

/// What time it is for a log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Time {
    /// When a record arrives that does so now, in milliseconds since 1970.
    pub arrival_ms: u64,
    /// The latest that this may be, whatever the wall clock says; what arrived before it was set back may be as late.
    pub latest_ms: u64,
    /// The time against which arrivals are held to tell what has expired; none while nothing does.
    pub expiry_ms: Option<u64>,
}

/// The time of one data directory. Every reactor has a copy, and every handle.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    /// What it says beyond the boot clock.
    offset_ms: i64,
    /// How far ahead of it the wall clock was that this life began with, while nothing expires because of that.
    began_ahead_ms: u64,
    /// Whether nothing expires, as the wall clock was far from it when this life began. All copies agree.
    is_held: Arc<AtomicBool>,
}

impl Clock {
    /// Begins to go by the wall clock.
    pub(crate) fn at_wall(io: &impl Io) -> Clock {
        let offset_ms = signed(io.wall_ms()) - signed(io.boottime_ms());
        Clock { offset_ms, began_ahead_ms: 0, is_held: Arc::default() }
    }

    /// Goes on from what the last life wrote to the superblock.
    pub(crate) fn after(io: &impl Io, was: &Superblock) -> Clock {
        let (wall_ms, boot_ms, was_ms) = (io.wall_ms(), io.boottime_ms(), was.wall_ms);
        // Up for longer than it was then, it may still have been rebooted; not every machine tells. A container has another id at
        // each start, and the clock of its host: there the wall clock went along with it.
        let is_another_boot = was.boot != 0 && io.boot() != 0 && io.boot() != was.boot;
        let went_along = |ms: u64| wall_ms.abs_diff(was_ms.saturating_add(ms)) <= SAME_BOOT_MS;
        let counted_ms = boot_ms.checked_sub(was.boottime_ms).filter(|&ms| !is_another_boot || went_along(ms));
        let least_ms = was_ms.saturating_add(counted_ms.unwrap_or(boot_ms));
        let is_held = wall_ms.abs_diff(least_ms) > CLOCK_DIFFERS_MS_MAX;
        // After a reboot the time before it was not counted, and the wall clock is all that knows of it.
        let was_off = counted_ms.is_none() && !is_held;
        let now_ms = if was_off { least_ms.max(wall_ms) } else { least_ms };
        // The wall clock that it began with may be right; by how much it jumps from there is known.
        let began_ahead_ms = wall_ms.saturating_sub(now_ms);
        let offset_ms = signed(now_ms).saturating_sub(signed(boot_ms));
        Clock { offset_ms, began_ahead_ms, is_held: Arc::new(AtomicBool::new(is_held)) }
    }

    fn is_held(&self) -> bool {
        self.is_held.load(Ordering::Relaxed)
    }

    /// What it says now, in milliseconds since 1970. Never goes back.
    pub(crate) fn now_ms(&self, io: &impl Io) -> u64 {
        self.at(io.boottime_ms())
    }

    fn at(&self, boottime_ms: u64) -> u64 {
        signed(boottime_ms).saturating_add(self.offset_ms).max(0).cast_unsigned()
    }

    /// How far the wall clock is from it, if nothing expires because of that.
    pub(crate) fn held_by_ms(&self, io: &impl Io) -> Option<i64> {
        self.is_held().then(|| signed(io.wall_ms()).saturating_sub(signed(self.now_ms(io))))
    }

    /// Lets records expire again, if the wall clock agrees by now. Whether it just did.
    pub(crate) fn look_again(&self, io: &impl Io) -> bool {
        let agrees = |by_ms: i64| by_ms.unsigned_abs() <= CLOCK_DIFFERS_MS_MAX;
        self.held_by_ms(io).is_some_and(agrees) && self.is_held.swap(false, Ordering::Relaxed)
    }

    /// The time against which arrivals are held to tell what has expired; none while nothing does.
    pub(crate) fn expiry_ms(&self, io: &impl Io) -> Option<u64> {
        (!self.is_held()).then(|| self.now_ms(io))
    }

    /// When a record arrives that does so now: by the wall clock, but not before this one, or it would expire too early; and
    /// no more than an hour after it, or it would stay for long after a jump. While nothing expires the wall clock may have been
    /// right from the start, and an hour after that is meant: a record that says less would expire too early once it is believed.
    pub(crate) fn arrival_ms(&self, io: &impl Io) -> u64 {
        self.time(io.wall_ms(), io.boottime_ms()).arrival_ms
    }

    /// What time it is, by the other clocks as they are now.
    pub(crate) fn time(&self, wall_ms: u64, boottime_ms: u64) -> Time {
        let (now_ms, is_held) = (self.at(boottime_ms), self.is_held());
        let began_ahead_ms = if is_held { self.began_ahead_ms } else { 0 };
        let latest_ms = now_ms.saturating_add(began_ahead_ms).saturating_add(CLOCK_DIFFERS_MS_MAX);
        Time { arrival_ms: wall_ms.clamp(now_ms, latest_ms), latest_ms, expiry_ms: (!is_held).then_some(now_ms) }
    }

    /// Whether something may have been dated by this clock, which arrivals follow then: no more than an hour later than it says itself,
    /// as a row of splits is dated ahead of it, a second each. Else a wall clock was believed that was wrong.
    pub(crate) fn may_have_said(&self, io: &impl Io, ms: u64) -> bool {
        ms <= self.time(io.wall_ms(), io.boottime_ms()).latest_ms.saturating_add(CLOCK_DIFFERS_MS_MAX)
    }
}

fn signed(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

#[cfg(test)]
#[path = "clock_tests.rs"]
mod tests;
