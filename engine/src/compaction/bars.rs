//! Segments that could not be compacted, as what lives in them could not be read or was not as it was written: each stays as it
//! is for a while, twice as long each time. A read that failed may be good later; what is damaged is not looked at over and over.

use std::collections::BTreeMap;

use crate::journal::SegmentId;

/// A segment that could not be read stays as it is for so long, and twice as long each time, up to about an hour.
const COMPACTION_BAR_NS: u64 = 60_000_000_000;

/// The longest that it does.
const COMPACTION_BAR_NS_MAX: u64 = COMPACTION_BAR_NS << 6;

struct Bar {
    until_ns: u64,
    for_ns: u64,
}

#[derive(Default)]
pub(super) struct Bars(BTreeMap<SegmentId, Bar>);

impl Bars {
    /// A segment could not be compacted. For how long it stays as it is.
    pub(super) fn add(&mut self, segment: SegmentId, now_ns: u64) -> u64 {
        let before = self.0.get(&segment).map(|bar| bar.for_ns);
        let for_ns = before.map_or(COMPACTION_BAR_NS, |before| (2 * before).min(COMPACTION_BAR_NS_MAX));
        self.0.insert(segment, Bar { until_ns: now_ns + for_ns, for_ns });
        for_ns
    }

    /// Whether one is to stay as it is.
    pub(super) fn hold(&self, segment: SegmentId, now_ns: u64) -> bool {
        self.0.get(&segment).is_some_and(|bar| now_ns < bar.until_ns)
    }

    /// It is gone, or was compacted.
    pub(super) fn forget(&mut self, segment: SegmentId) {
        self.0.remove(&segment);
    }

    /// When the next of them may be compacted again.
    pub(super) fn next_end_ns(&self, now_ns: u64) -> Option<u64> {
        self.0.values().map(|bar| bar.until_ns).filter(|&until_ns| until_ns > now_ns).min()
    }
}
