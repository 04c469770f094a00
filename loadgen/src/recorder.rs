//! What a run measured: latency, and throughput over time.
//!
//! Each client core owns one recorder; they are merged at the end. Times are nanoseconds since the run's start on the
//! monotonic clock. What was meant to be sent before the warm-up ended is counted in no histogram.

use hdrhistogram::Histogram;

/// The width of a throughput slot.
pub const SLOT_NS: u64 = 100_000_000;

/// Latency intervals kept at most: when there would be more, neighbours are joined.
pub const INTERVALS_MAX: usize = 64;

const INTERVAL_NS_FIRST: u64 = 1_000_000_000;

/// The longest that is told: what takes longer counts as this, and as beyond it.
pub const LONGEST_NS: u64 = 24 * 3_600_000_000_000;

/// An empty histogram of nanoseconds: to [`LONGEST_NS`], with three significant digits.
pub fn new_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(100, LONGEST_NS, 3).expect("the bounds are in order")
}

/// What was acknowledged in one slot of time.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Slot {
    /// Records acknowledged.
    pub records: u64,
    /// Their bytes: data and key.
    pub bytes: u64,
}

/// When one batch was meant to leave, left, and was acknowledged.
#[derive(Clone, Copy, Debug)]
pub struct BatchTimes {
    /// When it was meant to leave; for a person's own data, the oldest of its rows.
    pub intended_ns: u64,
    /// When it was submitted.
    pub sent_ns: u64,
    /// When its acknowledgement was read.
    pub acked_ns: u64,
}

/// Latency and throughput of one client core, or of all once merged.
#[derive(Clone, Debug)]
pub struct Recorder {
    warmup_ns: u64,
    end_ns: u64,
    latency: Histogram<u64>,
    service: Histogram<u64>,
    interval_ns: u64,
    intervals: Vec<Histogram<u64>>,
    slots: Vec<Slot>,
    total: Slot,
    measured: Slot,
    last_ack_ns: u64,
    ran_until_ns: u64,
    unanswered: u64,
    unserved: u64,
    beyond: u64,
}

impl Recorder {
    /// Measures between `warmup_ns` and `end_ns`; the end is `u64::MAX` where only bytes bound the run.
    pub fn new(warmup_ns: u64, end_ns: u64) -> Self {
        Self {
            warmup_ns,
            end_ns,
            latency: new_histogram(),
            service: new_histogram(),
            interval_ns: INTERVAL_NS_FIRST,
            intervals: Vec::new(),
            slots: Vec::new(),
            total: Slot::default(),
            measured: Slot::default(),
            last_ack_ns: 0,
            ran_until_ns: 0,
            unanswered: 0,
            unserved: 0,
            beyond: 0,
        }
    }

    /// Counts `records` at one time, `bytes` together, without how long they took.
    pub fn counted(&mut self, at_ns: u64, records: u64, bytes: u64) {
        self.last_ack_ns = self.last_ack_ns.max(at_ns);
        let slot = (at_ns / SLOT_NS) as usize;
        if self.slots.len() <= slot {
            self.slots.resize(slot + 1, Slot::default());
        }
        for count in [&mut self.slots[slot], &mut self.total] {
            count.records += records;
            count.bytes += bytes;
        }
        if (self.warmup_ns..=self.end_ns).contains(&at_ns) {
            self.measured.records += records;
            self.measured.bytes += bytes;
        }
    }

    /// Counts `records` of one batch, `bytes` together, acknowledged at one time.
    pub fn acknowledged(&mut self, times: BatchTimes, records: u64, bytes: u64) {
        self.counted(times.acked_ns, records, bytes);
        self.took(times, records);
    }

    /// Counts how long `records` of one batch took, in the whole and in the interval in which that ended.
    fn took(&mut self, times: BatchTimes, records: u64) {
        self.was_late(times.intended_ns, times.acked_ns, records);
        if times.intended_ns >= self.warmup_ns {
            self.service.saturating_record_n(times.acked_ns.saturating_sub(times.sent_ns), records);
        }
    }

    /// Counts the latency alone.
    fn was_late(&mut self, intended_ns: u64, until_ns: u64, records: u64) {
        if intended_ns < self.warmup_ns {
            return;
        }
        let latency_ns = until_ns.saturating_sub(intended_ns);
        self.beyond += if latency_ns > LONGEST_NS { records } else { 0 };
        self.latency.saturating_record_n(latency_ns, records);
        self.interval_of(until_ns).saturating_record_n(latency_ns, records);
    }

    /// Counts records that were sent and never answered, as taking until `acked_ns`: they took no less.
    pub fn unanswered(&mut self, times: BatchTimes, records: u64) {
        self.unanswered += records;
        self.took(times, records);
    }

    /// Those.
    pub fn unanswered_records(&self) -> u64 {
        self.unanswered
    }

    /// Counts records that were due and are not sent any more, as taking until `until_ns`: they would have taken no less.
    pub fn unserved(&mut self, intended_ns: u64, until_ns: u64, records: u64) {
        self.unserved += records;
        self.was_late(intended_ns, until_ns, records);
    }

    /// Those.
    pub fn unserved_records(&self) -> u64 {
        self.unserved
    }

    /// Records that took longer than [`LONGEST_NS`].
    pub fn beyond_records(&self) -> u64 {
        self.beyond
    }

    /// The run went on at least until then, whether anything was acknowledged or not.
    pub fn ran_until(&mut self, ns: u64) {
        self.ran_until_ns = self.ran_until_ns.max(ns);
        let slots = (ns / SLOT_NS) as usize + 1;
        self.slots.resize(self.slots.len().max(slots), Slot::default());
    }

    fn interval_of(&mut self, at_ns: u64) -> &mut Histogram<u64> {
        while (at_ns / self.interval_ns) as usize >= INTERVALS_MAX {
            self.join_intervals();
        }
        let index = (at_ns / self.interval_ns) as usize;
        if self.intervals.len() <= index {
            self.intervals.resize_with(index + 1, new_histogram);
        }
        &mut self.intervals[index]
    }

    fn join_intervals(&mut self) {
        self.interval_ns *= 2;
        let mut joined: Vec<Histogram<u64>> = Vec::with_capacity(INTERVALS_MAX);
        for (index, interval) in self.intervals.drain(..).enumerate() {
            match joined.last_mut() {
                Some(last) if index % 2 == 1 => last.add(&interval).expect("all have the same bounds"),
                _ => joined.push(interval),
            }
        }
        self.intervals = joined;
    }

    /// Takes in what another core measured.
    pub fn merge(&mut self, mut other: Self) {
        const SAME: &str = "all have the same bounds";
        self.latency.add(&other.latency).expect(SAME);
        self.service.add(&other.service).expect(SAME);
        while self.interval_ns < other.interval_ns {
            self.join_intervals();
        }
        while other.interval_ns < self.interval_ns {
            other.join_intervals();
        }
        let longest = self.intervals.len().max(other.intervals.len());
        self.intervals.resize_with(longest, new_histogram);
        for (mine, theirs) in self.intervals.iter_mut().zip(&other.intervals) {
            mine.add(theirs).expect(SAME);
        }
        self.slots.resize(self.slots.len().max(other.slots.len()), Slot::default());
        for (mine, theirs) in self.slots.iter_mut().zip(&other.slots) {
            mine.records += theirs.records;
            mine.bytes += theirs.bytes;
        }
        for (mine, theirs) in [(&mut self.total, other.total), (&mut self.measured, other.measured)] {
            mine.records += theirs.records;
            mine.bytes += theirs.bytes;
        }
        self.last_ack_ns = self.last_ack_ns.max(other.last_ack_ns);
        self.ran_until_ns = self.ran_until_ns.max(other.ran_until_ns);
        self.unanswered += other.unanswered;
        self.unserved += other.unserved;
        self.beyond += other.beyond;
    }

    /// Latency from the intended time to the acknowledgement, a count a record.
    pub fn latency(&self) -> &Histogram<u64> {
        &self.latency
    }

    /// Time from the submission to the acknowledgement, a count a record.
    pub fn service(&self) -> &Histogram<u64> {
        &self.service
    }

    /// The latency of each interval in turn, and how long an interval is.
    pub fn intervals(&self) -> (u64, &[Histogram<u64>]) {
        (self.interval_ns, &self.intervals)
    }

    /// What was acknowledged in each [`SLOT_NS`] since the start.
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// Everything acknowledged, warm-up included.
    pub fn total(&self) -> Slot {
        self.total
    }

    /// What was acknowledged between the end of the warm-up and the end of the run.
    pub fn measured(&self) -> Slot {
        self.measured
    }

    /// How long was measured: from the end of the warm-up to the run's end; to the last acknowledgement if bytes end the run.
    pub fn measured_ns(&self) -> u64 {
        self.end_ns.min(self.last_ack_ns.max(self.ran_until_ns)).saturating_sub(self.warmup_ns)
    }

    /// Bytes a second from the end of the warm-up until `until_ns`, in whole slots; 0 where there is none between.
    pub fn bytes_per_s_until(&self, until_ns: u64) -> f64 {
        let (from, to) = (self.warmup_ns.div_ceil(SLOT_NS) as usize, (until_ns / SLOT_NS) as usize);
        let slots = self.slots.iter().skip(from).take(to.saturating_sub(from));
        let bytes: u64 = slots.map(|slot| slot.bytes).sum();
        if to > from { bytes as f64 * 1e9 / ((to - from) as u64 * SLOT_NS) as f64 } else { 0.0 }
    }

    /// When the last acknowledgement came.
    pub fn last_ack_ns(&self) -> u64 {
        self.last_ack_ns
    }

    /// Where the warm-up ended.
    pub fn warmup_ns(&self) -> u64 {
        self.warmup_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn times(intended_ms: u64, sent_ms: u64, acked_ms: u64) -> BatchTimes {
        BatchTimes { intended_ns: intended_ms * MS, sent_ns: sent_ms * MS, acked_ns: acked_ms * MS }
    }

    #[test]
    fn latency_counts_from_the_intended_time() {
        let mut recorder = Recorder::new(0, u64::MAX);
        recorder.acknowledged(times(10, 40, 45), 100, 5000);
        assert_eq!(recorder.latency().len(), 100);
        assert!(recorder.latency().max().abs_diff(35 * MS) < MS / 10);
        assert!(recorder.service().max().abs_diff(5 * MS) < MS / 10);
    }

    #[test]
    fn warm_up_and_what_comes_after_the_end_are_not_measured() {
        let mut recorder = Recorder::new(1000 * MS, 2000 * MS);
        recorder.acknowledged(times(900, 900, 990), 1, 10);
        recorder.acknowledged(times(990, 990, 1010), 2, 20);
        recorder.acknowledged(times(1500, 1500, 1510), 4, 40);
        recorder.acknowledged(times(1990, 1990, 2010), 8, 80);
        assert_eq!(recorder.total(), Slot { records: 15, bytes: 150 });
        assert_eq!(recorder.measured(), Slot { records: 6, bytes: 60 });
        assert_eq!(recorder.measured_ns(), 1000 * MS);
        assert_eq!(recorder.latency().len(), 12, "by the intended time");
        assert_eq!(recorder.slots()[15], Slot { records: 4, bytes: 40 });
    }

    #[test]
    fn a_run_ended_by_bytes_is_measured_to_its_last_ack() {
        let mut recorder = Recorder::new(0, 10_000 * MS);
        recorder.acknowledged(times(0, 0, 400), 1, 10);
        assert_eq!(recorder.measured_ns(), 400 * MS);
    }

    /// Bug, found on reading: a server that stopped acknowledging looked better than one that went on slowly. Mechanism: what was
    /// measured ended at the last acknowledgement, and what was never answered counted nowhere. Fix: both count.
    #[test]
    fn what_is_never_answered_counts() {
        let mut recorder = Recorder::new(1000 * MS, 60_000 * MS);
        recorder.acknowledged(times(5000, 5000, 5001), 90, 900);
        recorder.unanswered(times(5000, 5001, 60_000), 10);
        recorder.ran_until(60_000 * MS);
        assert_eq!((recorder.measured_ns(), recorder.slots().len()), (59_000 * MS, 601), "it was silent to the end");
        assert_eq!((recorder.measured(), recorder.unanswered_records()), (Slot { records: 90, bytes: 900 }, 10));
        assert!(recorder.latency().value_at_percentile(99.0) >= 54_000 * MS && recorder.latency().len() == 100);
    }

    /// Bug, found on reading: whoever plotted the log of a run saw no stall where nothing was answered. Mechanism: what was never
    /// answered, or never sent, counted in the whole alone. Fix: the intervals add up to the whole.
    #[test]
    fn intervals_add_up_to_the_whole() {
        let mut recorder = Recorder::new(1000 * MS, 60_000 * MS);
        recorder.acknowledged(times(500, 500, 1500), 1, 10);
        recorder.acknowledged(times(5000, 5000, 5001), 90, 900);
        recorder.unanswered(times(5000, 5001, 60_000), 10);
        recorder.unserved(6000 * MS, 60_000 * MS, 30);
        let (_, intervals) = recorder.intervals();
        let mut sum = new_histogram();
        intervals.iter().for_each(|interval| sum.add(interval).unwrap());
        assert!(sum == *recorder.latency(), "{} of {}", sum.len(), recorder.latency().len());
        assert_eq!((intervals[5].len(), intervals[60].len()), (90, 40));
    }

    /// Bug, found on reading: a record that took two hours was told as taking one. Mechanism: what no histogram holds counts as
    /// its bound, without a word. Fix: the bound is a day, and what is beyond it is counted.
    #[test]
    fn what_takes_longer_than_can_be_told_is_counted() {
        let mut recorder = Recorder::new(0, u64::MAX);
        recorder.acknowledged(times(0, 0, 2 * 3_600_000), 1, 10);
        assert!(recorder.latency().max() >= 2 * 3_600_000 * MS && recorder.beyond_records() == 0);
        recorder.acknowledged(times(0, 0, 25 * 3_600_000), 2, 20);
        let mut all = Recorder::new(0, u64::MAX);
        all.merge(recorder);
        assert_eq!((all.beyond_records(), all.latency().len()), (2, 3));
        assert!(all.latency().max() >= LONGEST_NS);
    }

    #[test]
    fn a_rate_until_some_time_leaves_out_what_came_later() {
        let mut recorder = Recorder::new(150 * MS, u64::MAX);
        for at_ms in [50, 120, 250, 399, 400, 900] {
            recorder.acknowledged(times(at_ms, at_ms, at_ms), 1, 1000);
        }
        assert_eq!(recorder.bytes_per_s_until(450 * MS), 10_000.0);
        assert_eq!(recorder.bytes_per_s_until(250 * MS), 0.0);
    }

    #[test]
    fn intervals_join_and_merge_without_loss() {
        let (mut one, mut two) = (Recorder::new(0, u64::MAX), Recorder::new(0, u64::MAX));
        for second in 0..300 {
            one.acknowledged(times(second * 1000, second * 1000, second * 1000 + 5), 1, 1);
        }
        for second in 0..10 {
            two.acknowledged(times(second * 1000, second * 1000, second * 1000 + 7), 1, 1);
        }
        two.merge(one);
        let (interval_ns, intervals) = two.intervals();
        assert_eq!(interval_ns, 8_000 * MS);
        assert!(intervals.len() <= INTERVALS_MAX);
        let counts: Vec<u64> = intervals.iter().map(Histogram::len).collect();
        assert_eq!(counts[..3], [16, 10, 8]);
        assert_eq!(counts.iter().sum::<u64>(), 310);
        assert_eq!(two.latency().len(), 310);
        assert_eq!(two.slots().iter().map(|slot| slot.records).sum::<u64>(), 310);
    }
}
