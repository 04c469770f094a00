//! Goals that a run must reach, given with `--expect`: `p99<5ms`, `throughput>100MB/s`, `records>=50000/s`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::units::{parse_bytes, parse_duration, show_count, show_ns, show_rate};

/// What a goal is about.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Metric {
    /// A percentile of the latency, in percent.
    Latency(f64),
    /// Bytes a second.
    Throughput,
    /// Records a second.
    Records,
}

/// One goal.
#[derive(Clone, Debug, PartialEq)]
pub struct Goal {
    text: String,
    metric: Metric,
    below: bool,
    or_equal: bool,
    /// Nanoseconds, bytes a second or records a second.
    bound: f64,
}

/// What a run reached, for goals to be held against.
#[derive(Clone, Copy, Debug)]
pub struct Reached<F> {
    /// Latency in nanoseconds at a percentile, if anything was measured.
    pub latency_ns: F,
    /// Bytes a second.
    pub bytes_per_s: f64,
    /// Records a second.
    pub records_per_s: f64,
}

/// A goal and whether it was reached.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GoalOutcome {
    /// The goal as given.
    pub goal: String,
    /// What was measured.
    pub measured: String,
    /// Whether the goal was reached.
    pub met: bool,
}

impl FromStr for Goal {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let help = || {
            format!(
                "{text:?} is not a goal; give for example p99<5ms, max<=50ms, throughput>100MB/s or records>50000/s"
            )
        };
        let at = text.find(['<', '>']).ok_or_else(help)?;
        let (name, rest) = text.split_at(at);
        let below = rest.starts_with('<');
        let (or_equal, bound) = match rest[1..].strip_prefix('=') {
            Some(bound) => (true, bound.trim()),
            None => (false, rest[1..].trim()),
        };
        let (metric, bound) = match name.trim() {
            "throughput" => {
                let bytes = bound.strip_suffix("/s").ok_or_else(help)?;
                (Metric::Throughput, parse_bytes(bytes).map_err(|_| help())? as f64)
            }
            "records" => {
                let records = bound.strip_suffix("/s").ok_or_else(help)?;
                (Metric::Records, records.replace('_', "").parse().map_err(|_| help())?)
            }
            "max" => (Metric::Latency(100.0), parse_duration(bound).map_err(|_| help())?.as_nanos() as f64),
            percentile => {
                let percent: f64 = percentile.strip_prefix('p').and_then(|p| p.parse().ok()).ok_or_else(help)?;
                if !(0.0..=100.0).contains(&percent) {
                    return Err(help());
                }
                (Metric::Latency(percent), parse_duration(bound).map_err(|_| help())?.as_nanos() as f64)
            }
        };
        Ok(Self { text: text.to_owned(), metric, below, or_equal, bound })
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Goal {
    /// Holds the goal against what was reached.
    pub fn judge<F: Fn(f64) -> Option<u64>>(&self, reached: &Reached<F>) -> GoalOutcome {
        let (value, measured) = match self.metric {
            Metric::Latency(percent) => match (reached.latency_ns)(percent) {
                Some(ns) => (ns as f64, show_ns(ns)),
                // Which keeps no bound.
                None => (f64::NAN, "nothing".to_owned()),
            },
            Metric::Throughput => (reached.bytes_per_s, show_rate(reached.bytes_per_s)),
            Metric::Records => (reached.records_per_s, format!("{}/s", show_count(reached.records_per_s as u64))),
        };
        let met = if self.below { value < self.bound } else { value > self.bound };
        GoalOutcome { goal: self.text.clone(), measured, met: met || (self.or_equal && value == self.bound) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn met(goal: &str) -> bool {
        let latency_ns = |percent: f64| Some((percent * 1e5) as u64);
        let reached = Reached { latency_ns, bytes_per_s: 100e6, records_per_s: 50_000.0 };
        goal.parse::<Goal>().unwrap().judge(&reached).met
    }

    #[test]
    fn goals_are_held_against_the_run() {
        for goal in ["p99<10ms", "p50 <= 5ms", "max<11ms", "p99.9>9ms", "throughput>99MB/s", "records>=50_000/s"] {
            assert!(met(goal), "{goal}");
        }
        for goal in ["p99<9.9ms", "p50<5ms", "max<10ms", "throughput>100MB/s", "records>50000/s"] {
            assert!(!met(goal), "{goal}");
        }
    }

    #[test]
    fn where_nothing_was_measured_no_goal_is_met() {
        let reached = Reached { latency_ns: |_| None, bytes_per_s: 0.0, records_per_s: 0.0 };
        for goal in ["p99<10ms", "max<=1s", "p50>1ns", "throughput>1MB/s", "records>=1/s"] {
            assert!(!goal.parse::<Goal>().unwrap().judge(&reached).met, "{goal}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for goal in ["", "p99", "p99<5", "p101<5ms", "throughput>5", "throughput>5ms", "latency<5ms", "records<x/s"] {
            assert!(goal.parse::<Goal>().is_err(), "{goal}");
        }
    }
}
