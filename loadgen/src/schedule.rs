//! When each batch is meant to leave, and how late it left.
//!
//! An open loop sends on a schedule fixed beforehand, whatever the server does: latency counts from the intended time,
//! so that a stall is charged to every batch that it delayed. A closed loop has no schedule: a batch is meant to leave
//! the moment another is acknowledged.

use std::str::FromStr;

use hdrhistogram::Histogram;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rand_distr::Exp1;

use crate::recorder::new_histogram;

/// How the batches of an open loop are spread in time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Arrivals {
    /// One every so often, exactly.
    Constant,
    /// Independent of one another, as those of many users are: the gaps are exponential.
    Poisson,
}

impl FromStr for Arrivals {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "constant" => Ok(Self::Constant),
            "poisson" => Ok(Self::Poisson),
            other => Err(format!("{other:?} is not a kind of arrivals; give constant or poisson")),
        }
    }
}

impl Arrivals {
    /// The name by which it is given.
    pub fn name(self) -> &'static str {
        match self {
            Self::Constant => "constant",
            Self::Poisson => "poisson",
        }
    }
}

/// The highest rate of an open loop, in records a second: the times of a higher one can't be handed out, nor even told apart.
pub const RATE_MAX: f64 = 100e6;

/// What is left of a schedule at its end is counted in about so many steps.
const STEPS_MAX: f64 = 1e5;

/// What the times of an open loop are drawn from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Seed {
    /// The run's own.
    pub number: u64,
    /// Which of several loads at the same time it is, so that they don't send at the same moments; 0 for one whose times the number
    /// alone decides.
    pub load: u64,
}

impl Seed {
    fn mixed(self) -> u64 {
        self.number ^ self.load.wrapping_mul(0xbf58_476d_1ce4_e5b9)
    }
}

/// The intended send times of an open loop, in nanoseconds since the start, one after another without end.
#[derive(Debug)]
pub struct Schedule {
    arrivals: Arrivals,
    gap_ns: f64,
    next_ns: f64,
    random: StdRng,
}

impl Schedule {
    /// `rate` batches a second. `part` of `parts` schedules that together make the whole: constant ones interleave. Those of loads
    /// beside others begin some way into their gap.
    ///
    /// # Panics
    /// If `rate` isn't above 0 or `part` isn't below `parts`.
    pub fn new(arrivals: Arrivals, rate: f64, seed: Seed, part: u64, parts: u64) -> Self {
        assert!(rate > 0.0 && part < parts, "rate {rate}, part {part} of {parts}");
        let gap_ns = 1e9 / rate * parts as f64;
        let begins = if seed.load == 0 { 0.0 } else { StdRng::seed_from_u64(seed.mixed()).random::<f64>() };
        let mut random = StdRng::seed_from_u64(seed.mixed() ^ part.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let next_ns = match arrivals {
            Arrivals::Constant => gap_ns * (part as f64 + begins) / parts as f64,
            Arrivals::Poisson => gap_ns * random.sample::<f64, _>(Exp1),
        };
        Self { arrivals, gap_ns, next_ns, random }
    }

    /// When the next batch is to leave. The one after it comes the sooner the less this one holds of what a whole one does: what is
    /// kept is the rate of records.
    pub fn next_of(&mut self, share: f64) -> u64 {
        let due_ns = self.next_ns;
        self.next_ns += share
            * match self.arrivals {
                Arrivals::Constant => self.gap_ns,
                Arrivals::Poisson => self.gap_ns * self.random.sample::<f64, _>(Exp1),
            };
        due_ns as u64
    }

    /// How many batches are counted as one where all that are due until `until_ns` are counted at once.
    pub fn stride(&self, until_ns: u64) -> u32 {
        ((until_ns as f64 - self.next_ns) / self.gap_ns / STEPS_MAX).ceil().max(1.0) as u32
    }
}

/// Of whole batches.
impl Iterator for Schedule {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        Some(self.next_of(1.0))
    }
}

/// A batch may always leave this much after its time.
pub const LATE_NS_MIN: u64 = 100_000;

/// ... or this share of the reported median latency, whichever is greater.
pub const LATE_SHARE_OF_P50: f64 = 0.10;

/// Above this share of late batches a run's latency is not to be trusted, and it is marked so.
pub const LATE_BATCHES_SHARE_MAX: f64 = 0.01;

/// How late batches were submitted.
#[derive(Clone, Debug)]
pub struct Lateness {
    histogram: Histogram<u64>,
}

/// The verdict on a run's lateness.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Late {
    /// Batches submitted on a schedule.
    pub batches: u64,
    /// Those submitted more than the threshold after their time.
    pub late: u64,
    /// The threshold.
    pub threshold_ns: u64,
    /// The latest of all.
    pub max_ns: u64,
}

impl Late {
    /// The share of batches that were late.
    pub fn share(&self) -> f64 {
        if self.batches == 0 { 0.0 } else { self.late as f64 / self.batches as f64 }
    }

    /// Whether so many were late that the run is marked.
    pub fn marks_run(&self) -> bool {
        self.share() > LATE_BATCHES_SHARE_MAX
    }
}

impl Default for Lateness {
    fn default() -> Self {
        Self { histogram: new_histogram() }
    }
}

impl Lateness {
    /// Counts a batch meant for `intended_ns` and submitted at `sent_ns`.
    pub fn record(&mut self, intended_ns: u64, sent_ns: u64) {
        self.record_n(intended_ns, sent_ns, 1);
    }

    /// Counts so many of them.
    pub fn record_n(&mut self, intended_ns: u64, sent_ns: u64, batches: u32) {
        self.histogram.saturating_record_n(sent_ns.saturating_sub(intended_ns), u64::from(batches));
    }

    /// Takes in what another core counted.
    pub fn merge(&mut self, other: &Self) {
        self.histogram.add(&other.histogram).expect("both have the same bounds");
    }

    /// Judges by the median latency that the run reports.
    pub fn judge(&self, p50_ns: u64) -> Late {
        let threshold_ns = LATE_NS_MIN.max((p50_ns as f64 * LATE_SHARE_OF_P50) as u64);
        let on_time = self.histogram.count_between(0, threshold_ns);
        let batches = self.histogram.len();
        Late { batches, late: batches - on_time, threshold_ns, max_ns: self.histogram.max() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: Seed = Seed { number: 1, load: 0 };

    /// Bug, found on reading: generators on several hosts, and the load beside, sent at the same moments. Mechanism: all drew their
    /// times from the one seed, and constant ones from none. Fix: each load has its own.
    #[test]
    fn loads_at_the_same_time_have_times_of_their_own() {
        for arrivals in [Arrivals::Constant, Arrivals::Poisson] {
            let times = |load, part, parts| -> Vec<u64> {
                Schedule::new(arrivals, 4000.0, Seed { load, ..SEED }, part, parts).take(100).collect()
            };
            let all = [0, 1, 2].map(|load| times(load, 0, 1));
            assert!(all[0] != all[1] && all[1] != all[2] && all[0] != all[2], "{arrivals:?}");
            assert_eq!(times(2, 0, 1), all[2], "the seed decides");
            assert!(times(1, 0, 2) != times(1, 1, 2) && times(1, 1, 2) != times(0, 0, 2));
        }
        let beside = Seed { load: 1, ..SEED };
        let [first, second] =
            [0, 1].map(|part| Schedule::new(Arrivals::Constant, 4000.0, beside, part, 2).next().unwrap());
        assert_eq!(second - first, 250_000, "parts interleave all the same");
    }

    #[test]
    fn constant_arrivals_are_even_and_parts_interleave() {
        let whole: Vec<u64> = Schedule::new(Arrivals::Constant, 4000.0, SEED, 0, 1).take(8).collect();
        assert_eq!(whole[..4], [0, 250_000, 500_000, 750_000]);
        let mut parts: Vec<u64> =
            (0..2).flat_map(|part| Schedule::new(Arrivals::Constant, 4000.0, SEED, part, 2).take(4)).collect();
        parts.sort_unstable();
        assert_eq!(parts, whole);
    }

    #[test]
    fn constant_arrivals_do_not_drift() {
        let due = Schedule::new(Arrivals::Constant, 3.0, SEED, 0, 1).nth(3_000_000);
        assert!(due.unwrap().abs_diff(1_000_000_000_000_000) < 100_000);
    }

    /// Bug, found on reading: a run of a rate that nobody keeps went on for ever behind its end, deaf to Ctrl-C. Mechanism: each time
    /// that was left was counted by itself. Fix: many are counted as one, and there is a highest rate.
    #[test]
    fn what_is_left_is_counted_in_few_steps() {
        const S: u64 = 1_000_000_000;
        for (arrivals, rate) in
            [(Arrivals::Constant, RATE_MAX), (Arrivals::Poisson, RATE_MAX), (Arrivals::Constant, 10.0)]
        {
            let mut schedule = Schedule::new(arrivals, rate, SEED, 0, 1);
            let (stride, mut steps, mut batches) = (schedule.stride(15 * S), 0, 0);
            while schedule.next_of(f64::from(stride)) < 15 * S {
                (steps, batches) = (steps + 1, batches + u64::from(stride));
            }
            assert!(f64::from(steps) < 1.1 * STEPS_MAX, "{steps} steps");
            assert!((batches as f64 / (rate * 15.0) - 1.0).abs() < 0.01, "{batches} batches");
        }
    }

    #[test]
    fn poisson_arrivals_have_the_rate_and_the_spread() {
        let seed = Seed { number: 7, ..SEED };
        let times: Vec<u64> = Schedule::new(Arrivals::Poisson, 10_000.0, seed, 0, 1).take(100_000).collect();
        let gaps: Vec<f64> = times.windows(2).map(|pair| (pair[1] - pair[0]) as f64).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!((mean / 100_000.0 - 1.0).abs() < 0.02, "mean gap {mean}");
        assert!((variance.sqrt() / mean - 1.0).abs() < 0.03, "an exponential's deviation is its mean");
        let again: Vec<u64> = Schedule::new(Arrivals::Poisson, 10_000.0, seed, 0, 1).take(10).collect();
        assert_eq!(again, times[..10], "the seed decides");
    }

    #[test]
    fn lateness_is_judged_by_the_greater_bound() {
        let mut lateness = Lateness::default();
        for i in 0..1000 {
            lateness.record(1_000_000, 1_000_000 + if i < 15 { 400_000 } else { 50_000 });
        }
        let strict = lateness.judge(200_000);
        assert_eq!((strict.batches, strict.late, strict.threshold_ns), (1000, 15, 100_000));
        assert!(strict.marks_run());
        let lenient = lateness.judge(5_000_000);
        assert_eq!((lenient.late, lenient.threshold_ns), (0, 500_000));
        assert!(!lenient.marks_run());
        assert!(!Lateness::default().judge(0).marks_run(), "no schedule, nothing late");
    }
}
