//! The histogram log: one line for each interval, which the standard HDR tools read.

use std::time::{Duration, SystemTime};

use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};

use crate::recorder::Recorder;

/// Values are nanoseconds; the maximum beside each line is in milliseconds.
const MAX_VALUE_DIVISOR: f64 = 1e6;

/// The latency of each interval, and of the whole under the tag `all`.
pub(super) fn histogram_log(recorder: &Recorder, started: SystemTime, what: &str) -> Vec<u8> {
    const MEMORY: &str = "writing to memory does not fail, and the bounds fit the format";
    let mut log = Vec::new();
    let mut serializer = V2DeflateSerializer::new();
    let (interval_ns, intervals) = recorder.intervals();
    let mut writer = IntervalLogWriterBuilder::new()
        .add_comment(&format!("{what}: latency from the intended send time, in nanoseconds"))
        .with_start_time(started)
        .with_base_time(started)
        .with_max_value_divisor(MAX_VALUE_DIVISOR)
        .begin_log_with(&mut log, &mut serializer)
        .expect(MEMORY);
    let length = Duration::from_nanos(interval_ns);
    for (at, interval) in (0..).zip(intervals) {
        if !interval.is_empty() {
            writer.write_histogram(interval, length * at, length, None).expect(MEMORY);
        }
    }
    let from = Duration::from_nanos(recorder.warmup_ns());
    let whole = Duration::from_nanos(recorder.last_ack_ns()).saturating_sub(from);
    writer.write_histogram(recorder.latency(), from, whole, Tag::new("all")).expect(MEMORY);
    log
}
