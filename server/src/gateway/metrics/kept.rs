//! What clients measured, by series, for a while and within bounds. Clones are the same.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use wire::metric_data::{Series, Statistics};

/// Series at once, and bytes of their names.
const SERIES_MAX: usize = 4096;
const SERIES_BYTES_MAX: usize = 4 << 20;

/// A series that nothing was heard of for so long is let go.
const KEPT_FOR: Duration = Duration::from_secs(15 * 60);

/// Where there is no room all are looked at for such, once in so long.
const LOOK: Duration = Duration::from_secs(1);

#[derive(Clone, Debug, Default)]
pub(crate) struct ClientMetrics(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    series: BTreeMap<Series, Entry>,
    /// Of the names of all.
    bytes: usize,
    /// When all were last looked at.
    looked: Option<Instant>,
    /// Data that there was no room for.
    refused: u64,
}

#[derive(Clone, Debug)]
struct Entry {
    count: f64,
    sum: f64,
    /// The newest, as they came.
    last: Statistics,
    heard: Instant,
}

impl Entry {
    fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.sum += other.sum;
        if other.heard > self.heard {
            (self.last, self.heard) = (other.last, other.heard);
        }
    }
}

impl ClientMetrics {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds what a request brought.
    pub(super) fn add(&self, data: Vec<(Series, Statistics)>) {
        let (mut kept, now) = (self.kept(), Instant::now());
        for (series, statistics) in data {
            kept.add(series, statistics, now);
        }
    }

    /// Has them told by `registry`.
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register_collector(Box::new(self.clone()));
    }
}

impl Kept {
    fn add(&mut self, series: Series, statistics: Statistics, now: Instant) {
        if let Some(entry) = self.series.get_mut(&series) {
            entry.count += statistics.count;
            entry.sum += statistics.sum;
            (entry.last, entry.heard) = (statistics, now);
            return;
        }
        let bytes = bytes(&series);
        if self.has_no_room(bytes) && self.looked.is_none_or(|looked| now.saturating_duration_since(looked) >= LOOK) {
            self.forget(now);
        }
        if self.has_no_room(bytes) {
            self.refused += 1;
            return;
        }
        self.bytes += bytes;
        let Statistics { count, sum, .. } = statistics;
        self.series.insert(series, Entry { count, sum, last: statistics, heard: now });
    }

    fn has_no_room(&self, bytes: usize) -> bool {
        self.series.len() == SERIES_MAX || self.bytes + bytes > SERIES_BYTES_MAX
    }

    /// Lets go of what is old.
    fn forget(&mut self, now: Instant) {
        self.looked = Some(now);
        self.series.retain(|_, entry| now.saturating_duration_since(entry.heard) < KEPT_FOR);
        self.bytes = self.series.keys().map(bytes).sum();
    }
}

fn bytes(series: &Series) -> usize {
    let dimensions = series.dimensions.iter().map(|(name, value)| name.len() + value.len());
    series.namespace.len() + series.name.len() + series.unit.len() + dimensions.sum::<usize>()
}

/// Names and values.
type Labels = Vec<(String, String)>;

/// A series' labels: each dimension has one of its own.
fn labels(series: &Series) -> Labels {
    let Series { namespace, name, unit, dimensions } = series;
    let mut labels = vec![
        ("namespace".to_owned(), namespace.clone()),
        ("metric".to_owned(), name.clone()),
        ("unit".to_owned(), unit.clone()),
    ];
    for (name, value) in dimensions {
        let legal = |character: char| if character.is_ascii_alphanumeric() { character } else { '_' };
        let mut label: String = "dimension_".chars().chain(name.chars().map(legal)).collect();
        while labels.iter().any(|(other, _)| *other == label) {
            label.push('_');
        }
        labels.push((label, value.clone()));
    }
    labels
}

/// What is told of each set of labels.
type Told = BTreeMap<Labels, Entry>;

/// Dimensions may differ in what a label can't say: what then has the same labels is added up.
fn by_labels(series: &BTreeMap<Series, Entry>) -> Told {
    let mut told = Told::new();
    for (series, entry) in series {
        told.entry(labels(series)).and_modify(|same| same.merge(entry)).or_insert_with(|| entry.clone());
    }
    told
}

impl Collector for ClientMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        // Copied, so that nobody who brings some waits for who reads.
        let (told, refused) = {
            let mut kept = self.kept();
            kept.forget(Instant::now());
            (by_labels(&kept.series), kept.refused)
        };
        let help = "Data of clients that were not kept, as there are too many series";
        let out = encoder.encode_descriptor("client_metrics_refused", help, None, MetricType::Counter)?;
        ConstCounter::new(refused).encode(out)?;
        let help = "What clients measured and brought by PutMetricData: how many measurements";
        let mut out = encoder.encode_descriptor("client_metric_samples", help, None, MetricType::Counter)?;
        for (labels, entry) in &told {
            ConstCounter::new(entry.count).encode(out.encode_family(labels)?)?;
        }
        gauges(&mut encoder, &told, ("client_metric_sum", "Their sum"), |entry| entry.sum)?;
        let help = "The mean of those that came last";
        gauges(&mut encoder, &told, ("client_metric_last", help), |entry| entry.last.sum / entry.last.count)?;
        let help = "The least of those that came last";
        gauges(&mut encoder, &told, ("client_metric_last_min", help), |entry| entry.last.min)?;
        let help = "The greatest of those that came last";
        gauges(&mut encoder, &told, ("client_metric_last_max", help), |entry| entry.last.max)
    }
}

fn gauges(
    encoder: &mut DescriptorEncoder<'_>,
    told: &Told,
    (name, help): (&str, &str),
    value: impl Fn(&Entry) -> f64,
) -> fmt::Result {
    let mut out = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, entry) in told {
        ConstGauge::new(value(entry)).encode(out.encode_family(labels)?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(number: usize, dimension: &str) -> Series {
        let dimensions = vec![(dimension.to_owned(), number.to_string())];
        Series { namespace: "n".to_owned(), name: "m".to_owned(), unit: "None".to_owned(), dimensions }
    }

    const ONE: Statistics = Statistics { count: 1.0, sum: 2.0, min: 2.0, max: 2.0 };

    #[test]
    fn there_is_room_for_so_many_and_old_ones_make_way() {
        let (mut kept, begin) = (Kept::default(), Instant::now());
        for number in 0..=SERIES_MAX {
            kept.add(series(number, "d"), ONE, begin);
        }
        assert_eq!((kept.series.len(), kept.refused), (SERIES_MAX, 1));
        let later = begin + KEPT_FOR - Duration::from_secs(1);
        kept.add(series(0, "d"), ONE, later);
        assert_eq!(kept.series[&series(0, "d")].sum, 4.0, "a known one is added to");
        kept.add(series(SERIES_MAX, "d"), ONE, later);
        assert_eq!(kept.refused, 2);
        kept.add(series(SERIES_MAX, "d"), ONE, later + Duration::from_secs(1));
        assert_eq!((kept.series.len(), kept.refused), (2, 2));
        let long = "x".repeat(SERIES_BYTES_MAX / 2);
        kept.add(series(0, &long), ONE, later);
        kept.add(series(1, &long), ONE, later);
        assert_eq!((kept.series.len(), kept.refused), (3, 3));
    }

    /// Bug, found on reading: with the table full each datum of a new series had all of them looked at, under the lock.
    #[test]
    fn old_ones_are_looked_for_once_in_a_while() {
        let (mut kept, begin) = (Kept::default(), Instant::now());
        for number in 0..SERIES_MAX {
            kept.add(series(number, "d"), ONE, begin);
        }
        let new = |kept: &mut Kept, now| {
            kept.add(series(SERIES_MAX, "d"), ONE, now);
            kept.series.len()
        };
        let old = begin + KEPT_FOR;
        assert_eq!(new(&mut kept, old - LOOK / 2), SERIES_MAX, "they are not old yet");
        assert_eq!(new(&mut kept, old), SERIES_MAX, "they were looked at just now");
        assert_eq!(new(&mut kept, old + LOOK / 2), 1);
    }

    /// Bug: dimensions whose names differ in characters that a label can't have gave the same series twice, and who reads the
    /// figures takes all of them for malformed. Fix: series of the same labels are added up.
    #[test]
    fn series_of_the_same_labels_are_told_once() {
        let (metrics, mut registry) = (ClientMetrics::default(), Registry::default());
        metrics.register(&mut registry);
        let last = Statistics { count: 1.0, sum: 7.0, min: 7.0, max: 7.0 };
        metrics.add(vec![(series(1, "Shard Id"), ONE), (series(2, "Shard Id"), ONE)]);
        metrics.add(vec![(series(1, "Shard-Id"), last)]);
        metrics.add(vec![(series(1, "Shard Id"), last)]);
        metrics.add(vec![(series(1, "Shard-Id"), ONE)]);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        let of_one = |name: &str| -> Vec<&str> {
            let lines = text.lines().filter(|line| line.starts_with(&format!("{name}{{")) && line.contains("=\"1\""));
            lines.filter_map(|line| line.rsplit_once(' ')).map(|(_, value)| value).collect()
        };
        assert_eq!(of_one("client_metric_samples_total"), ["4.0"], "{text}");
        assert_eq!((of_one("client_metric_sum"), of_one("client_metric_last")), (vec!["18.0"], vec!["2.0"]), "{text}");
    }

    #[test]
    fn dimensions_are_labels_of_their_own() {
        let mut odd = series(1, "Shard Id");
        odd.dimensions.push(("Shard-Id".to_owned(), "2".to_owned()));
        let names: Vec<String> = labels(&odd).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["namespace", "metric", "unit", "dimension_Shard_Id", "dimension_Shard_Id_"]);
    }
}
