//! The disk scheduler of a data directory: how much of the disk reads may have beside appends.
//!
//! Appends go first. While there are any, reads are few at once and share a budget of bytes a second, which grows in small
//! steps and is halved when commits take longer than they do alone. How long they take alone is measured in periods without
//! reads; where reads never stop by themselves, such a period is made now and then. With no appends, reads have the disk.

use crate::limits::{READS_IN_FLIGHT_BESIDE_MAX, READS_IN_FLIGHT_MAX};

/// What is measured, and decided by, is a period of this length.
const PERIOD_NS: u64 = 10_000_000;

/// Without a commit for so long, reads have the disk to themselves.
const QUIET_NS: u64 = 100_000_000;

/// At least so often a period passes without reads.
const PROBE_NS: u64 = 500_000_000;

/// The budget's bounds, in bytes a second, and its step.
const RATE_MIN: u64 = 16 << 20;
const RATE_MAX: u64 = 8 << 30;
const RATE_STEP: u64 = 64 << 20;

/// Commits may take this much longer beside reads than alone: two and a half times as long, and a read's own time. With
/// one and a half times, which commits of themselves vary by under full load, reads got half as much.
fn tolerated(alone_ns: u64) -> u64 {
    alone_ns * 5 / 2 + 100_000
}

/// The state of one data directory's disk, as its reactor sees it.
#[derive(Debug)]
pub(crate) struct Scheduler {
    /// Bytes a second that may be read beside appends.
    rate: u64,
    /// Bytes that may be read now, and when that was reckoned.
    credit: i64,
    refilled_ns: u64,
    in_flight: usize,
    last_commit_ns: u64,
    period: Period,
    /// How long a commit takes alone, once that is known.
    alone_ns: Option<u64>,
    /// The end of the newest period without reads.
    alone_at_ns: u64,
    probing: bool,
}

/// What has happened since the period began.
#[derive(Debug, Default)]
struct Period {
    began_ns: u64,
    commits: u64,
    took_ns: u64,
    reads: bool,
}

impl Scheduler {
    pub(crate) fn new() -> Scheduler {
        Scheduler {
            rate: RATE_MIN,
            credit: 0,
            refilled_ns: 0,
            in_flight: 0,
            last_commit_ns: 0,
            period: Period::default(),
            alone_ns: None,
            alone_at_ns: 0,
            probing: false,
        }
    }

    /// Whether another read may begin, beside commits in flight or not.
    pub(crate) fn may_read(&mut self, now_ns: u64, is_appending: bool) -> bool {
        if !is_appending && self.is_quiet(now_ns) {
            return self.in_flight < READS_IN_FLIGHT_MAX;
        }
        self.refill(now_ns);
        !self.probing && self.credit > 0 && self.in_flight < READS_IN_FLIGHT_BESIDE_MAX
    }

    /// When a read may begin that can't now, if no completion tells.
    pub(crate) fn retry_ns(&self, now_ns: u64) -> Option<u64> {
        (self.in_flight == 0).then_some(now_ns + PERIOD_NS / 10)
    }

    /// A read of so many bytes begins.
    pub(crate) fn begin_read(&mut self, bytes: usize) {
        self.in_flight += 1;
        self.period.reads = true;
        self.credit -= bytes as i64;
    }

    /// A read has completed.
    pub(crate) fn end_read(&mut self) {
        self.in_flight -= 1;
    }

    /// A commit batch, or what comes with one, was written and flushed.
    pub(crate) fn committed(&mut self, began_ns: u64, now_ns: u64) {
        if self.is_quiet(began_ns) {
            // It began after a pause: what was measured before is of another time.
            self.period = Period { began_ns: now_ns, reads: self.in_flight > 0, ..Period::default() };
            (self.refilled_ns, self.credit) = (now_ns, 0);
        }
        self.last_commit_ns = now_ns;
        self.period.commits += 1;
        self.period.took_ns += now_ns - began_ns;
        if now_ns - self.period.began_ns >= PERIOD_NS {
            self.end_period(now_ns);
        }
    }

    fn is_quiet(&self, now_ns: u64) -> bool {
        now_ns >= self.last_commit_ns + QUIET_NS
    }

    fn refill(&mut self, now_ns: u64) {
        let since_ns = now_ns - self.refilled_ns;
        let more = u128::from(self.rate) * u128::from(since_ns) / 1_000_000_000;
        // What was not used is not saved up: a burst is what appends would feel.
        let most = (u128::from(self.rate) * u128::from(PERIOD_NS) / 1_000_000_000) as i64;
        self.credit = self.credit.saturating_add(more as i64).min(most);
        self.refilled_ns = now_ns;
    }

    fn end_period(&mut self, now_ns: u64) {
        self.refill(now_ns);
        let mean_ns = self.period.took_ns / self.period.commits;
        if !self.period.reads {
            // The mean of about the last eight.
            self.alone_ns = Some(self.alone_ns.map_or(mean_ns, |alone| alone - alone / 8 + mean_ns / 8));
            self.alone_at_ns = now_ns;
        } else if self.alone_ns.is_some_and(|alone| mean_ns > tolerated(alone)) {
            self.rate = (self.rate / 2).max(RATE_MIN);
        } else {
            self.rate = (self.rate + RATE_STEP).min(RATE_MAX);
        }
        self.probing = now_ns >= self.alone_at_ns + PROBE_NS;
        self.period = Period { began_ns: now_ns, reads: self.in_flight > 0, ..Period::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes a second that are read beside commits of 0.4 ms each, which take five times as long beside more than `bears`
    /// reads of 64 KiB.
    fn read_beside(bears: usize) -> u64 {
        let (mut scheduler, mut now_ns, mut read) = (Scheduler::new(), QUIET_NS, 0);
        const SECONDS: u64 = 10;
        while now_ns < QUIET_NS + SECONDS * 1_000_000_000 {
            let mut reads = 0;
            while scheduler.may_read(now_ns, true) {
                scheduler.begin_read(64 << 10);
                reads += 1;
            }
            read += (reads as u64) << 16;
            let took_ns = if reads > bears { 2_000_000 } else { 400_000 };
            now_ns += 400_000;
            (0..reads).for_each(|_| scheduler.end_read());
            scheduler.committed(now_ns - took_ns, now_ns);
        }
        read / SECONDS
    }

    #[test]
    fn reads_get_what_the_disk_bears() {
        // Two of them in every commit would be 327 MB/s, one 164.
        let (all, one, none) = (read_beside(2), read_beside(1), read_beside(0));
        assert!(all > 280_000_000, "{all} bytes a second");
        assert!((80_000_000..220_000_000).contains(&one), "{one} bytes a second");
        // As many as leave the mean what is tolerated.
        assert!((8_000_000..110_000_000).contains(&none), "{none} bytes a second");
    }

    /// Bug, found in review: a disk that reads kept busy counted as quiet, and got more of them. Mechanism: a commit that took
    /// longer than the pause that quiet is told by. Fix: a commit in flight is no pause.
    #[test]
    fn slow_commits_are_no_pause() {
        let (mut scheduler, mut now_ns) = (Scheduler::new(), QUIET_NS);
        for _ in 0..10 {
            let began_ns = now_ns;
            now_ns += 3 * QUIET_NS / 2;
            assert!(scheduler.in_flight < READS_IN_FLIGHT_BESIDE_MAX || !scheduler.may_read(now_ns, true));
            scheduler.committed(began_ns, now_ns);
        }
        assert_eq!(scheduler.alone_ns, Some(3 * QUIET_NS / 2));
    }

    #[test]
    fn without_appends_reads_have_the_disk() {
        let mut scheduler = Scheduler::new();
        scheduler.committed(0, 1);
        let now_ns = 1 + QUIET_NS;
        for _ in 0..READS_IN_FLIGHT_MAX {
            assert!(scheduler.may_read(now_ns, false));
            scheduler.begin_read(1 << 20);
        }
        assert!(!scheduler.may_read(now_ns, false));
        scheduler.end_read();
        assert!(scheduler.may_read(now_ns, false));
    }
}
