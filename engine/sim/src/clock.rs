//! Simulated clocks. Time passes only where the world says so: a little with every turn, and up to the next event when
//! the reactor waits.

use crate::dice::Dice;

const HOUR_MS: i64 = 3_600_000;
const TEN_YEARS_MS: i64 = 10 * 365 * 24 * HOUR_MS;

/// When the first life of a run starts, in milliseconds since 1970: late in November 2026.
const FIRST_WALL_MS: i64 = 1_795_000_000_000;

/// The clocks of one machine.
#[derive(Debug)]
pub struct Clock {
    mono_ns: u64,
    /// What the wall clock says beyond the monotonic one.
    wall_offset_ms: i64,
    /// What the boot clock says beyond the monotonic one: sleep.
    asleep_ms: u64,
    /// Which boot this is.
    boot: u32,
}

impl Clock {
    /// The clocks when a run begins.
    pub fn new(dice: &mut Dice) -> Clock {
        let mono_ns = dice.skewed(1_000_000..=10_u64.pow(16));
        Clock { mono_ns, wall_offset_ms: FIRST_WALL_MS - (mono_ns / 1_000_000) as i64, asleep_ms: 0, boot: 1 }
    }

    /// Nanoseconds that never go back within one boot.
    pub fn mono_ns(&self) -> u64 {
        self.mono_ns
    }

    /// Milliseconds since 1970, as far as the machine knows.
    pub fn wall_ms(&self) -> u64 {
        ((self.mono_ns / 1_000_000) as i64 + self.wall_offset_ms).max(0).cast_unsigned()
    }

    /// Milliseconds since boot, sleep included.
    pub fn boottime_ms(&self) -> u64 {
        self.mono_ns / 1_000_000 + self.asleep_ms
    }

    /// Which boot this is, counted from 1.
    pub fn boot(&self) -> u32 {
        self.boot
    }

    /// Lets time pass.
    pub fn advance(&mut self, by_ns: u64) {
        self.mono_ns += by_ns;
    }

    /// Lets time pass up to `mono_ns`, unless that was before.
    pub fn advance_to(&mut self, mono_ns: u64) {
        self.advance(mono_ns.saturating_sub(self.mono_ns));
    }

    /// Sets the wall clock wrong: by an hour or by ten years, back or forth. Returns by how much.
    pub fn jump(&mut self, dice: &mut Dice) -> i64 {
        let by_ms = *dice.pick(&[-TEN_YEARS_MS, -HOUR_MS, -1500, 1500, HOUR_MS, TEN_YEARS_MS]);
        self.set_by(by_ms);
        by_ms
    }

    /// Sets the wall clock forth by so much, or back.
    pub fn set_by(&mut self, by_ms: i64) {
        self.wall_offset_ms += by_ms;
    }

    /// Puts the machine to sleep: the boot clock goes on, the monotonic one does not.
    pub fn sleep(&mut self, by_ms: u64) {
        self.asleep_ms += by_ms;
        self.wall_offset_ms += by_ms.cast_signed();
    }

    /// Power is gone for a while: monotonic and boot clock start again, the wall clock goes on.
    pub fn reboot(&mut self, dice: &mut Dice) {
        let wall_ms = self.wall_ms().cast_signed() + dice.skewed(1_000..=10_000_000).cast_signed();
        self.mono_ns = dice.skewed(1_000_000..=10_u64.pow(11));
        (self.asleep_ms, self.boot) = (0, self.boot + 1);
        self.wall_offset_ms = wall_ms - (self.mono_ns / 1_000_000).cast_signed();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reboot_restarts_all_clocks_but_the_wall() {
        let mut dice = Dice::new(1, 0, "clock");
        let mut clock = Clock::new(&mut dice);
        assert_eq!(clock.wall_ms(), FIRST_WALL_MS as u64);
        clock.advance(10_u64.pow(18));
        clock.sleep(5_000);
        assert_eq!(clock.boottime_ms(), clock.mono_ns() / 1_000_000 + 5_000);
        let wall_ms = clock.wall_ms();
        clock.reboot(&mut dice);
        assert!(clock.wall_ms() > wall_ms && clock.boot() == 2);
        assert!(clock.mono_ns() <= 10_u64.pow(11));
        assert_eq!(clock.boottime_ms(), clock.mono_ns() / 1_000_000);
    }

    #[test]
    fn jumps_move_the_wall_alone() {
        let mut dice = Dice::new(2, 0, "clock");
        let mut clock = Clock::new(&mut dice);
        let (mono_ns, wall_ms) = (clock.mono_ns(), clock.wall_ms());
        let by_ms = clock.jump(&mut dice);
        assert_eq!(clock.mono_ns(), mono_ns);
        assert_eq!(clock.wall_ms().cast_signed(), wall_ms.cast_signed() + by_ms);
        clock.advance_to(mono_ns.saturating_sub(1));
        assert_eq!(clock.mono_ns(), mono_ns, "time never goes back");
    }
}
