//! Processor time that a hypervisor gave to other machines while something here waited for it.

use std::fs;

/// Where it kept more than this, figures tell of its other guests too.
const SHARE_MAX: f64 = 0.05;

/// Ticks of all processors so far: those that were kept from this machine, and all.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stolen {
    stolen: u64,
    all: u64,
}

impl Stolen {
    pub(crate) fn now() -> Self {
        let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
        Self::of(stat.lines().next().unwrap_or_default())
    }

    /// user nice system idle iowait irq softirq steal; guest time is within user.
    fn of(line: &str) -> Self {
        let ticks: Vec<u64> =
            line.split_ascii_whitespace().skip(1).take(8).filter_map(|tick| tick.parse().ok()).collect();
        Self { stolen: ticks.get(7).copied().unwrap_or(0), all: ticks.iter().sum() }
    }

    /// The share since an earlier moment, in percent.
    pub(crate) fn percent_since(self, earlier: Self) -> f64 {
        let all = self.all.saturating_sub(earlier.all).max(1);
        self.stolen.saturating_sub(earlier.stolen) as f64 / all as f64 * 100.0
    }
}

/// What must be known of a side during which so much was kept.
pub(crate) fn mark(percent: f64) -> Option<String> {
    (percent > SHARE_MAX * 100.0)
        .then(|| format!("disturbed: the hypervisor kept {percent:.0} % of the processors' time from this machine"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_is_counted() {
        let (before, after) = (Stolen::of("cpu  10 0 10 70 0 5 5 0 9 9"), Stolen::of("cpu  40 0 20 100 0 5 5 30 9 9"));
        assert_eq!(after.percent_since(before), 30.0);
        assert_eq!(Stolen::of("").percent_since(Stolen::of("")), 0.0);
        assert!(mark(30.0).is_some() && mark(4.0).is_none());
    }
}
