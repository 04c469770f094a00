//! What the server looks like, in the text that Prometheus reads. Units are seconds and bytes; rates and means are for whoever
//! reads them: bytes a flush, for one, are written bytes by flushes.

use std::fmt;

use bytes::Bytes;
use engine::vitals::Vitals;
use hdrhistogram::Histogram;
use http_body_util::Full;
use hyper::{Response, StatusCode};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeMetric, MetricEncoder, NoLabelSet, text::encode,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use rustix::fs::statvfs;

use super::{Seen, Watched, look, respond, text};

const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Upper ends of the commit times that are told apart, in nanoseconds.
const COMMIT_ENDS_NS: [u64; 15] = [
    50_000,
    100_000,
    200_000,
    500_000,
    1_000_000,
    2_000_000,
    5_000_000,
    10_000_000,
    20_000_000,
    50_000_000,
    100_000_000,
    200_000_000,
    500_000_000,
    1_000_000_000,
    5_000_000_000,
];

pub(super) async fn answer(watched: &Watched) -> Response<Full<Bytes>> {
    let snapshot = Snapshot {
        reactors: look(watched).await,
        disks: watched.directories.iter().filter_map(|path| Disk::of(path)).collect(),
        memory_bytes: watched.memory_bytes,
        resident_bytes: resident_bytes(),
        up_s: watched.started.elapsed().as_secs_f64(),
    };
    let mut registry = Registry::with_prefix("millstream");
    registry.register_collector(Box::new(snapshot));
    if let Some(figures) = &watched.figures {
        figures.register(&mut registry);
    }
    let mut body = String::new();
    match encode(&mut body, &registry) {
        Ok(()) => respond(StatusCode::OK, CONTENT_TYPE, body),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    }
}

/// A data directory's file system.
#[derive(Debug)]
struct Disk {
    directory: String,
    free_bytes: u64,
    bytes: u64,
}

impl Disk {
    fn of(path: &std::path::Path) -> Option<Disk> {
        let stat = statvfs(path).ok()?;
        let (free_bytes, bytes) = (stat.f_bavail * stat.f_frsize, stat.f_blocks * stat.f_frsize);
        Some(Disk { directory: path.display().to_string(), free_bytes, bytes })
    }
}

/// Memory of this process that is in memory.
fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0);
    pages * rustix::param::page_size() as u64
}

/// All that is told.
#[derive(Debug)]
struct Snapshot {
    reactors: Vec<Option<Seen>>,
    disks: Vec<Disk>,
    memory_bytes: usize,
    resident_bytes: u64,
    up_s: f64,
}

impl Snapshot {
    /// Those that answered, by their numbers.
    fn seen(&self) -> impl Iterator<Item = (String, &Seen)> {
        self.reactors.iter().enumerate().filter_map(|(number, seen)| Some((number.to_string(), seen.as_ref()?)))
    }

    /// A family of one value a reactor.
    fn each<V>(&self, value: impl Fn(&Seen) -> V) -> Vec<(Vec<(&'static str, String)>, V)> {
        self.seen().map(|(reactor, seen)| (vec![("reactor", reactor)], value(seen))).collect()
    }
}

impl Collector for Snapshot {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut out = Out(encoder);
        out.process(self)?;
        out.work(self)?;
        out.queues(self)?;
        out.memory(self)?;
        out.throttles(self)?;
        out.lags(self)?;
        out.commits(self)
    }
}

/// Values and their labels; one alone may have none.
type Labelled<V> = Vec<(Vec<(&'static str, String)>, V)>;

struct Out<'a>(DescriptorEncoder<'a>);

impl Out<'_> {
    fn family<V>(
        &mut self,
        (name, help, kind): (&str, &str, MetricType),
        values: Labelled<V>,
        encode: impl Fn(V, MetricEncoder<'_>) -> fmt::Result,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, kind)?;
        for (labels, value) in values {
            if labels.is_empty() {
                return encode(value, family);
            }
            encode(value, family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn counters<V: EncodeCounterValue>(&mut self, name: &str, help: &str, values: Labelled<V>) -> fmt::Result {
        self.family((name, help, MetricType::Counter), values, |value, out| ConstCounter::new(value).encode(out))
    }

    fn gauges(&mut self, name: &str, help: &str, values: Labelled<u64>) -> fmt::Result {
        let encode =
            |value, out: MetricEncoder<'_>| ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX)).encode(out);
        self.family((name, help, MetricType::Gauge), values, encode)
    }

    fn process(&mut self, all: &Snapshot) -> fmt::Result {
        let version = vec![(vec![("version", env!("CARGO_PKG_VERSION").to_owned())], 1)];
        self.gauges("build_info", "The version that runs", version)?;
        self.counters("uptime_seconds", "Since the server began", one(all.up_s))?;
        self.gauges("resident_bytes", "Memory of the process that is in memory", one(all.resident_bytes))?;
        self.gauges("memory_budget_bytes", "The memory budget", one(all.memory_bytes as u64))?;
        let disk = |disk: &Disk| vec![("directory", disk.directory.clone())];
        let free = all.disks.iter().map(|found| (disk(found), found.free_bytes)).collect();
        self.gauges("disk_free_bytes", "Free on the file system of each data directory", free)?;
        let size = all.disks.iter().map(|found| (disk(found), found.bytes)).collect();
        self.gauges("disk_bytes", "Size of the file system of each data directory", size)?;
        let up = all.reactors.iter().enumerate();
        let up = up.map(|(number, seen)| (vec![("reactor", number.to_string())], u64::from(seen.is_some()))).collect();
        self.gauges("reactor_up", "Whether the reactor had a turn in time", up)
    }

    fn work(&mut self, all: &Snapshot) -> fmt::Result {
        let cpu = all.each(|seen| seen.cpu_ns as f64 / 1e9);
        self.counters("reactor_cpu_seconds", "CPU time of the reactor's thread; its rate is the busy share", cpu)?;
        let stat = |value: fn(&Vitals) -> u64| all.each(|seen| value(&seen.vitals));
        self.counters("turns", "Turns of the loop", stat(|vitals| vitals.stats.turns))?;
        self.counters("records", "Records, and parts of records, made durable", stat(|vitals| vitals.stats.records))?;
        let bytes = stat(|vitals| vitals.stats.written_bytes);
        self.counters("written_bytes", "Bytes of commit batches written, padding included", bytes)?;
        self.counters("flushes", "Commit batches, each of which is one flush", stat(|vitals| vitals.stats.batches))?;
        self.counters("refused_records", "Records refused, for whatever reason", stat(|vitals| vitals.stats.refused))?;
        let accepted = stat(|vitals| vitals.stats.connections);
        self.counters("accepted_connections", "Native connections accepted", accepted)?;
        let handed = stat(|vitals| vitals.stats.handed);
        self.counters("handed_records", "Records handed to the reactors that own their shards", handed)?;
        let held_up = stat(|vitals| vitals.stats.held_up);
        self.counters("held_up", "Times that input waited for another reactor", held_up)?;
        let poisoned = stat(|vitals| u64::from(vitals.stats.poisoned.is_some()));
        self.gauges("refuses_appends", "1 once a write has failed: appends are refused until a restart", poisoned)?;
        let full = stat(|vitals| u64::from(vitals.has_no_room));
        self.gauges("out_of_space", "1 while appends are refused, as the disk is full or its budget used up", full)?;
        let segments = stat(|vitals| vitals.segments.count as u64);
        self.gauges("segments", "Segments of the reactor's journal", segments)?;
        let ready = stat(|vitals| vitals.segments.ready as u64);
        self.gauges("segments_ready", "Segments ready for use", ready)?;
        self.gauges("segment_bytes", "Bytes of a segment", stat(|vitals| u64::from(vitals.segments.bytes)))?;
        let used = stat(|vitals| vitals.segments.used_bytes);
        self.gauges("segments_bytes", "Bytes of all segments of the reactor's journal", used)?;
        let compacted = stat(|vitals| vitals.compacted.segments);
        self.counters("compacted_segments", "Segments that were mostly dead, and made into fewer", compacted)?;
        let copied = stat(|vitals| vitals.compacted.written_bytes);
        self.counters("compacted_bytes", "Bytes of what lived in them, written again", copied)?;
        let freed = stat(|vitals| vitals.compacted.freed_bytes);
        self.counters("compaction_freed_bytes", "Bytes that the disk got back by that", freed)
    }

    fn queues(&mut self, all: &Snapshot) -> fmt::Result {
        let depth = |value: fn(&Vitals) -> usize| all.each(|seen| value(&seen.vitals) as u64);
        self.gauges("connections", "Native connections", depth(|vitals| vitals.connections))?;
        self.gauges("subscriptions", "Subscriptions", depth(|vitals| vitals.subscriptions))?;
        let intake = depth(|vitals| vitals.queues.intake_bytes);
        self.gauges("intake_bytes", "Bytes of records that wait for a commit batch", intake)?;
        let shards = depth(|vitals| vitals.queues.intake_shards);
        self.gauges("intake_shards", "Shards that they are of", shards)?;
        let commits = depth(|vitals| vitals.queues.commits_in_flight);
        self.gauges("commits_in_flight", "Commit batches that are not durable yet", commits)?;
        self.gauges("reads_waiting", "Reads that are not answered", depth(|vitals| vitals.queues.reads))?;
        let parked = depth(|vitals| vitals.queues.parked);
        self.gauges("subscriptions_parked", "Subscribers that wait for the disk", parked)?;
        let handed = depth(|vitals| vitals.queues.handed_bytes);
        self.gauges("handed_bytes", "Bytes handed to other reactors and not settled", handed)?;
        let calls = depth(|vitals| vitals.queues.calls);
        self.gauges("calls_waiting", "Calls of the gateway that are not answered", calls)
    }

    fn memory(&mut self, all: &Snapshot) -> fmt::Result {
        let of = |value: fn(&engine::vitals::Use) -> usize| {
            let uses = all.seen().flat_map(|(reactor, seen)| {
                let labels = move |what: &str| vec![("reactor", reactor.clone()), ("use", what.to_owned())];
                seen.vitals.memory.iter().map(move |used| (labels(used.what), value(used) as u64))
            });
            uses.collect()
        };
        self.gauges("memory_bytes", "Memory in use, by what for", of(|used| used.bytes))?;
        self.gauges("memory_use_budget_bytes", "Memory that each use may take", of(|used| used.budget_bytes))
    }

    fn throttles(&mut self, all: &Snapshot) -> fmt::Result {
        let throttles = all.seen().flat_map(|(reactor, seen)| {
            let throttled = seen.vitals.stats.throttled;
            let labels = move |limit: &str| vec![("reactor", reactor.clone()), ("limit", limit.to_owned())];
            let all = [
                ("write-bytes", throttled.write_bytes),
                ("write-records", throttled.write_records),
                ("read-bytes", throttled.read_bytes),
                ("reads", throttled.reads),
                ("push-bytes", throttled.pushes),
            ];
            all.map(move |(limit, count)| (labels(limit), count))
        });
        self.counters("throttles", "Times that a quota said no, by limit", throttles.collect())
    }

    fn lags(&mut self, all: &Snapshot) -> fmt::Result {
        let lags = all.seen().flat_map(|(reactor, seen)| {
            seen.vitals.lags.iter().map(move |lag| {
                let subscriber = format!("{reactor}-{:x}", lag.subscriber);
                let labels =
                    vec![("stream", lag.stream.clone()), ("shard", lag.shard.to_string()), ("subscriber", subscriber)];
                (labels, lag.records)
            })
        });
        let help = "Records that a subscriber has not been sent: the furthest behind, none where it has been sent all";
        self.gauges("subscriber_lag_records", help, lags.collect())
    }

    fn commits(&mut self, all: &Snapshot) -> fmt::Result {
        let help = "From the start of a commit batch's write until it was on stable storage";
        let mut family = self.0.encode_descriptor("commit_seconds", help, None, MetricType::Histogram)?;
        for (reactor, seen) in all.seen() {
            let commits = &seen.vitals.commits_ns;
            let buckets = buckets(commits);
            let sum_s = commits.mean() * commits.len() as f64 / 1e9;
            let labels = [("reactor", reactor)];
            let mut one = family.encode_family(&labels)?;
            one.encode_histogram::<NoLabelSet>(sum_s, commits.len(), &buckets, None)?;
        }
        Ok(())
    }
}

/// A value that has no label.
fn one<V>(value: V) -> Labelled<V> {
    vec![(Vec::new(), value)]
}

/// How many commits ended up to each end, past the one before.
fn buckets(commits: &Histogram<u64>) -> Vec<(f64, u64)> {
    let mut from_ns = 0;
    let mut buckets = Vec::new();
    for end_ns in COMMIT_ENDS_NS {
        buckets.push((end_ns as f64 / 1e9, commits.count_between(from_ns, end_ns)));
        from_ns = commits.highest_equivalent(end_ns) + 1;
    }
    let counted: u64 = buckets.iter().map(|(_, count)| count).sum();
    buckets.push((f64::INFINITY, commits.len() - counted));
    buckets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_commit_is_in_one_bucket() {
        let mut commits = Histogram::new_with_bounds(1_000, 60_000_000_000, 2).unwrap();
        for ns in [1_000, 49_000, 50_000, 51_000, 99_999, 100_001, 5_000_000_000, 5_100_000_000, 60_000_000_000] {
            commits.record(ns).unwrap();
        }
        let buckets = buckets(&commits);
        assert_eq!(buckets.iter().map(|(_, count)| count).sum::<u64>(), commits.len());
        assert_eq!(buckets.last().unwrap().1, 2);
    }
}
