//! What a measurement found, as one JSON object or as lines for people.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::usage::Usage;

/// Latencies are kept to three digits up to this; longer ones count as this long.
const LATENCY_NS_MAX: u64 = 600_000_000_000;

/// Latencies of single operations, in nanoseconds.
pub(crate) struct Latencies {
    histogram: Histogram<u64>,
}

impl Latencies {
    pub(crate) fn new() -> Self {
        let histogram = Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3).expect("the bounds are valid");
        Self { histogram }
    }

    /// Adds one operation's latency.
    pub(crate) fn record(&mut self, latency_ns: u64) {
        self.histogram.saturating_record(latency_ns);
    }

    /// How many were added.
    pub(crate) fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// What is reported of them; none if nothing was recorded.
    pub(crate) fn summary(&self) -> Option<Latency> {
        let at = |percentile| self.histogram.value_at_percentile(percentile) as f64 / 1e3;
        (self.count() > 0).then(|| Latency {
            mean: self.histogram.mean() / 1e3,
            p50: at(50.0),
            p99: at(99.0),
            p999: at(99.9),
            max: self.histogram.max() as f64 / 1e3,
        })
    }
}

/// Latency in microseconds.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Latency {
    pub(crate) mean: f64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
}

/// A duration as histograms take it.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// What the counted part of a run did.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Figures {
    pub(crate) seconds: f64,
    pub(crate) ops: u64,
    pub(crate) bytes: u64,
    pub(crate) ops_per_s: f64,
    pub(crate) mb_per_s: f64,
    pub(crate) latency_us: Latency,
    #[serde(flatten)]
    pub(crate) usage: Usage,
}

impl Figures {
    /// Figures of operations of `size_bytes` each, whose latencies were all recorded.
    pub(crate) fn new(latencies: &Latencies, size_bytes: u64, seconds: f64, usage: Usage) -> Self {
        let ops = latencies.count();
        let bytes = ops * size_bytes;
        Self {
            seconds,
            ops,
            bytes,
            ops_per_s: ops as f64 / seconds,
            mb_per_s: bytes as f64 / seconds / 1e6,
            latency_us: latencies.summary().unwrap_or_default(),
            usage,
        }
    }

    /// The figures as one line of a table.
    pub(crate) fn row(&self) -> String {
        format!(
            "{:>8.1} {:>9.0} {:>9.1} {:>9.1} {:>9.1} {:>10.1} {:>7.2} {:>8}",
            self.mb_per_s,
            self.ops_per_s,
            self.latency_us.p50,
            self.latency_us.p99,
            self.latency_us.p999,
            self.latency_us.max,
            self.usage.process_cpu_s,
            self.usage.flushes.map_or_else(|| "-".to_owned(), |count| count.to_string()),
        )
    }

    /// The heading of `row`.
    pub(crate) fn heading() -> String {
        format!(
            "{:>8} {:>9} {:>9} {:>9} {:>9} {:>10} {:>7} {:>8}",
            "MB/s", "ops/s", "p50 us", "p99 us", "p99.9 us", "max us", "cpu s", "flushes"
        )
    }
}

/// Where results go: people read lines, programs read one JSON object on standard output.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    pub(crate) json: bool,
}

impl Output {
    /// A line for people, also while a JSON result is being made.
    pub(crate) fn line(self, text: &str) {
        if self.json {
            eprintln!("{text}");
        } else {
            println!("{text}");
        }
    }

    /// The result for programs, when they asked for it.
    pub(crate) fn result<T: Serialize>(self, result: &T) {
        if self.json {
            let text = serde_json::to_string(result).expect("results are plain numbers and text");
            println!("{text}");
        }
    }
}

/// The point of a sweep with the highest rate.
pub(crate) fn best<T>(points: &[T], mb_per_s: impl Fn(&T) -> f64) -> Option<&T> {
    points.iter().max_by(|a, b| mb_per_s(a).total_cmp(&mb_per_s(b)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_add_up() {
        let mut latencies = Latencies::new();
        for latency_us in 1..=1000 {
            latencies.record(latency_us * 1000);
        }
        let figures = Figures::new(&latencies, 4096, 2.0, Usage::now(None));
        assert_eq!(figures.bytes, 1000 * 4096);
        assert_eq!(figures.ops_per_s, 500.0);
        assert!((figures.mb_per_s - 2.048).abs() < 1e-9);
        assert!((figures.latency_us.p50 - 500.0).abs() < 1.0);
        assert!((figures.latency_us.p99 - 990.0).abs() < 1.0);
        assert!((figures.latency_us.max - 1000.0).abs() < 1.0);
    }

    #[test]
    fn the_best_point_has_the_highest_rate() {
        assert_eq!(best(&[1.0, 3.0, 2.0], |rate| *rate), Some(&3.0));
        assert_eq!(best::<f64>(&[], |rate| *rate), None);
    }
}
