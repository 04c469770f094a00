//! What goes wrong in a run, and how often. Drawn from the seed, so that every run has faults of its own: some kinds
//! not at all, others often (swarm testing).

use crate::dice::Dice;
use crate::disk::DiskFaults;
use crate::network::NetworkFaults;

/// Kinds of runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Profile {
    /// Power cuts and kills; the hardware is good. Every acknowledged record must be found.
    Crash,
    /// Failing, short and cancelled operations and full disks as well. Every acknowledged record must be found.
    Faults,
    /// Damage to what is stored, done between lives. It must be noticed: no wrong data, no silent loss.
    Damage,
}

impl Profile {
    /// All of them.
    pub const ALL: [Profile; 3] = [Profile::Crash, Profile::Faults, Profile::Damage];

    /// The faults of one life's disk.
    pub(crate) fn disk(self, dice: &mut Dice) -> DiskFaults {
        let slow = if dice.chance(0.2) { 0.02 } else { 0.0 };
        let mut faults = DiskFaults { slow, ..DiskFaults::default() };
        if self != Profile::Faults || dice.chance(0.2) {
            return faults;
        }
        let kinds: [&mut f64; 8] = [
            &mut faults.write_error,
            &mut faults.write_short,
            &mut faults.cancelled,
            &mut faults.read_error,
            &mut faults.read_short,
            &mut faults.sync_error,
            &mut faults.name_error,
            &mut faults.allocate_full,
        ];
        // Writes above all: what they leave is what recovery has to tell apart.
        for (at, kind) in kinds.into_iter().enumerate() {
            if dice.chance(if at < 2 { 0.6 } else { 0.3 }) {
                *kind = *dice.pick(&[0.002, 0.01, 0.05]);
            }
        }
        // Few operations allocate or flush.
        faults.allocate_full *= 10.0;
        faults.sync_error *= 5.0;
        faults.sticky = *dice.pick(&[0.0, 0.5, 1.0]);
        faults
    }

    /// The network of one life.
    pub(crate) fn network(self, dice: &mut Dice) -> NetworkFaults {
        if dice.chance(0.3) {
            return NetworkFaults::CALM;
        }
        let mut often = || *dice.pick(&[0.0, 0.01, 0.1]);
        NetworkFaults {
            send_short: often(),
            receive_ends: often(),
            accept_ends: often(),
            accept_fails: often(),
            delay_ns_max: dice.skewed(1_000..=10_000_000),
            window_bytes: dice.skewed(1_000..=1 << 20) as usize,
        }
    }
}
