//! Which operations of the disk fail, and how.

use std::collections::BTreeSet;

use super::image::SECTOR_BYTES;
use super::names::Inode;
use crate::dice::Dice;
use crate::errno;
use crate::trace::Trace;

/// There is no room, or an allocation says so, for what is to take the place of segments.
pub(super) const NO_SPACE_FOR_COPY: &str = "disk: no space as segments are compacted";

/// How likely each operation is to fail. 0 is never.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct DiskFaults {
    /// A write fails; some of it may have been written.
    pub write_error: f64,
    /// A write writes less than all.
    pub write_short: f64,
    /// A write or read is cancelled or interrupted, and does nothing.
    pub cancelled: f64,
    /// A read fails.
    pub read_error: f64,
    /// A read reads less than there is.
    pub read_short: f64,
    /// A flush fails, and unflushed writes may be gone.
    pub sync_error: f64,
    /// An operation on names fails.
    pub name_error: f64,
    /// Allocation finds the disk full although it is not.
    pub allocate_full: f64,
    /// The same, for what is to take the place of segments.
    pub copy_full: f64,
    /// An error stays: the same kind of operation on that file fails from then on.
    pub sticky: f64,
    /// An operation takes up to a second.
    pub slow: f64,
}

/// What becomes of an operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// It does what it says.
    Good,
    /// It fails, and may have done some of it.
    Failed(i32),
    /// It does nothing.
    Nothing(i32),
    /// It ends after so many bytes.
    Short(usize),
}

/// Operations that fail alike.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Group {
    Write,
    Read,
    Sync,
}

/// Draws outcomes.
#[derive(Debug)]
pub(crate) struct Faults {
    rates: DiskFaults,
    broken: BTreeSet<(Group, Inode)>,
}

impl Faults {
    pub(crate) fn new(rates: DiskFaults) -> Faults {
        Faults { rates, broken: BTreeSet::new() }
    }

    pub(crate) fn write(&mut self, inode: Inode, bytes: usize, dice: &mut Dice, trace: &mut Trace) -> Outcome {
        if self.fails(Group::Write, inode, self.rates.write_error, dice) {
            trace.count("disk: write failed");
            return Outcome::Failed(*dice.pick(&[errno::IO, errno::IO, errno::NO_SPACE]));
        }
        if dice.chance(self.rates.write_short) {
            trace.count("disk: short write");
            return Outcome::Short(dice.index(bytes / SECTOR_BYTES) * SECTOR_BYTES);
        }
        self.cancelled(dice, trace)
    }

    pub(crate) fn read(&mut self, inode: Inode, bytes: usize, dice: &mut Dice, trace: &mut Trace) -> Outcome {
        if self.fails(Group::Read, inode, self.rates.read_error, dice) {
            trace.count("disk: read failed");
            return Outcome::Nothing(errno::IO);
        }
        if dice.chance(self.rates.read_short) {
            trace.count("disk: short read");
            return Outcome::Short(dice.index(bytes / SECTOR_BYTES) * SECTOR_BYTES);
        }
        self.cancelled(dice, trace)
    }

    pub(crate) fn sync(&mut self, inode: Inode, dice: &mut Dice, trace: &mut Trace) -> Outcome {
        if self.fails(Group::Sync, inode, self.rates.sync_error, dice) {
            trace.count("disk: flush failed");
            return Outcome::Failed(*dice.pick(&[errno::IO, errno::NO_SPACE, errno::NO_MEMORY]));
        }
        Outcome::Good
    }

    pub(crate) fn names(&mut self, dice: &mut Dice, trace: &mut Trace) -> Outcome {
        if dice.chance(self.rates.name_error) {
            trace.count("disk: operation on names failed");
            return Outcome::Failed(errno::IO);
        }
        Outcome::Good
    }

    pub(crate) fn allocate(&mut self, is_copy: bool, dice: &mut Dice, trace: &mut Trace) -> Outcome {
        if dice.chance(if is_copy { self.rates.copy_full } else { self.rates.allocate_full }) {
            trace.count("disk: allocation found no space");
            if is_copy {
                trace.count(NO_SPACE_FOR_COPY);
            }
            return Outcome::Nothing(errno::NO_SPACE);
        }
        Outcome::Good
    }

    /// How long an operation takes.
    pub(crate) fn latency_ns(&self, dice: &mut Dice, trace: &mut Trace) -> u64 {
        if dice.chance(self.rates.slow) {
            trace.count("disk: slow");
            return dice.skewed(1_000_000..=1_000_000_000);
        }
        dice.skewed(3_000..=300_000)
    }

    fn cancelled(&self, dice: &mut Dice, trace: &mut Trace) -> Outcome {
        if dice.chance(self.rates.cancelled) {
            trace.count("disk: cancelled");
            return Outcome::Nothing(*dice.pick(&[errno::CANCELLED, errno::INTERRUPTED, errno::AGAIN]));
        }
        Outcome::Good
    }

    fn fails(&mut self, group: Group, inode: Inode, rate: f64, dice: &mut Dice) -> bool {
        if self.broken.contains(&(group, inode)) {
            return true;
        }
        let fails = dice.chance(rate);
        if fails && dice.chance(self.rates.sticky) {
            self.broken.insert((group, inode));
        }
        fails
    }
}
