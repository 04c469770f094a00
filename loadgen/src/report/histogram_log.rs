//! The histogram log: one line for each interval, which the standard HDR tools read.
//!
//! Lines without a tag are the latency of the intervals, which add up to the whole. Those with one are of the whole: `all` of the latency, the others
//! of what their names say. Logs of several runs add up exactly, because all histograms have the same bounds.

use std::path::Path;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, IntervalLogWriterBuilder, LogEntry, Tag};
use hdrhistogram::serialization::{Deserializer, V2DeflateSerializer};

use super::{Recorders, RunReport};
use crate::recorder::new_histogram;

/// Values are nanoseconds; the maximum beside each line is in milliseconds.
const MAX_VALUE_DIVISOR: f64 = 1e6;

/// The tag of the whole latency.
pub(crate) const ALL: &str = "all";
/// The tag of the time from the submission.
pub(crate) const SERVICE: &str = "service";
/// The tag of what subscribers beside producers took.
pub(crate) const PUSHED: &str = "end-to-end";

/// A log as it is read and written.
#[derive(Debug)]
pub(crate) struct HistogramLog {
    /// What everything is relative to.
    pub(crate) started: SystemTime,
    /// The latency of intervals: when each began, how long it was.
    pub(crate) intervals: Vec<(Duration, Duration, Histogram<u64>)>,
    /// Whole ones by their tags: when they began, how long they were.
    pub(crate) whole: Vec<(String, Duration, Duration, Histogram<u64>)>,
}

/// The log of one run.
pub(super) fn histogram_log(recorders: Recorders<'_>, started: SystemTime, report: &RunReport) -> String {
    let Recorders { main, beside, pushed, caught_up } = recorders;
    let (interval_ns, intervals) = main.intervals();
    let length = Duration::from_nanos(interval_ns);
    let intervals = (0..).zip(intervals).map(|(at, interval)| (length * at, length, interval.clone())).collect();
    let from = Duration::from_nanos(main.warmup_ns());
    let whole = Duration::from_nanos(main.last_ack_ns()).saturating_sub(from);
    let tagged = [
        (SERVICE, Some(main.service())),
        ("beside", beside.map(|recorder| recorder.latency())),
        (PUSHED, pushed.map(|recorder| recorder.latency())),
        ("catch-up", caught_up.map(|recorder| recorder.latency())),
        (ALL, Some(main.latency())),
    ];
    let tagged = tagged.into_iter().filter_map(|(tag, histogram)| Some((tag, histogram?)));
    let whole = tagged.map(|(tag, histogram)| (tag.to_owned(), from, whole, histogram.clone())).collect();
    HistogramLog { started, intervals, whole }.write(&report.what)
}

impl HistogramLog {
    /// The log as text.
    pub(crate) fn write(&self, what: &str) -> String {
        const MEMORY: &str = "writing to memory does not fail, and the bounds fit the format";
        let mut log = Vec::new();
        let mut serializer = V2DeflateSerializer::new();
        let mut writer = IntervalLogWriterBuilder::new()
            .add_comment(&format!("{what}: latency from the intended send time, in nanoseconds"))
            .with_start_time(self.started)
            .with_base_time(self.started)
            .with_max_value_divisor(MAX_VALUE_DIVISOR)
            .begin_log_with(&mut log, &mut serializer)
            .expect(MEMORY);
        for (from, length, interval) in self.intervals.iter().filter(|(_, _, interval)| !interval.is_empty()) {
            writer.write_histogram(interval, *from, *length, None).expect(MEMORY);
        }
        for (tag, from, length, histogram) in &self.whole {
            writer.write_histogram(histogram, *from, *length, Tag::new(tag)).expect(MEMORY);
        }
        String::from_utf8(log).expect("the log is text")
    }

    /// Reads a log; what is wrong with it, if it is none of ours.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        let malformed = |why: String| format!("{} is no histogram log: {why}", path.display());
        let (mut started, mut intervals, mut whole) = (None, Vec::new(), Vec::new());
        for entry in IntervalLogIterator::new(&text) {
            match entry.map_err(|error| malformed(format!("{error:?}")))? {
                LogEntry::StartTime(since) => started = Some(SystemTime::UNIX_EPOCH + since),
                LogEntry::BaseTime(_) => {}
                LogEntry::Interval(interval) => {
                    let bytes = BASE64_STANDARD.decode(interval.encoded_histogram());
                    let bytes = bytes.map_err(|error| malformed(error.to_string()))?;
                    let histogram: Histogram<u64> = Deserializer::new()
                        .deserialize(&mut &bytes[..])
                        .map_err(|error| malformed(format!("{error:?}")))?;
                    let histogram = same_bounds(&histogram).map_err(malformed)?;
                    let (from, length) = (interval.start_timestamp(), interval.duration());
                    match interval.tag() {
                        None => intervals.push((from, length, histogram)),
                        Some(tag) => whole.push((tag.as_str().to_owned(), from, length, histogram)),
                    }
                }
            }
        }
        let started = started.ok_or_else(|| malformed("it does not say when it began".to_owned()))?;
        Ok(Self { started, intervals, whole })
    }

    /// The whole histogram under a tag.
    pub(crate) fn tagged(&self, tag: &str) -> Option<&Histogram<u64>> {
        self.whole.iter().find(|whole| whole.0 == tag).map(|whole| &whole.3)
    }
}

/// The same in a histogram of the bounds that all have.
fn same_bounds(histogram: &Histogram<u64>) -> Result<Histogram<u64>, String> {
    let mut same = new_histogram();
    same.add(histogram).map_err(|error| format!("{error:?}"))?;
    Ok(same)
}
